"""Is there memory for a step? The estimate, what is at hand, and a refusal before anything is allocated."""

import weakref
from types import SimpleNamespace

import numpy as np
import pytest

import tinyae as ta
from tinyae import memory
from tinyae.backend import NUMPY, Backend
from tinyae.context import watch_layers
from tinyae.errors import OutOfMemoryError, TinyaeError

from .conftest import made, quick, weights


@pytest.fixture
def free(monkeypatch):
    """Say how much memory is at hand."""
    return lambda size: monkeypatch.setattr(memory, "at_hand", lambda backend: size)


def small_conv():
    """An autoencoder of 8x8 images with every kind of layer that makes images larger or smaller."""
    ta.manual_seed(0)
    return ta.Autoencoder(
        ta.Sequential(ta.Conv2D(1, 4, activation="relu"), ta.MaxPool2D(2)),
        ta.Sequential(ta.UpSampling2D(2), ta.Conv2D(4, 1, activation="sigmoid")),
    )


# ---------------------------------------------------------------- the estimate


def numbers(model, shape, **options):
    with watch_layers() as calls:
        model(np.zeros((1, *shape), np.float32))
    return memory.numbers_per_example(calls, **options)


def test_a_step_keeps_all_outputs_and_two_gradients():
    dense = ta.Sequential(ta.Flatten(), ta.Dense(64, 16, "relu"), ta.Dense(16, 64), ta.Reshape(8, 8))
    assert numbers(dense, (8, 8), target=64) == (64 + 16 + 64 + 64) + (64 + 64)
    outputs = 64 + 8 * 8 * 4 + 4 * 4 * 4 + 8 * 8 * 4 + 64
    assert numbers(small_conv(), (8, 8, 1), target=64) == outputs + 64 + max(64 + 256, 256 + 64)


def test_what_a_block_computes_in_one_has_one_output():
    """Convolution and pooling, upsampling and convolution: neither the one's output nor the other's is ever written."""
    model = small_conv()
    with ta.use_kernels("reference"):
        assert model.joined() == []
    assert len(model.joined()) == 2
    assert numbers(model, (8, 8, 1), target=64, groups=model.joined()) == 4 * 64 + 2 * 64


