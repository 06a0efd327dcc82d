"""``tinyae text``: answers, the comparison, and what is refused."""

import pytest

from tinyae import runs, text
from tinyae.runs.text import mates_in_words

from .conftest import tinyae
from .test_text import SUBJECTS, about

pytest.importorskip("click", reason="the command line needs click")
pytest.importorskip("sklearn", reason="TF-IDF needs scikit-learn")


@pytest.fixture
def texts(tmp_path, monkeypatch):
    """A folder of the test's own with a folder of texts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(text, "HIDDEN", 16)
    (tmp_path / "texts").mkdir()
    for subject in SUBJECTS:
        for i in range(2):
            (tmp_path / "texts" / f"{subject}{i}.txt").write_text(about(subject, seed=i))
    return tmp_path


def test_a_text_is_answered_by_three_methods(texts, monkeypatch, capsys):
    code, result, out, _ = tinyae("text rope --data texts --size 4 --top 2 --json", monkeypatch, capsys)
    assert code == 0 and result["documents"] == 8 and not result["is_document"]
    for found in result["nearest"].values():
        assert {name for name, _ in found} == {"sailing0", "sailing1"}
    assert "nearest to the text 'rope'" in out and "TF-IDF" in out and "LSA (4)" in out and "autoencoder (4)" in out


def test_a_document_is_not_its_own_answer(texts, monkeypatch, capsys):
    code, result, out, _ = tinyae("text Music0 --data texts --size 4 --top 1 --json", monkeypatch, capsys)
    assert code == 0 and result["query"] == "music0" and result["is_document"]
    assert [found[0][0] for found in result["nearest"].values()] == ["music1"] * 3
    assert "nearest to the document 'music0'" in out


def test_the_comparison(texts, monkeypatch, capsys):
    code, result, out, _ = tinyae("text --data texts --size 3 --seeds 0,4 --json", monkeypatch, capsys)
    assert code == 0 and result["seeds"] == [0, 4] and list(result["mates"]) == ["tf-idf", "lsa", "autoencoder"]
    for found in result["mates"].values():
        assert len(found["by_seed"]) == 2 and found["documents"] == 8
        for one in [found, *found["by_seed"]]:  # two of a subject: their halves may be taken for each other's
            assert 0 <= one["precision_at_1"] < one["mean_reciprocal_rank"] <= 1 and one["mean_reciprocal_rank"] > 0.3
    assert "Each of the 8 that have 100 words is cut in two" in out and "seeds 0, 4" in out


def test_who_wins_is_said_plainly():
    def result(own, lsa, raw):
        ranks = {"tf-idf": raw, "lsa": lsa, "autoencoder": own}
        seeds = {
            method: {"precision_at_1": 0.5, "mean_reciprocal_rank": rank, "documents": 9}
            for method, rank in ranks.items()
        }
        return {"size": 8, "seeds": [0], "mates": {method: one | {"by_seed": [one]} for method, one in seeds.items()}}

    lost = " ".join(mates_in_words(result(0.6, 0.7, 0.65)))
    assert "LSA is best; the autoencoder is below LSA with as many numbers (0.600, 0.700)" in lost
    won = " ".join(mates_in_words(result(0.8, 0.7, 0.65)))
    assert "autoencoder is best; the autoencoder is above LSA" in won
    assert "see also --size 32" in won
    assert "TF-IDF is best" in " ".join(mates_in_words(result(0.6, 0.6, 0.7)))


@pytest.mark.parametrize(
    "line, message",
    [
        ("text --data nowhere", "nowhere is no folder"),
        ("text --data empty", "has no .txt files"),
        ("text zebra --data texts --size 4", "no word that stands in the 8 documents"),
        ("text rope --data texts --size 0", "size is 0"),
        ("text rope --data texts --top 0", "top is 0"),
        ("text rope --data texts --size 4000", "size is 4000, but there are"),
        ("text --data texts --seeds a,b", "expected whole numbers with commas"),
        ("text --data texts --seeds -1", "seed is -1"),
        ("text --data texts --seeds ,", "no seed was given"),
        ("text --data one", "1 document given"),
        ("text a b", "unexpected extra argument"),
    ],
)
def test_wrong_input(texts, monkeypatch, capsys, line, message):
    (texts / "empty").mkdir()
    (texts / "one").mkdir()
    (texts / "one" / "a.txt").write_text("soup")
    before = sorted(texts.rglob("*"))
    code, _, out, err = tinyae(line, monkeypatch, capsys)
    assert code == 2 and message in err and not out and len(err.strip().splitlines()) <= 4
    assert sorted(texts.rglob("*")) == before


def test_an_empty_query_is_refused(texts):
    with pytest.raises(ValueError, match="the query is empty"):
        runs.search_text(" ", data="texts")


@pytest.mark.slow
def test_the_topics_of_python():
    """Content differs between versions of Python: the bounds are wide."""
    result = runs.search_text(seeds=(0,))
    mates = {method: found["mean_reciprocal_rank"] for method, found in result["mates"].items()}
    assert mates["tf-idf"] > 0.5 and mates["lsa"] > 0.5 and mates["autoencoder"] > 0.45
