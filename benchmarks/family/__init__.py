"""What the autoencoders of the family reach on real data, beside plain baselines and what is asked of them.

Everything in the table is trained here and now, with each of the seeds; the figure shown is the median. MNIST and the anomaly
sets are looked for in the folder that TINYAE_DATA names.
"""

import importlib
import json
import time
from dataclasses import asdict

from tinyae.errors import RangeError, TinyaeError, known_name
from tinyae.files import write_whole

PARTS = {
    "linear": "a linear autoencoder beside PCA",
    "variational": "the negative ELBO, and a 2-D latent space",
    "denoising": "noise taken away from pictures",
    "anomalies": "outliers, without labels",
    "compression": "pictures as files",
    "clustering": "digits sorted without labels",
    "discrete": "discrete codes, and codes shaped by a discriminator",
    "text": "documents, beside latent semantic analysis",
}


def add_arguments(parser):
    """What the benchmark can be told."""
    parser.add_argument("--only", help=f"parts, with commas between them: {', '.join(PARTS)}")
    parser.add_argument("--seeds", default="0,1,2", help="numbers, with commas between them (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")


def main(options):
    """Measure and print; 1 if something asked was not reached, or a part could not be measured."""
    parts = (
        [known_name("part", name.strip(), PARTS) for name in options.only.split(",")] if options.only else list(PARTS)
    )
    rows, missing, started = [], [], time.perf_counter()
    for part in parts:
        print(f"\n{part}: {PARTS[part]}", flush=True)
        try:
            found = importlib.import_module(f"{__name__}.{part}").measure(seeds_of(options.seeds))
        except TinyaeError as error:
            print(f"  not measured: {error}", flush=True)
            missing.append(part)
            continue
        for row in found:
            print(in_words(row), flush=True)
        rows += found
    seconds = time.perf_counter() - started
    reached = [row.reached for row in rows if row.reached is not None]
    print(f"\n{sum(reached)} of {len(reached)} reached; {seconds / 60:.1f} minutes in all")
    if missing:
        print(f"not measured: {', '.join(missing)}")
    if options.json:
        write_whole(
            options.json, json.dumps({"rows": [asdict(row) for row in rows], "seconds": seconds}, indent=2) + "\n"
        )
    return 0 if all(reached) and not missing else 1


def seeds_of(text):
    """``0,1,2`` as a tuple."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise RangeError(
            f"family: --seeds {text}; expected whole numbers with commas between them, such as 0,1,2."
        ) from None


def in_words(row):
    """One row as text."""
    verdict = {True: "reached", False: "NOT REACHED", None: "-"}[row.reached]
    return f"  {row.what}\n      asked: {row.asked or '-'}\n      seen:  {row.seen}   [{verdict}; {row.seconds:.0f} s]"
