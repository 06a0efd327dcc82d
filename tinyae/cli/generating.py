"""The command that draws new examples: generate."""

import click

from .shared import commands, data_option, finish, json_option, kernels_option, run_argument


@commands.command(short_help="New examples from a run: samples, a walk between two, the plane of its code.")
@run_argument
@click.option("--out", type=click.Path(), required=True, help="FILE.png, a picture, or FILE.npy, an array (float32).")
@click.option(
    "--what",
    type=click.Choice(["samples", "interpolation", "grid"]),
    help="By default all that there is in a picture, and samples in an array.",
)
@click.option(
    "--count",
    type=int,
    help="How many samples; with --what: steps of an interpolation, or codes along a side of the grid.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="For the samples.")
@click.option(
    "--between", type=int, nargs=2, help="Two examples to walk between, by number from 0; by default two labels."
)
@data_option
@click.option("--overwrite", is_flag=True, help="Replace an existing --out.")
@kernels_option
@json_option
def generate(run, as_json, **options):
    """Write examples that RUN makes up.

    Samples are codes from the distribution that the model was trained to have (recipes vae, vae-conv2, ...), decoded; for a
    plain autoencoder codes are drawn from a normal distribution fitted to those of its training data. An interpolation goes
    straight from the code of one held-out example to that of another. The grid is what a code of two numbers means, beside
    the codes of the held-out examples.
    """
    from ..runs.generating import generate, report_generation

    return finish(generate(run, **options), report_generation, as_json, False)
