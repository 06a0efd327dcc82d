"""``python -m benchmarks NAME`` runs one; without a name, lists all.

Exit codes: 0 done; 1 a contestant computed something else; 2 something given was wrong; 130 ended by Ctrl-C.
"""

import argparse
import importlib
import sys

BENCHMARKS = {
    "peers": "training steps: tinyae against PyTorch, JAX and Keras, whichever are installed",
    "overhead": "the engine's own cost: per recorded operation on a small array, and to import",
    "scaling": "the convolutional model against the size of the batch and of the images, with the peers",
    "start": "seconds to the first finished step, with and without kernels compiled before, with the peers",
    "memory": "the most memory that a training takes, with the peers",
    "kernels": "each kernel for the CPU against its definition, and against what the machine can do",
    "family": "what the autoencoders of the family reach on real data, beside plain baselines",
    "gpu": "training steps and kernels on a GPU, against the CPU, PyTorch and JAX; without a GPU the half that can be",
    "compare": "two --json files of one benchmark: what changed beyond noise",
}


def listing():
    """What there is, as text."""
    lines = ["python -m benchmarks NAME, with NAME one of:"]
    lines += [f"  {name:10} {about}" for name, about in BENCHMARKS.items()]
    return "\n".join([*lines, "What each can be told: python -m benchmarks NAME --help"])


def main(arguments):
    """Run one benchmark; returns the exit code. A module in BENCHMARKS has ``add_arguments`` and ``main``."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(listing())
        return 0
    from tinyae.errors import TinyaeError, unknown

    name = arguments[0]
    try:
        if name not in BENCHMARKS:
            raise unknown("benchmark", name, BENCHMARKS)
        module = importlib.import_module(f"benchmarks.{name}")
        parser = argparse.ArgumentParser(
            f"python -m benchmarks {name}", description=module.__doc__, allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        module.add_arguments(parser)
        return module.main(parser.parse_args(arguments[1:]))
    except (TinyaeError, OSError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("benchmarks: interrupted; nothing was written", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
