"""Which neighbouring layers are computed together, as one operation with a kernel of its own.

This is the one place that knows it: a table of rules, which ``Sequential`` and ``Autoencoder`` look up. A model is never
changed: its layers, their names and parameters stay as they are, every layer works alone, and inside
``use_kernels("reference")`` or on a backend without the kernel each is called by itself. ``model.summary()`` shows the groups.
"""

from math import gcd

from .. import functional as F
from .. import ops
from ..context import apart
from .images import Conv2D, MaxPool2D, UpSampling2D, both
from .layers import Dense


class DenseRow:
    """Dense layers in a row whose widths fit: no output leaves the processor's cache between them."""

    about = "dense layers in one pass"
    operation = ops.Dense

    def __init__(self, layers):
        self.layers, self.weight = layers, layers[0].weight

    @classmethod
    def at(cls, layers, start):
        """The group that begins with layer number ``start``, or None."""
        found = []
        for layer in layers[start:]:
            if not is_own(layer, Dense) or layer.bias is None or layer.activation not in (None, *F.JOINED):
                break
            if found and found[-1].out_features != layer.in_features:
                break
            found.append(layer)
        return cls(found) if len(found) > 1 else None

    def run(self, x, before_sigmoid):
        """x through these layers, the last one perhaps without its sigmoid."""
        activations = [layer.activation for layer in self.layers]
        if before_sigmoid:
            activations[-1] = None
        x = self.layers[0]._checked(x)
        return F.dense_layers(x, [(layer.weight, layer.bias, f) for layer, f in zip(self.layers, activations)])


class ConvolutionBlock:
    """A convolution with the nearest upsampling before it, the max-pooling behind it, or both.

    The upsampled image is never written (``kernels/conv_blocks.py`` says why that can be), nor is the convolution's
    output, where only the largest of each window is needed.
    """

    operation = ops.ConvBlock

    def __init__(self, layers, upsampling, convolution, pooling):
        self.layers, self.upsampling, self.convolution, self.pooling = layers, upsampling, convolution, pooling
        self.weight = convolution.weight
        self.factor = upsampling.size if upsampling else 1

    @classmethod
    def at(cls, layers, start):
        """The group that begins with layer number ``start``, or None."""
        rest = list(layers[start : start + 3])
        upsampling = pooling = None
        if is_own(rest[0], UpSampling2D) and rest[0].interpolation == "nearest" and isinstance(rest[0].size, int):
            upsampling = rest.pop(0)
        convolution = rest.pop(0) if rest else None
        if not is_own(convolution, Conv2D) or not convolution.stride == convolution.dilation == 1:
            return None
        if convolution.activation in (None, *F.JOINED) and rest and is_own(rest[0], MaxPool2D):
            size = rest[0].size
            pooling = rest[0] if rest[0].stride == size and isinstance(size, int) and size > 1 else None
        found = [layer for layer in (upsampling, convolution, pooling) if layer is not None]
        return cls(found, upsampling, convolution, pooling) if len(found) > 1 else None

    def run(self, x, before_sigmoid):
        """x through these layers, the convolution perhaps without its sigmoid."""
        layer = self.convolution
        activation = None if before_sigmoid else layer.activation
        joined = activation if activation in F.JOINED else None
        pool = {} if self.pooling is None else {"pool": self.pooling.size, "pool_padding": self.pooling.padding}
        y = F.conv_block(layer._checked(x), layer.weight, layer.bias, self.factor, layer.padding, joined, **pool)
        return y if activation == joined else F.ACTIVATIONS[activation](y)

    @property
    def about(self):
        """What is gained, for the summary."""
        done = []
        if self.upsampling is not None:
            share = self.multiplications()
            done.append(f"sub-pixel convolution, {share[0]}/{share[1]} of the multiplications")
        if self.pooling is not None:
            done.append("pooled at once")
        return "; ".join(done)

    def multiplications(self):
        """(done, defined) for a block of u x u pixels of the output: taps that meet the same pixel are added up before."""
        u, done, defined = self.factor, 1, 1
        for k in both(self.convolution.kernel_size):
            done *= sum(len({(a + d) // u for d in range(k)}) for a in range(u))
            defined *= u * k
        shared = gcd(done, defined)
        return done // shared, defined // shared


RULES = (DenseRow, ConvolutionBlock)


def group_at(layers, start):
    """The group of layers that begins there and is one operation with a kernel, or None."""
    if apart():
        return None
    for rule in RULES:
        group = rule.at(layers, start)
        if group is not None and group.weight.backend.twin(group.operation) is not None:
            return group
    return None


def joined_groups(layers):
    """All groups of layers in a row."""
    found, start = [], 0
    while start < len(layers):
        group = group_at(layers, start)
        if group is not None:
            found.append(group)
        start += 1 if group is None else len(group.layers)
    return found


def is_own(layer, kind):
    """Is it just such a layer, with nothing put on it?"""
    return type(layer) is kind and "forward" not in vars(layer)
