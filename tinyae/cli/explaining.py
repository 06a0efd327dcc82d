"""The command that shows one training step, number by number."""

import click

from .shared import commands, finish, json_option, names, quiet_option, recipe_names


def explainable():
    """The small network and all recipes."""
    return ["2-3-1", *recipe_names()]


@commands.command(short_help="One training step, number by number: a page to step through, or text.")
@click.argument("recipe", default="2-3-1", shell_complete=names(explainable))
@click.option("--out", type=click.Path(), help="The page to write, FILE.html.  [default: step.html]")
@click.option("--overwrite", is_flag=True, help="Replace an existing --out.")
@click.option("--text", is_flag=True, help="Print the steps instead of writing a page.")
@click.option("--examples", type=int, help="How many examples of the recipe's data go in.  [default: 4]")
@click.option("--seed", type=int, default=0, show_default=True, help="For the weights.")
@json_option
@quiet_option
def explain(recipe, as_json, quiet, **options):
    """Record one training step (forward, backward, update) and write it as a page that works offline.

    By default of a network of 2, 3 and 1 units, small enough for every number to be on the screen; or of RECIPE's model,
    untrained, on a few examples of its data. All recipes: tinyae recipes.
    """
    from ..runs import explain, report_explanation

    return finish(explain(recipe, **options), report_explanation, as_json, quiet and not options["text"])
