"""Model files: the same numbers back, or a refusal that says why."""

import json
import os
import resource
import time
import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import save as to_bytes

import tinyae as ta
from tinyae.archive import checksum, write_archive
from tinyae.errors import DtypeError, FileWriteError, ModelFileError, StateError
from tinyae.saving import describe


@pytest.fixture
def saved(digits_model, tmp_path):
    path = tmp_path / "model.safetensors"
    ta.save(digits_model, path)
    return path


def test_a_model_comes_back_with_its_architecture_and_its_numbers(digits_model, saved, images):
    loaded = ta.load(saved)
    assert repr(loaded) == repr(digits_model)
    assert np.array_equal(loaded.reconstruct(images), digits_model.reconstruct(images))
    assert np.array_equal(ta.load(saved.parent).encode(images), digits_model.encode(images))


def test_every_layer_can_be_saved(tmp_path):
    model = ta.Sequential(
        ta.Flatten(), ta.Dropout(0.2), ta.GaussianNoise(0.1), ta.Dense(4, 3, "gelu", init="glorot", bias=False), ta.Activation("tanh"),
        ta.Reshape(3, 1),
    ).astype("float64")  # fmt: skip
    ta.save(model, tmp_path / "m")
    loaded = ta.load(str(tmp_path / "m"))
    assert repr(loaded) == repr(model) and loaded.dtype == np.float64
    assert np.array_equal(loaded[3].weight.numpy(), model[3].weight.numpy())


class Doubling(ta.Module):
    def __init__(self, inner):
        self.inner = inner

    def forward(self, x):
        return 2 * self.inner(x)

    def config(self):
        return {"inner": self.inner}


def test_ones_own_class_is_given_to_load(tmp_path):
    model = Doubling(ta.Dense(2, 2))
    ta.save(model, tmp_path / "m")
    with pytest.raises(ModelFileError, match=r"needs a class 'Doubling'.*classes=\[Doubling\]"):
        ta.load(tmp_path / "m")
    x = np.ones((1, 2), np.float32)
    assert np.array_equal(ta.load(tmp_path / "m", classes=[Doubling])(x).numpy(), model(x).numpy())


def test_a_class_without_config_is_not_saved(tmp_path):
    class Mystery(ta.Module):
        pass

    with pytest.raises(StateError, match=r"Mystery has no config\(\)"):
        ta.save(ta.Sequential(Mystery()), tmp_path / "m")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(saved, share):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelFileError, match="truncated, damaged"):
        ta.load(saved)


def test_one_changed_bit_is_noticed(saved):
    content = bytearray(saved.read_bytes())
    content[-1000] ^= 1
    saved.write_bytes(content)
    with pytest.raises(ModelFileError, match="does not match its checksum"):
        ta.load(saved)


@pytest.mark.parametrize(
    "metadata, message",
    [
        (None, "not a tinyae model"),
        ({"format": "tinyae.model"}, "not a tinyae model"),
        ({"tinyae": "[]"}, "not a tinyae model"),
        ({"tinyae": "{"}, "damaged"),
        ({"tinyae": '{"format": "other"}'}, "not a tinyae model"),
        ({"tinyae": '{"format": "tinyae.model", "version": "99"}'}, "of version 99; this tinyae reads version 1"),
        ({"tinyae": '{"format": "tinyae.model", "version": "1"}'}, "checksum"),
    ],
)
def test_files_that_are_not_ours(tmp_path, metadata, message):
    path = tmp_path / "m"
    path.write_bytes(to_bytes({"a": np.ones(3)}, metadata))
    with pytest.raises(ModelFileError, match=message):
        ta.load(path)


def test_other_files_and_missing_ones(tmp_path):
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ModelFileError, match="not a safetensors file"):
        ta.load(tmp_path / "text")
    with pytest.raises(ModelFileError, match="there is no file"):
        ta.load(tmp_path / "nothing")


def test_an_architecture_that_does_not_fit_its_numbers(digits_model, tmp_path):
    architecture = json.loads(
        json.dumps(describe(digits_model, [])).replace('"out_features": 16', '"out_features": 17')
    )
    write_archive(
        tmp_path / "m", "tinyae.model", {"architecture": architecture, "trained": []}, digits_model.state_dict()
    )
    with pytest.raises(ModelFileError, match="do not fit together"):
        ta.load(tmp_path / "m")


