"""Compression by an autoencoder: codes, quantised and entropy-coded, in a file that decodes back.

.. math:: x \\xrightarrow{\\text{encoder}} z \\xrightarrow{\\text{quantiser}} i \\xrightarrow{\\text{entropy coder}} \\text{file}
   \\qquad \\text{file} \\to i \\to \\hat z \\xrightarrow{\\text{decoder}} \\hat x

What is lost is lost in two places: in the code, which is smaller than x, and in the quantiser. The entropy coder loses
nothing. The same with learnt probabilities, and a quantiser that is trained along: Ballé, Laparra and Simoncelli,
"End-to-end optimized image compression" (2017).
"""

import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..archive import checksum
from ..backend import NUMPY
from ..data import as_data, check_values, place_of, spread_evenly
from ..errors import DataFileError, DtypeError, FileWriteError, OutOfMemoryError, RangeError, ShapeError, TinyaeError
from ..memory import at_hand, readable
from ..nn.module import Module
from ..saving import checked_path, describe
from .container import WIDEST, opened, rows_at_once, write_file
from .entropy import LARGEST, EntropyCoder, best_tables, ideal_bits
from .quantiser import UniformQuantiser

BITS = 4  # of a code unit, where nothing else is said
FITTED_ON = 1 << 16  # so many examples are enough to know the ranges


def compress(
    model: Any, x: Any, path: str | os.PathLike[str], bits: int | None = None, fit_on: Any = None
) -> dict[str, Any]:
    """Write the codes of x, quantised and entropy-coded, to a file from which ``decompress`` makes x again, nearly.

    Parameters
    ----------
    model : Module with ``encode`` and ``decode``
        An autoencoder that is saved by ``ta.save``. It is not in the file: who decompresses needs it too.
    x : array (N, ...)
        A memory-mapped array may be larger than memory: only the symbols are held, two bytes for each code unit.
    path : str or Path
        By custom ``*.tae``; replaced if it exists.
    bits : int, optional
        For each code unit, 1 to 16; 4 by default. Not for a model whose codes are whole numbers, such as a
        vector-quantised one: they are stored as they are.
    fit_on : array (M, ...), optional
        Examples for whose codes the ranges are chosen, best the training data; by default x itself. What lies outside
        of a range is clipped, and the promised error counts it.

    Returns
    -------
    dict
        ``bytes`` of the file and of its ``parts``; ``bits_per_example``, 8 bytes / N; ``entropy_bits``, what a perfect
        coder would need for all symbols, by the stored counts; ``bits``, ``code_shape``, ``examples``; ``mse``, the
        mean squared error of the reconstruction over all numbers, and ``mse_at_most``, which the file promises;
        ``worst_mse_at_most``, what it promises for each single example; ``clipped``, the share of code units outside of
        their range.

    Raises
    ------
    RangeError
        NaN in x or in the codes; bits out of range, or given where codes are whole numbers.
    ShapeError
        No examples, or of a shape that the model does not take.
    StateError
        The model has parts without ``config()``, so that it could not be told from others.
    FileWriteError, MissingLibraryError
    """
    out = checked_path("compress", path)
    refuse_what_has_no_code("compress", model)
    refuse_what_cannot_be_written(out)
    x = as_data("compress", x)
    if x.ndim < 2:
        raise ShapeError(f"compress: x has shape {x.shape}; expected (N, ...), N examples. One example: x[None].")
    check_values("compress", x)
    first = encoded(model, x[:1])
    shape, units = first.shape[1:], math.prod(first.shape[1:])
    if units > WIDEST:
        raise RangeError(f"compress: a code has {units:,} numbers; at most {WIDEST:,} can be written.")
    discrete, quantiser = first.dtype.kind in "iu", None
    if not discrete:
        quantiser = UniformQuantiser.fit(
            sample_of_codes(model, x if fit_on is None else fit_on), BITS if bits is None else bits
        )
    elif bits is not None:
        raise RangeError(
            f"compress: bits is {bits}, but the codes of {type(model).__name__} are whole numbers and need no quantiser. Leave it out."
        )
    symbols, errors, clipped = all_symbols(model, x, quantiser, shape)
    size = int(symbols.max()) + 1 if quantiser is None else 2**quantiser.bits
    tables = best_tables(symbols, size)
    mse, worst = float(errors.mean()), float(errors.max())
    if not math.isfinite(mse):
        raise RangeError(
            "compress: the error of the reconstruction is not finite. Train the model again, or scale the data."
        )
    header = {
        "examples": len(x),
        "example_shape": list(x.shape[1:]),
        "code_shape": list(shape),
        "bits": max(1, (size - 1).bit_length()) if quantiser is None else quantiser.bits,
        "ranges": None if quantiser is None else [quantiser.low.tolist(), quantiser.high.tolist()],
        "counts": tables,
        "mse_at_most": rounded_up(mse),
        "worst_mse_at_most": rounded_up(worst),
        "model": model_hash(model),
    }
    parts = write_file(out, header, coded_blocks(symbols, tables))
    return {
        "out": out,
        **{name: header[name] for name in ("examples", "code_shape", "bits", "mse_at_most", "worst_mse_at_most")},
        "mse": mse,
        "clipped": clipped,
        "entropy_bits": ideal_bits(symbols, tables),
        "bytes": sum(parts.values()),
        "bits_per_example": 8 * sum(parts.values()) / len(x),
        "parts": parts,
    }


