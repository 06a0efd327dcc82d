"""JAX on a GPU: the compiled step of ``with_jax.py``.

JAX hands out no CUDA events; the time is that of the clock on the wall, until the last step is done.
"""

import os

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # others need the device's memory too

import jax  # noqa: E402

from .with_jax import Jax  # noqa: E402

PRECISIONS = {"float32": "float32", "tf32": "tensorfloat32"}


class JaxGpu(Jax):
    """``jax.jit`` of forward, backward and Adam."""

    @classmethod
    def use_precision(cls, precision):
        """Of matrix products and convolutions; by default JAX has TF32 in both."""
        if jax.default_backend() != "gpu":
            raise RuntimeError(
                f"JAX {jax.__version__} finds no GPU, only {jax.default_backend()}; with CUDA: pip install 'jax[cuda12]' or 'jax[cuda13]'"
            )
        jax.config.update("jax_default_matmul_precision", PRECISIONS[precision])

    @classmethod
    def about(cls):
        found = super().about()
        return found | {
            "precision": f"{found['precision']}; timed by the wall clock",
            "threads": "XLA's, and the GPU's",
        }
