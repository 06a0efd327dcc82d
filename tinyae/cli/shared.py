"""What the commands share: the group they belong to, options that several take, how a result is printed."""

import json

import click

from ..errors import RangeError


def finish(result, text, as_json, quiet):
    """Print a result, as text and as JSON; returns the exit code."""
    if not quiet:
        print(text(result), flush=True)
    if as_json:
        print(json.dumps(result))
    return 130 if result.get("interrupted") else 0


def whole_numbers(command, option, text):
    """``0,1,2`` as a list."""
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise RangeError(
            f"{command}: {option} {text}; expected whole numbers with commas between them, such as 0,1,2."
        ) from None


def names(table):
    """Completion of names in a shell."""
    return lambda context, parameter, start: [name for name in table() if name.startswith(start)]


def recipe_names():
    """The names of all recipes."""
    from ..recipes import RECIPES

    return RECIPES


def optimizer_names():
    """The names of all optimizers."""
    from ..optim import OPTIMIZERS

    return OPTIMIZERS


recipe_argument = click.argument("recipe", default="digits", shell_complete=names(recipe_names))
run_argument = click.argument("run", type=click.Path())
data_option = click.option(
    "--data",
    help="digits, mnist, fashion_mnist, kmnist; or a .npy, .npz or .csv file, or a folder of images. By default "
    "that of the recipe or the run.",
)
labels_option = click.option(
    "--labels", type=click.Path(), help="A file with one whole number per example (.npy, .csv)."
)
seed_option = click.option(
    "--seed", type=int, default=0, show_default=True, help="For the weights and the order of the batches."
)
backend_option = click.option("--backend", default="numpy", show_default=True, help="numpy or cupy.")


def enter_kernels(context, parameter, which):
    """Compute with these kernels until the command is done."""
    from ..context import use_kernels

    context.with_resource(use_kernels(which))


kernels_option = click.option(
    "--kernels",
    default="fast",
    show_default=True,
    expose_value=False,
    callback=enter_kernels,
    help="fast, or reference: every operation as it is defined.",
)
init_option = click.option("--init", help="Initial weights: he, glorot, he_normal, glorot_normal, pytorch, zeros.")
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as one JSON object, the last line."
)
quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress and no report.")


class InOrder(click.Group):
    """Lists its commands in the order in which they are used."""

    def list_commands(self, context):
        return list(self.commands)


@click.group(
    cls=InOrder,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="For help with one of them: tinyae COMMAND --help. For completion of names by the tabulator key: "
    "tinyae completion --help.",
)
@click.version_option(package_name="tinyae", message="tinyae %(version)s")
def commands():
    """Train autoencoders from scratch, and look at what they learn."""