def test_the_estimate_is_near_to_what_a_step_takes(rng, monkeypatch):
    """Measured on plain operations: the kernels keep their memory for the next step, and some join layers."""
    import tracemalloc

    seen = []
    monkeypatch.setattr(memory, "at_hand", lambda backend: seen.append(backend) or 1 << 60)
    model = ta.Autoencoder(
        ta.Sequential(ta.Dense(400, 300, "relu"), ta.Dense(300, 20)),
        ta.Sequential(ta.Dense(20, 300, "relu"), ta.Dense(300, 400)),
    )
    x = rng.random((2000, 400), dtype=np.float32)
    each = 4 * numbers(model, (400,), target=400)
    with ta.use_kernels("reference"):
        tracemalloc.start()
        quick(model, x, 1, batch_size=2000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert seen == [NUMPY] and 0.5 < 2000 * each / peak < 1.5


# ---------------------------------------------------------------- without training


def test_evaluations_take_fewer_examples_at_once_where_layers_are_wide(monkeypatch, rng):
    x, model = rng.random((100, 8, 8, 1), dtype=np.float32), small_conv()
    expected = model.reconstruct(x)
    sizes, forward = [], ta.Conv2D.forward
    monkeypatch.setattr(ta.Conv2D, "forward", lambda self, x: sizes.append(len(x)) or forward(self, x))
    with ta.use_kernels("reference"):
        monkeypatch.setattr(memory, "AT_ONCE", 40 * 4 * (64 + 256))  # forty images and their first outputs
        assert np.allclose(model.reconstruct(x), expected, atol=1e-6)
        assert sizes == [1, 1, 40, 40, 40, 40, 20, 20]
        sizes.clear()
        quick(model, x, 1, batch_size=50, optimizer="sgd", lr=1e-12, validation_data=x)
        assert sizes == [1] * 4 + [50] * 4 + [40, 40] * 2 + [20, 20] + [40, 40]  # the last: has it collapsed?
        sizes.clear()
        monkeypatch.setattr(memory, "AT_ONCE", 1 << 28)
        model.reconstruct(x)
        assert sizes == [1, 1, 100, 100]


# ---------------------------------------------------------------- the refusal


def test_a_batch_that_does_not_fit_is_refused_before_anything_is_allocated(free, images, monkeypatch):
    model = small_conv()
    before = weights(model)
    monkeypatch.setattr("tinyae.training.Trainer.run", lambda *rest: pytest.fail("the training began"))
    free(60_000)
    with pytest.raises(OutOfMemoryError) as caught, ta.use_kernels("reference"):
        quick(model, images, batch_size=50)
    each = 4 * (64 + 256 + 64 + 256 + 64 + 64 + 320)  # bytes, without kernels
    fixed = 4 * 4 * model.parameter_count()  # gradients, a copy of the weights and of Adam's two averages
    text = str(caught.value)
    assert f"a batch of 50 examples needs about {(50 * each + fixed) / 1024:.0f} KiB" in text
    assert f"({each / 1024:.3g} KiB for each example" in text and f"{fixed / 1024:.3g} KiB for gradients" in text
    assert "58.6 KiB are at hand. Give a smaller batch_size, such as 8." in text
    assert 8 * each + fixed < 0.7 * 60_000 < 16 * each + fixed
    assert isinstance(caught.value, MemoryError) and isinstance(caught.value, TinyaeError) and weights(model) == before


def test_what_fits_is_trained(free, images):
    free(60_000)
    assert len(quick(small_conv(), images, 1, batch_size=8)) == 1
    free(None)  # nobody knows: it is tried
    assert len(quick(small_conv(), images, 1, batch_size=50)) == 1


@pytest.mark.parametrize("kernels, size", [("reference", 8), ("fast", 16)])
def test_the_cure_where_the_batch_is_not_the_users_choice(kernels, size, free, images):
    cure = f"As gradient descent takes all examples at once, use optimizer='sgd' with batch_size={size}"
    with ta.use_kernels(kernels):
        free(60_000)
        quick(small_conv(), images, 1, batch_size=size)
        with pytest.raises(OutOfMemoryError, match=cure):
            quick(small_conv(), images, optimizer="gd")
        free(2000)
        with pytest.raises(OutOfMemoryError, match="Not even one example fits: give smaller examples"):
            quick(small_conv(), images, batch_size=1)


# ---------------------------------------------------------------- the estimate was too low


class Place(Backend):
    """A device; what its library kept is free after release()."""

    name, is_device = "somewhere", True

    def __init__(self, kept=None):
        self.kept, self.free = kept, 0

    def memory(self):
        return self.free, 1 << 20

    def release(self):
        self.free = 60_000 if self.kept is None or self.kept() is None else 0


def exhausted(place, fail, batch_size=50):
    """What is told when a step of a training fails so."""
    optimizer = SimpleNamespace(full_batch=False)
    trainer = SimpleNamespace(place=place, batch_size=batch_size, memory_needed=(1000, 5000), optimizer=optimizer)
    with pytest.raises(OutOfMemoryError) as caught, memory.told_when_exhausted(trainer):
        fail()
    return caught.value


def test_an_exhausted_device_is_told_with_what_was_asked_what_is_free_and_what_is_needed():
    def fail():
        raise MemoryError("Out of memory allocating 2,097,152 bytes (allocated so far: 512 bytes).")

    error = exhausted(Place(), fail)
    assert str(error) == (
        "fit: the memory of the device 'somewhere' is used up: 2 MiB more were asked for; now that the step is given up, "
        "58.6 KiB are free. By estimate, a training step on a batch of 50 examples needs about 53.7 KiB of memory (1,000 bytes "
        "for each example, forward and backward, and 4.88 KiB for gradients and copies of the weights). Give a smaller "
        "batch_size, such as 16."
    )
    assert type(error.__cause__) is MemoryError
    assert "batch_size, such as 2." in str(exhausted(Place(), fail, batch_size=5))  # though 32 should fit
    assert "Not even one example fits" in str(exhausted(Place(), fail, batch_size=1))


def test_what_the_failed_step_held_is_let_go_of():
    class Array:
        pass

    references = []

    def step():
        array = Array()
        references.append(weakref.ref(array))
        deeper()

    def deeper():
        raise MemoryError("no more")

    place = Place(kept=lambda: references[0]())
    error = exhausted(place, step)
    assert place.free and "used up: no more; now" in str(error)


def test_an_exhausted_host_is_told_too(free):
    free(None)
    text = str(exhausted(NUMPY, lambda: np.empty(1 << 60, np.uint8)))
    assert "fit: the memory is used up: 1,073,741,824 GiB more were asked for. By estimate" in text
    assert text.endswith("Give a smaller batch_size.")


def test_our_own_refusal_and_other_errors_pass():
    def refuse():
        raise OutOfMemoryError("ours")

    assert str(exhausted(Place(), refuse)) == "ours"
    with pytest.raises(ValueError), memory.told_when_exhausted(None):
        raise ValueError


def test_data_of_all_sizes_are_read_as_people_do():
    assert [memory.readable(n) for n in (10, 1536, 200 << 20, 5 << 30, 3 << 40)] == [
        "10 bytes", "1.5 KiB", "200 MiB", "5 GiB", "3,072 GiB",
    ]  # fmt: skip


# ---------------------------------------------------------------- what is at hand


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with 8 GiB to spare, without limits so far."""
    (tmp_path / "meminfo").write_text("MemTotal: 16777216 kB\nMemFree: 1 kB\nMemAvailable: 8388608 kB\n")
    for name, path in (("MEMINFO", "meminfo"), ("OWN_CGROUP", "own"), ("CGROUPS", "groups")):
        monkeypatch.setattr(memory, name, tmp_path / path)
    return tmp_path


def group(folder, names, most, now, reclaimable):
    folder.mkdir(parents=True, exist_ok=True)
    limit, used, entry = names
    (folder / limit).write_text(f"{most}\n")
    (folder / used).write_text(f"{now}\n")
    (folder / "memory.stat").write_text(f"anon 1\n{entry} {reclaimable}\n")


V2 = ("memory.max", "memory.current", "inactive_file")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def test_without_limits_it_is_what_the_machine_has(machine):
    assert memory.at_hand(NUMPY) == 8 << 30


def test_the_smallest_limit_of_the_groups_above_counts(machine):
    (machine / "own").write_text("0::/a/b\n")
    group(machine / "groups/a/b", V2, "max", 5000, 0)
    group(machine / "groups/a", V2, 10_000, 6000, 500)
    assert memory.at_hand(NUMPY) == 4500
    group(machine / "groups/a/b", V2, 5100, 5000, 0)
    assert memory.at_hand(NUMPY) == 100
    group(machine / "groups/a/b", V2, 4000, 5000, 0)
    assert memory.at_hand(NUMPY) == 0


def test_a_container_sees_its_own_group_as_the_root(machine):
    (machine / "own").write_text("0::/somewhere/outside\n")
    group(machine / "groups", V2, 9000, 1000, 0)
    assert memory.at_hand(NUMPY) == 8000


def test_the_older_kind_of_groups(machine):
    (machine / "own").write_text("5:cpu:/a\n4:memory,hugetlb:/a\n0::/a\n")
    group(machine / "groups/memory/a", V1, 7000, 4000, 1000)
    assert memory.at_hand(NUMPY) == 4000


def test_where_nobody_says(machine, monkeypatch):
    (machine / "meminfo").unlink()
    monkeypatch.delattr("os.sysconf", raising=False)
    assert memory.at_hand(NUMPY) is None


def test_a_device_answers_for_itself(images):
    """The stand-in has no CUDA: nobody knows, and the training goes on."""
    place = ta.get_backend("strict")
    assert memory.at_hand(place) is None and len(quick(made().to(place), images, 1)) == 1

    class Device(Backend):
        def memory(self):
            return 120, 1000

    assert memory.at_hand(Device()) == 120


@pytest.mark.gpu
def test_a_gpu_says_what_it_has(backend):
    free = memory.at_hand(backend)
    assert free is None or free > 1 << 20
