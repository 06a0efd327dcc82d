"""Compressed files that are cut off, changed, forged or another model's: refused, before anything of them is decoded."""

import hashlib
import json
import random
import struct
import tracemalloc
import zlib

import numpy as np
import pytest

import tinyae as ta
from tinyae.compression import about_file, container, read_codes
from tinyae.compression.container import MAGIC, PREFIX, VERSION
from tinyae.errors import DataFileError, OutOfMemoryError

pytest.importorskip("constriction", reason="entropy coding needs constriction")

REFUSED = (DataFileError, OutOfMemoryError)


@pytest.fixture
def file(digits_model, images, tmp_path):
    """A compressed file."""
    path = tmp_path / "x.tae"
    ta.compress(digits_model, images, path)
    return path


def taken_apart(path):
    """(header, payload) of a whole file."""
    content = path.read_bytes()
    _, length = PREFIX.unpack_from(content)
    packed = content[PREFIX.size : PREFIX.size + length]
    return json.loads(zlib.decompress(packed)), content[PREFIX.size + length : -32]


def forged(path, header, payload, packed=None):
    """A file with this content and a checksum that fits it."""
    packed = zlib.compress(json.dumps(header).encode()) if packed is None else packed
    content = PREFIX.pack(MAGIC + VERSION, len(packed)) + packed + payload
    path.write_bytes(content + hashlib.sha256(content).digest())
    return path


def never_decoded(monkeypatch):
    """From here on the entropy coder may not be asked."""
    monkeypatch.setattr(container, "EntropyCoder", None)


# ---------------------------------------------------------------- damage


def test_every_cut_is_refused(digits_model, file, monkeypatch):
    content = file.read_bytes()
    never_decoded(monkeypatch)
    for n in range(len(content)):
        file.write_bytes(content[:n])
        with pytest.raises(DataFileError, match="is no file of compressed codes|ends in the middle|changed or cut off"):
            ta.decompress(digits_model, file)
    for more in (b"\0", content):
        file.write_bytes(content + more)
        with pytest.raises(DataFileError, match="changed or cut off"):
            ta.decompress(digits_model, file)


def test_thousands_of_changes_are_refused(digits_model, file, monkeypatch):
    content, chance = file.read_bytes(), random.Random(0)
    never_decoded(monkeypatch)
    for _ in range(4000):
        changed = bytearray(content)
        kind = chance.randrange(4)
        for _ in range(1 if kind else chance.randrange(1, 20)):
            at = chance.randrange(len(changed))
            if kind < 2:
                changed[at] ^= 1 << chance.randrange(8)
            elif kind == 2:
                changed[at:at] = chance.randbytes(chance.randrange(1, 9))
            else:
                del changed[at : at + chance.randrange(1, 9)]
        if bytes(changed) == content:
            continue
        file.write_bytes(changed)
        with pytest.raises(DataFileError):
            about_file(file)
    file.write_bytes(changed)
    for read in (read_codes, lambda path: ta.decompress(digits_model, path)):  # they begin as about_file does
        with pytest.raises(DataFileError):
            read(file)


def test_every_bit_counts(digits_model, file):
    content = file.read_bytes()
    for at in range(0, len(content), 7):
        file.write_bytes(content[:at] + bytes([content[at] ^ 16]) + content[at + 1 :])
        with pytest.raises(DataFileError):
            read_codes(file)
    file.write_bytes(content)
    assert ta.decompress(digits_model, file).shape == (50, 8, 8, 1)


@pytest.mark.parametrize("content", [b"", b"tin", b"\x89PNG\r\n\x1a\n" + b"0" * 100, b"hello " * 40])
def test_other_files_are_refused(digits_model, tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataFileError, match="no file of compressed codes|ends in the middle"):
        ta.decompress(digits_model, tmp_path / "x")


