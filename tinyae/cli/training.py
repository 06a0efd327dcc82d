"""The commands that train: train, resume, compare."""

import click

from ..errors import RangeError
from .shared import (
    backend_option,
    commands,
    data_option,
    finish,
    init_option,
    json_option,
    kernels_option,
    labels_option,
    names,
    optimizer_names,
    quiet_option,
    recipe_argument,
    run_argument,
    seed_option,
)


@commands.command(short_help="Train a model, write it with its history and pictures.")
@recipe_argument
@data_option
@labels_option
@click.option("--epochs", type=int, help="How often to go through the data.")
@click.option("--batch-size", type=int, help="Examples per step (not for gd and lbfgs, which take all).")
@click.option("--lr", type=float, help="Learning rate; by default what the recipe has for that optimizer.")
@click.option(
    "--optimizer",
    help="gd, sgd, momentum, adagrad, rmsprop, adam or lbfgs.",
    shell_complete=names(optimizer_names),
)
@click.option("--loss", help="mse or bce (cross_entropy for a classifier).")
@init_option
@seed_option
@backend_option
@kernels_option
@click.option("--out", type=click.Path(), help="Folder to write; by default a new runs/RECIPE-N.")
@click.option("--overwrite", is_flag=True, help="Replace the run in an existing --out.")
@json_option
@quiet_option
def train(recipe, as_json, quiet, **options):
    """Train RECIPE (by default "digits") and write the model, its history and pictures.

    What is left out is as the recipe has it; digits: 80 epochs, batches of 32, adam with learning rate 0.002. All
    recipes: tinyae recipes. A run that is interrupted is finished by tinyae resume.
    """
    from ..runs import report, train

    return finish(train(recipe, progress=not quiet, **options), report, as_json, quiet)


@commands.command(short_help="Go on with an interrupted run, or with more epochs.")
@run_argument
@click.option("--epochs", type=int, help="All epochs, those that are done included; by default as first asked for.")
@json_option
@quiet_option
def resume(run, as_json, quiet, **options):
    """Go on with RUN, a folder of tinyae train, from its last whole epoch.

    However it ended (Ctrl-C, a crash, a full disk), the result is the same to the last bit as without the
    interruption. It computes with the kernels that the run began with.
    """
    from ..runs import report, resume

    return finish(resume(run, progress=not quiet, **options), report, as_json, quiet)


@commands.command(short_help="Optimizers and losses side by side: a table, a plot.")
@recipe_argument
@click.option(
    "--optimizers", default="gd,sgd,momentum,adam", show_default=True, help="Names, with commas between them."
)
@click.option("--losses", default="mse,bce", show_default=True, help="Names, with commas between them.")
@data_option
@click.option("--epochs", type=int, help="How often to go through the data.")
@click.option("--batch-size", type=int, help="Examples per step (gd and lbfgs take all).")
@click.option("--lr", help="Learning rates, such as adam=1e-3,sgd=0.5; by default the recipe's.")
@init_option
@seed_option
@backend_option
@kernels_option
@click.option("--out", type=click.Path(), help="Folder to write; by default a new runs/compare-N.")
@json_option
@quiet_option
def compare(recipe, optimizers, losses, lr, as_json, quiet, **options):
    """Train RECIPE with several optimizers and losses: same weights, same batches, one table, one plot."""
    from ..runs import compare, comparison_table

    result = compare(
        recipe,
        optimizers=listed(optimizers),
        losses=listed(losses),
        lr=rates(lr),
        progress=not quiet,
        **options,
    )
    return finish(result, comparison_table, as_json, quiet)


def rates(text):
    """``adam=1e-3,sgd=0.5`` as a dict."""
    if text is None:
        return None
    found = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        try:
            found[name.strip().lower()] = float(number)
        except ValueError:
            raise RangeError(
                f"compare: --lr has {part!r}; expected NAME=NUMBER for each optimizer, such as adam=1e-3,sgd=0.5."
            ) from None
    return found


def listed(text):
    """``gd, sgd`` as a list."""
    return [part.strip() for part in text.split(",") if part.strip()]
