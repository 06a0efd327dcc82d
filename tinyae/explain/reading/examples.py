"""A small computed example for each page: a program of a few lines, run when the page is built, and what it printed.

Here stand only calls and sizes. The numbers are drawn from a seed and rounded to one decimal, so that a reader can do
the sum on paper.
"""

import doctest
from dataclasses import dataclass, field

import numpy as np

from ..stepper.filling import Filled, attempt
from ..trace import trace

SEED = 3
CALLS = {  # operation: (its call, {input: its shape, or itself}); inputs in capitals ask for gradients
    "relu": ("ta.relu(X)", {"X": (2, 3)}),
    "leaky_relu": ("ta.leaky_relu(X, slope=0.1)", {"X": (2, 3)}),
    "elu": ("ta.elu(X)", {"X": (2, 3)}),
    "sigmoid": ("ta.sigmoid(X)", {"X": (2, 3)}),
    "tanh": ("ta.tanh(X)", {"X": (2, 3)}),
    "softplus": ("ta.softplus(X)", {"X": (2, 3)}),
    "gelu": ("ta.gelu(X)", {"X": (2, 3)}),
    "softmax": ("ta.softmax(X)", {"X": (2, 3)}),
    "log_softmax": ("ta.log_softmax(X)", {"X": (2, 3)}),
    "add": ("X + Y", {"X": (2, 3), "Y": (3,)}),
    "subtract": ("X - Y", {"X": (2, 3), "Y": (3,)}),
    "multiply": ("X * Y", {"X": (2, 3), "Y": (3,)}),
    "divide": ("X / Y", {"X": (2, 3), "Y": (3,)}),
    "negative": ("-X", {"X": (2, 3)}),
    "power": ("X**3", {"X": (2, 3)}),
    "affine": ("ta.functional.affine(X, W, b)", {"X": (2, 3), "W": (3, 2), "b": (2,)}),
    "dense": ("ta.functional.dense(X, W, b, 'tanh')", {"X": (2, 3), "W": (3, 2), "b": (2,)}),
    "matmul": ("X @ W", {"X": (2, 3), "W": (3, 2)}),
    "upsample_nearest": ("ta.upsample_nearest(X, 2)", {"X": (1, 2, 2, 1)}),
    "upsample_bilinear": ("ta.upsample_bilinear(X, 2)", {"X": (1, 2, 2, 1)}),
    "pad2d": ("ta.pad2d(X, 1)", {"X": (1, 2, 2, 1)}),
    "max_pool2d": ("ta.max_pool2d(X, 2)", {"X": (1, 4, 4, 1)}),
    "avg_pool2d": ("ta.functional.avg_pool2d(X, 2)", {"X": (1, 4, 4, 1)}),
    "conv2d": ("ta.conv2d(X, W, b, padding='valid')", {"X": (1, 3, 3, 1), "W": (2, 2, 1, 1), "b": (1,)}),
    "conv2d_transpose": ("ta.conv2d_transpose(X, W, b, stride=2)", {"X": (1, 2, 2, 1), "W": (2, 2, 1, 1), "b": (1,)}),
    "conv_block": (
        "ta.conv_block(X, W, b, upsample=2, activation='tanh', pool=2)",
        {"X": (1, 2, 2, 1), "W": (3, 3, 1, 1), "b": (1,)},
    ),
    "exp": ("X.exp()", {"X": (2, 3)}),
    "log": ("X.log()", {"X": [[0.5, 1.0, 2.0], [3.0, 0.1, 1.5]]}),
    "sqrt": ("X.sqrt()", {"X": [[0.5, 1.0, 2.0], [4.0, 0.1, 1.5]]}),
    "abs": ("X.abs()", {"X": (2, 3)}),
    "clip": ("X.clip(-0.5, 0.5)", {"X": (2, 3)}),
    "maximum": ("ta.maximum(X, Y)", {"X": (2, 3), "Y": (2, 3)}),
    "where": ("ta.where([[True, False, True], [False, True, False]], X, Y)", {"X": (2, 3), "Y": (2, 3)}),
    "batch_norm": ("ta.batch_norm(X, gamma, beta)", {"X": (4, 2), "gamma": [1.0, 2.0], "beta": (2,)}),
    "sum": ("X.sum(axis=0)", {"X": (2, 3)}),
    "mean": ("X.mean(axis=0)", {"X": (2, 3)}),
    "max": ("X.max(axis=1)", {"X": (2, 3)}),
    "reshape": ("X.reshape(3, 2)", {"X": (2, 3)}),
    "transpose": ("X.T", {"X": (2, 3)}),
    "getitem": ("X[:, 1:]", {"X": (2, 3)}),
    "setitem": ("ta.apply(ta.ops.SetItem, X, V, index=(0,))", {"X": (2, 3), "V": (3,)}),
    "concatenate": ("ta.concatenate([X, Z])", {"X": (1, 3), "Z": (2, 3)}),
    "astype": ("X.astype('float64')", {"X": (2, 3)}),
    "straight_through": ("ta.apply(StraightThrough, Z, E)", {"Z": (2, 3), "E": (2, 3)}),
    "mse_loss": ("ta.mse_loss(P, T)", {"P": (2, 3), "T": (2, 3)}),
    "bce_with_logits_loss": ("ta.bce_with_logits_loss(Z, T)", {"Z": (2, 3), "T": [[1, 0, 1], [0, 0.5, 1]]}),
    "binary_cross_entropy": (
        "ta.binary_cross_entropy(P, T)",
        {"P": [[0.9, 0.2, 0.7], [0.4, 0.5, 0.8]], "T": [[1, 0, 1], [0, 0.5, 1]]},
    ),
    "cross_entropy": ("ta.cross_entropy(Z, [2, 0])", {"Z": (2, 3)}),
    "kl_divergence": ("ta.kl_divergence(P, Q)", {"P": [[0.5, 0.3, 0.2]], "Q": [[0.4, 0.4, 0.2]]}),
    "gaussian_kl": ("ta.gaussian_kl(M, V)", {"M": (2, 3), "V": (2, 3)}),
}
LAYERS = {  # layer: (how it is made, the shape of its input)
    "Activation": ("ta.Activation('relu')", (2, 3)),
    "AvgPool2D": ("ta.AvgPool2D(2)", (1, 4, 4, 1)),
    "BatchNorm": ("ta.BatchNorm(2)", (4, 2)),
    "Conv2D": ("ta.Conv2D(1, 1, kernel_size=2, padding='valid')", (1, 3, 3, 1)),
    "Conv2DTranspose": ("ta.Conv2DTranspose(1, 1, kernel_size=2)", (1, 2, 2, 1)),
    "Crop2D": ("ta.Crop2D(1)", (1, 4, 4, 1)),
    "Dense": ("ta.Dense(3, 2, 'relu')", (2, 3)),
    "Dropout": ("ta.Dropout(0.5)", (2, 3)),
    "Flatten": ("ta.Flatten()", (2, 2, 2)),
    "GaussianNoise": ("ta.GaussianNoise(0.1)", (2, 3)),
    "GlobalAvgPool2D": ("ta.GlobalAvgPool2D()", (1, 2, 2, 2)),
    "MaskingNoise": ("ta.MaskingNoise(0.5)", (2, 3)),
    "MaxPool2D": ("ta.MaxPool2D(2)", (1, 4, 4, 1)),
    "Reshape": ("ta.Reshape(2, 2)", (2, 4)),
    "SaltAndPepper": ("ta.SaltAndPepper(0.5)", (2, 3)),
    "Sequential": ("ta.Sequential(ta.Dense(3, 2, 'tanh'), ta.Dense(2, 3))", (2, 3)),
    "TiedDense": ("ta.TiedDense(ta.Dense(3, 2))", (2, 2)),
    "UpSampling2D": ("ta.UpSampling2D(2)", (1, 2, 2, 1)),
    "ZeroPad2D": ("ta.ZeroPad2D(1)", (1, 2, 2, 1)),
}
SETTINGS = {"SGD": "lr=0.1", "Momentum": "lr=0.1", "GradientDescent": "lr=0.1", "LBFGS": ""}


