"""The command that looks for what is unusual: anomalies."""

import click

from .shared import (
    commands,
    finish,
    json_option,
    kernels_option,
    labels_option,
    quiet_option,
    seed_option,
)


@commands.command(short_help="Score the rows or images of DATA by how unusual they are.")
@click.argument("data")
@click.option("--train", help="Data that are normal, to learn from; by default DATA itself.")
@click.option("--run", type=click.Path(), help="A run of tinyae train, whose model is taken as it is.")
@click.option(
    "--normal",
    type=int,
    multiple=True,
    help="Learn from rows with this label only (and --normal again); others are anomalies.",
)
@labels_option
@click.option("--contamination", type=float, help="The share of anomalies in DATA, if it is known.")
@click.option(
    "--false-alarms", type=float, help="The share of normal rows that may be called anomalies.  [default: 0.05]"
)
@click.option("--epochs", type=int, help="How often to go through the data.  [default: 30]")
@seed_option
@click.option("--out", type=click.Path(), help="Folder to write; by default a new runs/anomalies-N.")
@kernels_option
@json_option
@quiet_option
def anomalies(data, as_json, quiet, **options):
    """Score each row or image of DATA, find the anomalies, and draw the strangest.

    DATA is a .mat, .csv, .npy or .npz file, a folder of images, or digits, mnist, fashion_mnist, kmnist. Three small
    autoencoders learn what is usual in it, or in --train, or in the training part of data that have one. No labels are
    needed: those that DATA has (1 for an anomaly, 0 for normal), or --labels, only say how good the scores are.

    \b
    tinyae anomalies cardio.mat
    tinyae anomalies mnist --normal 0                       what is no zero?
    tinyae anomalies new.csv --train good.csv --false-alarms 0.01
    tinyae anomalies photos/ --run runs/conv-1
    """
    from ..runs import find_anomalies, report_anomalies

    return finish(find_anomalies(data, progress=not quiet, **options), report_anomalies, as_json, quiet)