def decompress(model: Any, path: str | os.PathLike[str]) -> np.ndarray[Any, Any]:
    """The reconstructions (N, ...) from a file that ``compress`` wrote with the same model: ``model.decode`` of the
    dequantised codes.

    Their mean squared error against the originals is at most what the file promises (``about_file``), rounding aside.

    Raises
    ------
    DataFileError
        The file is missing, cut off, changed, or made by another model; nothing of it is decoded then.
    OutOfMemoryError
        The reconstructions are larger than memory: ``decompressed`` gives them in pieces.
    """
    with opened(checked_path("decompress", path)) as file:
        n, shape = file.header["examples"], file.header["example_shape"]
        pieces = reconstructions(model, file)
        first = next(pieces)
        refuse_more_than_memory(file.path, n * math.prod(shape) * first.itemsize)
        out, start = np.empty((n, *shape), first.dtype), len(first)
        out[:start] = first
        for piece in pieces:
            out[start : start + len(piece)] = piece
            start += len(piece)
    return out


def decompressed(model: Any, path: str | os.PathLike[str]) -> Iterator[np.ndarray[Any, Any]]:
    """The same in pieces (n, ...), in order, of at most 1,024 examples: for what is larger than memory."""
    with opened(checked_path("decompress", path)) as file:
        yield from reconstructions(model, file)


def read_codes(path: str | os.PathLike[str]) -> np.ndarray[Any, Any]:
    """The dequantised codes (N, ...) in a file, float64, or int64 where codes are whole numbers. It needs no model."""
    with opened(checked_path("decompress", path)) as file:
        refuse_more_than_memory(path, 8 * file.header["examples"] * file.units)
        return np.concatenate([file.values(symbols) for symbols in file.blocks()])


