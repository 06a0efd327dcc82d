"""The file of compressed codes, and how it is checked before anything in it is believed.

::

    8 bytes    b"tinyaeZ1": what it is, and the version of the format
    4 bytes    the length of the header
    header     JSON, compressed by zlib: shapes, bits, ranges, counts, the hash of the model, the promised error
    payload    blocks, one after the other: length (4 bytes), CRC-32 of the symbols (4 bytes), the entropy-coded symbols
    32 bytes   SHA-256 of all before

Numbers are little-endian. A file that was cut off or changed does not have the SHA-256 at its end. One that somebody
made on purpose may have it, so the header is checked too: no number in it makes a reader take more memory than the
file's own length allows for.
"""

import hashlib
import json
import math
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import DataFileError, RangeError, TinyaeError
from ..files import writing
from .entropy import LARGEST, EntropyCoder, checked_tables
from .quantiser import MOST_BITS, UniformQuantiser

MAGIC, VERSION = b"tinyaeZ", b"1"
PREFIX, BLOCK = struct.Struct("<8sI"), struct.Struct("<II")
HASH = 32  # bytes of a SHA-256
HEADER_LIMIT = 1 << 24  # bytes of JSON
WIDEST = 1 << 22  # code units
AT_ONCE, SYMBOLS = 1 << 10, 1 << 19  # examples that go through the model together; symbols in a block
DAMAGED = "Use another copy of the file, or compress the data again."


