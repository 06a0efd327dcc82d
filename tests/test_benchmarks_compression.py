"""The family's row on compression, on small data: what it measures, and that it sees a broken promise."""

import pytest

import tinyae as ta
from benchmarks.family import compression
from tinyae import runs

pytest.importorskip("constriction", reason="entropy coding needs constriction")
pytest.importorskip("sklearn", reason="the bundled digits need scikit-learn")


@pytest.fixture
def small(monkeypatch):
    """Digits instead of MNIST, two sizes, short trainings."""

    def trained(size, seed, folder):
        out = f"{folder}/{size}-{seed}"
        runs.train(f"code{size}", data="digits", epochs=15, batch_size=32, seed=seed, out=out, progress=False)
        return out

    monkeypatch.setattr(ta.datasets, "load_mnist", ta.datasets.load_digits)
    monkeypatch.setattr(compression, "trained", trained)
    monkeypatch.setattr(compression, "SIZES", (2, 8))
    monkeypatch.setattr(compression, "MORE_COMPONENTS", (32,))
    monkeypatch.setattr(compression, "BITS", (1, 2, 4, 8))


def test_the_rows(small):
    beside, everything, files, sizes = compression.measure((0,))
    assert beside.reached and files.reached and everything.reached is None
    assert sorted(beside.numbers["autoencoder"][0]) == [2, 8] and sorted(beside.numbers["pca"]) == [2, 8, 32]
    for size in (2, 8):
        point = beside.numbers["autoencoder"][0][size][2]
        assert (
            f"{size}: {point['mse']:.4f} against" in beside.seen
            and f"{point['bits_per_example']:.1f} bits" in beside.seen
        )
    assert len(everything.numbers["ratios"][0][2]) == 3 and f"{size}: " in sizes.seen


def test_a_file_that_is_decoded_though_it_was_changed_is_seen(small, monkeypatch):
    real = compression.decompress

    def careless(model, path):
        try:
            return real(model, path)
        except ta.errors.DataFileError:
            return None

    monkeypatch.setattr(compression, "decompress", careless)
    monkeypatch.setattr(compression, "SIZES", (2,))
    assert [row.reached for row in compression.measure((0,))][2] is False


def test_losing_to_pca_is_seen(small, monkeypatch):
    def worse(own, others):
        return [{"mse": 1.0, "other_mse": 0.5, "bits_per_example": 1.0}]

    monkeypatch.setattr(compression, "at_equal_bits", worse)
    monkeypatch.setattr(compression, "SIZES", (2,))
    assert compression.measure((0,))[0].reached is False


def test_what_cannot_be_compared_has_not_won():
    curve = [{"bits_per_example": 8.0, "mse": 0.1}]
    assert not compression.beats(curve, [{"bits_per_example": 9.0, "mse": 0.5}])
    assert compression.beats(curve, [{"bits_per_example": 8.0, "mse": 0.5}])
    assert not compression.beats(curve, [{"bits_per_example": 8.0, "mse": 0.05}])