def test_missing_files_folders_and_other_versions_are_refused(digits_model, file, tmp_path):
    with pytest.raises(DataFileError, match="cannot be read: No such file"):
        ta.decompress(digits_model, tmp_path / "nothing")
    with pytest.raises(DataFileError, match="cannot be read"):
        ta.decompress(digits_model, tmp_path)
    content = file.read_bytes()
    content = content[: len(MAGIC)] + b"2" + content[len(MAGIC) + 1 : -32]
    file.write_bytes(content + hashlib.sha256(content).digest())
    with pytest.raises(DataFileError, match="version b'2' of the format"):
        ta.decompress(digits_model, file)


# ---------------------------------------------------------------- other models


def test_a_file_of_another_model_is_refused_before_it_is_decoded(digits_model, images, file, monkeypatch):
    never_decoded(monkeypatch)

    def refused(model):
        with pytest.raises(DataFileError, match="was made by another model"):
            ta.decompress(model, file)

    ta.manual_seed(1)
    refused(
        ta.Autoencoder(
            ta.Sequential(ta.Flatten(), ta.Dense(64, 16, "relu"), ta.Dense(16, 4)),
            ta.Sequential(ta.Dense(4, 16, "relu"), ta.Dense(16, 64, "sigmoid"), ta.Reshape(8, 8, 1)),
        )
    )
    weight = digits_model.encoder[1].weight
    weight.data[0, 0] = np.nextafter(weight.data[0, 0], np.float32(9))  # the last bit of one number
    refused(digits_model)
    weight.data[0, 0] = np.nextafter(weight.data[0, 0], np.float32(-9))
    digits_model.decoder[0].activation = "tanh"  # the same numbers, another architecture
    refused(digits_model)
    digits_model.decoder[0].activation = "relu"
    monkeypatch.undo()
    assert ta.decompress(digits_model, file).shape == images.shape


# ---------------------------------------------------------------- made on purpose, with a checksum that fits

WRONG = {
    "examples": [0, -1, 51, 10**6, 10**12, 10**40, 1.5, "50", None, True],
    "code_shape": [[3], [2, 3], [1 << 20], [1 << 40], [0], [-4], [4.0], "4", None, [[4]], [1] * 30, {}],
    "example_shape": [[8, 8], [64], [1 << 30, 1 << 30], [0], [8, 8, -1], None, "8"],
    "bits": [0, 3, 17, 1000, 4.0, None, "4", -1],
    "ranges": [[], [[0] * 4], [[0] * 4, [1] * 3], [[0] * 5, [1] * 5], [[1] * 4, [0] * 4], [["a"] * 4, [1] * 4], 7,
               [[float("nan")] * 4, [1] * 4], [[-1e308] * 4, [1e308] * 4], [[0] * 4, [float("inf")] * 4], [[1e200] * 4, [2e200] * 4]],
    "counts": [None, [], [[]], [[0, 0]], [[1, -1]], [[1.5] * 16] * 4, [["1"] * 16] * 4, [[1] * 16] * 3, [[10**30] * 16] * 4,
               [[1] * 17] * 4, [[1] * 70_000], 5, [[True] * 16] * 4],
    "mse_at_most": [None, -1, float("nan"), float("inf"), "0"],
    "worst_mse_at_most": [None, -0.5],
    "model": [None, 5, "", "0" * 64, ["x"]],
}  # fmt: skip


@pytest.mark.parametrize("name, value", [(name, value) for name, values in WRONG.items() for value in values])
def test_forged_headers_are_refused(digits_model, file, name, value):
    header, payload = taken_apart(file)
    forged(file, {**header, name: value}, payload)
    tracemalloc.start()
    with pytest.raises(REFUSED):
        ta.decompress(digits_model, file)
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()


