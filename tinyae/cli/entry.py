"""The command line: thin. It reads options, calls ``runs``, and prints one clear message for an error.

Exit codes: 0 done; 2 something given was wrong; 130 ended by Ctrl-C, with the model saved if there was one.
"""

import os
import sys
import warnings
from importlib import import_module

from ..errors import TinyaeError, missing_library

try:
    import click
except ImportError:  # main() says how to install it
    click = None  # type: ignore[assignment]

IN_ORDER = (
    "training",
    "overfitting",
    "evaluating",
    "using",
    "looking",
    "denoising",
    "generating",
    "anomalies",
    "compressing",
    "text",
    "explaining",
    "descending",
    "reading",
    "about",
)  # the files with the commands; so they stand in the help


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
            return all_commands().main(prog_name="tinyae", standalone_mode=False) or 0
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


def all_commands():
    """The group of commands, complete; in the help they stand in the order in which they are used."""
    from .shared import commands

    for name in IN_ORDER:
        import_module(f".{name}", __package__)
    return commands
