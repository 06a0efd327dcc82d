"""What an error means: how well simpler predictors do on the same data.

All errors are means over every element of every example, like ``mse_loss``. Data are read in pieces,
so they may be larger than memory.
"""

import math

import numpy as np

from .backend import backend_of
from .errors import ShapeError

PIECE = 1 << 22  # elements looked at together
LARGEST_PCA = 4096  # numbers per example; the covariance matrix has the square of it


def mse(prediction, target):
    """Mean squared error of two arrays of one shape, in float64."""
    return mean_error(squared_error, lambda start, stop: prediction[start:stop], prediction.shape, target)


def bce(prediction, target):
    """Mean binary cross-entropy of probabilities, in float64; probabilities of 0 and 1 count as 1e-7 and 1 - 1e-7."""
    return mean_error(cross_entropy_error, lambda start, stop: prediction[start:stop], prediction.shape, target)


def squared_error(prediction, target):
    """Element by element."""
    return (prediction - target) ** 2


def cross_entropy_error(prediction, target):
    """Element by element, probabilities kept away from 0 and 1 by 1e-7."""
    p = np.clip(prediction, 1e-7, 1 - 1e-7)
    return -(target * np.log(p) + (1 - target) * np.log1p(-p))


def mean_error(error, predict, shape, target):
    """The mean of ``error(predict(start, stop), target[start:stop])``, piece by piece in float64."""
    if tuple(shape) != tuple(target.shape):
        raise ShapeError(
            f"mse: the prediction has shape {tuple(shape)}, the target {tuple(target.shape)}; they must be equal."
        )
    sums = [error(np.asarray(predict(i, j), np.float64), piece).sum() for i, j, piece in pieces(target)]
    return float(math.fsum(sums) / target.size)


def pieces(x):
    """(start, stop, x[start:stop] in float64) over all examples."""
    rows = max(1, PIECE * len(x) // x.size)
    for start in range(0, len(x), rows):
        piece = x[start : start + rows]
        yield start, min(start + rows, len(x)), np.asarray(backend_of(piece).to_host(piece), np.float64)


def reconstruction_error(model, x, name="mse"):
    """The mean error ``"mse"`` or ``"bce"`` of ``model.reconstruct(x)``."""
    error = {"mse": squared_error, "bce": cross_entropy_error}[name]
    return mean_error(error, lambda start, stop: model.reconstruct(x[start:stop]), x.shape, x)


def entropy_floor(x):
    r"""The binary cross-entropy of a perfect reconstruction: :math:`-x \ln x - (1 - x) \ln (1 - x)`, the mean.

    It is 0 only for data that are 0 or 1; no model's loss can be below it.
    """
    return mean_error(cross_entropy_error, lambda start, stop: x[start:stop], x.shape, x)


def mean_example(x):
    """The mean over examples, float64 (1, ...)."""
    return sum(piece.sum(axis=0) for _, _, piece in pieces(x))[None] / len(x)


def mean_baseline(x_train, x_test, name="mse"):
    """The error of predicting the mean training example for everything: what no code at all reaches."""
    return constant_error(mean_example(x_train), x_test, name)


def constant_error(constant, x, name="mse"):
    """The error of predicting the same, (1, ...), for every example of x."""
    error = {"mse": squared_error, "bce": cross_entropy_error}[name]
    return mean_error(error, lambda start, stop: constant, x.shape, x)


def pca_baseline(x_train, x_test, components):
    """The error of PCA with a code of the same size: the best linear autoencoder.

    Fitted on the training examples by the eigenvectors of their covariance; Pearson (1901),
    Bishop (2006), section 12.1.2.
    """
    mean, vectors = pca(x_train)
    if not 1 <= components <= len(vectors):
        raise ShapeError(
            f"pca: {components} components asked of data with {len(vectors)} features; expected 1 to {len(vectors)}."
        )
    return pca_error(mean, vectors[:, -components:], x_test)


def pca(x):
    """Mean (D,) and eigenvectors (D, D) of the covariance of examples flattened to D numbers, the largest last."""
    mean, _, vectors = principal_axes(x)
    return mean, vectors


def principal_axes(x):
    """Mean (D,), eigenvalues (D,) and eigenvectors (D, D) of the covariance of examples (N, ...), flattened to D numbers.

    In ascending order, as ``numpy.linalg.eigh`` gives them: the first principal component is the last column. The
    covariance is the mean over examples, divided by N.
    """
    mean = mean_example(x).ravel()
    centred = (piece.reshape(len(piece), -1) - mean for _, _, piece in pieces(x))
    covariance = sum(piece.T @ piece for piece in centred) / len(x)
    return mean, *np.linalg.eigh(covariance)


def pca_error(mean, basis, x):
    """The mean squared error of x (N, ...) projected onto the columns of basis (D, K)."""

    return mean_error(squared_error, lambda start, stop: projected(x[start:stop], mean, basis), x.shape, x)


def projected(x, mean, basis):
    """Examples (N, ...) projected onto the columns of basis (D, K): what PCA makes of them, float64 (N, ...)."""
    flat = np.asarray(x, np.float64).reshape(len(x), -1)
    return ((flat - mean) @ basis @ basis.T + mean).reshape(x.shape)


def predicted_labels(model, x):
    """The class with the largest output, int64 (N,)."""
    with model.evaluating():
        return np.concatenate(
            [
                model.backend.to_host(
                    model(model.backend.asarray(np.asarray(x[i : i + 1024], model.dtype))).data
                ).argmax(axis=1)
                for i in range(0, len(x), 1024)
            ]
        )


def confusion_matrix(predicted, labels, classes):
    """How often class i (row) was taken for class j (column), int64 (classes, classes)."""
    return np.bincount(np.asarray(labels) * classes + predicted, minlength=classes**2).reshape(classes, classes)
