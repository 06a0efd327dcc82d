"""The command that writes the source beside the maths: read."""

import click

from .shared import commands, finish, json_option


@commands.command(short_help="The source beside its formulas, as pages.")
@click.option("--out", type=click.Path(), required=True, help="The folder to write to; made if it is not there.")
@click.option("--overwrite", is_flag=True, help="Replace a folder of such pages.")
@click.option("--home", help="An address that all pages lead back to, relative to --out, such as ../index.html.")
@json_option
def read(out, overwrite, home, as_json):
    """Write pages for every operation, layer, loss, optimizer and kernel: formulas and prose on the left, on the right
    the source that computes them, line beside line.

    They are made from the code as it is installed, and need no network: open OUT/index.html in a browser.
    """
    from ..explain.reading import write_pages

    return finish({"out": out, "pages": write_pages(out, overwrite, home)}, report, as_json, False)


def report(result):
    """What was written, in words."""
    pages = ", ".join(f"{number} {kind}" for kind, number in result["pages"].items())
    return f"{pages}\nopen {result['out']}/index.html"
