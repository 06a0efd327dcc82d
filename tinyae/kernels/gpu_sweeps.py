"""Sweeps over images: the numbers that the kernels of convolutions are told, their tiles, and how they are launched.

Every convolution, its transpose and their gradients are sweeps: each target pixel is computed from the source pixels at
some places. ``cuda/sweeps.cuh`` says how, with a table; ``gpu_images.py`` says which operation is which sweep.
"""

from math import gcd
from typing import NamedTuple

import numpy as np

from ..backend import matmul_precision
from .dense_layers import CODES

PHASES = 8  # along an axis, as in sweeps.cuh: strides and factors of upsampling up to this
THREADS = 128  # of a block
PACK = 16  # bytes that are loaded at once
NARROW = 4  # channels of the target that are too few for a tile
SIDE = 4  # targets of a group of threads, where there are so few
BLOCKS = 1024  # enough for any GPU; more only where each has one tile
FEW = 256  # blocks, with which a large GPU is not busy: then tiles are made smaller
LEAST = 64  # pixels, at least, in a partial sum of W's gradient


AXIS = np.dtype(
    [(name, np.int32) for name in ("sources", "targets", "phases", "step", "apart", "taps", "tap_step", "span")]
    + [(name, np.int32, PHASES) for name in ("first", "count", "before", "tap_first")],
    align=True,
)
SWEEP = np.dtype(
    [("images", np.int32), ("in", np.int32), ("out", np.int32), ("rows", AXIS), ("columns", AXIS)], align=True
)


