"""Numbers in a text file, one example per line."""

import csv
import math
import warnings

import numpy as np

from ..errors import DataFileError


def read_csv(path, dtype=np.float32):
    """The numbers in a .csv file.

    The separator is a tab, else a semicolon, else a comma: the first of these that the first line has.
    A first line without any number is a header. UTF-8. Blank lines do not count as examples.

    Returns
    -------
    array (N, columns) of ``dtype``

    Raises
    ------
    DataFileError
        Text, a gap, NaN or infinity, with its row (a line of the file, counted from 1) and column; a row
        of another length; no rows; or an encoding other than UTF-8.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            first = file.readline()
            while first and not first.strip():
                first = file.readline()
            delimiter = next((mark for mark in "\t;" if mark in first), ",")
            cells = next(csv.reader([first], delimiter=delimiter), [])
            header = cells if cells and not any(is_number(cell) for cell in cells) else None
            if header is None:
                file.seek(0)
            try:
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", "loadtxt: input contained no data")
                    array = np.loadtxt(file, dtype, None, delimiter, encoding="utf-8", ndmin=2, quotechar='"')
            except UnicodeDecodeError:
                raise
            except ValueError as error:
                raise culprit(path, delimiter, header, dtype) or DataFileError(f"load: {path}: {error}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        cause = error.strerror if isinstance(error, OSError) else error
        raise DataFileError(f"load: {path} cannot be read as UTF-8 text: {cause}. Save it as CSV in UTF-8.") from error
    if len(array) == 0:
        raise DataFileError(f"load: {path} has no rows of numbers. Expected one example per line.")
    if header is not None and array.shape[1] != len(header) or not np.isfinite(array).all():
        raise culprit(path, delimiter, header, dtype) or DataFileError(f"load: {path} has NaN or infinity in it.")
    return array


def is_number(cell):
    """Is this a number as NumPy reads it?"""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell and cell.isascii()  # Python's float takes more


def culprit(path, delimiter, header, dtype):
    """The error for the first row that cannot be an example; None if every row can.

    Slow, but only a file with such a row comes here.
    """
    columns, limit = None if header is None else len(header), float(np.finfo(dtype).max)
    with open(path, encoding="utf-8-sig") as file:
        reader = csv.reader(file, delimiter=delimiter)
        skip = header is not None
        for row in reader:
            if not row:
                continue
            if skip:
                skip = False
                continue
            if columns is None:
                columns = len(row)
            if len(row) != columns:
                return DataFileError(
                    f"load: {path}, row {reader.line_num}: {len(row)} columns; expected {columns}, as in the rows before it. "
                    "Mend this row, or the separators (tab, semicolon or comma)."
                )
            if is_sound(row, limit):
                continue
            for number, cell in enumerate(row, 1):
                fault = fault_of(cell, dtype)
                if fault:
                    name = f" ({header[number - 1]})" if header else ""
                    return DataFileError(
                        f"load: {path}, row {reader.line_num}, column {number}{name}: {fault}; expected a number. "
                        "Remove this column or row, or put a number there."
                    )
    return None


def is_sound(row, limit):
    """Are these surely all finite numbers? A quick look, which spares most rows the close one."""
    text = "".join(row)
    if "_" in text or not text.isascii():
        return False
    try:
        values = [float(cell) for cell in row]
    except ValueError:
        return False
    return math.isfinite(sum(values)) and -limit <= min(values) and max(values) <= limit


def fault_of(cell, dtype):
    """What keeps a cell from being a number, or None."""
    if not cell.strip():
        return "a gap"
    if not is_number(cell):
        hint = " (a decimal point is needed, not a comma)" if is_number(cell.replace(",", ".", 1)) else ""
        return f"the text {cell[:40]!r}{hint}"
    with np.errstate(over="ignore"):
        if math.isfinite(float(cell)) and np.isfinite(dtype(cell)):
            return None
    return f"the value {cell.strip()[:40]}, not finite in {np.dtype(dtype)}"