@dataclass
class Example:
    """``lines``: (what was typed, what was printed) one after the other; ``by_hand``: LaTeX of first elements, with numbers."""

    lines: list = field(default_factory=list)
    by_hand: list = field(default_factory=list)

    def text(self):
        """As a terminal shows it, with Python's prompts."""
        typed = [(">>> " + line.replace("\n", "\n... "), printed) for line, printed in self.lines]
        return "\n".join(part for pair in typed for part in pair if part)


class Session:
    """Lines of a program, run one after the other as Python's prompt does it."""

    def __init__(self):
        import tinyae as ta

        ta.manual_seed(0)
        self.names = {"np": np, "ta": ta}
        self.example = Example()

    def run(self, line):
        """Run one line; what its value looks like is printed if it is an expression."""
        try:
            value = eval(compile(line, "<example>", "eval"), self.names)
        except SyntaxError:
            exec(compile(line, "<example>", "exec"), self.names)
            value = None
        self.example.lines.append((line, "" if value is None else repr(value)))
        return value


def example_of(subject):
    """The computed Example of an operation, loss, layer or optimizer; None for what has none (a parent of layers)."""
    with np.printoptions(precision=4, suppress=True):
        if subject.kind in ("operations", "losses"):
            return operation_example(subject.thing)
        if subject.kind == "layers" and subject.name in LAYERS:
            return layer_example(*LAYERS[subject.name])
        if subject.kind == "optimizers":
            return optimizer_example(subject.name)
    return None


def typed(rng, shape):
    """An array as it is typed: numbers with one decimal, none of them 0; its rows below each other."""
    if isinstance(shape, list):
        return repr(shape)
    values = np.round(rng.normal(size=shape), 1)
    values = np.where(values == 0, 0.5, values)
    if not is_table(shape):
        return repr(values.tolist()).replace("], [", "],\n[")
    table = values.reshape(shape[1:3] if shape[0] == 1 else shape[:2])
    return f"np.float32({repr(table.tolist()).replace('], [', '],' + chr(10) + '[')}).reshape{shape}"


