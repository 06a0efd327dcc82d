"""The command that takes noise away: denoise."""

import click

from .shared import commands, finish, json_option, kernels_option, names, run_argument


def noise_names():
    """The names of all kinds of noise."""
    from ..nn.noise import NOISES

    return NOISES


@commands.command(short_help="Noise taken away by a run: measured, drawn, or from one's own data.")
@run_argument
@click.option("--noise", help="gaussian, masking or salt-and-pepper; by default that of the run, else gaussian.",
              shell_complete=names(noise_names))  # fmt: skip
@click.option("--strength", type=float, help="Standard deviation, or share of the pixels; by default 0.4, 0.25, 0.2.")
@click.option("--seed", type=int, default=0, show_default=True, help="For the noise.")
@click.option(
    "--data",
    help="A .npy, .npz or .csv file, or a folder of images: noisy ones, or, with --noise, clean ones. Or digits, mnist, "
    "fashion_mnist, kmnist. By default the held-out data of the run.",
)
@click.option("--out", type=click.Path(), help="FILE.png: some. FILE.npy: all, float32. By default RUN/denoised.png.")
@click.option("--overwrite", is_flag=True, help="Replace an existing --out.")
@kernels_option
@json_option
def denoise(run, as_json, **options):
    """Corrupt the held-out data of RUN, or clean --data, and measure how well it takes the noise away again.

    Beside it stand the noisy data themselves and plain denoisers, each at its best setting: a Gaussian filter, a median
    filter, PCA. With --data FILE alone, the data are noisy already: they are denoised and written to --out.
    """
    from ..runs import denoise, report_denoising

    return finish(denoise(run, **options), report_denoising, as_json, False)
