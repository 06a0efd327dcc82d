"""The command that measures trained runs: evaluate."""

import click

from .shared import commands, data_option, finish, json_option, kernels_option, labels_option, whole_numbers


@commands.command(short_help="How good runs are, on their held-out data or others.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path())
@data_option
@labels_option
@click.option(
    "--full", is_flag=True, help="Also PCA beside it; and neighbours, a linear probe, k-means and search in the code."
)
@click.option("--seeds", default="0,1,2", show_default=True, help="Of k-means and of what is drawn, for --full.")
@click.option("--limit", type=int, default=10_000, show_default=True, help="Examples of each part that --full probes.")
@kernels_option
@json_option
def evaluate(runs, seeds, as_json, **options):
    """How good RUN is on its held-out data, or on --data; several RUNs together, with their median and range.

    It gives the squared error, for images PSNR and SSIM, and cross-entropy where the output is a sigmoid's. With
    --full, each number stands beside those of PCA with a code of the same size, and of the raw pixels; that takes up
    to some minutes.
    """
    from ..runs import evaluate, report_evaluation

    return finish(
        evaluate(list(runs), seeds=whole_numbers("evaluate", "--seeds", seeds), **options),
        report_evaluation,
        as_json,
        False,
    )
