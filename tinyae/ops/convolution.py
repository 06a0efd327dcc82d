r"""Convolution of images, its two gradients, and its transpose: all of it on one page.

Images are X (N, H, W, C), kernels W (kh, kw, C, O), outputs Y (N, H', W', O). For one image, one channel each, and a
stride of 1, convolution is a **sum over taps**: each of the kernel's kh x kw places (u, v) multiplies a shifted image.

.. math:: Y_{ij} = b + \sum_{u,v} X_{i+u,\,j+v} W_{uv}

A small example (conv2d and its gradients are called as the engine calls them):

>>> import numpy as np
>>> X = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9.]]).reshape(1, 3, 3, 1)
>>> W = np.array([[1, 2], [3, -1.]]).reshape(2, 2, 1, 1)
>>> b, plain = np.zeros(1), {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}
>>> Y = Conv2D.forward(np, lambda *values: None, X, W, b, **plain)
>>> Y[0, :, :, 0]  # the first: 1*1 + 2*2 + 4*3 - 5*1
array([[12., 17.],
       [27., 32.]])

**As a product of matrices.** Write the patch that each output sees as a row (``patches``, known as im2col), and the
kernel as a column; all outputs are then one product, Y = P W + b.

>>> P = patches(np, X, (2, 2), **plain)
>>> P.reshape(4, 4)  # four patches of four numbers
array([[1., 2., 4., 5.],
       [2., 3., 5., 6.],
       [4., 5., 7., 8.],
       [5., 6., 8., 9.]])
>>> P.reshape(4, 4) @ W.reshape(4)
array([12., 17., 27., 32.])

**The gradient of the weights** follows as for a dense layer, :math:`\bar W = P^\top \bar Y`. Tap (u, v) met the image
shifted by (u, v), so its gradient is the correlation of input and output gradient,
:math:`\bar W_{uv} = \sum_{ij} X_{i+u,\,j+v} \bar Y_{ij}`.

>>> gY = np.array([[1, 0], [0, 10.]]).reshape(1, 2, 2, 1)  # the first output counts, and the last ten times
>>> gX, gW, gb = Conv2D.backward(np, (X, W, *plain.values()), gY)
>>> gW[:, :, 0, 0]  # the first patch and ten times the last
array([[51., 62.],
       [84., 95.]])

**The gradient of the image** follows likewise, :math:`\bar P = \bar Y W^\top`: each output sends its kernel back to
the patch it saw. A pixel lies in several patches and receives the sum (``add_patches``, known as col2im),
:math:`\bar X_{yx} = \sum_{uv} \bar Y_{y-u,\,x-v} W_{uv}`.

>>> gX[0, :, :, 0]  # the kernel at the top left, and ten times at the bottom right
array([[  1.,   2.,   0.],
       [  3.,   9.,  20.],
       [  0.,  30., -10.]])

That sum is a convolution too: of the output gradient, padded by kernel size - 1, with the kernel **flipped** in both
directions (and, with more channels, transposed from C -> O to O -> C).

>>> flipped = W[::-1, ::-1].transpose(0, 1, 3, 2)
>>> again = Conv2D.forward(np, lambda *values: None, gY, flipped, b, (1, 1), ((1, 1), (1, 1)), (1, 1))
>>> np.array_equal(again, gX)
True

With stride s, dilation d and p rows of zeros above the image, i + u becomes s i + d u - p everywhere, and j + v becomes
s' j + d' v - p' with those along the width; channels are summed over like taps. A bracket such as [s i + u - p = y] is 1
where it holds and 0 elsewhere: it picks the windows that saw row y. The **transposed** convolution exchanges the two
passes: its forward is the sum that an image's gradient is.

Like everyone who trains networks we say convolution where mathematics says cross-correlation (the kernel is not
flipped forward). Sources: Goodfellow, Bengio and Courville, *Deep Learning* (2016), sections 9.1 and 9.5, eq. 9.6 for
the sum; Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016), for sizes, padding and the
transpose.
"""

from ..errors import ShapeError
from .linear import JOINED
from .op import Op, op
from .pooling import MaxPool2D
from .resizing import UpsampleNearest, pad, require_images
from .windows import blocks, taps, window_sizes


def patches(xp, X, kernel, stride, padding, dilation):
    """Each output's patch as a row (im2col): (N, H, W, C) -> (N, H', W', kh * kw * C)."""
    size = window_sizes(X.shape[1:3], kernel, stride, padding, dilation)
    X = pad(xp, X, padding)
    return xp.concatenate([X[tap] for tap in taps(kernel, size, stride, dilation)], axis=-1)


def add_patches(xp, P, shape, kernel, stride, padding, dilation):
    """The images of this shape in which every pixel is the sum of its places in the patches (col2im)."""
    (top, bottom), (left, right) = padding
    N, H, W, C = shape
    X = xp.zeros((N, top + H + bottom, left + W + right, C), dtype=P.dtype)
    for k, tap in enumerate(taps(kernel, P.shape[1:3], stride, dilation)):
        X[tap] += P[..., k * C : (k + 1) * C]
    return X[:, top : top + H, left : left + W]


