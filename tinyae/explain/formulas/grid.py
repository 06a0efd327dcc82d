"""Where a statement with indices is computed: a grid with one axis per index, and arrays that are carried along behind it."""

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
                self.places.append(np.arange(owner.ranges.of(letter)))
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


class View:
    """Arrays as a formula's subscripts see them: the ``axes`` that its index counts along come first, as one.

    ``full`` is the rank of the arrays that have all axes; ``subscripted`` the letters that stand with an index.
    """

    def __init__(self, axes, full, subscripted):
        self.axes, self.full, self.subscripted = axes, full, subscripted

    def rest(self, rank):
        """The other axes, which are carried along."""
        return [axis for axis in range(rank) if axis not in self.axes]

    def of(self, name, array):
        """An array as the formula sees it."""
        if self.axes is None or array.ndim != self.full:
            return array
        if name not in self.subscripted:  # what was reduced, and kept its axes with length 1
            return array.squeeze(self.axes) if all(array.shape[axis] == 1 for axis in self.axes) else array
        rest = self.rest(array.ndim)
        return array.transpose([*self.axes, *rest]).reshape((-1, *(array.shape[axis] for axis in rest)))

    def place(self, index, shape):
        """An index into an array of this shape, as the formula sees it."""
        if self.axes is None or len(index) != self.full:
            return index
        along = np.ravel_multi_index([index[axis] for axis in self.axes], [shape[axis] for axis in self.axes])
        return (int(along), *(index[axis] for axis in self.rest(len(index))))

    def back(self, name, array, shape):
        """A result with its axes in their places again."""
        if self.axes is None or name not in self.subscripted or len(shape) != self.full:
            return array
        order = [*self.axes, *self.rest(len(shape))]
        return array.reshape([shape[axis] for axis in order]).transpose(np.argsort(order))


def long_axes(shape):
    """A shape without its axes of length 1."""
    return [n for n in shape if n != 1]


def unbroadcast(array, shape):
    """An array summed over the axes along which its letter was stretched; one number stands for all."""
    if array.ndim == 0:
        return np.broadcast_to(array, shape)
    if long_axes(array.shape) == long_axes(shape):
        return array.reshape(shape)
    array = array.sum(axis=tuple(range(array.ndim - len(shape))))
    stretched = tuple(k for k, n in enumerate(shape) if n == 1 and array.shape[k] != 1)
    return array.sum(axis=stretched, keepdims=True)
