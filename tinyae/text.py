r"""Documents as vectors, and the nearest ones: TF-IDF, latent semantic analysis, and an autoencoder.

A document becomes a row of numbers, one for each word of the vocabulary: larger the more often it has the word, smaller the
more documents have it, scaled to length 1 (TF-IDF). Two documents are compared by the cosine of the angle between their rows.
So a document is found by the words that it shares with the question. Two methods squeeze the rows into ``size`` numbers, so
that words which occur together come to mean alike:

* ``lsa``: the linear way, a truncated singular value decomposition. Deerwester et al., "Indexing by latent semantic
  analysis" (1990).
* ``autoencoder``: V-256-size-256-V with tanh. In training a part of the words is left out of its input, and it is to
  name them all. Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural networks" (2006), had 400,000
  documents.

Both learn from the documents and from their passages: a hundred documents alone are few.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .context import generator, use
from .errors import (
    DataFileError,
    DtypeError,
    RangeError,
    StateError,
    brief,
    known_name,
    missing_library,
    require_integer,
)
from .models import Autoencoder
from .nn import Dense, Dropout, Sequential
from .random import Generator

METHODS = ("tf-idf", "lsa", "autoencoder")
VOCABULARY = 2000  # words, the most frequent ones
PASSAGE = 50  # words
HALVED = 100  # words that a document must have to be cut into two halves
LEFT_OUT, HIDDEN, EPOCHS, BATCH, LR = 0.3, 256, 20, 32, 3e-3


class DocumentIndex:
    """Documents as vectors, by one of three methods, and the nearest of them to a text.

    Parameters
    ----------
    method : str
        ``"tf-idf"``, ``"lsa"`` or ``"autoencoder"``.
    size : int
        How many numbers a document becomes (for TF-IDF: as many as there are words).
    seed : int
        For what is random: the autoencoder's weights and training, and scikit-learn's approximate decomposition.

    Needs scikit-learn.
    """

    def __init__(self, method: str = "autoencoder", size: int = 32, seed: int = 0) -> None:
        self.method = known_name("method", method, METHODS)
        self.size = require_integer("DocumentIndex", "size", size, at_least=1)
        self.seed = require_integer("DocumentIndex", "seed", seed, at_least=0)
        self.names: list[str] = []

    def fit(self, documents: Mapping[str, str]) -> "DocumentIndex":
        """Learn from documents, {name: text}, and keep their vectors.

        Raises
        ------
        RangeError
            There are fewer than two documents, one of them has no words, or ``size`` is too large for them.
        """
        documents = checked_documents(documents)
        self.names = []  # what fails from here on leaves an index without documents, not one with half of them
        self._vectorizer = vectorizer()
        rows = self._fit_words(list(documents.values()))
        if self.method != "tf-idf":
            cut = [passage for text in documents.values() for passage in passages(text)]
            lines = np.concatenate([rows, self._vectorizer.transform(cut).toarray()])
            lines = lines[lines.any(axis=1)]
            if self.size >= min(lines.shape):
                raise RangeError(
                    f"DocumentIndex: size is {self.size}, but there are {lines.shape[0]} texts and passages of {lines.shape[1]} "
                    f"different words; expected a size below {min(lines.shape)}. Give a smaller size, or more documents."
                )
            self._reduce = self._learn(lines)
        self.names, self._rows = list(documents), unit(self._vectors(rows))
        return self

    def transform(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """Texts as vectors of length 1, float64 (N, size); one without a known word as zeros."""
        self._require_fitted("transform")
        if isinstance(texts, str):
            raise DtypeError(f"transform: {brief(texts)} is one text; expected a list of them, such as [text].")
        rows = self._vectorizer.transform(list(texts)).toarray()
        return unit(self._vectors(rows)) * rows.any(axis=1, keepdims=True)

    def nearest(self, text: str, k: int = 5) -> list[tuple[str, float]]:
        """The k nearest documents to a text, as (name, cosine), the nearest first.

        Raises
        ------
        RangeError
            The text has no word that the documents have.
        """
        self._require_fitted("nearest")
        k = require_integer("nearest", "k", k, at_least=1)
        if not isinstance(text, str):
            raise DtypeError(f"nearest: the text is {brief(text)}; expected a str.")
        vector = self.transform([text])[0]
        if not vector.any():
            raise RangeError(
                f"nearest: {brief(text)} has no word that stands in the {len(self.names)} documents (but for words such as 'the'). "
                "Ask with other words."
            )
        cosines = self._rows @ vector
        return [(self.names[i], float(cosines[i])) for i in np.argsort(-cosines, kind="stable")[:k]]

    def words(self) -> int:
        """How many words the vocabulary has."""
        self._require_fitted("words")
        return len(self._vectorizer.vocabulary_)

    def _fit_words(self, texts):
        try:
            return self._vectorizer.fit_transform(texts).toarray()
        except ValueError as error:
            raise RangeError(
                f"DocumentIndex: the {len(texts)} documents have no words to tell them apart by ({error})."
            ) from None

    def _vectors(self, rows):
        return rows if self.method == "tf-idf" else self._reduce(rows)

    def _learn(self, lines):
        """The function from rows (N, V) to (N, size) that was learnt from ``lines``."""
        if self.method == "lsa":
            from sklearn.decomposition import TruncatedSVD

            return TruncatedSVD(self.size, random_state=self.seed).fit(lines).transform
        words = lines.shape[1]
        scale = math.sqrt(words)  # a row of length 1 has elements of mean square 1 / words: now 1
        with use(generator, Generator(self.seed)):  # the initial weights, and nobody else's numbers
            self.model = Autoencoder(
                Sequential(Dropout(LEFT_OUT), Dense(words, HIDDEN, "tanh", "glorot"), Dense(HIDDEN, self.size, None, "glorot")),
                Sequential(Dense(self.size, HIDDEN, "tanh", "glorot"), Dense(HIDDEN, words, None, "glorot")),
            )  # fmt: skip
        lines = (lines * scale).astype(np.float32)
        self.history = self.model.fit(lines, EPOCHS, BATCH, lr=LR, seed=self.seed, progress=False)
        return lambda rows: self.model.encode((rows * scale).astype(np.float32)).astype(np.float64)

    def _require_fitted(self, name):
        if not self.names:
            raise StateError(f"{name}: this DocumentIndex has no documents yet. Call fit(documents) first.")


# ---------------------------------------------------------------- how good it is


def find_mates(documents: Mapping[str, str], method: str, size: int = 32, seed: int = 0) -> dict[str, float]:
    """How well a method finds a document's first half by its second half, which it has not seen.

    The method learns from the first halves of all documents that have at least 100 words, and is asked with the second ones.

    Returns
    -------
    dict
        ``precision_at_1``: how often the nearest is the other half. ``mean_reciprocal_rank``: 1 if the other half is always
        the first in the list, 1/2 for the second place, and so on; of equals it counts as the last. ``documents``: how many.
    """
    cut = {name: halves(text) for name, text in checked_documents(documents).items() if len(text.split()) >= HALVED}
    if len(cut) < 2:
        raise RangeError(
            f"find_mates: {len(cut)} of {len(documents)} documents have the {HALVED} words that are needed to cut one into "
            "halves; expected at least two."
        )
    index = DocumentIndex(method, size, seed).fit({name: first for name, (first, _) in cut.items()})
    cosines = index.transform([second for _, second in cut.values()]) @ index._rows.T
    ranks = (cosines >= np.diag(cosines)[:, None]).sum(axis=1)
    return {
        "precision_at_1": float((ranks == 1).mean()),
        "mean_reciprocal_rank": float((1 / ranks).mean()),
        "documents": len(cut),
    }


def halves(text: str) -> tuple[str, str]:
    """The first half of a text's words and the second."""
    words = text.split()
    return " ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])


