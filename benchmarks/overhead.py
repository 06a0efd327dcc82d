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

CHAIN, ROUNDS = 1000, 30

OPERATIONS = {
    "y + x": lambda y, x: y + x,
    "y * x": lambda y, x: y * x,
    "y * 0.999": lambda y, x: y * 0.999,
    "-y": lambda y, x: -y,
    "tanh(y)": lambda y, x: ta.tanh(y),
    "relu(y)": lambda y, x: ta.relu(y),
    "y.reshape(2, 5)": lambda y, x: y.reshape(2, 5) if y.shape == (10,) else y.reshape(10),
}


def one_round(operation):
    """Microseconds per operation: forward and backward, and forward alone without a tape."""
    x = ta.Tensor(np.ones(10, np.float32), requires_grad=True)
    start, y = time.perf_counter(), x
    for _ in range(CHAIN):
        y = operation(y, x)
    y.backward(np.ones(y.shape, np.float32))
    recorded = time.perf_counter() - start
    with ta.no_grad():
        start, y = time.perf_counter(), x
        for _ in range(CHAIN):
            y = operation(y, x)
        unrecorded = time.perf_counter() - start
    return recorded / CHAIN * 1e6, unrecorded / CHAIN * 1e6


def import_time(module):
    """Seconds that ``import module`` takes in a new Python."""
    program = f"import time; s = time.perf_counter(); import {module}; print(time.perf_counter() - s)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout)


def main():
    """Print both tables."""
    times = {name: [] for name in OPERATIONS}
    for _ in range(ROUNDS):
        for name, operation in OPERATIONS.items():
            times[name].append(one_round(operation))
    print(
        f"tinyae {ta.__version__}, NumPy {np.__version__}, Python {sys.version.split()[0]}, arrays of 10 float32 numbers"
    )
    print(f"microseconds per operation, median of {ROUNDS} rounds of {CHAIN}:\n")
    print(f"{'operation':16}{'forward + backward':>20}{'forward, no tape':>20}")
    for name, rounds in times.items():
        recorded, unrecorded = (statistics.median(column) for column in zip(*rounds))
        print(f"{name:16}{recorded:20.2f}{unrecorded:20.2f}")
    import_time("tinyae")  # the first import compiles to bytecode
    pairs = [(import_time("numpy"), import_time("tinyae")) for _ in range(9)]
    alone, both = (statistics.median(column) * 1e3 for column in zip(*pairs))
    print(f"\nimport numpy {alone:.0f} ms, import tinyae (with numpy) {both:.0f} ms: {both / alone:.2f} times")
