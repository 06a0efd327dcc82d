r"""Images made larger: by repeating pixels, by interpolating between them, or with zeros around them.

All three are linear, Y = A X with some matrix A, so each gradient is :math:`A^\top \bar Y`: a pixel receives the sum
of the gradients of all places it was copied to, times the weight it had there.
"""

from ..errors import ShapeError
from .op import Op, op


@op(
    "upsample_nearest",
    r"Y_{nyxc} = X_{n,\, \lfloor y / f \rfloor,\, \lfloor x / f' \rfloor,\, c}",
    {"X": r"\bar X_{nijc} = \sum_{u<f,\, v<f'} \bar Y_{n,\, f i + u,\, f' j + v,\, c}"},
    letters={"factor": ("f", "f'")},
)
class UpsampleNearest(Op):
    """Every pixel becomes a block of fh x fw equal ones. Shapes: X (N, H, W, C) -> Y (N, fh H, fw W, C).

    ``factor`` is (fh, fw). Saves only the shape.
    """

    @staticmethod
    def forward(xp, save, X, factor):
        require_images("upsample_nearest", X.shape)
        save(X.shape, factor)
        return xp.repeat(xp.repeat(X, factor[0], axis=1), factor[1], axis=2)

    @staticmethod
    def backward(xp, saved, gY):
        (N, H, W, C), (fh, fw) = saved
        return gY.reshape(N, H, fh, W, fw, C).sum(axis=(2, 4))


@op(
    "upsample_bilinear",
    r"Y_{nyxc} = \sum_{i,j} A_{yi} B_{xj} X_{nijc}, "
    r"\quad A_{yi} = \max(0, 1 - |a_y - i|), \quad a_y = \min(\max(\tfrac{y + 1/2}{f} - \tfrac12, 0), H - 1), "
    r"\quad B_{xj} = \max(0, 1 - |b_x - j|), \quad b_x = \min(\max(\tfrac{x + 1/2}{f'} - \tfrac12, 0), W - 1)",
    {"X": r"\bar X_{nijc} = \sum_{y,x} A_{yi} B_{xj} \bar Y_{nyxc}"},
    letters={"factor": ("f", "f'"), "X.shape": ("", "H", "W", "")},
)
class UpsampleBilinear(Op):
    """Linear interpolation along height and width. Shapes: X (N, H, W, C) -> Y (N, fh H, fw W, C).

    Pixels are squares whose centres lie at 1/2, 3/2, ... (half-pixel centres, as in Keras; ``align_corners=False`` in
    PyTorch); outside of the outermost centres the image goes on as it is at the edge. A (fh H, H) and B (fw W, W)
    have the weights: those of two neighbours in each row.
    """

    @staticmethod
    def forward(xp, save, X, factor):
        require_images("upsample_bilinear", X.shape)
        save(X.shape, factor)
        return from_both_sides(xp, *interpolation(xp, X.shape, factor, X.dtype), X)

    @staticmethod
    def backward(xp, saved, gY):
        shape, factor = saved
        A, B = interpolation(xp, shape, factor, gY.dtype)
        return from_both_sides(xp, A.T, B.T, gY)


@op(
    "pad2d",
    r"Y_{nyxc} = X_{n,\, y - p,\, x - p',\, c}",
    {"X": r"\bar X_{nijc} = \bar Y_{n,\, i + p,\, j + p',\, c}"},
    letters={"padding": (("p", ""), ("p'", ""))},
)
class Pad2D(Op):
    """Zeros around images: ``padding`` is ((top, bottom), (left, right)). What lies outside of X is 0.

    Shapes: X (N, H, W, C) -> Y (N, top + H + bottom, left + W + right, C).
    """

    @staticmethod
    def forward(xp, save, X, padding):
        require_images("pad2d", X.shape)
        save(X.shape, padding)
        return xp.pad(X, ((0, 0), *padding, (0, 0)))

    @staticmethod
    def backward(xp, saved, gY):
        (_, H, W, _), ((top, _), (left, _)) = saved
        return gY[:, top : top + H, left : left + W]


def interpolation(xp, shape, factor, dtype):
    """The matrices A and B: where each new pixel's centre lies between the old ones."""
    matrices = []
    for n, f in zip(shape[1:3], factor):
        place = xp.clip((xp.arange(n * f) + 0.5) / f - 0.5, 0, n - 1)
        matrices.append(xp.maximum(0, 1 - xp.abs(place[:, None] - xp.arange(n))).astype(dtype))
    return matrices


def from_both_sides(xp, A, B, X):
    """A X B^T for each image and channel: (N, H, W, C) -> (N, rows of A, rows of B, C)."""
    N, H, W, C = X.shape
    X = A @ X.reshape(N, H, W * C)  # along the height
    X = B @ X.reshape(-1, W, C)  # along the width
    return X.reshape(N, len(A), len(B), C)


def pad(xp, X, padding, value=0):
    """Images with rows and columns of ``value`` around them; without padding, X itself."""
    if padding == ((0, 0), (0, 0)):
        return X
    return xp.pad(X, ((0, 0), *padding, (0, 0)), constant_values=value)


def require_images(name, shape, channels=None, who="it takes that many"):
    """Refuse what is no batch of images (N, H, W, C), or has another number of channels; the cure is in the message."""
    expected = f"(N, height, width, {'channels' if channels is None else channels})"
    if len(shape) == 4 and channels in (None, shape[3]):
        return
    if len(shape) == 4 and shape[1] == channels:
        cure = (
            f"Axis 1 has {channels}: these seem to be images with the channels first (N, C, H, W), as PyTorch has them. Here "
            "channels come last: x.transpose(0, 2, 3, 1)."
        )
    elif len(shape) == 4:
        cure = f"The images have {shape[3]} channel{'s' if shape[3] > 1 else ''}, but {who}."
    elif len(shape) == 3 and shape[2] == channels:
        cure = "A single image needs its batch axis: x[None]."
    elif len(shape) == 3 and channels in (None, 1):
        cure = "The axis of channels is missing: x[..., None] adds it (a single image needs its batch axis: x[None])."
    else:
        cure = "Reshape(height, width, channels) makes images of rows."
    raise ShapeError(f"{name}: the input has shape {tuple(shape)}; expected {expected}. {cure}")
