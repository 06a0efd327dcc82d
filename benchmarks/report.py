"""What all benchmarks share: the JSON they write and read, their tables, their options.

A report is a dict::

    {"benchmark": "peers", "when": "2025-01-31T12:00:00+00:00", "machine": {...}, "versions": {...},
     "settings": {...}, "results": [{"case": ..., "contestant": ..., "times_ms": [...], "median_ms": ...}]}

There is one entry in ``times_ms`` per round. Where no time is measured, ``values``, ``median`` and ``unit`` stand in its
place. A benchmark may add keys of its own.
"""

import importlib.util
import json
import math
import os
import platform
from datetime import datetime, timezone

import numpy as np

from tinyae.errors import DataFileError, FileWriteError, RangeError, missing_library, unknown
from tinyae.files import write_whole
from tinyae.info import usable_cores


def new_report(benchmark, versions, settings, results, **more):
    """A report of now, on this machine."""
    return {
        "benchmark": benchmark,
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {"python": platform.python_version(), **versions},
        "settings": settings,
        "results": results,
        **more,
    }


def result(case, contestant, times_ms):
    """One entry of a report: the milliseconds that each round measured."""
    times_ms = [float(time) for time in times_ms]
    return {"case": case, "contestant": contestant, "times_ms": times_ms, "median_ms": float(np.median(times_ms))}


def result_in(unit, case, contestant, numbers):
    """The same for what is no time."""
    numbers = [float(number) for number in numbers]
    return {
        "case": case,
        "contestant": contestant,
        "values": numbers,
        "median": float(np.median(numbers)),
        "unit": unit,
    }


def values(entry):
    """What the rounds measured."""
    return entry["times_ms"] if "times_ms" in entry else entry["values"]


def unit_of(report):
    """The unit of the measurements, in words."""
    return next((entry["unit"] for entry in report["results"] if "values" in entry), "milliseconds")


def machine():
    """What decides how fast it can be."""
    return {
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "system": f"{platform.system()} on {platform.machine()}",
    }


def cpu_model():
    """The processor's name, as far as the system tells it."""
    try:
        with open("/proc/cpuinfo") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def quartiles(times):
    """A quarter of the times is below the first number, a quarter above the second."""
    low, high = np.percentile(times, [25, 75])
    return float(low), float(high)


def geometric_mean(ratios):
    """The mean for ratios: twice as fast and half as fast cancel."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


# ---------------------------------------------------------------- files


def write_report(path, report):
    """Write a report as JSON, whole or not at all."""
    write_whole(path, json.dumps(report, indent=1, ensure_ascii=False) + "\n")


def read_report(path):
    """Read a report and check that it is one."""
    try:
        with open(path, encoding="utf-8") as file:
            report = json.load(file)
    except OSError as error:
        raise DataFileError(f"cannot read {path}: {error.strerror}. Give a file that --json wrote.") from error
    except ValueError as error:
        raise DataFileError(f"{path} is not JSON ({error}). Give a file that --json wrote.") from error
    wrong = what_is_wrong(report)
    if wrong:
        raise DataFileError(f"{path} is JSON, but no report of a benchmark: {wrong}. Give a file that --json wrote.")
    return report


def what_is_wrong(report):
    """Why this is not a report, or None."""
    if not isinstance(report, dict):
        return f"it holds a {type(report).__name__}, expected an object"
    for key, kind in (("benchmark", str), ("machine", dict), ("versions", dict), ("settings", dict), ("results", list)):
        if not isinstance(report.get(key), kind):
            return f"it has no {key!r}, or one of another kind"
    for i, entry in enumerate(report["results"]):
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("case", "contestant")):
            return f"result {i} does not name its case and its contestant"
        found = entry.get("times_ms", entry.get("values"))
        if not isinstance(found, list) or not found or not all(is_positive(number) for number in found):
            return f"result {i} has no list 'times_ms' of positive numbers"
    return None


def is_positive(value):
    """Is it a positive finite number?"""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value > 0


# ---------------------------------------------------------------- options


def add_output_options(parser):
    """--json and --plot."""
    parser.add_argument("--json", metavar="FILE", help="write all times into this file, for compare")
    parser.add_argument("--plot", metavar="FILE.png", help="draw the result into this file (needs Matplotlib)")


def check_outputs(arguments):
    """Refuse what could not be written, before anything is measured."""
    for path in (arguments.json, arguments.plot):
        if path is None:
            continue
        folder = os.path.dirname(path) or "."
        if not os.path.isdir(folder):
            raise FileWriteError(f"cannot write {path}: there is no folder {folder}. Make it first.")
        if os.path.isdir(path) or not os.access(folder, os.W_OK):
            raise FileWriteError(f"cannot write {path}: it is a folder, or its folder is not to be written to.")
    check_plot(arguments.plot)


def check_plot(path):
    """Refuse a picture that could not be drawn."""
    if path is None:
        return
    if not path.lower().endswith(".png"):
        raise RangeError(f"--plot is {path!r}; expected a name that ends in .png.")
    if importlib.util.find_spec("matplotlib") is None:
        raise missing_library("--plot", "matplotlib")


def chosen(kind, text, table):
    """The names in a comma-separated list, in the order of the table; all of them for None."""
    if text is None:
        return list(table)
    names = [part.strip().lower() for part in text.split(",") if part.strip()]
    for name in names:
        if name not in table:
            raise unknown(kind, name, table)
    if not names:
        raise RangeError(f"no {kind} was given; expected some of: {', '.join(table)}.")
    return [name for name in table if name in names]


# ---------------------------------------------------------------- text


def table(header, rows):
    """Rows of strings in columns, the first aligned to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    lines = []
    for row in [header, *rows]:
        first, *others = (
            text.rjust(width) if i else text.ljust(width) for i, (text, width) in enumerate(zip(row, widths))
        )
        lines.append("  ".join([first, *others]).rstrip())
    return "\n".join(lines)


def describe(report):
    """The lines at the head of a benchmark's output: versions and machine."""
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    about = report["machine"]
    return f"versions: {versions}\nmachine:  {about['cpu']}, {about['cores']} cores, {about['system']}"
