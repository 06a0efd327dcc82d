"""tinyae: autoencoders from scratch, the maths beside the code.

Begin reading with ``ops/op.py`` and ``ops/arithmetic.py`` (what a gradient rule looks like) and ``tape.py``
(the backward pass); then ``optim.py`` and ``training.py``.
"""

from typing import TYPE_CHECKING, Any

from .anomaly import AnomalyDetector
from .apply import apply
from .augmentation import RandomRotation, RandomShift
from .backend import SlowFloat64Warning, get_backend, get_matmul_precision, set_matmul_precision
from .callbacks import Callback, EarlyStopping, StopAtLoss
from .capture import CaptureWarning, capture
from .check import check_gradients
from .checkpoint import Checkpoint
from .clipping import ClipNorm, ClipValue, clip_by_norm, clip_by_value
from .compression import compress, decompress
from .context import manual_seed, no_grad, use_kernels
from .data import batches
from .evaluation import Evaluation, cluster_codes, clustering_accuracy, evaluate, map_codes, nearest
from .explain import explain_step, find_nan, trace
from .failures import CollapseWarning
from .functional import (
    avg_pool2d,
    batch_norm,
    concatenate,
    conv2d,
    conv2d_transpose,
    conv_block,
    elu,
    gelu,
    leaky_relu,
    log_softmax,
    matmul,
    max_pool2d,
    maximum,
    pad2d,
    relu,
    sigmoid,
    softmax,
    softplus,
    stack,
    tanh,
    upsample_bilinear,
    upsample_nearest,
    where,
)
from .history import History
from .image_quality import psnr, ssim
from .kernels.threads import get_num_threads, set_num_threads
from .losses import (
    bce_with_logits_loss,
    binary_cross_entropy,
    cross_entropy,
    gaussian_kl,
    kl_divergence,
    mse_loss,
)
from .models import (
    AdversarialAutoencoder,
    Autoencoder,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    InvariantAutoencoder,
    LinearAutoencoder,
    QuantisedAutoencoder,
    SparseAutoencoder,
    VariationalAutoencoder,
    VQAutoencoder,
)
from .models.active_units import PosteriorCollapseWarning
from .models.contractive import jacobian_norm
from .models.denoising import denoising_errors
from .models.latent import latent_grid
from .models.pretraining import pretrain
from .nn import (
    Activation,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Conv2DTranspose,
    Crop2D,
    Dense,
    Dropout,
    Flatten,
    GaussianNoise,
    GlobalAvgPool2D,
    MaskingNoise,
    MaxPool2D,
    Module,
    Reshape,
    SaltAndPepper,
    Sequential,
    TiedDense,
    UpSampling2D,
    ZeroPad2D,
)
from .nn.tied import tied_decoder
from .ops import Op
from .optim import LBFGS, SGD, AdaGrad, Adam, GradientDescent, Momentum, RMSProp
from .optimizer import Optimizer
from .regularizers import L1, L2
from .rows import Rows
from .saving import load, save
from .schedules import CosineDecay, ReduceOnPlateau, Schedule, StepDecay, WarmUp
from .tensor import Tensor
from .tensorboard import TensorBoard
from .text import DocumentIndex
from .training import fit

if TYPE_CHECKING:
    from . import datasets

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """``tinyae.datasets`` is imported when it is first used: readers of file formats cost a third of the start."""
    if name == "datasets":
        from importlib import import_module

        return import_module(".datasets", __name__)
    raise AttributeError(f"module 'tinyae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), "datasets"})


__all__ = [
    "Activation",
    "AdaGrad",
    "Adam",
    "AdversarialAutoencoder",
    "AnomalyDetector",
    "Autoencoder",
    "AvgPool2D",
    "BatchNorm",
    "Callback",
    "CaptureWarning",
    "Checkpoint",
    "ClipNorm",
    "ClipValue",
    "CollapseWarning",
    "ContractiveAutoencoder",
    "Conv2D",
    "Conv2DTranspose",
    "CosineDecay",
    "Crop2D",
    "DenoisingAutoencoder",
    "Dense",
    "DocumentIndex",
    "Dropout",
    "EarlyStopping",
    "Evaluation",
    "Flatten",
    "GaussianNoise",
    "GlobalAvgPool2D",
    "GradientDescent",
    "History",
    "InvariantAutoencoder",
    "L1",
    "L2",
    "LBFGS",
    "LinearAutoencoder",
    "MaskingNoise",
    "MaxPool2D",
    "Module",
    "Momentum",
    "Op",
    "Optimizer",
    "PosteriorCollapseWarning",
    "QuantisedAutoencoder",
    "RMSProp",
    "RandomRotation",
    "RandomShift",
    "ReduceOnPlateau",
    "Reshape",
    "Rows",
    "SGD",
    "SaltAndPepper",
    "Schedule",
    "Sequential",
    "SlowFloat64Warning",
    "SparseAutoencoder",
    "StepDecay",
    "StopAtLoss",
    "Tensor",
    "TensorBoard",
    "TiedDense",
    "UpSampling2D",
    "VariationalAutoencoder",
    "VQAutoencoder",
    "WarmUp",
    "ZeroPad2D",
    "apply",
    "avg_pool2d",
    "batch_norm",
    "batches",
    "bce_with_logits_loss",
    "binary_cross_entropy",
    "capture",
    "check_gradients",
    "clip_by_norm",
    "clip_by_value",
    "cluster_codes",
    "clustering_accuracy",
    "compress",
    "concatenate",
    "conv2d",
    "conv2d_transpose",
    "conv_block",
    "cross_entropy",
    "datasets",
    "denoising_errors",
    "decompress",
    "elu",
    "evaluate",
    "explain_step",
    "find_nan",
    "fit",
    "gaussian_kl",
    "gelu",
    "get_backend",
    "get_matmul_precision",
    "get_num_threads",
    "jacobian_norm",
    "kl_divergence",
    "latent_grid",
    "leaky_relu",
    "load",
    "log_softmax",
    "manual_seed",
    "map_codes",
    "matmul",
    "max_pool2d",
    "maximum",
    "mse_loss",
    "nearest",
    "no_grad",
    "pad2d",
    "pretrain",
    "psnr",
    "relu",
    "save",
    "set_matmul_precision",
    "set_num_threads",
    "sigmoid",
    "softmax",
    "softplus",
    "ssim",
    "stack",
    "tanh",
    "tied_decoder",
    "trace",
    "upsample_bilinear",
    "upsample_nearest",
    "use_kernels",
    "where",
]
