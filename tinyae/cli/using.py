"""The commands that show what a trained run does: reconstruct, inspect."""

import click

from .shared import commands, data_option, finish, json_option, kernels_option, run_argument


@commands.command(short_help="What a run makes of its data, as picture or array.")
@run_argument
@data_option
@click.option(
    "--out", type=click.Path(), required=True, help="FILE.png: ten beside their originals. FILE.npy: all, float32."
)
@click.option("--overwrite", is_flag=True, help="Replace an existing --out.")
@kernels_option
@json_option
def reconstruct(run, as_json, **options):
    """Write what RUN makes of its held-out data, or of --data."""
    from ..runs import reconstruct

    def text(result):
        return f"written to {result['out']}: {result['examples']:,} {result['which']} of {result['data']}"

    return finish(reconstruct(run, **options), text, as_json, False)


@commands.command(short_help="The inside of a run: its filters, and its layers' outputs for an example.")
@run_argument
@data_option
@click.option("--example", type=int, default=0, show_default=True, help="Which example, from 0.")
@click.option("--out", type=click.Path(), help="A folder to write to; by default that of the run.")
@click.option("--overwrite", is_flag=True, help="Replace pictures in an existing --out.")
@kernels_option
@json_option
def inspect(run, as_json, **options):
    """Draw the inside of RUN, trained on images: filters.png and feature_maps.png.

    The first shows the weights of the first layer as images, the second what every layer makes of one held-out
    example, or one of --data, on the way from the image to the code and back.
    """
    from ..runs import inspect, report_inspection

    return finish(inspect(run, **options), report_inspection, as_json, False)
