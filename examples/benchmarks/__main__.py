"""Prints the tables of docs/benchmarks.md, one after the other.

python examples/benchmarks            # about half an hour on two cores
python examples/benchmarks --large    # with images of 1920x1080 and 6000x4000 too: about an hour more

Each table has its own script beside this one, with more options. Run nothing else at the same time.
"""

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main():
    """Runs every script; ends with the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true", help="large images too")
    images = HERE.parent / "images"
    parser.add_argument("--hr", default=images / "train", help="photographs to train on, and to calibrate int8 with")
    parser.add_argument("--test", default=images / "test", help="photographs for the exports' PSNR, such as Set5")
    args = parser.parse_args()
    large = ["--large"] * args.large
    for script, options in {
        "startup.py": large,
        "inference.py": large,
        "training_step.py": [],
        "input_pipeline.py": ["--hr", args.hr],
        "exports.py": ["edsr_compact_x2", "--hr", args.test, "--calibration", args.hr],
    }.items():
        print(f"\n== {script}", flush=True)
        subprocess.run([sys.executable, HERE / script, *options], check=True)


if __name__ == "__main__":
    main()
