"""Compression of the MNIST test set: codes of five sizes, quantised and entropy-coded into real files, beside PCA.

PCA has as many components, the same quantiser and the same entropy coder, and is compared at as many bits per image,
between its points by interpolation. ``python -m benchmarks.family.compression rates.png`` writes the picture, with JPEG
and PNG, for seed 0.
"""

import os
import shutil
import sys
import tempfile
import time
from statistics import median

import numpy as np

import tinyae as ta
from tinyae import runs
from tinyae.compression import UniformQuantiser, compress, decompress, read_codes
from tinyae.compression.rates import at_equal_bits, error_at, principal_components, rate_distortion
from tinyae.errors import DataFileError

from .row import Row

SIZES = (2, 4, 8, 16, 32)
MORE_COMPONENTS = (64, 128)
BITS = (1, 2, 3, 4, 5, 6, 8)
FROM = 2  # bits of a number: with one, a code of two numbers tells four pictures apart, and hardly anything beats PCA at that
SHOWN = 4  # bits of the points that are printed


def measure(seeds, threads=None):
    """The rows; everything is trained here."""
    started = time.perf_counter()
    if threads:
        ta.set_num_threads(threads)
    (x, _), (x_test, _) = ta.datasets.load_mnist()
    pca = {
        size: rate_distortion(model, x_test, BITS, x)
        for size, model in principal_components(x, SIZES + MORE_COMPONENTS, unit_interval=True).items()
    }
    own, kept = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            own[seed] = {}
            for size in SIZES:
                model = ta.load(trained(size, seed, folder))
                own[seed][size] = rate_distortion(model, x_test, BITS, x)
                kept.append(kept_its_promise(model, x_test, x, os.path.join(folder, "codes.tae")))
    promised = all(
        p["mse"] <= p["mse_at_most"] for curves in own.values() for points in curves.values() for p in points
    )
    seconds = time.perf_counter() - started
    return [beside_pca(own, pca, seconds), beside_all(own, pca), files(kept, promised), sizes(own)]


def trained(size, seed, folder):
    """The folder of a run of the recipe for that code size."""
    out = os.path.join(folder, f"code{size}-{seed}")
    runs.train(f"code{size}", seed=seed, out=out, progress=False)
    return out


def kept_its_promise(model, x_test, x, path):
    """Do the codes come back bit for bit, and is a changed, a cut or another model's file refused?"""
    compress(model, x_test, path, SHOWN, x)
    quantiser = UniformQuantiser.fit(model.encode(x), SHOWN)
    codes = quantiser.values(quantiser.cells(model.encode(x_test)))
    same = np.array_equal(read_codes(path), codes)
    again = decompress(model, path)
    same = same and np.allclose(again, model.decode(codes.astype(np.float32)), atol=1e-6)
    with open(path, "rb") as file:
        content = file.read()
    middle = len(content) // 2
    for changed in (content[:-1], content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]):
        with open(path, "wb") as file:
            file.write(changed)
        same = same and is_refused(model, path)
    with open(path, "wb") as file:
        file.write(content)
    model.decoder.named_tensors()[0][1].data.flat[0] += 1
    return bool(same and is_refused(model, path))


def is_refused(model, path):
    """Is the file not decoded?"""
    try:
        decompress(model, path)
    except DataFileError:
        return True
    return False


# ---------------------------------------------------------------- rows


def from_two_bits(points):
    """The points that are compared."""
    return [point for point in points if point["bits"] >= FROM]


def beside_pca(own, pca, seconds):
    """The autoencoder against PCA with as many components, at equal bits."""
    wins, texts = {}, []
    for seed, curves in own.items():
        wins[seed] = {size: beats(from_two_bits(points), pca[size]) for size, points in curves.items()}
    for size in SIZES:
        shown = [next(p for p in curves[size] if p["bits"] == SHOWN) for curves in own.values()]
        rate = median(p["bits_per_example"] for p in shown)
        mse = median(p["mse"] for p in shown)
        texts.append(f"{size}: {mse:.4f} against {error_at(pca[size], rate):.4f} at {rate:.1f} bits")
    at_one = {size: sum(beats_at_one(curves[size], pca[size]) for curves in own.values()) for size in SIZES}
    losing = [str(size) for size, count in at_one.items() if count < len(own)]
    note = f"; with 1 bit not in every run for codes of {', '.join(losing)}" if losing else ""
    return Row(
        "compression: MNIST test set, codes of 2, 4, 8, 16 and 32 numbers with 2 to 8 bits each, against PCA with the same quantiser and coder",
        "MSE below PCA's at equal bits, at every code size",
        f"with {SHOWN} bits, {'; '.join(texts)}{note}",
        all(all(found.values()) for found in wins.values()),
        seconds,
        {"wins": wins, "autoencoder": own, "pca": pca},
    )


def beats_at_one(points, others):
    """Is the point with one bit for each number below PCA's curve too?"""
    return beats([p for p in points if p["bits"] == 1], others)


def beats(points, others):
    """Is each point below the other curve, at as many bits? What cannot be compared at all has not won."""
    pairs = at_equal_bits(points, others)
    return bool(pairs) and all(pair["mse"] < pair["other_mse"] for pair in pairs)


def beside_all(own, pca):
    """The same against PCA with any number of components."""
    ratios = {}
    for seed, curves in own.items():
        ratios[seed] = {}
        for size, points in curves.items():
            found = []
            for point in from_two_bits(points):
                others = [error_at(other, point["bits_per_example"]) for other in pca.values()]
                found.append(point["mse"] / min(error for error in others if error is not None))
            ratios[seed][size] = found
    best = {size: median(min(found[size]) for found in ratios.values()) for size in SIZES}
    return Row(
        f"compression: the same against PCA with the best number of components ({', '.join(map(str, SIZES + MORE_COMPONENTS))})",
        "",
        "MSE over PCA's, at the bits where it is smallest: "
        + "; ".join(f"{size}: {ratio:.2f}" for size, ratio in best.items()),
        None,
        0.0,
        {"ratios": ratios},
    )


def files(kept, promised):
    """What was promised of the files."""
    good = f"{sum(kept)} of {len(kept)} runs: codes come back bit for bit; cut, changed and other models' files are refused"
    return Row(
        "compression: files decode to what was promised",
        "codes bit for bit, the error at most as the file says, damage refused",
        good
        + ("; every file's error is at most as promised" if promised else "; NOT every file's error is as promised"),
        all(kept) and promised,
        0.0,
        {"kept": kept, "promised": promised},
    )


def sizes(own):
    """What the files take above the entropy of their symbols."""
    over = {
        size: [
            median(8 * curves[size][i]["bytes"] / curves[size][i]["entropy_bits"] - 1 for curves in own.values())
            for i in range(len(BITS))
        ]
        for size in SIZES
    }
    at = BITS.index(SHOWN)
    return Row(
        "compression: size of a whole file above the entropy of its symbols",
        "",
        f"with {SHOWN} bits, " + "; ".join(f"codes of {size}: {100 * over[size][at]:.1f} %" for size in SIZES),
        None,
        0.0,
        {"bits": BITS, "over": over},
    )


def draw(path, seed=0):
    """The picture: all sizes, PCA, JPEG and PNG."""
    with tempfile.TemporaryDirectory() as folder:
        found = [trained(size, seed, folder) for size in SIZES]
        result = runs.rates(found, out=os.path.join(folder, "rates"))
        shutil.copy(os.path.join(folder, "rates", "rates.png"), path)
    print(runs.rates_table(result))


if __name__ == "__main__":
    draw(*sys.argv[1:2])