class Axis(NamedTuple):
    """Rows, or columns, of a sweep; ``sweeps.cuh`` explains the numbers. Of each phase: (first, count, tap_first)."""

    sources: int
    targets: int
    taps: int
    step: int
    apart: int
    tap_step: int
    span: int
    phases: list

    @classmethod
    def convolution(cls, sources, targets, k, before, stride, dilation):
        """Target i sees the sources stride i + dilation tap - before."""
        return cls(sources, targets, k, stride, dilation, 1, 1, [(-before, k, 0)])

    @classmethod
    def gradient(cls, sources, targets, k, before, stride, dilation):
        """Target t receives from the sources (t + before - dilation tap) / stride that are whole numbers.

        Of phase a = t modulo stride these are every (stride / g)-th tap, g = gcd(stride, dilation).
        """
        g = gcd(stride, dilation)
        phases = []
        for a in range(stride):
            taps = [d for d in range(k) if (a + before - d * dilation) % stride == 0]
            start = taps[0] if taps else 0
            phases.append(((a + before - start * dilation) // stride, len(taps), start))
        return cls(sources, targets, k, 1, -dilation // g, stride // g, 1, phases)

    @classmethod
    def upsampled(cls, sources, targets, k, before, u):
        """Nearest upsampling by u, then a convolution.

        Place p of phase a has the taps with (a - before + tap) // u = first + p.
        """
        phases = []
        for a in range(u):
            first, last = (a - before) // u, (a - before + k - 1) // u
            phases.append((first, last - first + 1, u * first - a + before))
        return cls(sources, targets, k, 1, 1, u, u, phases)

    @classmethod
    def upsampled_gradient(cls, sources, targets, k, before, u):
        """Pixel i receives from u i + first + p, by the taps with a + before - tap = first + p for a copy a of it."""
        return cls(sources, targets, k, u, 1, -1, u, [(before - k + 1, u + k - 1, k - 1)])

    @property
    def places(self):
        return sum(count for _, count, _ in self.phases)

    def record(self):
        """As the kernels take it."""
        axis = np.zeros((), AXIS)
        for name in ("sources", "targets", "step", "apart", "taps", "tap_step", "span"):
            axis[name] = getattr(self, name)
        axis["phases"] = len(self.phases)
        first, count, tap_first = zip(*self.phases)
        before = [sum(count[:a]) for a in range(len(count))]
        for name, values in (("first", first), ("count", count), ("before", before), ("tap_first", tap_first)):
            axis[name][: len(values)] = values
        return axis


class Sweep:
    """A sweep over images: from N images of ``channels`` to those of ``out``."""

    def __init__(self, N, channels, out, rows, columns, turned=False):
        self.turned, self.channels, self.out = turned, channels, out
        self.numbers = np.zeros((), SWEEP)
        self.numbers["images"], self.numbers["in"], self.numbers["out"] = N, channels, out
        self.numbers["rows"], self.numbers["columns"] = rows.record(), columns.record()
        self.shape = (N, rows.targets, columns.targets, out)
        self.W_shape = (rows.taps, columns.taps, channels, out)
        self.phases = len(rows.phases) * len(columns.phases)
        self.targets = (
            N * -(-rows.targets // len(rows.phases)) * -(-columns.targets // len(columns.phases))
        )  # of phase 0
        self.K = max(c for _, c, _ in rows.phases) * max(c for _, c, _ in columns.phases) * channels  # of the largest
        self.panel = rows.places * columns.places * channels * out  # all weights by places
        self.panel_with_ones = self.panel + self.phases * out
        self.plain = self.phases == 1 and rows.span == columns.span == 1 and not turned  # then P is W
        self.largest = max(
            N * rows.targets * columns.targets * out,
            N * rows.sources * columns.sources * channels,
            self.panel_with_ones,
        )


def tile_of(sweep, from_packs, to_packs, tf32):
    """(kernel, rows, columns) of a convolution's tiles; here they can be tuned.

    ``from_packs``, ``to_packs``: can the source be read in whole packs, and the target be written so? The columns
    should hold the target's channels without much waste, so that patches are read once. Where there would be few
    blocks, as with small batches, tiles are small.
    """
    if not to_packs:
        return "128x32_any", 128, 32
    if not from_packs:
        return "128x32_from_any", 128, 32  # a first layer: it waits for the memory, whatever the tile
    if sweep.out <= 16 and not tf32:
        rows, columns = 128, 16
    else:
        rows, columns = (64, 64) if sweep.out > 32 else (128, 32)
    if -(-sweep.targets // rows) * -(-sweep.out // columns) * sweep.phases < FEW:
        rows = columns = 32
    return f"{rows}x{columns}{'_tf32' if tf32 else ''}", rows, columns


def weight_tile_of(sweep, wide, tf32):
    """(kernel, rows, columns) of the tiles of W's gradient: rows are places and channels, and one for the bias."""
    if sweep.out <= NARROW:
        return "narrow", THREADS, NARROW
    if wide:
        return "64x32_tf32" if tf32 else "64x32", 64, 32
    return ("16x32_any", 16, 32) if sweep.K < 16 else ("64x32_any", 64, 32)


def swept(backend, sweep, X, W, b, activation=None):
    """The targets of a sweep over X: a new array."""
    dtype, P = X.dtype, W
    if not sweep.plain:
        P = backend.xp.empty(sweep.panel, dtype)
        if sweep.panel:
            blocks = blocks_of(-(-sweep.panel // sweep.phases))
            backend.launch(
                "convolutions", "place_weights", dtype, (blocks, sweep.phases), 256, W, P, sweep.turned, sweep.numbers
            )
    Y = backend.xp.empty(sweep.shape, dtype)
    given = X, P, b, Y, CODES[activation], sweep.numbers
    from_packs = packs(backend, sweep.channels, X)
    if sweep.out <= NARROW:
        shared = sweep.channels * dtype.itemsize // PACK if from_packs else sweep.channels
        lanes = min(32, 1 << (shared.bit_length() - 1))  # threads for each target: a power of 2, none without a channel
        blocks, kind = -(-sweep.targets // (THREADS // lanes * SIDE)), "" if from_packs else "_any"
        backend.launch(
            "convolutions", f"convolve_narrow{kind}", dtype, (blocks, 1, sweep.phases), THREADS, *given, lanes
        )
        return Y
    to_packs = packs(backend, sweep.out, P, Y)
    kind, rows, columns = tile_of(sweep, from_packs, to_packs, uses_tf32(backend, dtype))
    blocks = -(-sweep.targets // rows), -(-sweep.out // columns), sweep.phases
    file = "convolutions_tf32" if kind.endswith("tf32") else "convolutions"
    backend.launch(file, f"convolve_{kind}", dtype, blocks, THREADS, *given)
    return Y


def weight_gradients(backend, sweep, X, gZ):
    """(gW, gb) from the source and the gradient of the targets."""
    dtype, xp = X.dtype, backend.xp
    wide = packs(backend, sweep.channels, X) and packs(backend, sweep.out, gZ)
    kind, rows, columns = weight_tile_of(sweep, wide, uses_tf32(backend, dtype))
    tiles = -(-(sweep.K + 1) // rows) * -(-sweep.out // columns)
    parts = max(1, min(BLOCKS // (tiles * sweep.phases), sweep.targets // LEAST))
    chunk = -(-sweep.targets // parts)
    partial = xp.empty((parts, sweep.panel_with_ones), dtype)
    sizes = sweep.panel_with_ones, chunk
    backend.launch(
        "weights",
        f"weights_{kind}",
        dtype,
        (tiles, parts, sweep.phases),
        THREADS,
        X,
        gZ,
        partial,
        *sizes,
        sweep.numbers,
    )
    gW, gb = xp.empty(sweep.W_shape, dtype), xp.empty(sweep.out, dtype)
    blocks = -(-(gW.size + gb.size) // 32)
    backend.launch("weights", "add_weights", dtype, blocks, 256, partial, gW, gb, sizes[0], parts, sweep.numbers)
    return gW, gb


def uses_tf32(backend, dtype):
    """May factors be rounded to TF32, and can the device do it?"""
    return dtype == np.float32 and matmul_precision.get() == "tf32" and backend.capability >= 80


def packs(backend, channels, *arrays):
    """Can all these be read in whole packs: do they begin with one, and does each pixel?"""
    return channels * arrays[0].dtype.itemsize % PACK == 0 and all(backend.address(x) % PACK == 0 for x in arrays)


def blocks_of(numbers):
    """Blocks of 256 threads that go over so many numbers."""
    return max(1, min(BLOCKS, -(-numbers // 256)))
