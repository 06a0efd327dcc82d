"""Documents and the nearest of them: by TF-IDF, by LSA and by an autoencoder, and which of the three finds best."""

import sys
from statistics import median

from ..errors import RangeError, require_integer
from ..text import HALVED, METHODS, DocumentIndex, find_mates, load_texts, load_topics

TITLES = {"tf-idf": "TF-IDF", "lsa": "LSA", "autoencoder": "autoencoder"}


def search_text(query=None, *, data=None, size=32, top=5, seeds=(0, 1, 2)):
    """The documents nearest to a query by each method; or without one, how well each finds a document's other half.

    Parameters
    ----------
    query : str, optional
        The name of a document, which is then left out of the answers; or any text.
    data : str, optional
        A folder of .txt files. By default the help topics that come with Python.
    size : int
        How many numbers LSA and the autoencoder make of a document.
    top : int
        How many of the nearest to give.
    seeds : sequence of int
        For the comparison; a query takes the first.

    Returns
    -------
    dict
        ``nearest``, {method: [[name, cosine], ...]}; or ``mates``, {method: medians over the seeds, and ``by_seed``}.
    """
    size = require_integer("text", "size", size, at_least=1)
    top = require_integer("text", "top", top, at_least=1)
    seeds = [require_integer("text", "seed", seed, at_least=0) for seed in seeds]
    if not seeds:
        raise RangeError("text: no seed was given; expected at least one, such as --seeds 0,1,2.")
    if query is not None and not query.strip():
        raise RangeError("text: the query is empty; expected words, or the name of a document.")
    documents = load_topics() if data is None else load_texts(data)
    version = ".".join(map(str, sys.version_info[:2]))
    result = {
        "source": f"help topics of Python {version}" if data is None else str(data),
        "documents": len(documents),
        "words": sum(len(text.split()) for text in documents.values()),
        "size": size,
    }
    if query is None:
        return result | {"seeds": seeds, "mates": compare_methods(documents, size, seeds)}
    name = next((name for name in documents if name.lower() == query.strip().lower()), None)
    text = query if name is None else documents[name]
    nearest = {}
    for method in METHODS:
        index = DocumentIndex(method, size, seeds[0]).fit(documents)
        found = index.nearest(text, top + 1)
        nearest[method] = [[other, cosine] for other, cosine in found if other != name][:top]
        result["vocabulary"] = index.words()
    return result | {
        "query": query if name is None else name,
        "is_document": name is not None,
        "seed": seeds[0],
        "nearest": nearest,
    }


def compare_methods(documents, size, seeds):
    """{method: what ``find_mates`` gives, the medians over seeds, and each seed's}."""
    found = {}
    for method in METHODS:
        chance = [seeds[0]] if method == "tf-idf" else seeds  # nothing is random in it
        by_seed = [find_mates(documents, method, size, seed) for seed in chance]
        found[method] = {name: median(one[name] for one in by_seed) for name in by_seed[0]} | {
            "by_seed": by_seed * (len(seeds) if method == "tf-idf" else 1)
        }
    return found


def text_report(result):
    """The answers, or the comparison, as text."""
    about = f"{result['source']}: {result['documents']} documents, {result['words']:,} words"
    if "nearest" in result:
        return "\n".join([about, *nearest_in_words(result)])
    return "\n".join([about, *mates_in_words(result)])


def nearest_in_words(result):
    """The nearest documents by each method, side by side."""
    what = "the document" if result["is_document"] else "the text"
    shown = result["query"] if len(result["query"]) <= 60 else f"{result['query'][:57]}..."
    columns = [
        [f"{TITLES[method]}{'' if method == 'tf-idf' else ' (' + str(result['size']) + ')'}"]
        + [f"{cosine:.2f}  {name}" for name, cosine in found]
        for method, found in result["nearest"].items()
    ]
    widths = [max(map(len, column)) for column in columns]
    rows = ["   ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in zip(*columns)]
    return [
        f"nearest to {what} '{shown}', with the cosine (vectors of {result['vocabulary']:,} words, or of as many numbers as are named):",
        "",
        *rows,
        "",
        "Which of them finds best is measured by: tinyae text",
    ]


def mates_in_words(result):
    """The table of how well halves find each other, and which method is best."""
    mates, seeds = result["mates"], ", ".join(map(str, result["seeds"]))
    count = next(iter(mates.values()))["documents"]
    lines = [
        f"Each of the {count:.0f} that have {HALVED} words is cut in two. A method learns from the first halves, is asked with a second",
        f"one, and is to name the first half that belongs to it. Medians over seeds {seeds}; smallest and largest in brackets.",
        "",
        f"{'':28}  {'found at once':>22}  {'mean reciprocal rank':>22}",
    ]
    for method, found in mates.items():
        size = "every word counts" if method == "tf-idf" else f"{result['size']} numbers"
        cells = [
            spread(found, name, form) for name, form in (("precision_at_1", ".1%"), ("mean_reciprocal_rank", ".3f"))
        ]
        lines.append(f"{TITLES[method] + ', ' + size:28}  {cells[0]:>22}  {cells[1]:>22}")
    ranks = {method: found["mean_reciprocal_rank"] for method, found in mates.items()}
    best = max(ranks, key=ranks.get)
    own, lsa = ranks["autoencoder"], ranks["lsa"]
    verdict = "above" if own > lsa else "below" if own < lsa else "equal to"
    return [
        *lines,
        "",
        f"By the mean reciprocal rank {TITLES[best]} is best; the autoencoder is {verdict} LSA with as many numbers "
        f"({own:.3f}, {lsa:.3f}).",
        f"Which of the two is above depends on the size: see also --size {8 if result['size'] > 16 else 32}.",
    ]  # fmt: skip


def spread(found, name, form):
    """A median with the smallest and the largest of the seeds."""
    values = [one[name] for one in found["by_seed"]]
    return f"{found[name]:{form}} ({min(values):{form}} .. {max(values):{form}})"
