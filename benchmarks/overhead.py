"""The engine's own cost, where arithmetic costs next to nothing: chains of operations on 10 numbers.

Measured is what a user pays: forward and backward of a chain of 1,000 operations through the public
API, divided by 1,000, the median of 30 rounds in which the operations take turns. The time of the
bare NumPy calls that the operation makes is part of it.
"""

import os
import statistics
import subprocess
import sys
import time

import numpy as np

import tinyae as ta

from . import report

CHAIN, ROUNDS, IMPORTS = 1000, 30, 9
QUICK_CHAIN, QUICK_ROUNDS, QUICK_IMPORTS = 100, 3, 1
RECORDED, UNRECORDED, IMPORTING = "forward + backward", "forward, no tape", "import"

OPERATIONS = {
    "y + x": lambda y, x: y + x,
    "y * x": lambda y, x: y * x,
    "y * 0.999": lambda y, x: y * 0.999,
    "-y": lambda y, x: -y,
    "tanh(y)": lambda y, x: ta.tanh(y),
    "relu(y)": lambda y, x: ta.relu(y),
    "y.reshape(2, 5)": lambda y, x: y.reshape(2, 5) if y.shape == (10,) else y.reshape(10),
}


def one_round(operation, chain):
    """Milliseconds per operation: forward and backward, and forward alone without a tape."""
    x = ta.Tensor(np.ones(10, np.float32), requires_grad=True)
    start, y = time.perf_counter(), x
    for _ in range(chain):
        y = operation(y, x)
    y.backward(np.ones(y.shape, np.float32))
    recorded = time.perf_counter() - start
    with ta.no_grad():
        start, y = time.perf_counter(), x
        for _ in range(chain):
            y = operation(y, x)
        unrecorded = time.perf_counter() - start
    return recorded / chain * 1e3, unrecorded / chain * 1e3


def import_time(module):
    """Milliseconds that ``import module`` takes in a new Python."""
    program = f"import time; s = time.perf_counter(); import {module}; print(time.perf_counter() - s)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout) * 1e3


def measure_operations(rounds, chain):
    """Two results per operation, with and without a tape."""
    times = {name: [] for name in OPERATIONS}
    for _ in range(rounds):
        for name, operation in OPERATIONS.items():
            times[name].append(one_round(operation, chain))
    results = []
    for name, pairs in times.items():
        recorded, unrecorded = zip(*pairs)
        results += [report.result(name, RECORDED, recorded), report.result(name, UNRECORDED, unrecorded)]
    return results


def measure_imports(rounds):
    """NumPy alone, and tinyae, which imports it."""
    import_time("tinyae")  # the first import compiles to bytecode
    alone, both = zip(*((import_time("numpy"), import_time("tinyae")) for _ in range(rounds)))
    return [report.result("import numpy", IMPORTING, alone), report.result("import tinyae", IMPORTING, both)]


def add_arguments(parser):
    """The options of ``python -m benchmarks overhead``."""
    report.add_output_options(parser)
    parser.add_argument("--quick", action="store_true", help="short chains, 3 rounds: does it run?")


def main(arguments):
    """Measure, print both tables, write; returns the exit code."""
    report.check_outputs(arguments)
    chain, rounds, imports = (QUICK_CHAIN, QUICK_ROUNDS, QUICK_IMPORTS) if arguments.quick else (CHAIN, ROUNDS, IMPORTS)
    results = measure_operations(rounds, chain) + measure_imports(imports)
    versions = {"tinyae": ta.__version__, "numpy": np.__version__}
    settings = {"chain": chain, "rounds": rounds, "quick": arguments.quick, "numbers": 10, "dtype": "float32"}
    made = report.new_report("overhead", versions, settings, results)
    print_tables(made)
    if arguments.json:
        report.write_report(arguments.json, made)
    if arguments.plot:
        draw(made, arguments.plot)
    return 0


def print_tables(made):
    """Operations in microseconds, imports in milliseconds."""
    found = {(entry["case"], entry["contestant"]): entry["times_ms"] for entry in made["results"]}
    settings = made["settings"]
    print(f"{report.describe(made)}\narrays of 10 float32 numbers")
    print(f"microseconds per operation, median of {settings['rounds']} rounds of {settings['chain']}:\n")
    rows = [
        [name, *(f"{statistics.median(found[name, kind]) * 1e3:.2f}" for kind in (RECORDED, UNRECORDED))]
        for name in OPERATIONS
    ]
    print(report.table(["operation", RECORDED, UNRECORDED], rows))
    alone, both = (statistics.median(found[f"import {name}", IMPORTING]) for name in ("numpy", "tinyae"))
    print(f"\nimport numpy {alone:.0f} ms, import tinyae (with numpy) {both:.0f} ms: {both / alone:.2f} times")


def draw(made, path):
    """One group of bars per operation."""
    from .pictures import draw_groups

    draw_groups(
        [entry for entry in made["results"] if entry["contestant"] != IMPORTING], path,
        title="What one operation on ten numbers costs",
        note=f"{made['machine']['cpu']}, tinyae {made['versions']['tinyae']}. Bars: median of "
        f"{made['settings']['rounds']} rounds; lines: the middle half of them.",
        unit="µs", scale=1e3, quantity="time per operation",
    )  # fmt: skip
