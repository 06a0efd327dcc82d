"""The family's table as a whole: what it says, and when its exit status is 1."""

from types import SimpleNamespace

import pytest

from benchmarks import family
from benchmarks.family import text
from benchmarks.family.row import Row
from tinyae.errors import DataFileError


@pytest.mark.parametrize("reached, status", [(True, 0), (False, 1), (None, 0)])
def test_the_status_is_that_of_the_rows(monkeypatch, capsys, reached, status):
    monkeypatch.setattr(text, "measure", lambda seeds: [Row("what", "", "seen", reached, 1.0)])
    assert family.main(SimpleNamespace(only="text", seeds="0", json=None)) == status
    assert "seen:  seen" in capsys.readouterr().out


def test_a_part_that_could_not_be_measured_is_named_and_is_no_success(monkeypatch, capsys):
    def missing(seeds):
        raise DataFileError("no such data")

    monkeypatch.setattr(text, "measure", missing)
    assert family.main(SimpleNamespace(only="text", seeds="0", json=None)) == 1
    said = capsys.readouterr().out
    assert "no such data" in said and "not measured: text" in said
