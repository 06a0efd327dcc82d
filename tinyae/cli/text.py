"""The command that finds documents: text."""

import click

from .shared import commands, finish, json_option, kernels_option, quiet_option, whole_numbers


@commands.command(short_help="The documents nearest to a text: TF-IDF, LSA and an autoencoder.")
@click.argument("query", required=False)
@click.option(
    "--data", type=click.Path(), help="A folder of .txt files; by default the help topics that come with Python."
)
@click.option(
    "--size", type=int, default=32, show_default=True, help="Numbers that LSA and the autoencoder make of a document."
)
@click.option("--top", type=int, default=5, show_default=True, help="How many of the nearest.")
@click.option("--seeds", default="0,1,2", show_default=True, help="For the comparison; a query takes the first.")
@kernels_option
@json_option
@quiet_option
def text(query, seeds, as_json, quiet, **options):
    """The documents nearest to QUERY, the name of one or any text, by three methods.

    Without QUERY: how well each method finds the other half of a document, measured.
    """
    from ..runs import search_text, text_report

    return finish(
        search_text(query, seeds=whole_numbers("text", "--seeds", seeds), **options), text_report, as_json, quiet
    )
