"""MATLAB files, ``*.mat``, as collections of benchmark data come in; read by SciPy."""

from ..errors import DataFileError
from .numpy_file import damaged

DATA, LABELS = ("x", "data", "images"), ("y", "labels")  # upper and lower case are one


def read_mat(path):
    """(x, y): the array called X, data or images, and y or labels, or None if there is none.

    Raises
    ------
    DataFileError
        The file is damaged, of MATLAB's version 7.3, or has no array of such a name.
    """
    from scipy.io import loadmat

    with damaged(path):
        try:
            found = {name: array for name, array in loadmat(path).items() if not name.startswith("__")}
        except NotImplementedError:
            raise DataFileError(
                f"load: {path} is of MATLAB's version 7.3, an HDF5 file. Save it with: save('-v7', ...)."
            ) from None
    by_name = {name.lower(): name for name in found}
    data = [by_name[name] for name in DATA if name in by_name]
    if not data:
        listing = ", ".join(f"{name} {getattr(array, 'shape', '')}" for name, array in found.items()) or "nothing"
        raise DataFileError(f"load: {path} has no array called X (or data, or images); it has: {listing}. Rename one.")
    labels = [by_name[name] for name in LABELS if name in by_name]
    y = found[labels[0]] if labels else None
    if y is not None and y.ndim == 2 and len(y) == 1:
        y = y.T  # for MATLAB every vector is a matrix, and some lie
    return found[data[0]], y
