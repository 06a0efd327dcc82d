"""Where a statement with indices is computed: a grid with one axis per index, and arrays that are carried along behind it."""

import math

import numpy as np


class Grid:
    """The axes on which a statement is computed: one per index letter, its whole range or one fixed place."""

    def __init__(self, letters, fixed, owner=None):
        self.axis = {letter: k for k, letter in enumerate(letters)}
        self.places = []
        for letter in letters:
            if letter in fixed:
                self.places.append(np.asarray([fixed[letter]]))
            else:
                self.places.append(np.arange(owner.range_of(letter)))
        self.length = [len(places) for places in self.places]

    def along(self, letter):
        """The numbers that an index takes, along its axis."""
        k = self.axis[letter]
        return self.places[k].reshape([-1 if i == k else 1 for i in range(len(self.places))])

    def spread(self, array):
        """An array whose axes are all carried along, behind the axes of the grid."""
        array = np.asarray(array)
        return array.reshape((1,) * len(self.places) + array.shape)

    def met(self, *arrays):
        """Arrays of which each has as many carried axes as the others."""
        rank = len(self.places)
        most = max(np.ndim(a) for a in arrays)
        return [np.reshape(a, (*np.shape(a)[:rank], *[1] * (most - np.ndim(a)), *np.shape(a)[rank:])) for a in arrays]

    def gathered(self, array, left):
        """The grid's result with the axes of the indices on the left, in their order, and the carried ones."""
        rank = len(self.places)
        others = [self.axis[letter] for letter in self.axis if letter not in left]
        wanted = [1 if k in others else n for k, n in enumerate(self.length)]
        array = np.broadcast_to(array, (*wanted, *array.shape[rank:]))
        array = array.transpose([*(self.axis[letter] for letter in left), *others, *range(rank, array.ndim)])
        return array.reshape(array.shape[: len(left)] + array.shape[rank:])


def unbroadcast(array, shape):
    """An array summed over the axes along which its letter was stretched; one number stands for all."""
    if array.size <= math.prod(shape):
        return np.broadcast_to(array, shape) if array.ndim == 0 else array.reshape(shape)
    array = array.sum(axis=tuple(range(array.ndim - len(shape))))
    stretched = tuple(k for k, n in enumerate(shape) if n == 1 and array.shape[k] != 1)
    return array.sum(axis=stretched, keepdims=True)