@op(
    "conv2d",
    r"Y_{nijo} = b_o + \sum_{u,v,c} X_{n,\, s i + d u - p,\, s' j + d' v - p',\, c} \, W_{uvco}",
    {
        "X": r"\bar X_{nyxc} = \sum_{i,j,u,v,o} \bar Y_{nijo} W_{uvco} [s i + d u - p = y] [s' j + d' v - p' = x]",
        "W": r"\bar W_{uvco} = \sum_{n,i,j} X_{n,\, s i + d u - p,\, s' j + d' v - p',\, c} \bar Y_{nijo}",
        "b": r"\sum_{n,i,j} \bar Y_{nij}",
    },
    letters={"stride": ("s", "s'"), "padding": (("p", ""), ("p'", "")), "dilation": ("d", "d'")},
)
class Conv2D(Op):
    """Convolution: a weighted sum over a window that moves over the image.

    Shapes: X (N, H, W, C), W (kh, kw, C, O), b (O,) -> Y (N, H', W', O), with
    H' = (H + top + bottom - dh (kh - 1) - 1) // sh + 1 and W' likewise.

    ``stride`` (sh, sw), ``dilation`` (dh, dw) and ``padding`` ((top, bottom), (left, right)), rows and columns of
    zeros.

    Saves X and W. The patches, kh kw times as large as X, are made again for the gradient, some images at a time.
    """

    @staticmethod
    def forward(xp, save, X, W, b, stride, padding, dilation):
        check_kernel("conv2d", X, W, b)
        window = (W.shape[:2], stride, padding, dilation)
        size = window_sizes(X.shape[1:3], *window, name="conv2d", what="kernel")
        save(X, W, stride, padding, dilation)
        Y = xp.empty((len(X), *size, len(b)), dtype=X.dtype)
        matrix = W.reshape(-1, len(b))
        for n in blocks(X, matrix, size):
            Y[n] = rows(patches(xp, X[n], *window), matrix) + b  # Y = P W + b
        return Y

    @staticmethod
    def backward(xp, saved, gY):
        X, W, *where = saved
        window = (W.shape[:2], *where)
        gX, matrix = xp.empty(X.shape, dtype=X.dtype), W.reshape(-1, W.shape[3])
        gW = xp.zeros(matrix.shape, dtype=W.dtype)
        for n in blocks(X, matrix, gY.shape[1:3]):
            P = patches(xp, X[n], *window)
            gX[n] = add_patches(xp, rows(gY[n], matrix.T), X[n].shape, *window)  # vjp[X]: gP = gY W^T
            gW += flat(P).T @ flat(gY[n])  # vjp[W]: P^T gY
        return gX, gW.reshape(W.shape), gY.sum(axis=(0, 1, 2))


@op(
    "conv2d_transpose",
    r"Y_{nyxo} = b_o + \sum_{i,j,u,v,c} X_{nijc} W_{uvco} [s i + u - p = y] [s' j + v - p' = x]",
    {
        "X": r"\bar X_{nijc} = \sum_{u,v,o} \bar Y_{n,\, s i + u - p,\, s' j + v - p',\, o} \, W_{uvco}",
        "W": r"\bar W_{uvco} = \sum_{n,i,j} X_{nijc} \bar Y_{n,\, s i + u - p,\, s' j + v - p',\, o}",
        "b": r"\sum_{n,y,x} \bar Y_{nyx}",
    },
    letters={"stride": ("s", "s'"), "padding": (("p", ""), ("p'", ""))},
)
class Conv2DTranspose(Op):
    """Transposed convolution: every input pixel adds its multiple of the kernel to the output.

    Forward is a convolution's gradient of the image, backward a convolution. It is no inverse, but has the inverse's
    shapes.

    Shapes: X (N, H, W, C), W (kh, kw, C, O), b (O,) -> Y (N, H', W', O), with
    H' = (H - 1) sh + kh - top - bottom + oh and W' likewise.

    ``padding`` ((top, bottom), (left, right)) is cut off; ``output_padding`` (oh, ow) are rows and columns more at the
    bottom and right: with a stride, several output sizes belong to one input size.
    """

    @staticmethod
    def forward(xp, save, X, W, b, stride, padding, output_padding):
        check_kernel("conv2d_transpose", X, W, b)
        kh, kw, C, O = W.shape
        size = transposed_sizes(X.shape[1:3], (kh, kw), stride, padding, output_padding)
        save(X, W, stride, padding)
        Y = xp.empty((len(X), *size, O), dtype=X.dtype)
        matrix = W.transpose(2, 0, 1, 3).reshape(C, -1)
        for n in blocks(Y, matrix, X.shape[1:3]):
            Y[n] = add_patches(xp, rows(X[n], matrix), Y[n].shape, (kh, kw), stride, padding, (1, 1)) + b
        return Y

    @staticmethod
    def backward(xp, saved, gY):
        X, W, stride, padding = saved
        kh, kw, C, O = W.shape
        matrix = W.transpose(2, 0, 1, 3).reshape(C, -1)
        gX, gW = xp.empty(X.shape, dtype=X.dtype), xp.zeros(matrix.shape, dtype=W.dtype)
        for n in blocks(gY, matrix, X.shape[1:3]):
            P = patches(xp, gY[n], (kh, kw), stride, padding, (1, 1))
            P = P[:, : X.shape[1], : X.shape[2]]  # a large output padding has room for more windows: nothing reached it
            gX[n] = rows(P, matrix.T)  # vjp[X]
            gW += flat(X[n]).T @ flat(P)  # vjp[W]
        return gX, gW.reshape(C, kh, kw, O).transpose(1, 2, 0, 3), gY.sum(axis=(0, 1, 2))


