"""Compression: what is quantised and coded comes back, in as few bits as it has to take, with the error that was promised."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import tinyae as ta
from tinyae.compression import UniformQuantiser, about_file, decompressed, model_hash, read_codes
from tinyae.compression.coding import encoded
from tinyae.compression.container import rows_at_once
from tinyae.compression.entropy import EntropyCoder, best_tables, ideal_bits
from tinyae.errors import DtypeError, FileWriteError, MissingLibraryError, RangeError, ShapeError, StateError
from tinyae.nn.module import Module

pytest.importorskip("constriction", reason="entropy coding needs constriction")


class Digital(Module):
    """An autoencoder whose code is whole numbers: each number of x to the nearest of ``levels``, in a code (N, 2, 2)."""

    def __init__(self, levels=300):
        self.levels = levels

    def encode(self, x):
        return np.rint(np.asarray(x) * (self.levels - 1)).astype(np.int64).reshape(-1, 2, 2)

    def decode(self, z):
        assert z.dtype == np.int64
        return (z / (self.levels - 1)).astype(np.float32).reshape(-1, 4)

    def config(self):
        return {"levels": self.levels}


# ---------------------------------------------------------------- the quantiser


@given(
    arrays.arrays(
        np.float32, st.tuples(st.integers(1, 40), st.integers(1, 4)), elements=st.floats(-1e6, 1e6, width=32)
    ),
    st.integers(1, 16),
)
@settings(max_examples=60, deadline=None)
def test_a_number_in_its_range_moves_by_half_a_cell_at_most(codes, bits):
    quantiser = UniformQuantiser.fit(codes, bits)
    cells = quantiser.cells(codes)
    assert cells.max() < 2**bits and (quantiser.low <= quantiser.high).all()
    back, inside = quantiser.values(cells), (codes >= quantiser.low) & (codes <= quantiser.high)
    size = np.maximum(np.abs(quantiser.low), np.abs(quantiser.high))
    assert (np.abs(back - codes) <= quantiser.step / 2 + 1e-9 * size)[inside].all()
    again = UniformQuantiser(quantiser.low.tolist(), quantiser.high.tolist(), bits)
    assert np.array_equal(again.values(quantiser.cells(back)), back)  # what was quantised once stays as it is


def test_numbers_outside_of_the_range_get_the_nearest_cell():
    quantiser = UniformQuantiser([0, -1], [4, 1], 2)
    assert quantiser.cells([[-9, 9], [9, -9], [0, 1], [4, -1], [1.5, 0.2]]).tolist() == [
        [0, 3],
        [3, 0],
        [0, 3],
        [3, 0],
        [1, 2],
    ]
    assert quantiser.values(np.array([[0, 3], [1, 2]])).tolist() == [[0.5, 0.75], [1.5, 0.25]]


def test_the_range_has_nearly_the_smallest_error(rng):
    codes = np.stack([rng.normal(size=20_000), rng.standard_t(2, size=20_000), rng.random(20_000)], axis=1)
    for bits in (1, 2, 4):
        quantiser = UniformQuantiser.fit(codes, bits)
        error = np.square(quantiser.values(quantiser.cells(codes)) - codes).mean(axis=0)
        for k in range(3):  # against a search over ranges around the median
            centre = np.median(codes[:, k])
            tried = [UniformQuantiser([centre - w], [centre + w], bits) for w in np.geomspace(0.05, 60, 120)]
            column = codes[:, k : k + 1]
            best = min(np.square(q.values(q.cells(column)) - column).mean() for q in tried)
            assert error[k] < 1.12 * best


def test_a_unit_that_never_changes_costs_nothing_and_comes_back():
    codes = np.stack([np.full(50, 0.1), np.linspace(-1, 1, 50)], axis=1)
    quantiser = UniformQuantiser.fit(codes, 3)
    assert (quantiser.cells(codes)[:, 0] == 0).all()
    assert np.allclose(quantiser.values(quantiser.cells(codes))[:, 0], 0.1)
    assert quantiser.cells(np.array([[7.0, 0.0]]))[0, 0] == 0  # another number later on is clipped


@pytest.mark.parametrize("bits", [0, -1, 17, 2.5, True, "4", None])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(RangeError, match="bits is .*expected"):
        UniformQuantiser.fit(np.zeros((3, 1)), bits)


@pytest.mark.parametrize(
    "low, high", [([0, np.nan], [1, 1]), ([0, 2], [1, 1]), ([0, 0], [1, np.inf]), ([-1e308] * 2, [1e308] * 2)]
)
def test_ranges_that_are_none_are_refused(low, high):
    with pytest.raises(RangeError, match="not finite, or its low end"):
        UniformQuantiser(low, high, 4)
    with pytest.raises(ShapeError):
        UniformQuantiser([0, 1], [1], 4)


# ---------------------------------------------------------------- the entropy coder


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_symbols_come_back_and_take_hardly_more_than_their_entropy(data):
    size = data.draw(st.sampled_from([1, 2, 5, 16, 256, 4096]))
    n, columns = data.draw(st.integers(1, 300)), data.draw(st.integers(1, 4))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    p = rng.dirichlet(np.full(min(size, 512), 0.3))
    symbols = rng.choice(len(p), (n, columns), p=p).astype(np.uint16) if size > 1 else np.zeros((n, columns), np.uint16)
    for tables in (
        best_tables(symbols, size),
        [[1] * size],
        [np.bincount(symbols.ravel()).tolist()],
        [np.bincount(column).tolist() for column in symbols.T],
    ):
        coder = EntropyCoder(tables)
        code = coder.encode(symbols)
        assert np.array_equal(coder.decode(code, n, columns), symbols)
        # two words at the end, and 2**-24 kept for each symbol that does not occur
        assert 8 * len(code) <= 1.001 * ideal_bits(symbols, tables) + 64 + symbols.size * 65536 / 2**24 * 2


def test_entropy_is_that_of_the_definition():
    symbols = np.array([[0, 1], [0, 1], [0, 0], [1, 0]], np.uint16)
    assert math.isclose(ideal_bits(symbols, [[3, 1], [2, 2]]), -(3 * math.log2(3 / 4) + math.log2(1 / 4)) + 4)
    assert math.isclose(ideal_bits(symbols, [[1, 1, 1, 1]]), 16)


def test_the_tables_that_cost_least_are_taken(rng):
    few = rng.integers(0, 16, (1, 8)).astype(np.uint16)
    assert best_tables(few, 16) == [[1] * 16]  # counts would take more than they spare
    alike = np.minimum(rng.geometric(0.5, (2000, 60)) - 1, 15).astype(np.uint16)
    assert len(best_tables(alike[:40], 16)) == 1 and best_tables(alike[:40], 16) != [[1] * 16]
    apart = (rng.integers(0, 2, (5000, 8)) + 2 * np.arange(8)).astype(np.uint16)
    assert len(best_tables(apart, 16)) == 8


def test_the_probabilities_matter(rng):
    """A planted fault: a coder with another table decodes to something else."""
    symbols = np.minimum(rng.geometric(0.4, (400, 1)) - 1, 7).astype(np.uint16)
    table = np.bincount(symbols[:, 0], minlength=8).tolist()
    code = EntropyCoder([table]).encode(symbols)
    assert len(code) < 0.9 * len(EntropyCoder([[1] * 8]).encode(symbols))
    assert not np.array_equal(EntropyCoder([table[::-1]]).decode(code, 400, 1), symbols)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("bits", [1, 3, 4, 8, 12])
@pytest.mark.parametrize("n", [1, 2, 50])
def test_a_file_decodes_to_what_was_promised(digits_model, images, tmp_path, bits, n):
    x, path = images[:n], tmp_path / "x.tae"
    made = ta.compress(digits_model, x, path, bits, fit_on=images)
    again = ta.decompress(digits_model, path)
    assert again.shape == x.shape and again.dtype == np.float32
    quantiser = UniformQuantiser.fit(digits_model.encode(images), bits)
    codes = quantiser.values(quantiser.cells(digits_model.encode(x)))
    assert np.array_equal(read_codes(path), codes)  # bit for bit
    assert np.array_equal(again, digits_model.decode(codes.astype(np.float32)))
    errors = np.square(again.astype(np.float64) - x).reshape(n, -1).mean(axis=1)
    assert math.isclose(errors.mean(), made["mse"], rel_tol=1e-12)
    about = about_file(path)
    assert errors.mean() <= about["mse_at_most"] <= 1.0021 * errors.mean()
    assert errors.max() <= about["worst_mse_at_most"] <= 1.0021 * errors.max()
    assert about["examples"] == n and about["model"] == model_hash(digits_model)
    assert made["bytes"] == path.stat().st_size == sum(made["parts"].values())
    assert math.isclose(made["bits_per_example"] * n, 8 * made["bytes"])


def test_more_bits_are_nearer_to_the_code_and_cost_more(digits_model, images, tmp_path):
    made = [ta.compress(digits_model, images, tmp_path / "x.tae", bits) for bits in (1, 2, 4, 8)]
    codes = digits_model.encode(images)
    assert all(a["bytes"] < b["bytes"] for a, b in zip(made, made[1:]))
    assert np.abs(read_codes(tmp_path / "x.tae") - codes).max() < 0.02 * np.ptp(codes)


def test_a_file_is_as_small_as_the_entropy_of_its_symbols(tmp_path, rng):
    model = Digital(16)
    x = np.clip(rng.normal(0.5, [0.05, 0.1, 0.15, 0.2], (60_000, 4)), 0, 1).astype(np.float32)
    made = ta.compress(model, x, tmp_path / "x.tae")
    symbols = model.encode(x).reshape(-1, 4)
    counts = [np.bincount(column) for column in symbols.T]
    entropy = -sum(float((c[c > 0] * np.log2(c[c > 0] / len(x))).sum()) for c in counts)
    assert math.isclose(made["entropy_bits"], entropy, rel_tol=1e-9)
    assert entropy < 8 * made["parts"]["payload"] < 1.002 * entropy
    assert 8 * made["bytes"] < 1.01 * entropy < 8 * symbols.size  # 4 bits for each symbol otherwise


def test_codes_that_are_whole_numbers_are_stored_as_they_are(tmp_path, rng):
    model, x = Digital(), rng.random((40, 4), dtype=np.float32)
    made = ta.compress(model, x, tmp_path / "x.tae")
    codes = read_codes(tmp_path / "x.tae")
    assert codes.dtype == np.int64 and np.array_equal(codes, model.encode(x))
    assert made["bits"] == 9 and made["code_shape"] == [2, 2]
    assert np.array_equal(ta.decompress(model, tmp_path / "x.tae"), model.decode(model.encode(x)))
    with pytest.raises(RangeError, match="codes of Digital are whole numbers and need no quantiser"):
        ta.compress(model, x, tmp_path / "y.tae", bits=4)
    with pytest.raises(RangeError, match="expected 0 to 65,535"):
        ta.compress(Digital(10**6), x, tmp_path / "y.tae")
    assert not (tmp_path / "y.tae").exists()


def test_a_vector_quantised_model_needs_no_quantiser(tmp_path, images):
    ta.manual_seed(0)
    model = ta.VQAutoencoder(
        ta.Sequential(ta.Flatten(), ta.Dense(64, 12)),
        ta.Sequential(ta.Dense(12, 64), ta.Reshape(8, 8, 1)),
        codes=16,
        size=4,
    )
    model.fit(images, epochs=2, progress=False)
    made = ta.compress(model, images, tmp_path / "x.tae")
    assert made["code_shape"] == [3] and made["bits"] <= 4
    assert np.array_equal(read_codes(tmp_path / "x.tae"), model.encode(images))
    assert np.array_equal(ta.decompress(model, tmp_path / "x.tae"), model.reconstruct(images))


def test_a_code_may_be_a_map(tmp_path, images):
    ta.manual_seed(0)
    model = ta.Autoencoder(
        ta.Sequential(ta.Conv2D(1, 3, activation="relu"), ta.MaxPool2D(2)),
        ta.Sequential(ta.Conv2D(3, 4, activation="relu"), ta.UpSampling2D(2), ta.Conv2D(4, 1, activation="sigmoid")),
    )
    made = ta.compress(model, images, tmp_path / "x.tae", bits=5)
    assert made["code_shape"] == [4, 4, 3] and read_codes(tmp_path / "x.tae").shape == (50, 4, 4, 3)
    assert ta.decompress(model, tmp_path / "x.tae").shape == images.shape


def test_a_constant_unit_takes_no_room(digits_model, images, tmp_path):
    plain = ta.compress(digits_model, images, tmp_path / "x.tae")
    digits_model.encoder[-1].weight.data[:, 1:] = 0
    made = ta.compress(digits_model, images, tmp_path / "y.tae")
    assert made["entropy_bits"] < 0.4 * plain["entropy_bits"]
    assert np.allclose(read_codes(tmp_path / "y.tae"), digits_model.encode(images), atol=0.5)
    digits_model.encoder[-1].weight.data[:] = 0
    assert ta.compress(digits_model, images, tmp_path / "z.tae")["entropy_bits"] == 0
    assert np.allclose(ta.decompress(digits_model, tmp_path / "z.tae"), digits_model.reconstruct(images), atol=1e-5)


def test_the_promise_counts_what_is_clipped(digits_model, images, tmp_path):
    wild = 5 * images
    made = ta.compress(digits_model, wild, tmp_path / "x.tae", 4, fit_on=images)
    assert made["clipped"] > 0.2
    again = ta.decompress(digits_model, tmp_path / "x.tae")
    assert np.square(again.astype(np.float64) - wild).mean() <= about_file(tmp_path / "x.tae")["mse_at_most"]
    fitted = ta.compress(digits_model, wild, tmp_path / "y.tae", 4)
    assert fitted["clipped"] < 0.2 and fitted["mse"] != made["mse"]


def test_data_may_be_read_piece_by_piece(digits_model, tmp_path, rng):
    x = rng.random((3000, 8, 8, 1), dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    ta.compress(digits_model, np.load(tmp_path / "x.npy", mmap_mode="r"), tmp_path / "a.tae")
    ta.compress(digits_model, x, tmp_path / "b.tae")
    assert (tmp_path / "a.tae").read_bytes() == (tmp_path / "b.tae").read_bytes()
    pieces = list(decompressed(digits_model, tmp_path / "a.tae"))
    assert [len(piece) for piece in pieces] == [1024, 1024, 952]
    assert np.array_equal(np.concatenate(pieces), ta.decompress(digits_model, tmp_path / "b.tae"))


def test_several_blocks(digits_model, tmp_path, rng, monkeypatch):
    monkeypatch.setattr("tinyae.compression.container.SYMBOLS", 64)
    monkeypatch.setattr("tinyae.compression.container.AT_ONCE", 8)
    x = rng.random((50, 8, 8, 1), dtype=np.float32)
    ta.compress(digits_model, x, tmp_path / "a.tae", fit_on=x)
    assert rows_at_once(4) == (8, 16)
    assert np.allclose(
        ta.decompress(digits_model, tmp_path / "a.tae"),
        digits_model.decode(read_codes(tmp_path / "a.tae").astype("f4")),
        atol=1e-6,
    )


@pytest.mark.parametrize("units", [1, 2, 784, 5000, 1 << 22])
def test_blocks_are_made_of_whole_pieces(units):
    rows, block = rows_at_once(units)
    assert rows >= 1 and block % rows == 0 and (block * units <= 1 << 22)


def test_training_mode_and_noise_do_not_matter(images, tmp_path):
    ta.manual_seed(0)
    model = ta.QuantisedAutoencoder(
        ta.Sequential(ta.Flatten(), ta.Dropout(0.5), ta.Dense(64, 3)),
        ta.Sequential(ta.Dense(3, 64), ta.Reshape(8, 8, 1)),
    )
    model.train()
    for name in "ab":
        ta.compress(model, images, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert model.training


def test_a_saved_model_decodes_what_the_one_in_memory_wrote(digits_model, images, tmp_path):
    ta.compress(digits_model, images, tmp_path / "x.tae")
    ta.save(digits_model, tmp_path / "m.safetensors")
    loaded = ta.load(tmp_path / "m.safetensors")
    assert np.array_equal(ta.decompress(loaded, tmp_path / "x.tae"), ta.decompress(digits_model, tmp_path / "x.tae"))


def test_float64_models_and_devices(digits_model, images, tmp_path, backend):
    if backend.name == "numpy":
        digits_model.astype("float64")
    digits_model.to(backend)
    ta.compress(digits_model, images, tmp_path / "x.tae", bits=6)
    again = ta.decompress(digits_model, tmp_path / "x.tae")
    assert type(again) is np.ndarray and again.dtype == digits_model.dtype
    digits_model.to("numpy")
    assert np.allclose(again, ta.decompress(digits_model, tmp_path / "x.tae"), atol=1e-5)
    assert encoded(digits_model, images[:3]).shape == (3, 4)


# ---------------------------------------------------------------- wrong input


def test_wrong_input_is_refused_and_nothing_is_written(digits_model, images, tmp_path, monkeypatch):
    path, bad = tmp_path / "x.tae", images.copy()
    bad[3, 2, 1] = np.nan

    def refused(error, match, *arguments, **options):
        with pytest.raises(error, match=match):
            ta.compress(*arguments, **options)
        assert not path.exists()

    refused(RangeError, "1 of 3200 values are NaN", digits_model, bad, path)
    refused(RangeError, "fit_on: 1 of", digits_model, images, path, fit_on=bad)
    refused(ShapeError, "empty", digits_model, images[:0], path)
    refused(ShapeError, r"expected \(N, ...\)", digits_model, images[:, 0, 0, 0], path)
    refused(ShapeError, r"expected \(N, 64\)", digits_model, images[:, :5], path)
    refused(RangeError, "bits is 0", digits_model, images, path, bits=0)
    refused(RangeError, "expected 1 to 16", digits_model, images, path, bits=17)
    refused(DtypeError, "encodes and decodes", digits_model.encoder, images, path)
    refused(DtypeError, "encodes and decodes", None, images, path)
    refused(FileWriteError, "there is no folder", digits_model, images, tmp_path / "no" / "x.tae")
    flat = ta.Autoencoder(digits_model.encoder, ta.Sequential(*list(digits_model.decoder.layers)[:-1]))
    refused(ShapeError, r"makes \(64,\) of examples of shape \(8, 8, 1\)", flat, images, path)
    kept = digits_model.decoder[1].bias.data[3]
    digits_model.decoder[1].bias.data[3] = np.nan
    refused(RangeError, "error of the reconstruction is not finite", digits_model, images, path)
    digits_model.decoder[1].bias.data[3] = kept
    digits_model.encoder[1].weight.data[0, 0] = np.inf
    refused(RangeError, "codes are NaN or infinite", digits_model, images, path)
    monkeypatch.setitem(__import__("sys").modules, "constriction", None)
    refused(MissingLibraryError, "pip install constriction", digits_model, images, path)


def test_a_model_without_config_cannot_be_told_from_others(images, tmp_path):
    class Own(Digital):
        def config(self):
            raise StateError("no config")

    with pytest.raises(StateError):
        ta.compress(Own(), images.reshape(-1, 4), tmp_path / "x.tae")
    assert not list(tmp_path.iterdir())


def test_a_file_is_written_whole_or_not_at_all(digits_model, images, tmp_path, monkeypatch):
    path = tmp_path / "x.tae"
    path.write_text("kept")
    monkeypatch.setattr(EntropyCoder, "encode", lambda self, symbols: b"")  # does not decode to what it was given
    with pytest.raises(Exception, match="decode"):
        ta.compress(digits_model, images, path)
    assert path.read_text() == "kept" and len(list(tmp_path.iterdir())) == 1
