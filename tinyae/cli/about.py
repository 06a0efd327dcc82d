"""The commands that say what there is: recipes, info, completion."""

import json

import click

from .shared import commands, json_option


@commands.command(short_help="List the recipes, and what to expect of them.")
@json_option
def recipes(as_json):
    """List the recipes, and what to expect of them."""
    from ..recipes import RECIPES

    def text(recipe):
        batch = f"batches of {recipe.batch_size}, {recipe.epochs} epochs"
        return "\n".join(
            [
                f"{recipe.name}: {recipe.about}",
                f"    {recipe.data}; {recipe.loss}, {recipe.optimizer} {recipe.lr[recipe.optimizer]:g}, {batch}",
                f"    expected: {recipe.expected}",
                f"    source: {recipe.source}",
            ]
        )

    print("\n\n".join(text(recipe) for recipe in RECIPES.values()))
    print("\nRun one with: tinyae train NAME. Its options change what is listed here.")
    if as_json:
        print(json.dumps({"recipes": [recipe.settings() for recipe in RECIPES.values()]}))


@commands.command(short_help="Versions, threads, BLAS and backends found here.")
@json_option
def info(as_json):
    """Versions, threads, BLAS and backends found here; where one is missing, why, and how to install it."""
    from ..info import describe_machine, machine_report

    about = describe_machine()
    print(machine_report(about))
    if as_json:
        print(json.dumps(about))


@commands.command(short_help="How a shell learns to complete tinyae's names.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell):
    """Print the lines that teach a shell to complete tinyae's names.

    \b
    bash: put  eval "$(tinyae completion bash)"  into ~/.bashrc
    zsh:  put  eval "$(tinyae completion zsh)"   into ~/.zshrc
    fish: tinyae completion fish > ~/.config/fish/completions/tinyae.fish
    """
    from click.shell_completion import get_completion_class

    print(get_completion_class(shell)(commands, {}, "tinyae", "_TINYAE_COMPLETE").source())
