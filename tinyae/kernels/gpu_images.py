"""The GPU's twins for images: convolutions, pooling and upsampling, by the kernels of ``cuda/``.

Patches are never written. Besides outputs and gradients there are, while an operation runs:

=====================================  =================================================================
the weights by places                  where taps are added up or turned around: about as large as W
the output before pooling              of a block with pooling
the gradient before the activation     of a block with activation or pooling: as large as its convolution's output
partial sums of W's gradient           at most ``BLOCKS`` tiles, 8 MB of float32, or once W's size if that is more
=====================================  =================================================================
"""

from functools import lru_cache
from math import prod

import numpy as np

from .. import ops
from ..backend import FLOATS, backend_of_xp
from .dense_layers import CODES
from .gpu_sweeps import PACK, PHASES, Axis, Sweep, blocks_of, packs, swept, weight_gradients

LARGEST = 2**31 - 2**12  # indices are ints, and those of a last block go beyond the end
MOST_CHANNELS = 65535 * 32  # so many blocks a grid can have along y
LARGEST_POOL = 255  # places in a window: its winner is a byte


# ---------------------------------------------------------------- convolutions


def fit_together(X, W, b):
    """Are these the shapes, types and layouts of a convolution? If not, the definition says what is wrong."""
    if X.ndim != 4 or W.ndim != 4 or X.dtype not in FLOATS or X.shape[3] != W.shape[2] or b.shape != W.shape[3:]:
        return False
    return min(*X.shape, *W.shape) > 0 and all(a.dtype == X.dtype and a.flags.c_contiguous for a in (X, W, b))


@lru_cache(maxsize=200)
def plan_of_block(shape, W_shape, upsample, padding):
    """(sweep to Z, sweep back), or None."""
    (N, *sizes, C), (*kernel, _, O) = shape, W_shape
    out = [upsample * n + sum(pad) - k + 1 for n, pad, k in zip(sizes, padding, kernel)]
    if upsample > PHASES or min(out) < 1:
        return None
    axes = list(zip(sizes, out, kernel, padding))
    forth = [Axis.upsampled(n, m, k, pad[0], upsample) for n, m, k, pad in axes]
    back = [Axis.upsampled_gradient(m, n, k, pad[0], upsample) for n, m, k, pad in axes]
    return both_ways(N, C, O, forth, back)