@op(
    "conv_block",
    r"Y = \operatorname{pool}(A), \quad A = f(Z), \quad Z = \operatorname{conv}(U, W, b), \quad U = \operatorname{up}(X)",
    {
        "X": r"\operatorname{up}^\top \bar U, \quad \bar U = \operatorname{conv}_U^\top \bar Z, "
        r"\quad \bar Z = f'(Z) \odot \bar A, \quad \bar A = \operatorname{pool}^\top \bar Y",
        "W": r"\operatorname{conv}_W^\top \bar Z",
        "b": r"\sum_{n,i,j} \bar Z_{nij}",
    },
    letters={"activation": "f"},
)
class ConvBlock(Op):
    """Upsampling, convolution, activation and max pooling as one operation, so that a kernel can do all at once.

    It is the composition of these operations: nearest upsampling by the factor ``upsample`` (1: none), convolution
    with stride and dilation 1 and this ``padding``, ``activation`` (None, relu, sigmoid or tanh), and max pooling
    ``pool``: None, or (size, padding), with its size as stride.

    Shapes: X (N, H, W, C), W (kh, kw, C, O), b (O,) -> Y (N, H', W', O).
    """

    @staticmethod
    def forward(xp, save, X, W, b, upsample, padding, activation, pool):
        chain = []  # (operation, what it saved)

        def step(part, *arguments):
            saved = []
            Y = part.forward(xp, lambda *values: saved.extend(values), *arguments)
            chain.append((part, saved))
            return Y

        Y = X
        if upsample != 1:
            Y = step(UpsampleNearest, Y, (upsample, upsample))  # U
        Y = step(Conv2D, Y, W, b, (1, 1), padding, (1, 1))  # Z
        if activation is not None:
            Y = step(JOINED[activation], Y)  # A
        if pool is not None:
            size, pool_padding = pool
            Y = step(MaxPool2D, Y, size, size, pool_padding)
        save(X, W, Y, chain)  # the arrays once more, for the tape to watch
        return Y

    @staticmethod
    def backward(xp, saved, gY):
        *_, chain = saved
        for part, values in reversed(chain):
            if part is Conv2D:
                gY, gW, gb = part.backward(xp, values, gY)
            else:
                gY = part.backward(xp, values, gY)
        return gY, gW, gb


def flat(X):
    """All but the last axis as one: (N, H, W, C) -> (N * H * W, C)."""
    return X.reshape(-1, X.shape[-1])


def rows(X, matrix):
    """The last axis through a matrix: (N, H, W, C) and (C, O) -> (N, H, W, O)."""
    return (flat(X) @ matrix).reshape(*X.shape[:-1], matrix.shape[1])


def transposed_sizes(sizes, kernel, stride, padding, output_padding):
    """Height and width of a transposed convolution's output."""
    found = tuple(
        (n - 1) * s + k - before - after + more
        for n, k, s, (before, after), more in zip(sizes, kernel, stride, padding, output_padding)
    )
    if min(found) < 1:
        raise ShapeError(
            f"conv2d_transpose: images of {sizes[0]}x{sizes[1]} with a kernel of {kernel[0]}x{kernel[1]}, stride {stride} and "
            f"padding {padding} give an output of {found[0]}x{found[1]}: nothing is left. Cut less off: a smaller padding."
        )
    return found


def check_kernel(name, X, W, b):
    """Refuse images, weights and biases that do not fit together; both channel counts are named."""
    require_kernel(name, W.shape)
    require_images(name, X.shape, W.shape[2], f"W {W.shape} takes {W.shape[2]}")
    if b.shape != W.shape[3:]:
        raise ShapeError(f"{name}: b has shape {b.shape}, but W {W.shape} has {W.shape[3]} outputs; b must be (O,).")


def require_kernel(name, shape):
    """Refuse weights of another rank."""
    if len(shape) != 4:
        raise ShapeError(f"{name}: W has shape {shape}; expected (kernel height, kernel width, in, out).")
