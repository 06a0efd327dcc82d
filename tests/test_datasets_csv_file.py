"""CSV files: numbers however they are written, and every fault with its row and column."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyae.datasets.csv_file import read_csv
from tinyae.errors import DataFileError

from .conftest import assert_same, refused


def csv_of(folder, text, encoding="utf-8"):
    path = folder / "x.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("text", [
    "1,2\n3,4\n", "1;2\n3;4", "1\t2\r\n3\t4\r\n", "a,b\n1,2\n3,4", '"a, b";c\n1;2\n3;4\n', "\ufeffa,b\n1,2\n3,4\n",
    "\n\na,b\n\n1,2\n\n3,4\n\n", '"1","2"\n 3 , 4e0 \n', "1,2\r3,4\r", "\ufeff1,2\n3,4\n", "#a,b\n1,2\n3,4",
])  # fmt: skip
def test_every_way_to_write_four_numbers(text, tmp_path):
    array = read_csv(csv_of(tmp_path, text))
    assert array.dtype == np.float32 and array.tolist() == [[1, 2], [3, 4]]


def test_one_column(tmp_path):
    assert read_csv(csv_of(tmp_path, "1\n2\n3\n")).tolist() == [[1], [2], [3]]


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
               elements=st.floats(allow_nan=False, allow_infinity=False, width=32)),
    st.sampled_from(",;\t"), st.booleans(), st.sampled_from(["\n", "\r\n"]),
)  # fmt: skip
def test_numbers_come_back_from_csv(tmp_path_factory, array, mark, header, end):
    lines = [mark.join(f"c{i}" for i in range(array.shape[1]))] if header else []
    lines += [mark.join(repr(float(v)) for v in row) for row in array]
    assert_same(read_csv(csv_of(tmp_path_factory.mktemp("csv"), end.join(lines))), array)


@pytest.mark.parametrize(
    "text, parts",
    [
        ("", ["has no rows of numbers"]),
        ("\n \n", ["row 2, column 1: a gap"]),
        ("a,b\n", ["has no rows of numbers"]),
        ("1,2\n3,cat\n", ["row 2, column 2: the text 'cat'; expected a number"]),
        ("a,b\n\n1,2\n3,\n", ["row 4, column 2 (b): a gap"]),
        ("1,2\n3\n", ["row 2: 1 columns; expected 2"]),
        ("a,b\n1,2,3\n", ["row 2: 3 columns; expected 2"]),
        ("1,2\n3,nan\n", ["row 2, column 2: the value nan, not finite in float32"]),
        ("1,2\n-inf,4\n", ["row 2, column 1: the value -inf"]),
        ("1,2\n1e39,4\n", ["row 2, column 1: the value 1e39, not finite in float32"]),
        ("1,5;2\n3;4\n", ["row 1, column 1: the text '1,5' (a decimal point is needed, not a comma)"]),
        ("1,1_0\n", ["row 1, column 2: the text '1_0'"]),
        ("label,0,1\n1,2,3\n", ["row 1, column 1: the text 'label'"]),
        ("1,2\n3,0x10\n", ["row 2, column 2: the text '0x10'"]),
        ("1,2\n3," + "x" * 200_000, ["x.csv"]),
        ("1,2\n3,\0\n", ["x.csv"]),
    ],
)
def test_every_fault_of_a_csv_file(text, parts, tmp_path):
    refused(csv_of(tmp_path, text), DataFileError, "x.csv", *parts)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_another_encoding(encoding, tmp_path):
    refused(
        csv_of(tmp_path, "größe\n1\n2", encoding), DataFileError, "cannot be read as UTF-8", "Save it as CSV in UTF-8"
    )


def test_a_large_csv_file_is_read_quickly(tmp_path, rng):
    line = ",".join(["0.12345"] * 200) + "\n"
    assert read_csv(csv_of(tmp_path, line * 3000)).shape == (3000, 200)  # 5 MB
    refused(csv_of(tmp_path, line * 3000 + "oops\n"), DataFileError, "row 3001: 1 columns; expected 200")
