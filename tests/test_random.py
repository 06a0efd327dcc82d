"""The counter-based generator: known answers, distributions, and independence."""

import threading

import numpy as np
import pytest

import tinyae as ta
from tinyae.errors import RangeError
from tinyae.random import Generator, philox

# the known answers that Random123, the authors' own library, is tested with
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize("counter, key, answer", KNOWN_ANSWERS)
def test_philox_gives_the_known_answers(counter, key, answer, backend):
    arrays = [backend.xp.full((1,), c, dtype="uint64") for c in counter]
    assert tuple(int(word[0]) for word in philox(backend.xp, arrays, key)) == answer
    assert philox(np, counter, key) == answer  # plain Python integers will do


def test_the_counter_reaches_every_number_directly():
    """A long draw begins with the short one: number i depends on i alone."""
    long, short = (Generator(7).bits(n, "noise", step=3) for n in (1000, 10))
    assert np.array_equal(long[:10], short)


def test_seed_purpose_and_step_each_give_other_numbers():
    draws = [
        Generator(seed).bits(64, purpose, step=step).tobytes()
        for seed in (0, 1, 2**32, 2**63)
        for purpose in ("init", "dropout")
        for step in (0, 1, 2**32)
    ]
    assert len(set(draws)) == len(draws)


def test_steps_are_taken_by_themselves_and_can_be_saved():
    a = Generator(5)
    first, second = a.uniform((3,), "noise"), a.uniform((3,), "noise")
    assert not np.array_equal(first, second)
    b = Generator(0)
    b.load_state_dict(a.state_dict())
    assert np.array_equal(a.uniform((3,), "noise"), b.uniform((3,), "noise"))
    assert np.array_equal(Generator(5).uniform((3,), "noise", step=1), second)


def test_uniform_numbers_are_uniform():
    u = Generator(0).uniform((200_000,), "noise")
    assert u.dtype == np.float32 and u.min() >= 0 and u.max() < 1
    counts = np.histogram(u, bins=100, range=(0, 1))[0]
    chi_squared = ((counts - 2000) ** 2 / 2000).sum()
    assert 55 < chi_squared < 150  # 99 degrees of freedom: outside with probability below 0.001
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 0.01


def test_normal_numbers_are_normal():
    z = Generator(0).normal((200_001,), "noise")
    assert z.dtype == np.float32 and z.shape == (200_001,)
    assert abs(z.mean()) < 0.01 and abs(z.std() - 1) < 0.01
    assert abs((z**3).mean()) < 0.03 and abs((z**4).mean() - 3) < 0.06
    assert abs((np.abs(z) < 1.96).mean() - 0.95) < 0.002


@pytest.mark.parametrize("n", [1, 2, 5, 1000])
def test_a_permutation_holds_every_number_once(n):
    order = Generator(0).permutation(n, step=0)
    assert np.array_equal(np.sort(order), np.arange(n))
    if n == 1000:
        assert not np.array_equal(order, np.arange(n))
        assert not np.array_equal(order, Generator(0).permutation(n, step=1))


def test_every_backend_draws_the_same(backend):
    host = Generator(3)
    device = Generator(3)
    for draw in (lambda g, xp: g.uniform((7, 3), "dropout", xp=xp), lambda g, xp: g.permutation(50, xp=xp)):
        assert np.array_equal(draw(host, np), backend.to_host(draw(device, backend.xp)))
    assert np.allclose(
        host.normal((9,), "noise"), backend.to_host(device.normal((9,), "noise", xp=backend.xp)), atol=1e-6
    )


def test_manual_seed_repeats_weights_and_masks():
    def draw():
        ta.manual_seed(11)
        layer, dropout = ta.Dense(5, 4), ta.Dropout(0.5)
        return layer.weight.numpy().copy(), dropout(np.ones((4, 4), np.float32)).numpy().copy()

    for one, two in zip(draw(), draw()):
        assert np.array_equal(one, two)


@pytest.mark.parametrize("seed", [-1, 1.5, "0", None, True])
def test_a_seed_is_a_whole_number_from_0(seed):
    with pytest.raises(RangeError, match="seed is .*expected an integer >= 0"):
        ta.manual_seed(seed)


def test_unknown_purpose():
    with pytest.raises(RangeError, match="unknown purpose.*nearest first: noise"):
        Generator(0).uniform((2,), "nois")


def test_threads_that_never_seed_draw_the_same():
    results = []
    threads = [threading.Thread(target=lambda: results.append(ta.Dense(3, 3).weight.numpy())) for _ in range(2)]
    for thread in threads:
        thread.start()
        thread.join()
    assert np.array_equal(*results)


def test_a_permutation_does_not_depend_on_the_pieces_it_is_made_in(monkeypatch):
    whole = Generator(3).permutation(1000, step=7)
    for piece in (2, 64, 999):
        monkeypatch.setattr("tinyae.random.PIECE", piece - piece % 2)
        assert np.array_equal(Generator(3).permutation(1000, step=7), whole)
    assert np.array_equal(Generator(3).bits(20, "noise", step=1)[8:], Generator(3).bits(12, "noise", step=1, start=8))


def test_equal_keys_stay_in_order(monkeypatch):
    """They hardly ever come up; another machine must not order them otherwise."""
    keys = np.random.default_rng(0).integers(0, 3, 2 * 5000).astype(np.uint64)
    monkeypatch.setattr(Generator, "bits", lambda self, size, purpose, step, xp, start=0: keys[start : start + size])
    expected = np.argsort((keys[::2] << np.uint64(32)) | keys[1::2], kind="stable")
    assert np.array_equal(Generator(0).permutation(5000), expected)