@lru_cache(maxsize=200)
def plan_of_convolution(shape, W_shape, stride, padding, dilation):
    """The same for a convolution."""
    (N, *sizes, C), (*kernel, _, O) = shape, W_shape
    axes = list(zip(sizes, kernel, stride, padding, dilation))
    out = [(n + sum(pad) - d * (k - 1) - 1) // s + 1 for n, k, s, pad, d in axes]
    if max(stride) > PHASES or min(out) < 1:
        return None
    forth = [Axis.convolution(n, m, k, pad[0], s, d) for m, (n, k, s, pad, d) in zip(out, axes)]
    back = [Axis.gradient(m, n, k, pad[0], s, d) for m, (n, k, s, pad, d) in zip(out, axes)]
    return both_ways(N, C, O, forth, back)


@lru_cache(maxsize=200)
def plan_of_transposed(shape, W_shape, stride, padding, output_padding):
    """The same for a transposed convolution."""
    (N, *sizes, C), (*kernel, _, O) = shape, W_shape
    axes = list(zip(sizes, kernel, stride, padding, output_padding))
    out = [(n - 1) * s + k - sum(pad) + more for n, k, s, pad, more in axes]
    if max(stride) > PHASES or min(out) < 1:
        return None
    forth = [Axis.gradient(n, m, k, pad[0], s, 1) for m, (n, k, s, pad, _) in zip(out, axes)]
    back = [Axis.convolution(m, n, k, pad[0], s, 1) for m, (n, k, s, pad, _) in zip(out, axes)]
    return both_ways(N, C, O, forth, back)


def both_ways(N, C, O, forth, back):
    """The two sweeps, or None where ints cannot number their pixels, or a grid their channels."""
    sweeps = Sweep(N, C, O, *forth), Sweep(N, O, C, *back, turned=True)
    fit = max(sweep.largest for sweep in sweeps) < LARGEST and max(C, O) <= MOST_CHANNELS
    return sweeps if fit else None


def gradients(backend, sweeps, X, W, gZ, needed):
    """Of X, and of W and b, where they are needed."""
    forth, back = sweeps
    gX = swept(backend, back, gZ, W, None) if needed[0] else None
    return gX, *(weight_gradients(backend, forth, X, gZ) if needed[1] or needed[2] else (None, None))


def takes(plan, X, W, b, *window):
    """Can the sweeps of this plan compute a convolution of these arrays?"""
    return fit_together(X, W, b) and plan(X.shape, W.shape, *window) is not None


def run_forward(xp, save, sweeps, X, W, b):
    """Y; saves what ``run_backward`` needs."""
    save(X, W, sweeps)
    return swept(backend_of_xp(xp), sweeps[0], X, W, b)


def run_backward(xp, saved, gY, needed):
    """gX, gW and gb, where they are needed."""
    X, W, sweeps = saved
    return gradients(backend_of_xp(xp), sweeps, X, W, xp.ascontiguousarray(gY), needed)


class Conv2D(ops.Conv2D):
    """A convolution with any stride up to PHASES, padding and dilation."""

    selective = repeatable = True

    @staticmethod
    def accepts(X, W, b, stride, padding, dilation):
        return takes(plan_of_convolution, X, W, b, stride, padding, dilation)

    @staticmethod
    def forward(xp, save, X, W, b, stride, padding, dilation):
        return run_forward(xp, save, plan_of_convolution(X.shape, W.shape, stride, padding, dilation), X, W, b)

    @staticmethod
    def backward(xp, saved, gY, needed):
        return run_backward(xp, saved, gY, needed)


class Conv2DTranspose(ops.Conv2DTranspose):
    """A transposed convolution with any stride up to PHASES."""

    selective = repeatable = True

    @staticmethod
    def accepts(X, W, b, stride, padding, output_padding):
        return takes(plan_of_transposed, X, W, b, stride, padding, output_padding)

    @staticmethod
    def forward(xp, save, X, W, b, stride, padding, output_padding):
        return run_forward(xp, save, plan_of_transposed(X.shape, W.shape, stride, padding, output_padding), X, W, b)

    @staticmethod
    def backward(xp, saved, gY, needed):
        return run_backward(xp, saved, gY, needed)


class ConvBlock(ops.ConvBlock):
    """Upsampling, convolution and activation in one kernel; pooling, where there is one, in a second."""

    selective = repeatable = True

    @staticmethod
    def accepts(X, W, b, upsample, padding, activation, pool):
        if not fit_together(X, W, b) or activation not in CODES:
            return False
        plan = plan_of_block(X.shape, W.shape, upsample, padding)
        return plan is not None and (pool is None or window_of(plan[0].shape, pool[0], pool[0], pool[1]) is not None)

    @staticmethod
    def forward(xp, save, X, W, b, upsample, padding, activation, pool):
        backend = backend_of_xp(xp)
        plan = plan_of_block(X.shape, W.shape, upsample, padding)
        Z = swept(backend, plan[0], X, W, b, activation)
        if pool is None:
            save(X, W, Z, None, None, plan, activation)
            return Z
        window = window_of(Z.shape, pool[0], pool[0], pool[1])
        Y, winner = pooled(backend, Z, window)
        save(X, W, Y, winner, window, plan, activation)
        return Y

    @staticmethod
    def backward(xp, saved, gY, needed):
        backend = backend_of_xp(xp)
        X, W, Y, winner, window, plan, activation = saved
        gZ = xp.ascontiguousarray(gY)
        if window is not None:
            gZ = unpooled(backend, Y, gZ, winner, window, plan[0].shape, activation)
        elif activation is not None:
            gY, gZ = gZ, xp.empty(Y.shape, Y.dtype)
            backend.launch(
                "resampling", "through", Y.dtype, blocks_of(Y.size), 256, Y, gY, gZ, CODES[activation], Y.size
            )
        return gradients(backend, plan, X, W, gZ, needed)


# ---------------------------------------------------------------- pooling and upsampling

WINDOW = np.dtype(
    [(name, np.int32) for name in ("images", "height", "width", "channels", "rows", "columns")]
    + [(name, np.int32, 2) for name in ("size", "stride", "before")],
    align=True,
)


@lru_cache(maxsize=200)
def window_of(shape, size, stride, padding):
    """How the kernels are told of windows; None, if they do not take them, or the definition says what is wrong."""
    if size[0] * size[1] > LARGEST_POOL or prod(shape) >= LARGEST:
        return None
    for n, k, pad in zip(shape[1:3], size, padding):
        if max(pad) >= k or n + sum(pad) < k:
            return None
    out = [(n + sum(pad) - k) // s + 1 for n, k, s, pad in zip(shape[1:3], size, stride, padding)]
    if shape[0] * out[0] * out[1] * shape[3] >= LARGEST:
        return None
    before = [pad[0] for pad in padding]
    return np.array((*shape, *out, size, stride, before), WINDOW)


def pooled_shape(shape, window):
    """Of the images that windows make of those of this shape."""
    return shape[0], int(window["rows"]), int(window["columns"]), shape[3]


def pooled(backend, X, window):
    """(Y, winner)."""
    shape, C = pooled_shape(X.shape, window), X.shape[3]
    Y, winner = backend.xp.empty(shape, X.dtype), backend.xp.empty(shape, np.uint8)
    resample(backend, "pool", C, (X, Y), Y, X, Y, winner, window)
    return Y, winner


def unpooled(backend, Y, gY, winner, window, shape, activation):
    """The gradient before pooling, and before the activation that was pooled. Without one Y may be None."""
    gX = backend.xp.empty(shape, gY.dtype)
    read = (gY, gX) if activation is None else (Y, gY, gX)
    resample(backend, "pool_gradient", shape[3], read, gX, Y, gY, winner, gX, CODES[activation], window)
    return gX


def resample(backend, kernel, channels, arrays, target, *arguments):
    """Launch a kernel of ``resampling.cu``, in packs if all arrays allow it, with threads for the target's numbers."""
    in_packs = packs(backend, channels, *arrays)
    blocks = blocks_of(target.size * target.dtype.itemsize // PACK if in_packs else target.size)
    backend.launch("resampling", kernel if in_packs else f"{kernel}_any", target.dtype, blocks, 256, *arguments)


def accepts_images(X):
    """Is X (N, H, W, C), of a float type and C-contiguous?"""
    return X.ndim == 4 and X.dtype in FLOATS and 0 < X.size < LARGEST and X.flags.c_contiguous


class MaxPool2D(ops.MaxPool2D):
    """The largest number of each window, which remembers where it was; windows may overlap."""

    repeatable = True

    @staticmethod
    def accepts(X, size, stride, padding):
        return accepts_images(X) and window_of(X.shape, size, stride, padding) is not None

    @staticmethod
    def forward(xp, save, X, size, stride, padding):
        window = window_of(X.shape, size, stride, padding)
        Y, winner = pooled(backend_of_xp(xp), X, window)
        save(winner, window, X.shape)
        return Y

    @staticmethod
    def backward(xp, saved, gY):
        winner, window, shape = saved
        return unpooled(backend_of_xp(xp), None, xp.ascontiguousarray(gY), winner, window, shape, None)


class AvgPool2D(ops.AvgPool2D):
    """The mean of each window; windows may overlap."""

    repeatable = True

    @staticmethod
    def accepts(X, size, stride, padding):
        return MaxPool2D.accepts(X, size, stride, padding)

    @staticmethod
    def forward(xp, save, X, size, stride, padding):
        window = window_of(X.shape, size, stride, padding)
        Y = xp.empty(pooled_shape(X.shape, window), X.dtype)
        resample(backend_of_xp(xp), "average", X.shape[3], (X, Y), Y, X, Y, window)
        save(window, X.shape)
        return Y

    @staticmethod
    def backward(xp, saved, gY):
        window, shape = saved
        gX, gY = xp.empty(shape, gY.dtype), xp.ascontiguousarray(gY)
        resample(backend_of_xp(xp), "average_gradient", shape[3], (gY, gX), gX, gY, gX, window)
        return gX


class UpsampleNearest(ops.UpsampleNearest):
    """Every pixel as a block of equal ones."""

    repeatable = True

    @staticmethod
    def accepts(X, factor):
        return accepts_images(X) and min(factor) > 0 and X.size * factor[0] * factor[1] < LARGEST

    @staticmethod
    def forward(xp, save, X, factor):
        N, H, W, C = X.shape
        Y = xp.empty((N, H * factor[0], W * factor[1], C), X.dtype)
        resample(backend_of_xp(xp), "upsample", C, (X, Y), Y, X, Y, N * H, W, C, *factor)
        save(X.shape, factor)
        return Y

    @staticmethod
    def backward(xp, saved, gY):
        (N, H, W, C), factor = saved
        gX, gY = xp.empty((N, H, W, C), gY.dtype), xp.ascontiguousarray(gY)
        resample(backend_of_xp(xp), "upsample_gradient", C, (gY, gX), gX, gY, gX, N * H, W, C, *factor)
        return gX


TWINS: dict[object, object] = {
    ops.Conv2D: Conv2D,
    ops.Conv2DTranspose: Conv2DTranspose,
    ops.ConvBlock: ConvBlock,
    ops.MaxPool2D: MaxPool2D,
    ops.AvgPool2D: AvgPool2D,
    ops.UpsampleNearest: UpsampleNearest,
}
