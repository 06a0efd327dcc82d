"""The contestants by name: where their class stands, what to call them in a picture, and what they train."""

from typing import NamedTuple


class Entry(NamedTuple):
    """A contestant; its file is imported in its own process only."""

    module: str
    class_name: str
    label: str
    kinds: tuple = ("dense", "conv")  # of models; the others would be another contestant's program once more


CONTESTANTS = {
    "tinyae-loop": Entry("with_tinyae", "TinyaeLoop", "tinyae, hand-written loop"),
    "tinyae-captured": Entry("with_tinyae", "TinyaeCaptured", "tinyae, loop with a captured step"),
    "tinyae-fit": Entry("with_tinyae", "TinyaeFit", "tinyae, fit"),
    "torch": Entry("with_torch", "Torch", "PyTorch", ("dense",)),
    "torch-fused": Entry("with_torch", "TorchFused", "PyTorch, fused Adam"),
    "torch-channels-last": Entry("with_torch", "TorchChannelsLast", "PyTorch, channels last", ("conv",)),
    "torch-compiled": Entry("with_torch", "TorchCompiled", "PyTorch, compiled"),
    "jax": Entry("with_jax", "Jax", "JAX, jit"),
    "jax-inside": Entry("with_jax", "JaxInside", "JAX, jit that also cuts the batch", ("dense",)),
    "keras": Entry("with_keras", "Keras", "Keras, fit"),
}
TINYAE = [name for name in CONTESTANTS if name.startswith("tinyae")]
OUT_OF_RULE = ["jax-inside"]  # no batch is cut in its loop; measured too, but compared apart
PEERS = [name for name in CONTESTANTS if name not in TINYAE + OUT_OF_RULE]
