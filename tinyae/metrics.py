"""What an error means: how well simpler predictors do on the same data.

All errors are means over every element of every example, like ``mse_loss``.
"""

import numpy as np

from .errors import ShapeError


def mse(prediction, target):
    """Mean squared error of two arrays of one shape, in float64."""
    prediction, target = np.asarray(prediction, np.float64), np.asarray(target, np.float64)
    if prediction.shape != target.shape:
        raise ShapeError(
            f"mse: the prediction has shape {prediction.shape}, the target {target.shape}; they must be equal."
        )
    return float(np.mean((prediction - target) ** 2))


def mean_baseline(x_train, x_test):
    """The error of predicting the mean training example for everything: what no code at all reaches."""
    mean = np.asarray(x_train, np.float64).mean(axis=0)
    return mse(np.broadcast_to(mean, x_test.shape), x_test)


def pca_baseline(x_train, x_test, components):
    """The error of PCA with a code of the same size: the best linear autoencoder.

    Fitted on the training examples by the eigenvectors of their covariance; Pearson (1901),
    Bishop (2006), section 12.1.2.
    """
    train = np.asarray(x_train, np.float64).reshape(len(x_train), -1)
    test = np.asarray(x_test, np.float64).reshape(len(x_test), -1)
    if not 1 <= components <= train.shape[1]:
        raise ShapeError(
            f"pca: {components} components asked of data with {train.shape[1]} features; expected 1 to {train.shape[1]}."
        )
    mean = train.mean(axis=0)
    _, vectors = np.linalg.eigh((train - mean).T @ (train - mean))  # eigenvalues in ascending order
    basis = vectors[:, -components:]
    return mse((test - mean) @ basis @ basis.T + mean, test)