def about_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The header of a file, without ranges and counts: shapes, bits, the hash of the model, the promised errors."""
    with opened(checked_path("decompress", path)) as file:
        return {name: value for name, value in file.header.items() if name not in ("ranges", "counts")}


# ---------------------------------------------------------------- parts of it


def reconstructions(model, file):
    """The reconstructions from an open file, piece by piece; refused before the first, if the model is another one."""
    refuse_what_has_no_code("decompress", model)
    own, theirs = model_hash(model), file.header["model"]
    if own != theirs:
        raise DataFileError(
            f"decompress: {file.path} was made by another model (SHA-256 {theirs[:12]}..., this one has {own[:12]}...), which alone "
            "can decode it. Give that one; a model that was trained further is another one."
        )
    for symbols in file.blocks():
        for start in range(0, len(symbols), file.rows):
            try:
                piece = decoded(model, file.values(symbols[start : start + file.rows]))
            except TinyaeError as error:
                raise DataFileError(f"decompress: the codes in {file.path} do not fit their model: {error}") from error
            if list(piece.shape[1:]) != file.header["example_shape"]:
                raise DataFileError(f"decompress: the header of {file.path} does not fit its model.")
            yield piece


def refuse_more_than_memory(path, needed):
    """What is in a file may be far larger than the file."""
    free = at_hand(NUMPY)
    if free is not None and needed > free:
        raise OutOfMemoryError(
            f"decompress: the examples in {path} take {readable(needed)} of memory, but {readable(free)} are at hand. Take them "
            "piece by piece: for piece in tinyae.compression.decompressed(model, path)."
        )


def refuse_what_cannot_be_written(path):
    """Better now than after the work: no folder, no library."""
    folder = os.path.dirname(path)
    if folder and not os.path.isdir(folder):
        raise FileWriteError(f"cannot write {path}: there is no folder {folder}. Make it first.")
    EntropyCoder([[1]])


def refuse_what_has_no_code(command, model):
    """Only what encodes and decodes can compress."""
    if not isinstance(model, Module) or not hasattr(model, "encode") or not hasattr(model, "decode"):
        raise DtypeError(
            f"{command}: the model is a {type(model).__name__}; expected one that encodes and decodes, such as Autoencoder(...)."
        )


def model_hash(model: Module) -> str:
    """SHA-256 of a model: its architecture, and every number in it."""
    return checksum({"architecture": describe(model, [])}, model.state_dict())


def encoded(model, x):
    """The codes of some examples, on the host."""
    x = np.asarray(place_of(x).to_host(x) if not isinstance(x, np.ndarray) else x, model.dtype)
    with np.errstate(all="ignore"):  # what is not finite is told below
        codes = model.backend.to_host(model.encode(model.backend.asarray(x)))
    if codes.dtype.kind not in "iu" and not np.isfinite(codes).all():
        raise RangeError("compress: the model's codes are NaN or infinite for some of the examples. Train it again.")
    return codes


def decoded(model, codes):
    """The reconstructions from codes that are on the host, on the host; floats take the model's type."""
    if codes.dtype.kind not in "iu":
        with np.errstate(over="ignore"):
            codes = codes.astype(model.dtype)
        if not np.isfinite(codes).all():
            raise RangeError(f"codes that are too large for {model.dtype}")
    with np.errstate(all="ignore"):
        return model.backend.to_host(model.decode(model.backend.asarray(codes)))


def sample_of_codes(model, x):
    """The codes (n, K) of at most FITTED_ON examples, evenly spread."""
    x = as_data("compress: fit_on", x)
    chosen = spread_evenly(len(x), FITTED_ON)
    codes = []
    for start in range(0, len(chosen), 1024):
        piece = x[chosen[start : start + 1024]]
        check_values("compress: fit_on", piece)
        codes.append(encoded(model, piece))
    return np.concatenate([piece.reshape(len(piece), -1) for piece in codes])


def all_symbols(model, x, quantiser, shape):
    """The symbols (N, K), the mean squared error of each example (N,), the share of clipped units."""
    units = math.prod(shape)
    rows, _ = rows_at_once(units)
    symbols, errors, clipped = np.empty((len(x), units), np.uint16), np.empty(len(x)), 0
    for start in range(0, len(x), rows):
        part = slice(start, start + rows)
        piece = x[part]
        codes = encoded(model, piece).reshape(-1, units)
        if quantiser is None:
            if codes.min() < 0 or codes.max() >= LARGEST:
                raise RangeError(f"compress: a code has the number {codes.max():,}; expected 0 to {LARGEST - 1:,}.")
            symbols[part], values = codes, codes
        else:
            symbols[part] = quantiser.cells(codes)
            values = quantiser.values(symbols[part])
            clipped += int(((codes < quantiser.low) | (codes > quantiser.high)).sum())
        again = decoded(model, values.reshape(-1, *shape))
        if again.shape != piece.shape:
            raise ShapeError(f"compress: the model makes {again.shape[1:]} of examples of shape {piece.shape[1:]}.")
        original = np.asarray(place_of(piece).to_host(piece), np.float64)
        errors[part] = np.square(again - original).reshape(len(piece), -1).mean(axis=1)
    return symbols, errors, clipped / symbols.size


def coded_blocks(symbols, tables):
    """(bytes, symbols) of each block; that they decode is seen before they are written."""
    coder, (_, block) = EntropyCoder(tables), rows_at_once(symbols.shape[1])
    for start in range(0, len(symbols), block):
        part = symbols[start : start + block]
        data = coder.encode(part)
        if not np.array_equal(coder.decode(data, *part.shape), part):
            raise FileWriteError("compress: what the entropy coder gave does not decode; nothing was written.")
        yield data, part


def rounded_up(error):
    """An error in four digits, at most 0.2 % above: a promise that survives the rounding of other machines."""
    return float(f"{1.001 * error:.4g}")
