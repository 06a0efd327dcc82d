"""use_kernels: which of the two, kernels or definitions, is run where."""

import threading

import numpy as np
import pytest

import tinyae as ta
from tinyae import ops
from tinyae.backend import NUMPY, kernels
from tinyae.errors import RangeError


def op_of_relu():
    return ta.relu(ta.Tensor(np.ones((100, 100)), requires_grad=True))._node.op.__module__


FAST, PLAIN = "tinyae.kernels.cpu", "tinyae.ops.activations"


def test_use_kernels_nests_and_is_undone():
    assert op_of_relu() == FAST
    with ta.use_kernels("reference"):
        assert op_of_relu() == PLAIN
        with ta.use_kernels("fast"):
            assert op_of_relu() == FAST
            with pytest.raises(ZeroDivisionError), ta.use_kernels("reference"):
                assert op_of_relu() == PLAIN
                1 / 0  # noqa: B018
            assert op_of_relu() == FAST
        assert op_of_relu() == PLAIN
    assert op_of_relu() == FAST
    again = ta.use_kernels("reference")
    with again, again:
        assert op_of_relu() == PLAIN
    assert op_of_relu() == FAST


def test_capitals_mean_the_same():
    with ta.use_kernels("Reference"):
        assert kernels.get() == "reference" and NUMPY.twin(ops.Dense) is None


def test_use_kernels_decorates():
    @ta.use_kernels("reference")
    def plain(depth):
        """Recursive: each call has its own block."""
        return [op_of_relu(), *(plain(depth - 1) if depth else [])]

    assert plain(3) == [PLAIN] * 4 and op_of_relu() == FAST
    assert plain.__doc__.startswith("Recursive")


def test_backward_outside_of_the_block_is_the_twin_of_its_forward():
    x = ta.Tensor(np.linspace(-1, 1, 10_000).reshape(100, 100), requires_grad=True)
    with ta.use_kernels("reference"):
        plain = ta.sigmoid(x)
    fast = ta.sigmoid(x)
    calls = []

    class Watched:
        """The node's operation, and that its backward was called."""

        def __init__(self, op):
            self.op = op

        def __getattr__(self, name):
            if name == "backward":
                calls.append(self.op.__module__)
            return getattr(self.op, name)

    for y in (plain, fast):
        y._node.op = Watched(y._node.op)
    plain.sum().backward()
    with ta.use_kernels("reference"):
        fast.sum().backward()
    assert calls == [PLAIN, FAST]
    s = 1 / (1 + np.exp(-x.numpy()))
    assert np.allclose(x.grad, 2 * s * (1 - s))


@pytest.mark.parametrize("wrong", ["slow", "", None, 3, "numba"])
def test_an_unknown_kind_of_kernels_is_an_error(wrong):
    with pytest.raises(RangeError, match="unknown kernels .*fast.*reference|unknown kernels .*reference.*fast"):
        ta.use_kernels(wrong)


def test_other_threads_are_not_affected():
    found, inside, done = [], threading.Event(), threading.Event()

    def other():
        inside.wait()
        found.append(op_of_relu())
        with ta.use_kernels("reference"):
            found.append(op_of_relu())
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with ta.use_kernels("reference"):
        inside.set()
        done.wait()
        found.append(op_of_relu())
    thread.join()
    assert found == [FAST, PLAIN, PLAIN] and op_of_relu() == FAST
