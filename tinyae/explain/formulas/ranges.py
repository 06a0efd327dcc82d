"""How far the indices of a formula run: each as far as the axis is long on which it stands."""

import numpy as np

from ...errors import RangeError
from .parsing import readable
from .tree import Big, Index, Name, latex


class Ranges:
    """The ranges of an evaluator's indices: known from the start from the arrays it is given, or found when they are asked for."""

    def __init__(self, owner):
        self.owner, self.known = owner, {}
        for letter in owner.indices:
            if isinstance(owner.values.get(letter), (int, np.integer)):
                self.note(letter, int(owner.values[letter]), "what was given")
        for node in owner.nodes:
            if isinstance(node, Big):
                for letter, bound in zip(node.indices, node.bounds):
                    if bound is not None:
                        self.note(letter, int(owner.alone(bound)), latex(bound))
        for node in owner.nodes:
            if isinstance(node, Index) and node.base.name in owner.values:
                array = np.asarray(owner.values[node.base.name])
                self.note_axes(node, owner.view.of(node.base.name, array).shape)
        if owner.shape is not None and isinstance(owner.main.left, Index):
            self.note_axes(owner.main.left, owner.view.of(owner.name, np.broadcast_to(0, owner.shape)).shape)

    def note_axes(self, node, shape):
        """An element of an array of this shape: its indices run along the axes."""
        if len(node.subs) > len(shape):
            raise RangeError(
                f"evaluate: {readable(node)} has {len(node.subs)} indices, {node.base.name} has shape {shape}."
            )
        for sub, n in zip(node.subs, shape):
            if isinstance(sub, Name) and sub.name in self.owner.indices:
                self.note(sub.name, n, readable(node))

    def note(self, letter, n, where):
        """An index has one range; a second one is an error."""
        if self.known.setdefault(letter, n) != n:
            raise RangeError(
                f"evaluate: the index {letter} runs over {self.known[letter]} and, in {where}, over {n}; the shapes of the "
                "arrays do not fit together."
            )

    def of(self, letter):
        """How far an index runs; where no given array says it, an array that the formula defines."""
        if letter in self.known:
            return self.known[letter]
        owner = self.owner
        for node in owner.nodes:
            if not isinstance(node, Index) or Name(letter) not in node.subs:
                continue
            base, subs = node.base.name, node.subs
            if owner.is_list(base):
                array, subs = owner.numbered(base, int(owner.alone(subs[0]))), subs[1:]
            elif base not in owner.definitions or isinstance(owner.definitions[base].left, Name):
                array = owner.value(base)
            else:
                continue  # its own axes are as long as its indices run
            return self.known.setdefault(letter, array.shape[subs.index(Name(letter))])
        raise RangeError(
            f"evaluate: it is not known how far the index {letter} runs. Give the shape of {owner.name}, or a value for {letter}."
        )
