"""Handwritten digits that need no download."""

from typing import Any

import numpy as np

from ..errors import missing_library

Array = np.ndarray[Any, Any]


def load_digits() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Handwritten digits that come with scikit-learn: 1,797 real scans of 8x8 pixels, offline.

    The last 20 % of ``numpy.random.RandomState(0).permutation(1797)`` are held out.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        Images float32 (1437, 8, 8, 1) and (360, 8, 8, 1) in [0, 1]; labels uint8.

    Raises
    ------
    MissingLibraryError
        scikit-learn is not installed.

    Source: Alpaydin and Kaynak, "Optical recognition of handwritten digits", UCI (1998), its test part.
    """
    try:
        from sklearn.datasets import load_digits as bundled
    except ImportError as error:
        raise missing_library("load_digits", "scikit-learn") from error
    digits = bundled()
    x = (digits.images / 16).astype(np.float32)[..., None]
    y = digits.target.astype(np.uint8)
    order = np.random.RandomState(0).permutation(len(x))
    train, test = np.split(order, [int(0.8 * len(x))])
    return (x[train], y[train]), (x[test], y[test])
