"""What the letters of a statement are: what it defines, and which of them are indices."""

from .tree import Big, Index, Name, Statement, walk


def name_of(left):
    r"""The letter that a statement is about: ``Y`` of ``Y_{nk}``."""
    return left.base.name if isinstance(left, Index) else left.name if isinstance(left, Name) else ""


def key_of(left):
    """The letter a statement defines; for a list of arrays, the letter and l, or L for the last."""
    if isinstance(left, Index) and isinstance(left.subs[0], Name) and left.subs[0].name in ("l", "L"):
        return left.base.name, left.subs[0].name
    return name_of(left)


def plain_name(function):
    r"""``reduce`` of ``\operatorname{reduce}``."""
    return function.removeprefix(r"\operatorname{").removesuffix("}")


def index_letters(statements):
    """The letters that are indices: those of sums and maxima, and those on a left side. l counts layers and is none."""
    found = []
    for statement in statements:
        if isinstance(statement, Statement) and isinstance(statement.left, Index):
            found += [sub.name for sub in statement.left.subs if isinstance(sub, Name)]
        for node in walk(statement):
            if isinstance(node, Big):
                found += node.indices
    return [letter for letter in dict.fromkeys(found) if letter not in ("l", "L")]


def letters_of(statement, indices):
    """The index letters in a statement, in the order of their first use."""
    used = []
    for node in walk(statement):
        if isinstance(node, Name) and node.name in indices:
            used.append(node.name)
        elif isinstance(node, Big):
            used += node.indices
    return tuple(dict.fromkeys(used))