def test_a_failed_save_leaves_the_old_file_and_nothing_else(digits_model, saved, monkeypatch):
    old = saved.read_bytes()

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        ta.save(ta.Dense(3, 3), saved)
    assert saved.read_bytes() == old and os.listdir(saved.parent) == [saved.name]


def test_no_pickle_in_the_package():
    package = os.path.dirname(ta.__file__)
    for folder, _, files in os.walk(package):
        for name in files:
            if name.endswith(".py"):
                with open(os.path.join(folder, name)) as file:
                    assert "import pickle" not in file.read()


def test_a_layer_used_twice_stays_one(tmp_path):
    layer = ta.Dense(2, 2)
    model = ta.Sequential(layer, ta.Activation("relu"), layer)
    ta.save(model, tmp_path / "m")
    loaded = ta.load(tmp_path / "m")
    assert loaded[0] is loaded[2] and len(loaded.parameters()) == 2
    x = np.ones((1, 2), np.float32)
    assert np.array_equal(loaded(x).numpy(), model(x).numpy())


def test_a_tensor_in_two_layers_is_not_saved(tmp_path):
    a, b = ta.Dense(2, 2), ta.Dense(2, 2)
    b.weight = a.weight
    with pytest.raises(StateError, match="shares its weight"):
        ta.save(ta.Sequential(a, b), tmp_path / "m")


def test_every_tensor_keeps_its_own_type(tmp_path):
    model = ta.Sequential(ta.Dense(2, 2).astype("float64"), ta.Dense(2, 2))
    model[0].weight.data[0, 0] = 1 / 3
    ta.save(model, tmp_path / "m")
    loaded = ta.load(tmp_path / "m")
    assert loaded[0].weight.numpy()[0, 0] == 1 / 3 and loaded[1].weight.dtype == np.float32


@pytest.mark.parametrize(
    "architecture",
    [None, [], 3, {"class": "Dense", "config": None}, {"class": "same as", "config": 7}, {}, "Dense"],
)
def test_forged_architectures_are_refused(architecture, tmp_path):
    write_archive(tmp_path / "m", "tinyae.model", {"architecture": architecture, "trained": []}, {})
    with pytest.raises(ModelFileError):
        ta.load(tmp_path / "m")


def test_metadata_nested_without_end_are_refused(tmp_path):
    (tmp_path / "m").write_bytes(to_bytes({}, {"tinyae": '{"format": "tinyae.model", "a": ' + "[" * 100_000}))
    with pytest.raises(ModelFileError):
        ta.load(tmp_path / "m")


def test_a_forged_architecture_allocates_no_more_than_the_file_holds(tmp_path):
    huge = describe(ta.Dense(2, 2), [])
    huge["config"] |= {"in_features": 100_000, "out_features": 100_000}
    write_archive(tmp_path / "m", "tinyae.model", {"architecture": huge, "trained": []}, ta.Dense(2, 2).state_dict())
    tracemalloc.start()
    with pytest.raises(ModelFileError, match="more weights"):
        ta.load(tmp_path / "m")
    assert tracemalloc.get_traced_memory()[1] < 1e7
    tracemalloc.stop()


