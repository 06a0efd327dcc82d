"""The contestants of ``gpu`` by name: tinyae on the CPU and on the GPU, and the peers on the GPU."""

from .names import Entry

GPU_CONTESTANTS = {
    "cpu-loop": Entry("with_tinyae", "TinyaeLoop", "tinyae, CPU, hand-written loop"),
    "cpu-captured": Entry("with_tinyae", "TinyaeCaptured", "tinyae, CPU, captured step"),
    "cpu-fit": Entry("with_tinyae", "TinyaeFit", "tinyae, CPU, fit"),
    "gpu-loop": Entry("with_tinyae_gpu", "GpuLoop", "tinyae, GPU, hand-written loop"),
    "gpu-captured": Entry("with_tinyae_gpu", "GpuCaptured", "tinyae, GPU, captured step"),
    "gpu-fit": Entry("with_tinyae_gpu", "GpuFit", "tinyae, GPU, fit"),
    "torch-eager": Entry("with_torch_gpu", "TorchEager", "PyTorch, eager, fused Adam"),
    "torch-reduce-overhead": Entry("with_torch_gpu", "TorchReduceOverhead", "PyTorch, compiled, reduce-overhead"),
    "torch-graph": Entry("with_torch_gpu", "TorchGraph", "PyTorch, step captured by hand"),
    "jax": Entry("with_jax_gpu", "JaxGpu", "JAX, jit"),
}
ON_CPU = [name for name in GPU_CONTESTANTS if name.startswith("cpu-")]
ON_GPU = [name for name in GPU_CONTESTANTS if name.startswith("gpu-")]
GPU_PEERS = [name for name in GPU_CONTESTANTS if name not in ON_CPU + ON_GPU]
