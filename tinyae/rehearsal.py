"""What ``fit`` checks before it changes anything: data, settings, and one example through model and loss."""

import hashlib
from math import prod

import numpy as np

from .context import generator, no_grad, observing, use, watch_layers
from .data import as_data, check_values, place_of, take
from .errors import DtypeError, RangeError, ShapeError, brief, require_integer
from .memory import examples_at_once, refuse_what_does_not_fit
from .nn.normalisation import BatchNorm
from .nn.sizes import lost_pixels
from .optim import make_optimizer
from .optimizer import Optimizer
from .random import Generator
from .tensor import Tensor

DEFAULT_BATCH_SIZE = 32
LARGEST_EVALUATION = 4096  # examples at once, however large the batches of the training are
WHOLLY_HASHED = 1 << 28  # bytes; a few tenths of a second


def checked_data(name, x, y, model, loss_name):
    """x and y as arrays of as many examples, with values that model and loss can take."""
    own_target = y is x
    x = as_data(f"fit: {name}", x)
    y = x if own_target else as_data(f"fit: target of {name}", y)
    if len(x) != len(y):
        raise ShapeError(f"fit: {name} has {len(x)} examples, but {len(y)} targets; expected as many.")
    bounded = loss_name == "bce" or model.ends_in_sigmoid()
    if loss_name == "cross_entropy" and y.dtype.kind not in "iu":
        raise DtypeError(f"fit: loss 'cross_entropy' needs integer labels, but the targets are {y.dtype}.")
    check_values(f"fit: {name}", x, unit_interval=bounded and own_target)
    if not own_target:
        check_values(f"fit: target of {name}", y, unit_interval=bounded)
    return x, y


def checked_validation(data, x_is_target, model, loss_name):
    """The validation data as a pair, or None."""
    if data is None:
        return None
    is_pair = isinstance(data, (tuple, list)) and len(data) == 2
    if not is_pair and (isinstance(data, tuple) or not x_is_target):
        raise ShapeError("fit: validation_data must be a pair (x, y), as the training data are.")
    return checked_data("validation_data", *(data if is_pair else (data, data)), model, loss_name)


def checked_optimizer(optimizer, lr, model):
    """An optimizer over the model's parameters, made from its name or given."""
    parameters = model.parameters()
    if not parameters:
        raise RangeError(f"fit: {model!r} has no parameters to train.")
    if not isinstance(optimizer, Optimizer):
        return make_optimizer(optimizer, parameters, lr)
    if lr is not None:
        raise RangeError(f"fit: lr={lr} was given beside {optimizer!r}, which has its own; set optimizer.lr instead.")
    if not any(p is q for p in optimizer.params for q in parameters):
        raise RangeError(f"fit: {optimizer!r} holds none of the model's parameters. Make it from model.parameters().")
    return optimizer


def checked_batch_size(batch_size, optimizer, n):
    """At most n; all n for an optimizer that needs the exact gradient."""
    if optimizer.full_batch:
        if batch_size is not None:
            raise RangeError(
                f"fit: batch_size={batch_size} was given, but {optimizer.about} takes the gradient of all {n} examples at once. "
                "Leave batch_size out, or use optimizer='sgd'."
            )
        return n
    size = DEFAULT_BATCH_SIZE if batch_size is None else batch_size
    return min(require_integer("fit", "batch_size", size, at_least=1), n)


def require_functions(name, values):
    """Check a list of functions, and return it as a list."""
    values = list(values) if isinstance(values, (list, tuple)) else values
    if not isinstance(values, list) or not all(callable(value) for value in values):
        raise DtypeError(f"fit: {name} is {brief(values)}; expected a list of functions, such as [RandomShift(2)].")
    return values


