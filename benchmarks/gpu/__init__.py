"""Training steps on a GPU: tinyae's beside its own on the CPU, and beside PyTorch and JAX on the same GPU.

Parts, chosen with --only:

steps      loop, captured step and fit on the CPU and on the GPU, and the peers on the GPU, all in float32. All begin with
           the same weights and take the same batches; before anything is timed, the losses of five steps are compared
           with those that plain NumPy computes in float64. For tinyae's GPU steps it is told apart how long Python
           takes to launch a step, and how long the GPU computes.
tf32       the same on the GPU alone, with TF32 allowed in all matrix products and convolutions
transfer   from the host's memory to the GPU's: a batch, and a data set
start      the first steps of a new process: imports, data and model, compilation; and once more with what was kept
epoch      one epoch of fit of the deep model, 60,000 images in batches of 256, the data being on the device
crossover  one step against batch size and against the width of the model: where does the GPU begin to win?
kernels    each kernel for the GPU beside what the GPU can do: a copy, or a matrix product (the roofline)

Each contestant runs in a process of its own, while the others wait, and rounds alternate. On the GPU the time of many
steps together is that between two CUDA events; where a framework has none (JAX) the clock on the wall is read when all is done.
Printed are medians of rounds, after warm-up.

Without a GPU, the CPU's half is measured, and for the rest it is said what is missing. The table at the end says
what was asked of this backend, and what was measured.
"""

from .command import add_arguments, main

__all__ = ["add_arguments", "main"]