def test_a_checkpoint_is_not_a_model(tmp_path):
    write_archive(tmp_path / "c", "tinyae.checkpoint", {}, {"a": np.ones(3)})
    with pytest.raises(ModelFileError, match="is a tinyae checkpoint, not a model"):
        ta.load(tmp_path / "c")


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        (lambda p: ta.save(None, p / "m"), StateError, "NoneType given; expected a model"),
        (lambda p: ta.save(ta.Dense(2, 2), None), ModelFileError, "path is None"),
        (lambda p: ta.load(5.0), ModelFileError, "path is 5.0"),
        (lambda p: ta.load(p / "m", classes=ta.Dense), DtypeError, "classes is .*expected a list"),
        (lambda p: ta.save(ta.Dense(2, 2), p / "no" / "m"), FileWriteError, "there is no folder"),
        (lambda p: ta.save(ta.Dense(2, 2), p), FileWriteError, "cannot write"),
    ],
)
def test_wrong_arguments(wrong, error, message, tmp_path):
    with pytest.raises(error, match=message):
        wrong(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_layer_in_encoder_and_decoder_comes_back_in_both_places(tmp_path):
    a, b, c = (ta.Dense(4, 4) for _ in range(3))
    model = ta.Autoencoder(ta.Sequential(a, b), ta.Sequential(c, a))
    ta.save(model, tmp_path / "m")
    loaded = ta.load(tmp_path / "m")
    assert loaded.encoder[0] is loaded.decoder[1] and loaded.decoder[0] is not loaded.decoder[1]
    x = np.ones((2, 4), np.float32)
    assert np.array_equal(loaded.reconstruct(x), model.reconstruct(x))


def test_a_frozen_layer_stays_frozen(tmp_path):
    model = ta.Sequential(ta.Dense(2, 2), ta.Dense(2, 2))
    model[0].weight.requires_grad = False
    ta.save(model, tmp_path / "m")
    assert [name for name, _ in ta.load(tmp_path / "m").named_parameters()] == ["0.bias", "1.weight", "1.bias"]


def test_loading_does_not_touch_the_generator(saved):
    ta.manual_seed(5)
    expected = ta.Dense(3, 3).weight.numpy()
    ta.manual_seed(5)
    ta.load(saved)
    assert np.array_equal(ta.Dense(3, 3).weight.numpy(), expected)


def test_numbers_read_as_another_type_are_noticed(saved):
    content = saved.read_bytes()
    assert b'"F32"' in content
    saved.write_bytes(content.replace(b'"F32"', b'"I32"', 1))
    with pytest.raises(ModelFileError, match="checksum"):
        ta.load(saved)


def test_the_checksum_tells_shapes_apart():
    assert checksum({}, {"a": np.zeros((2, 3))}) != checksum({}, {"a": np.zeros((3, 2))})


# ---------------------------------------------------------------- damage at random


def mutate(content, rng):
    """A copy of the bytes with one kind of damage, small or large, anywhere."""
    data = bytearray(content)
    i, j = sorted(int(rng.integers(0, len(data) + 1)) for _ in range(2))
    n = int(rng.integers(1, 9))
    kind = rng.integers(9)
    if kind == 0:  # a few bits, in the header as often as in the numbers
        for _ in range(n):
            at = int(rng.integers(len(data) if rng.integers(2) else 16))
            data[at] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del data[i:]
    elif kind == 2:
        del data[i : i + n]
    elif kind == 3:
        data[i:i] = rng.bytes(n)
    elif kind == 4:
        data[i:j] = bytes(j - i)
    elif kind == 5:
        data[i:i] = data[i:j]
    elif kind == 6:
        data += rng.bytes(n)
    elif kind == 7:  # another length of the header
        data[:8] = int(rng.integers(0, 1 << int(rng.integers(1, 63)))).to_bytes(8, "little")
    else:  # another digit: sizes, offsets and shapes are written as text
        digits = [at for at, byte in enumerate(data) if chr(byte).isdigit()]
        data[digits[int(rng.integers(len(digits)))]] = ord(str(rng.integers(10)))
    return bytes(data)


def check_mutations(count, path):
    """Every damaged file loads the same numbers or is refused, quickly and in little memory."""
    ta.manual_seed(0)
    model = ta.Autoencoder(ta.Sequential(ta.Flatten(), ta.Dense(6, 2, "relu")), ta.Dense(2, 6, "sigmoid"))
    ta.save(model, path)
    content, expected = path.read_bytes(), [value.tobytes() for value in model.state_dict().values()]
    rng, same, slowest = np.random.default_rng(0), 0, 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        path.write_bytes(mutate(content, rng))
        started = time.perf_counter()
        try:
            loaded = ta.load(path)
        except ModelFileError:
            pass
        else:
            same += 1
            assert repr(loaded) == repr(model), f"mutation {number}"
            assert [value.tobytes() for value in loaded.state_dict().values()] == expected, f"mutation {number}"
        slowest = max(slowest, time.perf_counter() - started)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
    print(f"{count} mutations: {same} load the same, the others are refused; slowest {slowest:.2f} s, {grown} MiB more")
    assert slowest < 5 and grown < 100


def test_damaged_files_load_the_same_or_are_refused(tmp_path):
    check_mutations(2000, tmp_path / "m")


@pytest.mark.slow
def test_100_000_damaged_files(tmp_path):
    check_mutations(100_000, tmp_path / "m")
