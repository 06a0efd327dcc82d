"""Noise taken away by a trained run: from its held-out examples, corrupted on purpose and measured; or from one's own."""

from functools import partial
from pathlib import Path

import numpy as np

from ..data import as_data, check_values
from ..datasets import load as load_data
from ..datasets.own import NAMES, load_for_evaluation
from ..errors import RangeError, require_integer
from ..image_quality import psnr_of_each
from ..metrics import LARGEST_PCA, pca, projected
from ..models.denoising import denoising_errors
from ..nn.noise import NOISES, GaussianNoise, make_noise
from ..plots import draw_denoised, is_images, new_figure
from .folder import RunFolder
from .outputs import checked_out, write_array
from .reporting import short, some_examples
from .training import as_source
from .using import examples_of, open_autoencoder, reconstructions, refuse_other_shape

STRENGTHS = {"gaussian": 0.4, "masking": 0.25, "salt-and-pepper": 0.2}  # where no other is chosen
TRIED = 1000  # training examples on which the baselines' settings are chosen
TRIED_SEED = 1  # of the noise on them: not that of the held-out ones
WIDTHS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0)  # standard deviations of the Gaussian filter, pixels
WINDOWS = (3, 5, 7)  # sides of the median filter, pixels
PICTURE = "denoised.png"  # in the folder of the run
MODEL, NOISY = "this autoencoder", "noisy, as it is"


def denoise(path, *, data=None, noise=None, strength=None, seed=0, out=None, overwrite=False):
    """Take noise away: from clean examples that are corrupted on purpose, and measure it; or from noisy ones of one's own.

    Parameters
    ----------
    data : str, optional
        A data set by name is clean, and corrupted. A file or folder holds noisy examples, which are taken as they are,
        unless ``noise`` says that they are to be corrupted.
    noise : str, optional
        "gaussian", "masking", "salt-and-pepper"; by default that of the run, for others gaussian.
    strength : float, optional
        The standard deviation, or the share of elements.
    seed : int
        For the noise.
    out : path, optional
        ``FILE.png``: some examples; ``FILE.npy``: all that was denoised, float32. By default ``denoised.png`` in the
        run's folder; for one's own noisy examples it must be given.

    Returns
    -------
    dict
        What was written; and ``errors``, {name: {"psnr", "mse", "bce"}}, if there was something to measure by.
    """
    seed = require_integer("denoise", "seed", seed, at_least=0)
    kind = ".png" if out is None else checked_out("denoise", out, overwrite)
    if kind == ".png":
        new_figure(1, 1)  # without Matplotlib, say so at once
    model, settings = open_autoencoder("denoise", path)
    corrupting = data is None or noise is not None or data.lower() in NAMES
    if not corrupting:
        if strength is not None:
            raise RangeError(
                f"denoise: --strength {strength} was given, but {data} is taken to be noisy already. To corrupt it on "
                f"purpose, say with what: --noise {', '.join(NOISES)}."
            )
        if out is None:
            raise RangeError(f"denoise: say where what becomes of {data} is to be written: --out FILE.png or FILE.npy.")
        return denoise_own(path, model, settings, data, kind, out)
    noise = chosen_noise(model, settings.recipe, noise, strength)
    x, y, which, data = examples_of("denoise", settings, data, None)
    result = {"run": str(path), "recipe": settings.recipe.name, "data": data, "which": which, "examples": len(x),
              "noise": repr(noise), "seed": seed}  # fmt: skip
    plain = baselines(settings.recipe, noise)
    result["errors"] = denoising_errors({NOISY: lambda x: x, MODEL: model.reconstruct, **plain}, x, noise, seed)
    if kind == ".npy":
        write_array(out, (model.reconstruct(noisy) for _, _, noisy in noise.corrupted_pieces(x, seed)), x.shape)
    else:
        draw = partial(draw_some, model, plain, x, y, noise, seed, result)
        if out is not None:
            draw(out)
        else:
            out = Path(path) / PICTURE
            with RunFolder(path) as folder:
                folder.claim("denoise")  # nobody may train in it meanwhile
                draw(out)
    return result | {"out": str(out)}


def chosen_noise(model, recipe, kind, strength):
    """The noise that was asked for; that of the model, where nothing was."""
    own = getattr(model, "noise", None)
    if kind is None and strength is None and own is not None:
        return own
    if kind is None:
        kind = next((name for name, cls in NOISES.items() if type(own) is cls), "gaussian")
    clip = (0, 1) if recipe.output == "sigmoid" else None
    made = make_noise(kind, 0.0, clip)  # the name is known
    if strength is None:
        strength = next(STRENGTHS[name] for name, cls in NOISES.items() if type(made) is cls)
    return make_noise(kind, strength, clip)


# ---------------------------------------------------------------- one's own noisy examples


def denoise_own(path, model, settings, data, kind, out):
    """Noisy examples as they are: nothing is known to measure by."""
    source = as_source(data)
    x, y = load_for_evaluation(source)
    refuse_other_shape("denoise", settings, source, x)
    x = as_data(f"denoise: {source}", x)
    check_values(f"denoise: {source}", x, unit_interval=settings.recipe.output == "sigmoid")
    if kind == ".npy":
        write_array(out, reconstructions(model, x), x.shape)
        shown = len(x)
    else:
        some = np.asarray(x[some_examples(y, len(x))])
        draw_denoised(
            [("noisy", some, None), ("denoised", model.reconstruct(some), None)], out, f"{short(source)}, denoised"
        )
        shown = len(some)
    return {"run": str(path), "recipe": settings.recipe.name, "data": source, "which": "examples", "examples": shown,
            "out": str(out)}  # fmt: skip


# ---------------------------------------------------------------- what is plainer


