"""One training step as a page or as text: of the 2-3-1 network that is small enough for every number, or of a recipe."""

from pathlib import Path

from ..context import manual_seed, use_kernels
from ..datasets import load as load_data
from ..errors import RangeError, known_name, require_integer
from ..explain import example, example_recipe
from ..explain.stepper import page
from ..losses import loss_function
from ..optim import make_optimizer
from ..recipes import RECIPES, get_recipe
from .outputs import refuse_existing

EXAMPLES = 4  # of a recipe's data that the step is computed on
SMALLEST = "2-3-1"  # the name of the network that is no recipe


def explain(name=None, *, out=None, examples=None, seed=0, overwrite=False, text=False):
    """Trace one training step, forward, backward and update, computed as the operations are defined.

    Parameters
    ----------
    name : str, optional
        A recipe, or ``"2-3-1"``, the default: a network of 2, 3 and 1 units whose every number fits on the screen.
    out : str
        The page to write, FILE.html; ``step.html`` if not given. With ``text`` nothing is written.
    examples : int
        How many examples of the recipe's training data go in, by default 4; the small network has its own two.
    seed : int
        For the weights.

    Returns
    -------
    dict
        ``name``, ``steps`` (how many were recorded), ``operations`` (how many of them forward), ``note``; ``out`` and ``bytes``
        of the page, or ``text``.

    Raises
    ------
    RangeError
        A name, a number or a file that does not go, or a setting that would change nothing.
    """
    chosen = known_name("recipe", SMALLEST if name is None else name, [SMALLEST, *RECIPES])
    seed = require_integer("explain", "seed", seed, at_least=0)
    if chosen == SMALLEST and examples is not None:
        raise RangeError(
            f"explain: --examples is for recipes; {SMALLEST} has its own two. Give a recipe, such as digits."
        )
    examples = require_integer("explain", "examples", EXAMPLES if examples is None else examples, at_least=1)
    if text and out is not None:
        raise RangeError("explain: --text prints the steps and --out is the page to write. Give one of them.")
    out = "step.html" if out is None else out
    if not text:
        refuse_existing("explain", out, overwrite)
        page.require_ending("explain", out)
    with use_kernels("reference"):  # what is explained is the definition
        tape = example.step_by_step(seed) if chosen == SMALLEST else recipe_step(get_recipe(chosen), examples, seed)
    steps = tape.steps()
    result = {
        "name": chosen,
        "steps": len(steps),
        "operations": sum(step.phase == "forward" for step in steps),
        "note": tape.note,
    }
    if text:
        return result | {"text": tape.text()}
    page.save(tape, out, overwrite=True, title=f"{chosen}: one training step")
    return result | {"out": str(out), "bytes": Path(out).stat().st_size}


def recipe_step(recipe, examples, seed):
    """The tape of one training step of a recipe's model on the first examples of its training data."""
    (x, y), _ = load_data(recipe.data, recipe.labels)
    recipe.refuse_what_makes_no_sense(x.shape[1:], y)
    manual_seed(seed)
    classifies = recipe.task == "classify"
    model = recipe.build(x.shape[1:], classes=int(y.max()) + 1 if classifies else None)
    settings = recipe.optimizer_settings.get(recipe.optimizer, {})
    optimizer = make_optimizer(recipe.optimizer, model.parameters(), recipe.lr.get(recipe.optimizer), **settings)
    some = y[:examples] if classifies else None
    return example_recipe.step_by_step(model, optimizer, loss_function(recipe.loss), x[:examples], some)


def report_explanation(result):
    """What was made, as text."""
    if "text" in result:
        return result["text"]
    lines = [
        f"{result['out']}: one training step of {result['name']}, {result['operations']} operations forward, "
        f"{result['steps']} steps in all, {result['bytes'] / 1e6:.1f} MB",
        "Open it in a browser: arrow keys, buttons and slider go from step to step. It needs no network.",
    ]
    return "\n".join([*lines, result["note"]] if result["note"] else lines)
