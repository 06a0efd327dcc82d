r"""Initial weights: random enough to break the symmetry, scaled so that signals neither die nor explode.

For a weight with I inputs and O outputs per unit (``fan_in``, ``fan_out``):

=================  =============================================  ================================
name               distribution                                   source
=================  =============================================  ================================
``he``             uniform on :math:`\pm\sqrt{6 / I}`             He et al. [1], eq. 10
``he_normal``      normal with variance :math:`2 / I`             He et al. [1], eq. 10
``glorot``         uniform on :math:`\pm\sqrt{6 / (I + O)}`       Glorot and Bengio [2], eq. 16
``glorot_normal``  normal with variance :math:`2 / (I + O)`       Glorot and Bengio [2], eq. 12
``pytorch``        uniform on :math:`\pm 1/\sqrt{I}`, biases too  PyTorch's default for ``Linear``
``zeros``          0: every unit then learns the same             to see why chance is needed
=================  =============================================  ================================

A uniform distribution on :math:`\pm a` has variance :math:`a^2 / 3`, so ``he`` and ``he_normal``
have the same variance, and so have the two Glorot rules. Biases start at 0, but for ``pytorch``.

``he`` keeps the size of signals through relu layers and is the default. For tanh and sigmoid layers
``glorot`` is the derived choice; with few layers either trains.

[1] He, Zhang, Ren and Sun, "Delving deep into rectifiers" (2015).
[2] Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010).
"""

import math

import numpy as np

from ..context import current_generator
from ..errors import lookup


def uniform(shape, limit):
    """Float32 numbers, uniform on [-limit, limit)."""
    return np.float32(limit) * (2 * current_generator().uniform(shape, "init") - 1)


def normal(shape, variance):
    """Float32 numbers, normal with mean 0."""
    return np.float32(math.sqrt(variance)) * current_generator().normal(shape, "init")


INITIALISERS = {
    "he": lambda shape, fan_in, fan_out: uniform(shape, math.sqrt(6 / fan_in)),
    "he_normal": lambda shape, fan_in, fan_out: normal(shape, 2 / fan_in),
    "glorot": lambda shape, fan_in, fan_out: uniform(shape, math.sqrt(6 / (fan_in + fan_out))),
    "glorot_normal": lambda shape, fan_in, fan_out: normal(shape, 2 / (fan_in + fan_out)),
    "pytorch": lambda shape, fan_in, fan_out: uniform(shape, 1 / math.sqrt(fan_in)),
    "zeros": lambda shape, fan_in, fan_out: np.zeros(shape, np.float32),
}


def initial_weight(init, shape, fan_in, fan_out):
    """A float32 array (on the host) drawn by the rule called ``init``."""
    return lookup("initialiser", init, INITIALISERS)(shape, fan_in, fan_out)


def initial_bias(init, shape, fan_in):
    """Zeros, or for ``"pytorch"`` numbers from the same distribution as the weight."""
    return uniform(shape, 1 / math.sqrt(fan_in)) if init == "pytorch" else np.zeros(shape, np.float32)
