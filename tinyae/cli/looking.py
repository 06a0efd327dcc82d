"""The commands that look into the space of codes: map, search."""

import click

from .shared import commands, data_option, finish, json_option, kernels_option, labels_option, run_argument

out_option = click.option("--out", type=click.Path(), help="FILE.png; by default a picture in the folder of the run.")
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace an existing --out.")


@commands.command(name="map", short_help="The codes of a run as points of a plane, coloured by label.")
@run_argument
@data_option
@labels_option
@click.option(
    "--by", help="model (codes of 2 numbers as they are), pca or tsne; by default the first of model and tsne."
)
@click.option("--limit", type=int, default=2_000, show_default=True, help="How many examples are drawn.")
@click.option("--seed", type=int, default=0, show_default=True, help="Which examples; and for t-SNE.")
@out_option
@overwrite_option
@kernels_option
@json_option
def map_(run, as_json, **options):
    """Draw the codes of RUN's held-out examples, or of --data, as points of a plane; beside it the same of the raw
    pixels.

    Where the code keeps apart what the labels keep apart, the colours lie apart.
    """
    from ..runs import map_run, report_map

    return finish(map_run(run, **options), report_map, as_json, False)


@commands.command(short_help="The examples that are most like an image.")
@run_argument
@click.argument("image")
@click.option("--k", type=int, default=8, show_default=True, help="How many to find.")
@click.option("--among", default="held-out", show_default=True, help="Search held-out or training examples.")
@data_option
@labels_option
@out_option
@overwrite_option
@kernels_option
@json_option
def search(run, image, as_json, **options):
    """Find the examples most like IMAGE, by the code of RUN and, beside it, by the raw pixels.

    IMAGE is a file (.png, .npy) of the size that the run was trained on, or the number of a held-out example, from 0.
    """
    from ..runs import report_search, search

    return finish(search(run, image, **options), report_search, as_json, False)
