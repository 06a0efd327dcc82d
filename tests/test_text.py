"""Documents as vectors: what is near to what, what halves of documents tell, what is refused."""

import sys

import numpy as np
import pytest

import tinyae as ta
from tinyae import text
from tinyae.errors import DataFileError, DtypeError, RangeError, StateError
from tinyae.text import DocumentIndex, find_mates, halves, load_texts, load_topics, passages

pytest.importorskip("sklearn", reason="TF-IDF needs scikit-learn")

SUBJECTS = {
    "cooking": "soup onion pepper salt kitchen oven bread butter garlic pan",
    "sailing": "boat sail wind harbour mast rope anchor tide wave captain",
    "music": "violin piano chord melody rhythm concert orchestra note song tune",
    "garden": "rose soil seed spade compost tulip hedge lawn weed flower",
}


def about(subject, words=120, seed=0):
    """A text of words of that subject."""
    chance = np.random.default_rng([seed, *map(ord, subject)])
    return " ".join(chance.choice(SUBJECTS[subject].split(), words))


def library(each=3):
    """Several documents of each subject."""
    return {f"{subject} {i}": about(subject, seed=i) for subject in SUBJECTS for i in range(each)}


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Small models are enough for small libraries."""
    monkeypatch.setattr(text, "HIDDEN", 16)


# ---------------------------------------------------------------- near and far


@pytest.mark.parametrize("method", text.METHODS)
def test_a_text_is_near_to_those_of_its_subject(method):
    index = DocumentIndex(method, size=4).fit(library())
    for subject in SUBJECTS:
        found = index.nearest(about(subject, 30, seed=9), 3)
        assert {name.split()[0] for name, _ in found} == {subject}
        cosines = [cosine for _, cosine in found]
        assert cosines == sorted(cosines, reverse=True) and 0.5 < cosines[-1] <= cosines[0] <= 1 + 1e-9
    assert index.words() == 40


@pytest.mark.parametrize("method, width", [("tf-idf", 40), ("lsa", 4), ("autoencoder", 4)])
def test_vectors_have_length_1_and_those_without_a_known_word_0(method, width):
    index = DocumentIndex(method, size=4).fit(library())
    vectors = index.transform(["soup and salt", "zebra", ""])
    assert vectors.shape == (3, width) and vectors.dtype == np.float64
    assert np.allclose(np.linalg.norm(vectors, axis=1), [1, 0, 0])


def test_tf_idf_is_what_it_says():
    documents = {"a": "soup soup salt", "b": "soup wind", "c": "tide wind rope"}
    index = DocumentIndex("tf-idf").fit(documents)
    weight = np.log(4 / 3) + 1, np.log(4 / 2) + 1  # in two of three documents, in one
    row = np.array([(1 + np.log(2)) * weight[0], weight[1]])
    found = dict(index.nearest("salt", 3))
    assert found["a"] == pytest.approx(row[1] / np.linalg.norm(row)) and found["b"] == found["c"] == 0


def test_lsa_finds_what_shares_no_word():
    """Soup and onion never meet, but both stand beside pepper."""
    documents = {
        f"{i}": t for i, t in enumerate(["soup pepper", "onion pepper", "boat wind", "sail wind", "mast wind tide"])
    }
    raw = DocumentIndex("tf-idf").fit(documents).transform(["soup", "onion"])
    lsa = DocumentIndex("lsa", size=2).fit(documents).transform(["soup", "onion", "boat"])
    assert raw[0] @ raw[1] == 0 and lsa[0] @ lsa[1] > 0.9 and abs(lsa[0] @ lsa[2]) < 0.1


def test_the_seed_decides_and_nobody_elses_numbers_are_touched():
    ta.manual_seed(5)
    expected = ta.Dense(2, 2).weight.numpy()
    ta.manual_seed(5)
    state = np.random.get_state()[1].copy()
    first, same, other = (
        DocumentIndex("autoencoder", 4, seed).fit(library()).transform(["soup"]) for seed in (0, 0, 1)
    )
    assert np.array_equal(first, same) and not np.allclose(first, other)
    assert np.array_equal(ta.Dense(2, 2).weight.numpy(), expected)
    assert np.array_equal(np.random.get_state()[1], state)


def test_the_autoencoder_learns_and_its_code_has_the_size():
    index = DocumentIndex("autoencoder", size=6).fit(library())
    assert index.history["loss"][-1] < 0.8 * index.history["loss"][0]
    assert index.model.encode(np.zeros((1, 40), np.float32)).shape == (1, 6)


# ---------------------------------------------------------------- mates


def test_halves_and_passages_lose_no_word():
    words = about("music", 101)
    first, second = halves(words)
    assert len(first.split()) == 50 and f"{first} {second}" == words
    pieces = passages(words, 30)
    assert [len(piece.split()) for piece in pieces] == [30, 30, 30, 11] and " ".join(pieces) == words


@pytest.mark.parametrize("method", text.METHODS)
def test_mates_that_are_plain_are_found(method):
    documents = {subject: about(subject, 200) for subject in SUBJECTS}
    assert find_mates(documents, method, size=4) == {"precision_at_1": 1, "mean_reciprocal_rank": 1, "documents": 4}


def test_mates_whose_second_half_says_something_else_are_not_found():
    names = list(SUBJECTS)
    documents = {a: f"{about(a, 100)} {about(b, 100)}" for a, b in zip(names, names[1:] + names[:1])}
    found = find_mates(documents, "tf-idf")
    assert found["precision_at_1"] == 0 and found["mean_reciprocal_rank"] == 1 / 4  # of equals it counts as the last


def test_the_second_halves_are_not_learnt_from(monkeypatch):
    documents = {subject: f"{about(subject, 100)} {'secret' + subject} {about(subject, 99)}" for subject in SUBJECTS}
    seen = []
    fit = DocumentIndex.fit
    monkeypatch.setattr(DocumentIndex, "fit", lambda self, given: seen.append(given) or fit(self, given))
    find_mates(documents, "tf-idf")
    assert len(seen) == 1 and not any("secret" in words for words in seen[0].values())
    assert all(len(words.split()) == 100 for words in seen[0].values())


def test_short_documents_are_left_out_of_the_comparison():
    documents = {subject: about(subject, 99 if subject == "music" else 120) for subject in SUBJECTS}
    assert find_mates(documents, "tf-idf")["documents"] == 3
    with pytest.raises(RangeError, match="find_mates: 1 of 2 documents have the 100 words"):
        find_mates({"a": about("music", 120), "b": "short"}, "tf-idf")


# ---------------------------------------------------------------- documents


def test_the_topics_of_this_python_are_read_offline():
    topics = load_topics()
    assert len(topics) > 50 and list(topics) == sorted(topics)
    assert "anonymous function" in topics["lambda"]


def test_a_python_without_topics_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(DataFileError, match="came without its help topics.*folder of .txt"):
        load_topics()


def test_a_folder_of_texts(tmp_path):
    (tmp_path / "b.txt").write_text("wind und Wellen: Böe", encoding="utf-8")
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfsoup")
    (tmp_path / "c.md").write_text("no text file")
    assert load_texts(tmp_path) == {"a": "soup", "b": "wind und Wellen: Böe"}
    (tmp_path / "c.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataFileError, match="c.txt is not UTF-8 text.*Save it as UTF-8"):
        load_texts(tmp_path)
    (tmp_path / "c.txt").unlink()
    (tmp_path / "d.txt").mkdir()
    with pytest.raises(DataFileError, match="d.txt cannot be read"):
        load_texts(tmp_path)


def test_a_folder_that_is_none_or_has_no_texts(tmp_path):
    with pytest.raises(DataFileError, match="is no folder"):
        load_texts(tmp_path / "nowhere")
    with pytest.raises(DataFileError, match="has no .txt files"):
        load_texts(tmp_path)


@pytest.mark.parametrize(
    "documents, error, message",
    [
        ({"a": "soup"}, RangeError, "1 document given; expected at least two"),
        ({}, RangeError, "0 document"),
        ({"a": "soup", "b": " \n"}, RangeError, "1 documents have no words, such as 'b'"),
        (["soup", "wind"], DtypeError, "expected a dict {name: text}"),
        ({"a": "soup", "b": 3}, DtypeError, "expected a dict {name: text}"),
        ({"a": "the and", "b": "of"}, RangeError, "the 2 documents have no words to tell them apart by"),
        (
            {"a": "soup salt", "b": "wind"},
            RangeError,
            "size is 32, but there are 4 texts and passages of 3 different words",
        ),
    ],
)
def test_documents_that_cannot_be_compared(documents, error, message):
    with pytest.raises(error, match=message):
        DocumentIndex().fit(documents)


def test_wrong_settings_and_questions():
    with pytest.raises(RangeError, match="unknown method 'lsi'. Known, nearest first: lsa"):
        DocumentIndex("lsi")
    with pytest.raises(RangeError, match="size is 0"):
        DocumentIndex(size=0)
    with pytest.raises(StateError, match="has no documents yet. Call fit"):
        DocumentIndex().nearest("soup")
    index = DocumentIndex("tf-idf").fit(library())
    with pytest.raises(RangeError, match="'zebra' has no word that stands in the 12 documents"):
        index.nearest("zebra")
    with pytest.raises(RangeError, match="k is 0"):
        index.nearest("soup", 0)
    with pytest.raises(DtypeError, match="the text is 3"):
        index.nearest(3)
    assert len(index.nearest("soup", 99)) == 12


def test_without_scikit_learn_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.feature_extraction.text", None)
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        DocumentIndex("tf-idf").fit(library())


def test_a_fit_that_fails_leaves_no_half_of_an_index():
    index = DocumentIndex("lsa", size=4).fit(library())
    index.size = 1000
    with pytest.raises(RangeError, match="size is 1000"):
        index.fit({f"{i}": text for i, text in enumerate(library().values())})
    with pytest.raises(StateError, match="has no documents yet"):
        index.nearest("soup")


def test_one_text_is_not_taken_for_a_list_of_letters():
    with pytest.raises(DtypeError, match="is one text"):
        DocumentIndex("tf-idf").fit(library()).transform("soup and salt")
