"""The package as a whole: what importing it costs, and what it promises to hold."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tinyae as ta

PACKAGE = Path(ta.__file__).parent

# bottom to top: a file imports only from floors below its own
FLOORS = [
    ["errors", "py.typed"],
    ["backend", "files", "interrupt", "rows", "cupy_trouble"],
    ["random", "cupy_backend"],
    ["plots", "archive"],
    ["history"],
    ["context", "ops", "operands"],
    ["observer"],
    ["tape", "operators"],
    ["tensor"],
    ["apply"],
    ["functional"],
    ["losses", "nn", "optimizer", "check"],
    ["optim", "regularizers", "callbacks", "data", "metrics", "memory", "augmentation", "scaling", "thresholds"],
    ["kernels", "image_quality"],
    ["program"],
    ["graph"],
    ["capture", "schedules", "clipping", "checkpoint", "failures", "rehearsal", "tensorboard"],
    ["datasets", "steps"],
    ["training"],
    ["models"],
    ["saving", "recipes", "info", "residuals"],
    ["evaluation"],
    ["text"],
    ["explain"],
    ["compression"],
    ["anomaly"],
    ["sklearn"],
    ["runs"],
    ["cli"],
]


def test_importing_tinyae_imports_nothing_heavy():
    program = "import sys, tinyae; print([m for m in ('numba', 'scipy', 'cupy', 'matplotlib', 'sklearn', 'click', 'tqdm') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
        == "[]"
    )


def test_every_file_stands_on_a_floor_and_imports_only_from_below():
    floor_of = {name: i for i, names in enumerate(FLOORS) for name in names}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts == ("__init__",):
            continue
        assert parts[0] in floor_of, f"{path.name} stands on no floor"
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or node.level == 0:
                continue
            inside = node.level < len(parts) or (node.level == 1 and len(parts) > 1)
            if inside:
                continue  # a sibling in the same folder
            targets = [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
            for target in targets:
                assert floor_of[target] < floor_of[parts[0]], (
                    f"{'/'.join(parts)} imports {target}, which is not below it"
                )


def test_one_module_imports_cupy():
    for path in PACKAGE.rglob("*.py"):
        imports = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, (ast.Import, ast.ImportFrom))]
        names = [a.name for n in imports for a in n.names] + [
            n.module or "" for n in imports if isinstance(n, ast.ImportFrom)
        ]
        assert path.name == "cupy_backend.py" or not any(name.split(".")[0] in ("cupy", "cupyx") for name in names)


PROMISED = """Tensor relu sigmoid tanh softplus leaky_relu elu gelu softmax log_softmax matmul concatenate stack where maximum no_grad
manual_seed mse_loss bce_with_logits_loss binary_cross_entropy cross_entropy kl_divergence gaussian_kl Module Dense Activation Flatten
Reshape Dropout GaussianNoise MaskingNoise SaltAndPepper DenoisingAutoencoder SparseAutoencoder
ContractiveAutoencoder Sequential GradientDescent SGD Momentum Adam Autoencoder fit EarlyStopping StopAtLoss Callback L1 L2
check_gradients save load datasets batches History Conv2D Conv2DTranspose MaxPool2D AvgPool2D GlobalAvgPool2D UpSampling2D BatchNorm
ZeroPad2D Crop2D conv2d conv2d_transpose conv_block max_pool2d avg_pool2d upsample_nearest upsample_bilinear pad2d batch_norm
evaluate Evaluation cluster_codes clustering_accuracy map_codes nearest psnr ssim InvariantAutoencoder trace
find_nan explain_step""".split()  # noqa: SIM905


@pytest.mark.parametrize("name", PROMISED)
def test_promised_names_are_there_and_documented(name):
    thing = getattr(ta, name)
    assert thing.__doc__ and len(thing.__doc__.strip()) > 10


def test_every_public_function_and_class_has_a_docstring():
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), f"{path.name} has no docstring"
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name} has no docstring"