def rows_at_once(units):
    """How many examples go through the model together, and how many are in a block: a whole multiple of it."""
    rows = max(1, min(AT_ONCE, WIDEST // units))
    return rows, rows * max(1, SYMBOLS // (rows * units))


def write_file(
    path: str, header: dict[str, Any], blocks: Iterable[tuple[bytes, np.ndarray[Any, Any]]]
) -> dict[str, int]:
    """Write a file, whole or not at all; gives the bytes of its parts.

    Parameters
    ----------
    header : dict
        What JSON can hold.
    blocks : (entropy-coded bytes, symbols (n, K)), in order
    """
    text = json.dumps(header, separators=(",", ":")).encode()
    if len(text) > HEADER_LIMIT:
        raise RangeError(
            f"compress: ranges and counts of the code's units take {len(text):,} bytes; at most {HEADER_LIMIT:,} can be written. "
            "Give fewer bits, or use a model with a smaller code."
        )
    packed, payload, digest = zlib.compress(text, 9), 0, hashlib.sha256()
    with writing(path) as file:

        def put(content):
            file.write(content)
            digest.update(content)

        put(PREFIX.pack(MAGIC + VERSION, len(packed)))
        put(packed)
        for data, symbols in blocks:
            put(BLOCK.pack(len(data), check_of(symbols)))
            put(data)
            payload += BLOCK.size + len(data)
        file.write(digest.digest())
    return {"header": PREFIX.size + len(packed), "payload": payload, "checksum": HASH}


def check_of(symbols):
    """CRC-32 of symbols as 16-bit numbers, row by row."""
    return zlib.crc32(np.ascontiguousarray(symbols, "<u2").tobytes())


class CompressedFile:
    """A file of compressed codes, open and checked: ``header``, a dict, and the symbols block by block.

    Raises
    ------
    DataFileError
        The file is missing, of another kind or version, cut off, or changed; or its header is none of ours.
    """

    def __init__(self, path: str, file: Any) -> None:
        self.path, self.file = path, file
        size = os.fstat(file.fileno()).st_size
        start = file.read(PREFIX.size)
        if not start.startswith(MAGIC[: len(start)]) or not start:
            raise DataFileError(
                f"decompress: {path} is no file of compressed codes. Give one that tinyae compress has written."
            )
        if size < PREFIX.size + HASH:
            raise DataFileError(f"decompress: {path} ends in the middle: it has only {size} bytes. {DAMAGED}")
        magic, length = PREFIX.unpack(start)
        if magic != MAGIC + VERSION:
            raise DataFileError(
                f"decompress: {path} has version {magic[len(MAGIC) :]!r} of the format, or is damaged; this tinyae reads {VERSION!r}. "
                "Use the tinyae that wrote it, or compress the data again."
            )
        self.end = size - HASH
        self._compare_hash()
        if length > self.end - PREFIX.size:
            raise self._forged("it is longer than the file")
        self.start = PREFIX.size + length
        self.header = self._header(length)

    def _compare_hash(self):
        """The SHA-256 of what is there against the one at the end."""
        digest, left = hashlib.sha256(), self.end
        self.file.seek(0)
        while left and (piece := self.file.read(min(left, 1 << 20))):
            digest.update(piece)
            left -= len(piece)
        if digest.digest() != self.file.read(HASH):
            raise DataFileError(
                f"decompress: {self.path} was changed or cut off: its content does not match its checksum. {DAMAGED}"
            )

    def _forged(self, why):
        return DataFileError(f"decompress: the header of {self.path} cannot be true: {why}. {DAMAGED}")

    def _header(self, length):
        """The header, each entry checked for what it may be."""
        self.file.seek(PREFIX.size)
        try:
            unpacker = zlib.decompressobj()
            text = unpacker.decompress(
                self.file.read(length), HEADER_LIMIT
            )  # never more: a few bytes could say gigabytes
            if not unpacker.eof:
                raise ValueError("it is too long, or ends in the middle")
            header = json.loads(text)
            self.units = checked_shapes(header)
            self.rows, self.block = rows_at_once(self.units)
            blocks = -(-header["examples"] // self.block)
            if blocks * BLOCK.size > self.end - self.start:
                raise ValueError(f"there are too few bytes for {header['examples']:,} examples")
            self.tables = checked_tables(header["counts"], self.units)
            self.quantiser = checked_quantiser(header, self.units, max(map(len, self.tables)))
        except (ValueError, LookupError, TypeError, RecursionError, zlib.error, TinyaeError) as error:
            raise self._forged(error) from error
        return header

    def blocks(self) -> Iterator[np.ndarray[Any, Any]]:
        """The symbols (n, K) block by block, each checked."""
        coder, left, place = EntropyCoder(self.tables), self.header["examples"], self.start
        while left:
            n = min(self.block, left)
            self.file.seek(place)
            start = self.file.read(min(BLOCK.size, self.end - place))
            length, check = BLOCK.unpack(start) if len(start) == BLOCK.size else (self.end, 0)
            place += BLOCK.size + length
            if place > self.end or length % 4:
                raise self._forged("a block is longer than the file")
            symbols = coder.decode(self.file.read(length), n, self.units)
            if check_of(symbols) != check:
                raise DataFileError(
                    f"decompress: the symbols in {self.path} do not come back as they were: the file was changed, or another "
                    "version of the library constriction wrote it. Use the version that did."
                )
            left -= n
            yield symbols
        if place != self.end:
            raise self._forged("bytes are left over")

    def values(self, symbols: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Symbols (n, K) as codes (n, *code shape): float64, or int64 where the code is whole numbers itself."""
        codes = symbols.astype(np.int64) if self.quantiser is None else self.quantiser.values(symbols)
        return codes.reshape(len(symbols), *self.header["code_shape"])


@contextmanager
def opened(path):
    """The CompressedFile at this path, open inside the block."""
    try:
        file = open(path, "rb")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise DataFileError(f"decompress: {path} cannot be read: {error.strerror}.") from error
    with file:
        yield CompressedFile(os.fspath(path), file)


def checked_shapes(header):
    """How many units a code has; ValueError where the header's first entries are not what they should be."""
    if not isinstance(header, dict):
        raise ValueError("it is no JSON object")
    if type(header["examples"]) is not int or header["examples"] < 1:
        raise ValueError("the number of examples is none")
    for name in ("code_shape", "example_shape"):
        shape = header[name]
        if not isinstance(shape, list) or not all(type(n) is int and 0 < n < 1 << 32 for n in shape) or len(shape) > 8:
            raise ValueError(f"{name} is no shape")
    if not isinstance(header["model"], str):
        raise ValueError("the hash of the model is none")
    for name in ("mse_at_most", "worst_mse_at_most"):
        if type(header[name]) not in (int, float) or not 0 <= header[name] < math.inf:
            raise ValueError(f"{name} is no error")
    units = math.prod(header["code_shape"])
    if units > WIDEST:
        raise ValueError(f"a code of {units:,} numbers is larger than any that is written")
    return units


def checked_quantiser(header, units, symbols):
    """The UniformQuantiser that the header describes, or None for codes that are whole numbers themselves."""
    bits = header["bits"]
    if type(bits) is not int or not 1 <= bits <= MOST_BITS or symbols > min(2**bits, LARGEST):
        raise ValueError("the number of bits does not fit the counts")
    if header["ranges"] is None:
        return None
    low, high = (np.array(ends, np.float64) for ends in header["ranges"])
    if low.shape != (units,):
        raise ValueError(f"expected {units} ranges")
    return UniformQuantiser(low, high, bits)