def aligned(line):
    """The rows of an array below each other."""
    return line.replace("\n", "\n" + " " * (line.find("[[") + 1))


def is_table(shape):
    """One image of one channel, or one kernel from one channel to one."""
    return len(shape) == 4 and shape[3] == 1 and 1 in (shape[0], shape[2])


def shown(name, shape):
    """What to type to see an array: its table, if it is one."""
    return f"{name}[{'0, :, :, 0' if shape[0] == 1 else ':, :, 0, 0'}]" if is_table(shape) else name


def forward_and_backward(session, rng, inputs, out, call):
    """Type inputs, call and the gradient of the output; show the output and the gradients. The rest of both examples."""
    for name, shape in inputs.items():
        session.run(aligned(f"{name} = ta.Tensor({typed(rng, shape)}, requires_grad=True)"))
    session.run(f"{out} = {call}")
    result = session.names[out]
    session.run(shown(f"{out}.numpy()", result.shape) if is_table(result.shape) else out)
    if result.ndim == 0:
        session.run(f"{out}.backward()")
    else:
        numbers = typed(rng, result.shape)
        numbers = numbers if is_table(result.shape) else f"np.array({numbers}, dtype={out}.dtype)"
        session.run(aligned(f"g{out} = {numbers}  # what reaches {out} from above"))
        session.run(f"{out}.backward(g{out})")


def operation_example(cls):
    """Forward, then backward from a random gradient of the output (from 1 for a loss)."""
    call, inputs = CALLS[cls.name]
    session, rng = Session(), np.random.default_rng(SEED)
    if cls.__module__.startswith("tinyae.models."):
        session.run(f"from {cls.__module__} import {cls.__name__}")
    letter = cls.formula.split("=")[0].strip()[0]
    with trace(joined=True) as tape:  # dense stays dense
        forward_and_backward(session, rng, inputs, letter if letter not in inputs else "out", call)
    session.example.by_hand = first_elements(tape, cls)
    for name in inputs:
        if session.names[name].grad is not None:
            session.run(shown(f"{name}.grad", session.names[name].shape))
    return session.example


class First(Filled):
    """Formulas with numbers in them, of the first element of a result alone."""

    def both(self, make, result):
        found = attempt(make)
        if found is None or found[0] is None or result.size == 0:
            return None, None
        first = (0,) * result.ndim
        return None, [attempt(found[0].element, found[1], first, result[first])]


def first_elements(tape, cls):
    """The formula, and each rule, of the first element of its result with the numbers in it, where that says something."""
    filled, found = First(room=10_000), []
    for step in tape.steps():
        if step.operation is cls and step.phase == "forward":
            found.append(filled.forward(step)[1])
        elif step.operation is cls:
            found += [filled.pull(step, pull)[1] for pull in step.pulls]
    return [each[0] for each in found if each and each[0]]


def layer_example(made, shape):
    """The layer's output, and the gradients of its input and its parameters."""
    session, rng = Session(), np.random.default_rng(SEED)
    session.run(f"layer = {made}")
    forward_and_backward(session, rng, {"x": shape}, "y", "layer(x)")
    session.run(shown("x.grad", shape))
    for name, parameter in session.names["layer"].named_parameters():
        if parameter.grad is not None:
            path = f"layer[{name[0]}]{name[1:]}" if name[0].isdigit() else f"layer.{name}"
            session.run(shown(f"{path}.numpy()", parameter.shape) if is_table(parameter.shape) else path)
            session.run(shown(f"{path}.grad", parameter.shape))
    return session.example


def optimizer_example(name):
    """Three steps down the bowl L = theta1**2 + 4 theta2**2."""
    session = Session()
    session.run("theta = ta.Tensor([1.0, 1.0], requires_grad=True)")
    setting = SETTINGS.get(name, "")
    session.run(f"optimizer = ta.{name}([theta]{', ' + setting if setting else ''})")
    if name == "LBFGS":
        session.run(
            "def loss():\n    optimizer.zero_grad()\n    L = (theta * theta * [1.0, 4.0]).sum()\n    L.backward()\n"
            "    return L.item()"
        )
        session.run("optimizer.step(loss)")
        session.run("theta")
        return session.example
    for _ in range(3):
        session.run("optimizer.zero_grad()")
        session.run("(theta * theta * [1.0, 4.0]).sum().backward()")
        session.run("theta.grad")
        session.run("optimizer.step()")
        session.run("theta")
    if session.names["optimizer"].state_names:
        session.run("optimizer.state")
    return session.example


def doctest_of(thing):
    """The doctest in a docstring as an Example, run anew; None if there is none."""
    found = doctest.DocTestParser().get_examples(thing.__doc__ or "")
    if not found:
        return None
    session = Session()
    for example in found:
        session.run(example.source.strip())
    return session.example