def passages(text: str, length: int = PASSAGE) -> list[str]:
    """A text in pieces of so many words, the last one shorter."""
    words = text.split()
    return [" ".join(words[start : start + length]) for start in range(0, len(words), length)]


def unit(vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Rows of length 1; zeros stay zeros."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def vectorizer() -> Any:
    """scikit-learn's TF-IDF: 1 + ln(count), times ln((1 + N) / (1 + n)) + 1 for a word in n of N documents."""
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError:
        raise missing_library("text as TF-IDF vectors", "scikit-learn") from None
    return TfidfVectorizer(sublinear_tf=True, stop_words="english", max_features=VOCABULARY)


# ---------------------------------------------------------------- documents


def load_topics() -> dict[str, str]:
    """The help topics that come with Python, {name: text}: what ``help("lambda")`` shows; other ones in each version.

    Raises
    ------
    DataFileError
        This Python came without them.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise DataFileError(
            "text: this Python came without its help topics (the module pydoc_data.topics). Give a folder of .txt files instead."
        ) from None
    return dict(sorted(topics.items()))


def load_texts(folder: str | Path) -> dict[str, str]:
    """The .txt files of a folder in UTF-8, {name without .txt: text}, in the order of their names.

    Raises
    ------
    DataFileError
        There is no such folder, no .txt file in it, or one that is not UTF-8.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise DataFileError(f"text: {folder} is no folder; expected one with .txt files, one document each.")
    found = {}
    for file in sorted(path.glob("*.txt")):
        try:
            found[file.stem] = file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataFileError(f"text: {file} is not UTF-8 text ({error}). Save it as UTF-8.") from None
        except OSError as error:
            raise DataFileError(f"text: {file} cannot be read: {error.strerror}.") from None
    if not found:
        raise DataFileError(f"text: the folder {folder} has no .txt files; expected one for each document.")
    return found


def checked_documents(documents: Mapping[str, str]) -> dict[str, str]:
    """Documents as a dict, if there are at least two and all of them have words."""
    if not isinstance(documents, Mapping) or not all(isinstance(text, str) for text in documents.values()):
        raise DtypeError(f"text: the documents are {brief(documents)}; expected a dict {{name: text}}.")
    empty = [name for name, text in documents.items() if not text.split()]
    if empty:
        raise RangeError(f"text: {len(empty)} documents have no words, such as {empty[0]!r}. Leave them out.")
    if len(documents) < 2:
        raise RangeError(f"text: {len(documents)} document given; expected at least two, to find the nearest of.")
    return dict(documents)
