"""``python -m benchmarks NAME`` runs one; without a name, lists all."""

import importlib
import sys

BENCHMARKS = {
    "overhead": "the engine's own cost: per recorded operation on a small array, and to import",
}


def main(arguments):
    if len(arguments) == 1 and arguments[0] in BENCHMARKS:
        importlib.import_module(f"benchmarks.{arguments[0]}").main()
        return 0
    print("python -m benchmarks NAME, with NAME one of:")
    for name, about in BENCHMARKS.items():
        print(f"  {name:10} {about}")
    return 0 if not arguments else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
