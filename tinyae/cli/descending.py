"""The command that shows optimizers on their way down a surface."""

import click

from ..errors import RangeError
from .shared import commands, finish, json_option, names, quiet_option


def surface_names():
    """The names of all surfaces."""
    from ..explain.surfaces import SURFACES

    return SURFACES


@commands.command(short_help="Four optimizers on a valley, a saddle, an autoencoder's loss: a picture.")
@click.argument("surface", default="valley", shell_complete=names(surface_names))
@click.option("--out", type=click.Path(), help="FILE.png, or FILE.gif for an animation; by default SURFACE.png here.")
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
@click.option("--steps", type=int, help="How many steps each makes; by default what shows the surface well.")
@click.option(
    "--lr",
    multiple=True,
    metavar="NAME=RATE",
    help="Another learning rate for gd, momentum, nesterov or adam; may be given several times.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="For the autoencoder's initial weights.")
@json_option
@quiet_option
def descend(surface, lr, as_json, quiet, **options):
    """Draw the paths of gradient descent, momentum, Nesterov and Adam from the same start.

    SURFACE is valley (40 times as steep across as along), saddle (a ridge between two bottoms), or autoencoder: a slice
    through the loss of a small autoencoder on the digits, in the plane in which its training went.
    """
    from ..runs import descend_run, descend_table

    rates = {}
    for given in lr:
        name, _, rate = given.partition("=")
        try:
            rates[name] = float(rate)
        except ValueError:
            raise RangeError(f"descend: --lr {given}; expected a name and a number, such as adam=0.1.") from None
    return finish(descend_run(surface, lr=rates, **options), descend_table, as_json, quiet)
