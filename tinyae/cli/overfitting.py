"""The command that shows overfitting, and what is done against it."""

import click

from .shared import commands, finish, json_option, kernels_option, quiet_option, seed_option
from .training import listed


@commands.command(short_help="Overfitting and its remedies on one case: a table, a picture.")
@click.option("--remedies", help="Names, with commas between them; by default all.")
@click.option(
    "--data", help="Images: digits (the default), mnist, fashion_mnist, kmnist; a .npy, .npz file or a folder."
)
@click.option("--examples", type=int, default=200, show_default=True, help="How many are trained on.")
@click.option("--epochs", type=int, default=300, show_default=True, help="How often to go through them.")
@seed_option
@kernels_option
@click.option("--out", type=click.Path(), help="Folder to write; by default a new runs/overfit-N.")
@json_option
@quiet_option
def overfit(remedies, as_json, quiet, **options):
    """Train the model of the recipe digits on few pictures, for too long, with one remedy at a time.

    Remedies: nothing, L1, L2, dropout, noise, early stopping, rotations, shifts. The table has the training and the held-out
    error of each; the picture, overfitting.png, both from epoch to epoch.
    """
    from ..runs import overfit, overfitting_table

    if remedies is not None:
        options["remedies"] = listed(remedies)
    return finish(overfit(progress=not quiet, **options), overfitting_table, as_json, quiet)
