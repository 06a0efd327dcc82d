"""The command line: thin. It reads options, calls ``runs``, and prints one clear message for an error.

Exit codes: 0 done; 2 something given was wrong; 130 ended by Ctrl-C, with the model saved if there was one.
"""

import json
import os
import sys
import warnings

from .errors import TinyaeError, missing_library

try:
    import click
except ImportError:  # main() says how to install it
    click = None  # type: ignore[assignment]


def main():
    """The console script ``tinyae``."""
    if click is None:
        print(f"tinyae: {missing_library('the command line', 'click')}", file=sys.stderr)
        return 2
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *place, **rest: print(f"warning: {message}", file=sys.stderr)
            return commands.main(prog_name="tinyae", standalone_mode=False) or 0
    except click.exceptions.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:  # whoever read the output has gone; what was trained is written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (TinyaeError, OSError) as error:
        print(f"tinyae: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, click.exceptions.Abort):
        print("tinyae: interrupted before anything was trained; nothing was written", file=sys.stderr)
        return 130


if click is not None:

    @click.group(context_settings={"help_option_names": ["-h", "--help"]})
    @click.version_option(package_name="tinyae", message="tinyae %(version)s")
    def commands():
        """Train autoencoders from scratch, and look at what they learn."""

    @commands.command()
    @click.argument("recipe", default="digits")
    @click.option("--epochs", type=int, help="How often to go through the data.")
    @click.option("--batch-size", type=int, help="Examples per step (not for gd, which takes all).")
    @click.option("--lr", type=float, help="Learning rate; by default what the recipe has for that optimizer.")
    @click.option("--optimizer", help="gd, sgd, momentum or adam.")
    @click.option(
        "--seed", type=int, default=0, show_default=True, help="For the weights and the order of the batches."
    )
    @click.option("--backend", default="numpy", show_default=True, help="numpy or cupy.")
    @click.option("--out", type=click.Path(), help="Folder to write; by default a new runs/RECIPE-N.")
    @click.option("--overwrite", is_flag=True, help="Replace the run in an existing --out.")
    @click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object, the last line.")
    def train(recipe, as_json, **options):
        """Train RECIPE (by default "digits") and write the model, its history and pictures.

        What is left out is as the recipe has it; digits: 80 epochs, batches of 32, adam with learning rate 0.002.
        """
        from .runs import report, train

        result = train(recipe, **options)
        print(report(result), flush=True)
        if as_json:
            print(json.dumps(result))
        return 130 if result["interrupted"] else 0
