"""Dense layers on a GPU: by the products of ``cuda/dense.cu`` where little is computed, by those of cuBLAS where much is.

A small layer takes one launch forward and one back. So do its neighbours: gX leaves a layer's launch as the gZ of the
layer before. By the library a layer takes two launches forward (product; bias and activation) and three back (gZ and gb; gW;
gX), each of which is faster where there is much to multiply.
"""

from .. import ops
from ..backend import FLOATS, backend_of_xp
from .dense_layers import CODES
from .gpu_launching import MOST_BLOCKS, THREADS, WARP, contiguous

# What decides between the two, and between the tiles. Reckoned, not measured: no GPU was at hand.
MOST_WORK = 1 << 26  # multiplications; beyond, cuBLAS's better use of the processors outweighs its launches
LONGEST = 4096  # numbers along each axis; beyond, a sum over it is too long for the eight warps that share it
MANY_TILES = 128  # about as many as a GPU has processors: then tiles may be large, which read less


def is_small(N, I, O):
    """Is a layer's product (N, I) (I, O), or one of its gradients', for the kernels of ``dense.cu``?"""
    return N * I * O <= MOST_WORK and max(N, I, O) <= LONGEST


def tiles(*shapes):
    """(the size of a tile, how many there are) for kernels that compute matrices of these shapes."""
    for size in (32, 16):
        count = sum(-(-rows // size) * -(-columns // size) for rows, columns in shapes)
        if count >= MANY_TILES:
            break
    return size, count


def by_columns(N, O, rows_each, deepest):
    """(blocks, threads) for an array (N, O) in which threads keep to a column; ``rows_each`` rows of it, if not too many.

    A block's threads: as many columns as a warp has lanes, or the next power of two where there are fewer.
    """
    across = min(WARP, 1 << (O - 1).bit_length())
    below = deepest // across
    blocks = -(-O // across)
    return (blocks, max(1, min(-(-N // (below * rows_each)), MOST_BLOCKS // blocks))), (across, below)


# ---------------------------------------------------------------- one layer


def layer_forward(backend, X, W, b, code):
    """Y = f(X W + b)."""
    (N, I), O = X.shape, W.shape[1]
    if is_small(N, I, O):
        Y = backend.xp.empty((N, O), X.dtype)
        size, count = tiles((N, O))
        kernel = f"product_bias_activation_{size}"
        backend.launch("dense", kernel, X.dtype, count, THREADS, X, W, b, Y, N, I, O, code)
        return Y
    Y = backend.matmul(X, W)
    if b is not None or code:
        backend.launch("dense", "bias_activation", X.dtype, *by_columns(N, O, 4, THREADS), Y, b, N, O, code)
    return Y


def layer_backward(backend, gY, Y, X, W, code, code_before, needed):
    """gX, gW and gb, where they are needed, and whether gX is already the gZ of the layer before.

    gZ = f'(Z) gY. With ``code_before`` X is that layer's output, and its derivative can be applied along with the product.
    """
    (N, I), O, dtype, empty = X.shape, W.shape[1], X.dtype, backend.xp.empty
    needs_X, needs_W, needs_b = needed
    if is_small(N, I, O) and (needs_X or needs_W):
        gX = empty((N, I), dtype) if needs_X else None
        gW = empty((I, O), dtype) if needs_W or needs_b else None
        gb = empty((O,), dtype) if needs_b else None
        size, count = tiles(*(array.shape for array in (gX, gW) if array is not None))
        arrays = gY, Y, X, W, gW, gb, gX
        kernel = f"product_backward_{size}"
        backend.launch("dense", kernel, dtype, count, THREADS, *arrays, N, I, O, code, code_before)
        return gX, gW, gb, True
    gZ, gb = through_and_sums(backend, gY, Y, code, needs_X or needs_W, needs_b)
    gX = backend.matmul(gZ, W, transpose_b=True) if needs_X else None
    gW = backend.matmul(X, gZ, transpose_a=True) if needs_W else None
    return gX, gW, gb, False


def through_and_sums(backend, gY, Y, code, needs_Z, needs_b):
    """gZ = f'(Z) gY, or gY itself where there is no activation, and gb, the sums of gZ's columns."""
    (N, O), dtype, empty = gY.shape, gY.dtype, backend.xp.empty
    gZ = empty((N, O), dtype) if needs_Z and code else None
    gb = empty((O,), dtype) if needs_b else None
    if gZ is not None or gb is not None:
        blocks, threads = by_columns(N, O, 8, 4 * THREADS)
        partial = empty((blocks[1], O), dtype) if needs_b and blocks[1] > 1 else None
        arrays = gY, Y, gZ, gb, partial, backend.ticket()
        backend.launch("dense", "through_and_sums", dtype, blocks, threads, *arrays, N, O, code)
    return gY if gZ is None else gZ, gb


# ---------------------------------------------------------------- the twins


class Dense(ops.Dense):
    """Dense layers in a row, by ``dense.cu`` and cuBLAS."""

    selective = repeatable = True

    @staticmethod
    def accepts(X, *parameters, activations):
        if X.ndim != 2 or X.dtype not in FLOATS or X.size == 0 or len(parameters) != 2 * len(activations):
            return False
        width = X.shape[1]
        for W, b in zip(parameters[::2], parameters[1::2]):
            if W.ndim != 2 or W.shape[0] != width or W.size == 0 or (b is not None and b.shape != W.shape[1:]):
                return False
            width = W.shape[1]
        return all(array is None or array.dtype == X.dtype for array in parameters)

    @staticmethod
    def forward(xp, save, X, *parameters, activations):
        backend = backend_of_xp(xp)
        codes = [CODES[f] for f in activations]
        Ys, Ws = [contiguous(xp, X)], [contiguous(xp, W) for W in parameters[::2]]
        for W, b, code in zip(Ws, parameters[1::2], codes):
            b = None if b is None else contiguous(xp, b)
            Ys.append(layer_forward(backend, Ys[-1], W, b, code))
        save(*Ys, *Ws, codes)
        return Ys[-1]

    @staticmethod
    def backward(xp, saved, gY, needed):
        *arrays, codes = saved
        Ys, Ws = arrays[: len(codes) + 1], arrays[len(codes) + 1 :]
        backend, gY = backend_of_xp(xp), contiguous(xp, gY)
        lowest = 0 if needed[0] else (needed.index(True) - 1) // 2  # the first layer of which anything is needed
        gradients, code = [None] * (2 * lowest), codes[-1]
        for l in reversed(range(lowest, len(codes))):
            before = codes[l - 1] if l else 0
            told = needed[0] or l > lowest, *needed[2 * l + 1 : 2 * l + 3]
            gY, gW, gb, is_gZ = layer_backward(backend, gY, Ys[l + 1], Ys[l], Ws[l], code, before, told)
            code = 0 if is_gZ else before
            gradients[2 * lowest : 2 * lowest] = [gW, gb]
        return gY if needed[0] else None, *gradients


class Affine(ops.Affine):
    """A dense layer without an activation."""

    selective = repeatable = True

    @staticmethod
    def accepts(X, W, b):
        return Dense.accepts(X, W, b, activations=(None,))

    @staticmethod
    def forward(xp, save, X, W, b):
        return Dense.forward(xp, save, X, W, b, activations=(None,))

    @staticmethod
    def backward(xp, saved, gY, needed):
        return Dense.backward(xp, saved, gY, needed)


class MatMul(ops.MatMul):
    """The product of two matrices: a dense layer without bias and activation."""

    selective = repeatable = True

    @staticmethod
    def accepts(X, W):
        return Dense.accepts(X, W, None, activations=(None,))

    @staticmethod
    def forward(xp, save, X, W):
        return Dense.forward(xp, save, X, W, None, activations=(None,))

    @staticmethod
    def backward(xp, saved, gY, needed):
        return Dense.backward(xp, saved, gY, [*needed, False])[:2]