def baselines(recipe, noise):
    """{name: function} of plain denoisers, each at the setting that is best on noisy training examples."""
    (x, _), _ = load_data(recipe.data, recipe.labels)
    clean = np.asarray(x[:TRIED], np.float64)
    noisy = np.asarray(noise.corrupted(np.asarray(x[:TRIED], np.float32), TRIED_SEED), np.float64)

    def best(settings, made):
        return min(settings, key=lambda setting: ((made(noisy, setting) - clean) ** 2).mean())

    found = {}
    limits = (0, 1) if 0 <= clean.min() and clean.max() <= 1 else (-np.inf, np.inf)
    if is_images(x.shape):
        width, side = best(WIDTHS, gaussian_filtered), best(WINDOWS, median_filtered)
        found[f"Gaussian filter, width {width:g} pixels"] = partial(gaussian_filtered, width=width)
        found[f"median filter, {side}x{side} pixels"] = partial(median_filtered, side=side)
    size = clean.size // len(clean)
    if size <= LARGEST_PCA:
        mean, vectors = pca(x)
        components = best_components(mean, vectors, noisy, clean)
        basis = vectors[:, -components:]  # the noise outside of its span is left away
        found[f"PCA, {components} components"] = lambda x: np.clip(projected(x, mean, basis), *limits)
    return found


def gaussian_filtered(x, width):
    """Images (N, H, W, ...), each pixel a weighted mean of those around it."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(np.asarray(x, np.float64), (0, width, width, 0)[: x.ndim])


def median_filtered(x, side):
    """Images (N, H, W, ...), each pixel the median of those around it."""
    from scipy.ndimage import median_filter

    return median_filter(np.asarray(x, np.float64), (1, side, side, 1)[: x.ndim])


def best_components(mean, vectors, noisy, clean):
    """How many components bring noisy examples nearest to the clean ones: of each component its share in the error is known."""
    a, b = ((part.reshape(len(part), -1) - mean) @ vectors[:, ::-1] for part in (noisy, clean))  # the largest first
    gained = (b**2).sum(axis=0) - ((a - b) ** 2).sum(axis=0)  # by keeping it
    return int(np.argmax(np.cumsum(gained))) + 1


# ---------------------------------------------------------------- in pictures and in words


def draw_some(model, plain, x, y, noise, seed, result, path):
    """Some examples: clean, noisy, by the best of the plain denoisers, by the model."""
    some = some_examples(y, len(x))
    needed = int(some.max()) + 1  # the noise of an example is that of its place
    noisy = noise.corrupted(np.asarray(x[:needed]), seed)[some]
    clean = np.asarray(x[some], np.float64)
    errors = result["errors"]
    rows = [("clean", clean, None), (f"noisy\n{decibels(errors[NOISY])}", noisy, ratios(noisy, clean, errors))]
    if plain:
        name = min(plain, key=lambda name: errors[name]["mse"])
        made = plain[name](noisy)
        label = f"{name.replace(', ', chr(10))}\n{decibels(errors[name])}"
        rows.append((label, made, ratios(made, clean, errors)))
    made = model.reconstruct(noisy)
    rows.append((f"{MODEL}\n{decibels(errors[MODEL])}", made, ratios(made, clean, errors)))
    what = f"{short(result['data'])}: {result['which']} with {in_words(noise)}"
    draw_denoised(
        rows, path, f"{what}, and what is made of that" + (" (PSNR in dB)" if "psnr" in errors[MODEL] else "")
    )


def decibels(errors):
    """The PSNR over all examples, or the squared error."""
    return f"{errors['psnr']:.1f} dB" if "psnr" in errors else f"MSE {errors['mse']:.3g}"


def ratios(made, clean, errors):
    """The PSNR of each example as a text, where it means something."""
    if "psnr" not in errors[MODEL]:
        return None
    return [f"{value:.1f}" for value in psnr_of_each(np.asarray(made, np.float64), clean, 1.0)]


def in_words(noise):
    """A noise as a reader calls it."""
    if isinstance(noise, GaussianNoise):
        clipped = "" if noise.clip is None else f", clipped to [{noise.clip[0]:g}, {noise.clip[1]:g}]"
        return f"Gaussian noise of {noise.std:g}{clipped}"
    kinds = {cls: name.replace("-", " ") for name, cls in NOISES.items()}
    return f"{kinds[type(noise)]} noise of {noise.strength:g}" if type(noise) in kinds else repr(noise)


def report_denoising(result):
    """What was reached, beside plain denoisers, as text."""
    if "errors" not in result:
        return f"written to {result['out']}: {result['examples']:,} {result['which']} of {result['data']}, denoised"
    columns = {"psnr": ("PSNR, dB", ".2f"), "mse": ("squared error", ".5f"), "bce": ("cross-entropy", ".4f")}
    columns = {key: column for key, column in columns.items() if key in result["errors"][MODEL]}
    width = max(map(len, result["errors"]))
    lines = [
        f"{result['recipe']}: {result['examples']:,} {result['which']} of {result['data']} with {result['noise']}, "
        f"seed {result['seed']}; errors against the clean ones",
        "",
        "  ".join(["".ljust(width), *(title.rjust(13) for title, _ in columns.values())]),
    ]
    for name, errors in result["errors"].items():
        lines.append(
            "  ".join([name.ljust(width), *(f"{errors[key]:>13{form}}" for key, (_, form) in columns.items())])
        )
    if "psnr" in columns:
        gain = result["errors"][MODEL]["psnr"] - result["errors"][NOISY]["psnr"]
        lines += [
            "",
            f"The autoencoder gains {gain:.1f} dB on the noisy input. (PSNR: the mean over examples; errors: over pixels.)",
        ]
    return "\n".join([*lines, f"written to {result['out']}"])
