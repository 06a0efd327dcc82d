"""The command line: thin. It reads options, calls ``runs``, and prints one clear message for an error.

Exit codes: 0 done; 2 something given was wrong; 130 ended by Ctrl-C, with the model saved if there was one.
"""

import json
import os
import sys
import warnings

from .errors import RangeError, TinyaeError, missing_library

try:
    import click
except ImportError:  # main() says how to install it
    click = None  # type: ignore[assignment]


def main():
    """The console script ``tinyae``."""
    if click is None:
        print(f"tinyae: {missing_library('the command line', 'click')}", file=sys.stderr)
        return 2
    for stream in (sys.stdout, sys.stderr):  # names that this terminal cannot show are no reason to fail
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
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
    except MemoryError as error:
        print(f"tinyae: not enough memory: {error}. Give smaller data, or a smaller model.", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, click.exceptions.Abort):
        print("tinyae: interrupted; nothing was written", file=sys.stderr)
        return 130


def finish(result, text, as_json, quiet):
    """Print a result, as text and as JSON; returns the exit code."""
    if not quiet:
        print(text(result), flush=True)
    if as_json:
        print(json.dumps(result))
    return 130 if result.get("interrupted") else 0


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


if click is not None:
    # ------------------------------------------------------------ what several commands share

    def names(table):
        """Completion of names in a shell."""
        return lambda context, parameter, start: [name for name in table() if name.startswith(start)]

    def recipe_names():
        """The names of all recipes."""
        from .recipes import RECIPES

        return RECIPES

    def optimizer_names():
        """The names of all optimizers."""
        from .optim import OPTIMIZERS

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
        from .context import use_kernels

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

    # ------------------------------------------------------------ training

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
        from .runs import report, train

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
        from .runs import report, resume

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
        from .runs import compare, comparison_table

        result = compare(
            recipe,
            optimizers=listed(optimizers),
            losses=listed(losses),
            lr=rates(lr),
            progress=not quiet,
            **options,
        )
        return finish(result, comparison_table, as_json, quiet)

    # ------------------------------------------------------------ what a run is used for

    @commands.command(short_help="The error of a run, on its held-out data or others.")
    @run_argument
    @data_option
    @labels_option
    @kernels_option
    @json_option
    def evaluate(run, as_json, **options):
        """The error of RUN on its held-out data, or on --data."""
        from .runs import evaluate, report_evaluation

        return finish(evaluate(run, **options), report_evaluation, as_json, False)

    @commands.command(short_help="What a run makes of its data, as picture or array.")
    @run_argument
    @data_option
    @click.option(
        "--out", type=click.Path(), required=True, help="FILE.png: ten beside their originals. FILE.npy: all, float32."
    )
    @click.option("--overwrite", is_flag=True, help="Replace an existing --out.")
    @kernels_option
    @json_option
    def reconstruct(run, as_json, **options):
        """Write what RUN makes of its held-out data, or of --data."""
        from .runs import reconstruct

        def text(result):
            return f"written to {result['out']}: {result['examples']:,} {result['which']} of {result['data']}"

        return finish(reconstruct(run, **options), text, as_json, False)

    @commands.command(short_help="The inside of a run: its filters, and its layers' outputs for an example.")
    @run_argument
    @data_option
    @click.option("--example", type=int, default=0, show_default=True, help="Which example, from 0.")
    @click.option("--out", type=click.Path(), help="A folder to write to; by default that of the run.")
    @click.option("--overwrite", is_flag=True, help="Replace pictures in an existing --out.")
    @kernels_option
    @json_option
    def inspect(run, as_json, **options):
        """Draw the inside of RUN, trained on images: filters.png and feature_maps.png.

        The first shows the weights of the first layer as images, the second what every layer makes of one held-out
        example, or one of --data, on the way from the image to the code and back.
        """
        from .runs import inspect, report_inspection

        return finish(inspect(run, **options), report_inspection, as_json, False)

    # ------------------------------------------------------------ what there is

    @commands.command(short_help="List the recipes, and what to expect of them.")
    @json_option
    def recipes(as_json):
        """List the recipes, and what to expect of them."""
        from .recipes import RECIPES

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
        from .info import describe_machine, machine_report

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