def test_a_code_too_wide_for_any_file_takes_no_memory(digits_model, file):
    header, _ = taken_apart(file)
    wide = {"ranges": None, "counts": [[1]], "bits": 1, "code_shape": [1 << 27], "examples": 1}
    forged(file, {**header, **wide}, struct.pack("<II", 0, 0))
    tracemalloc.start()
    with pytest.raises(DataFileError, match="larger than any that is written"):
        ta.decompress(digits_model, file)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_more_examples_than_there_are_blocks_for_are_refused_at_once(file, monkeypatch):
    header, payload = taken_apart(file)
    never_decoded(monkeypatch)
    with pytest.raises(DataFileError, match="too few bytes for 1,000,000,000 examples"):
        read_codes(forged(file, {**header, "examples": 10**9}, payload))


def test_a_header_that_is_missing_something_or_is_none_is_refused(digits_model, file):
    header, payload = taken_apart(file)
    for name in header:
        forged(file, {key: value for key, value in header.items() if key != name}, payload)
        with pytest.raises(DataFileError, match="header"):
            ta.decompress(digits_model, file)
    for other in (None, [], 3, "x"):
        with pytest.raises(DataFileError, match="header"):
            ta.decompress(digits_model, forged(file, other, payload))
    bomb = zlib.compress(b" " * (1 << 26) + b"{}", 9)
    deep = zlib.compress(b"[" * 500_000)
    for packed in (
        b"",
        b"hello",
        zlib.compress(b"{"),
        zlib.compress(b"\xff\xfe"),
        bomb,
        deep,
        zlib.compress(b"9" * 10_000),
    ):
        tracemalloc.start()
        with pytest.raises(DataFileError, match="header"):
            ta.decompress(digits_model, forged(file, None, payload, packed))
        assert tracemalloc.get_traced_memory()[1] < 80 << 20
        tracemalloc.stop()
    content = PREFIX.pack(MAGIC + VERSION, 1 << 31) + payload
    file.write_bytes(content + hashlib.sha256(content).digest())
    with pytest.raises(DataFileError, match="longer than the file"):
        ta.decompress(digits_model, file)


def test_forged_payloads_are_refused(digits_model, file):
    header, payload = taken_apart(file)
    length, check = struct.unpack_from("<II", payload)
    words = payload[8:]
    chance = random.Random(0)
    wrong = [b"", payload[:5], payload[:-4], payload + b"1234", struct.pack("<II", 1 << 31, check) + words,
             struct.pack("<II", length - 1, check) + words[:-1], struct.pack("<II", length, check ^ 1) + words,
             struct.pack("<II", 0, check)]  # fmt: skip
    wrong += [payload[:8] + chance.randbytes(len(words)) for _ in range(200)]
    for given in wrong:
        with pytest.raises(DataFileError):
            ta.decompress(digits_model, forged(file, header, given))
    assert ta.decompress(digits_model, forged(file, header, payload)).shape == (50, 8, 8, 1)


def test_random_changes_behind_a_fitting_checksum_never_crash(digits_model, file):
    """Whoever makes the checksum fit may say what a true file could say; nothing but our errors comes of the rest."""
    header, payload = taken_apart(file)
    text, chance, kept = json.dumps(header), random.Random(1), 0
    for _ in range(600):
        changed = list(text)
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(changed))
            changed[at : at + chance.randrange(2)] = chance.choice('0123456789.,[]{}"-eE')
        packed = zlib.compress("".join(changed).encode())
        try:
            kept += ta.decompress(digits_model, forged(file, None, payload, packed)).shape == (50, 8, 8, 1)
        except REFUSED:
            continue
    assert kept < 200  # such as another promised error, or a range's last digit


def test_reconstructions_larger_than_memory_are_refused_and_given_in_pieces(digits_model, file, monkeypatch):
    monkeypatch.setattr("tinyae.compression.coding.at_hand", lambda backend: 12_000)
    with pytest.raises(
        OutOfMemoryError, match="take 12.5 KiB of memory, but 11.7 KiB are at hand. Take them piece by piece"
    ):
        ta.decompress(digits_model, file)
    assert sum(map(len, ta.compression.decompressed(digits_model, file))) == 50
