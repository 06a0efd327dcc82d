"""What goes wrong in a training: a loss or a weight that is no number, a model that collapses."""

import math

import numpy as np

from .errors import TrainingError, warn
from .history import by_layer
from .metrics import constant_error, mean_example

FADED = 1e-2  # norm of a layer's gradient; that of one that learns is some tenths


class CollapseWarning(UserWarning):
    """The model has come to predict the same output for every input."""


def not_finite(model):
    """The name of the first parameter with a NaN or an infinity in it, or None."""
    named = model.named_parameters()
    backend = named[0][1].backend
    flags = backend.to_host(backend.xp.stack([backend.xp.isfinite(tensor.data).all() for _, tensor in named]))
    return None if flags.all() else named[int(np.argmin(flags))][0]


def put_back(trainer, what, value, whose):
    """The loss or a weight is no number: put model and optimizer back and say what happened."""
    batch = trainer.batch_number
    step = trainer.epoch * trainer.batches_per_epoch + batch
    rate = repr(trainer.optimizer) if trainer.optimizer.lr is None else f"learning rate {trainer.optimizer.lr:g}"
    graded = [(name, p) for name, p in trainer.model.named_parameters() if p.grad is not None]
    largest = [(p.backend.read(abs(p.grad).max()), name) for name, p in graded]
    # NaN compares as neither smaller nor larger; here it is the largest
    size, name = max(largest, key=lambda g: (math.isnan(g[0]), g[0]), default=(0.0, None))
    gradient = "No gradient was computed yet."
    if name is not None:
        gradient = f"The largest gradient of {whose} was {size:.3g}, in {name}."
    trainer.model.restore(trainer.last_good[0])
    trainer.optimizer.restore(trainer.last_good[1])
    error = TrainingError(
        f"fit: the {what} became {value} in step {step} (epoch {trainer.epoch + 1}, batch {batch}), with {rate}. "
        f"{gradient} Model and optimizer were put back to the end of epoch {trainer.epoch}. "
        "Try a smaller learning rate, or callbacks=[ClipNorm(1.0)]."
    )
    error.history = trainer.history
    raise error


def warn_of_collapse(trainer):
    """Warn if the model predicted the same for everything after two epochs in a row, or after the last one."""
    found = None if trainer.model.watches_for_collapse else collapse(trainer)
    trainer.collapsed_for = 0 if found is None else trainer.collapsed_for + 1
    last = trainer.epoch == trainer.epochs or trainer.stop_reason is not None
    if trainer.collapsed_for == 2 or (last and trainer.collapsed_for == 1):
        constant, varies, should = found
        warn(
            f"after epoch {trainer.epoch} the model predicts the same for every input: over examples its output varies by "
            f"{varies:.2g}, the target by {should:.2g} (variances). It has collapsed to a constant, {about_constant(trainer, constant)} "
            f"{about_gradients(trainer.history.records[-1])} {what_helps(trainer.model)}",
            CollapseWarning,
        )


def collapse(trainer):
    """(the constant, the variances of outputs and of targets), if the outputs no longer depend on the input; else None.

    Compared are the variances over examples of outputs and targets, on up to 256 examples, but no more than an
    evaluation takes at once.
    """
    if trainer.y.dtype.kind != "f" or len(trainer.x) < 2:
        return None
    n = min(256, max(2, trainer.evaluated_at_once), len(trainer.x))
    x, y = trainer.batch(trainer.x, trainer.y, np.arange(n))
    with trainer.model.evaluating():
        prediction = trainer.model(x)
    if prediction.shape != y.shape:
        return None
    variances = [tensor.data.var(axis=0).mean() for tensor in (prediction, y)]
    varies, should = y.backend.to_host(y.backend.xp.stack(variances)).tolist()  # one look
    if not varies < 1e-4 * should:
        return None
    return prediction.backend.to_host(prediction.data).astype(np.float64).mean(axis=0, keepdims=True), varies, should


def about_constant(trainer, constant):
    """What it predicts, and how far that is from the targets, beside the mean example."""
    low, high, most = constant.min(), constant.max(), np.abs(constant).max()
    which, y = ("held-out", trainer.validation[1]) if trainer.validation else ("training", trainer.y)
    name = trainer.loss_name if trainer.loss_name in ("mse", "bce") else "mse"
    error = constant_error(constant, y, name)
    if (constant**2).mean() < 1e-3 * constant_error(np.zeros_like(constant), y):
        what = "0 everywhere" + (f" (at most {most:.2g})" if most > 1e-6 else "")
    else:
        what = f"{constant.mean():.3g} everywhere" if high - low < 1e-3 else f"with values from {low:.3g} to {high:.3g}"
    mean = constant_error(mean_example(trainer.y), y, name)
    return (
        f"{what}, whose {name.upper()} on the {which} data is {error:.5f}; predicting the mean of the training data, which "
        f"also needs no input, would have {mean:.5f}."
    )


def about_gradients(record):
    """What reached each layer in the last batch."""
    layers = by_layer(record["gradients"])
    if not layers:
        return "No gradients were kept."
    norms = ", ".join(f"{name or 'layer'} {norm:.1e}" for name, norm in layers.items())
    reason = "Its code tells nothing about the input, though some layers still receive a gradient"
    if max(layers.values()) < FADED:
        reason = "Its units are saturated or dead, and pass next to nothing back"
    return f'{reason}; the gradients\' norms from the first layer to the last: {norms} (epoch by epoch: history["gradients"]).'


def what_helps(model):
    """The ways out, the likeliest first."""
    others = "with a smaller learning rate, or with loss='bce' if the model ends in a sigmoid"
    rules = {module.init for module in model.modules() if hasattr(module, "init")}
    if rules <= {"he", "he_normal"}:
        return f"Start anew with another seed, for the initial weights are chance, {others}."
    return f"Start anew with init='he', which keeps the size of signals through relu layers; if that does not help, {others}."