def rehearse(trainer):
    """Compute the loss of one example of each data set: what cannot work is refused before anything is changed.

    Nor is anything large allocated before it is known that a step fits into memory.
    """
    data = {"the training data": (trainer.x, trainer.y)}
    if trainer.validation is not None:
        data["validation_data"] = trainer.validation
    for name, (x, y) in data.items():
        own_chance = use(generator, Generator(trainer.seed))  # a try takes nothing from the user's
        unseen = use(observing, None)  # whoever looks on waits for the training
        with unseen, trainer.model.evaluating(), own_chance, watch_layers() as calls:
            batch = trainer.batch(x, y, np.arange(1))
            try:
                terms = trainer.model.objective(*batch, trainer.loss)
            except ShapeError as error:
                if reason := lost_on_the_way(trainer.model, x, y):
                    raise ShapeError(f"fit: the model's output and its target are not of one size. {reason}") from error
                raise
            trainer.terms = checked_terms(trainer.model, terms)
        if x is trainer.x:
            check_augmented(trainer, *batch)
            refuse_single_values(trainer, calls)
            refuse_what_does_not_fit(trainer, calls)
            most = min(max(trainer.batch_size, 256), LARGEST_EVALUATION)
            trainer.evaluated_at_once = examples_at_once(calls, trainer.dtype.itemsize, most)
        if trainer.loss_name == "cross_entropy":
            with trainer.model.evaluating():
                classes = trainer.model(batch[0]).shape[1]
            check_labels(name, y, classes)


def checked_terms(model, terms):
    """The names of what a model minimises; [] if that is the loss alone."""
    if not isinstance(terms, dict) or not terms:
        raise DtypeError(
            f"fit: {type(model).__name__}.objective returned {brief(terms)}; expected a dict {{name: Tensor with one number}}."
        )
    for name, value in terms.items():
        if not isinstance(value, Tensor) or value.size != 1:
            what = "the loss function" if name == "loss" else f"the objective's term '{name}'"
            raise ShapeError(f"fit: {what} returned {brief(value)}; expected a Tensor with one number, such as a mean.")
    if list(terms) == ["loss"]:
        return []
    if taken := {"epoch", "loss", "penalty", "val_loss", "lr", "seconds", "gradients"} & set(terms):
        raise RangeError(
            f"fit: {type(model).__name__}.objective has a term '{min(taken)}', a name that the history needs for something "
            "else. Give it another."
        )
    return list(terms)


def check_augmented(trainer, x, y):
    """What augmentation makes of an example must be an example."""
    with use(generator, Generator(trainer.seed)), no_grad():
        changed = trainer.augmented(x, y)[0]
    if not isinstance(changed, Tensor) or changed.shape != x.shape or changed.dtype != x.dtype:
        raise ShapeError(
            f"fit: augment made {brief(changed)} of a batch of {x.dtype} with shape {x.shape}; expected a Tensor like it."
        )


def refuse_single_values(trainer, calls):
    """Refuse a last batch of one example in which a BatchNorm would see one value per feature: it has no variance."""
    n, size = len(trainer.x), trainer.batch_size
    if size > 1 and n % size != 1:
        return
    for module, shape, _ in calls:
        if isinstance(module, BatchNorm) and prod(shape[1:-1]) == 1:
            raise ShapeError(
                f"fit: {n} examples in batches of {size} leave one alone, and {module.label()} would see one value per feature, "
                f"which has no variance. Give another batch_size, or leave out one example."
            )


def lost_on_the_way(model, x, y):
    """Which layer loses a pixel, where images are to come out as large as they went in; else ""."""
    if len(x.shape) != 4 or y.shape[1:3] != x.shape[1:3]:
        return ""
    try:
        return lost_pixels(model, x.shape[1:])
    except ShapeError:  # the images do not come that far
        return ""


def check_labels(name, labels, classes):
    """Refuse labels that no output stands for."""
    labels = labels[:]
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise RangeError(
            f"fit: the labels of {name} go from {low} to {high}, but the model's {classes} outputs stand for 0 to {classes - 1}."
        )


def make_batch(x, y, index, backend, dtype):
    """The examples x[index] and their targets as Tensors; one and the same Tensor if x is its own target."""
    batch = take(x, index, backend, dtype)
    if y is x:
        return batch, batch
    return batch, take(y, index, backend, dtype if y.dtype.kind == "f" else None)


def fingerprint(*arrays):
    """A short hash of data sets; of one larger than WHOLLY_HASHED only its shape and 64 to 127 rows, spread evenly."""
    digest = hashlib.sha256()
    for array in arrays:
        place = place_of(array)
        digest.update(f"{array.dtype} {array.shape}".encode())
        step = max(1, len(array) // 64)
        if array.size * array.dtype.itemsize <= WHOLLY_HASHED:
            pieces = (array[start : start + step] for start in range(0, len(array), step))
        else:
            pieces = (array[row : row + 1] for row in range(0, len(array), step))
        for piece in pieces:
            digest.update(np.ascontiguousarray(place.to_host(piece)))
    return digest.hexdigest()[:16]
