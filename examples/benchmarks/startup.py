"""Seconds and peak memory of whole commands, from the shell's prompt to its next.

python examples/benchmarks/startup.py            # seconds each
python examples/benchmarks/startup.py --large    # and a photograph of 6000x4000, x2: minutes

Each command runs in a new process; the rounds take them in turn. Memory is the largest resident set of the process.
Run for README.
"""

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from keras_edsr.image_io import read_image, write_image

PHOTO = Path(__file__).parents[1] / "images" / "test" / "astronaut.png"


def main():
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="edsr_compact_x2", help="a preset or a file")
    parser.add_argument("--large", action="store_true", help="6000x4000 too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        commands = make_commands(args.model, args.large, Path(folder))
        rounds = {name: [run(words) for _ in range(1 if "6000" in name else args.rounds)] for name, words in commands}
    for name, results in rounds.items():
        seconds, megabytes = (statistics.median(column) for column in zip(*results, strict=True))
        print(f"  {name:44} {seconds:8.2f} s   {megabytes:6.0f} MB")


def make_commands(model, large, folder):
    """Returns pairs (name, words of a command)."""
    program = [sys.executable, "-m", "keras_edsr"]
    photo = read_image(PHOTO)
    write_image(folder / "small.png", photo[:256, :256])
    commands = [
        ("import keras_edsr", [sys.executable, "-c", "import keras_edsr"]),
        ("keras-edsr --help", [*program, "--help"]),
    ]
    files = {"256x256": folder / "small.png"}
    if large:
        files["6000x4000"] = folder / "large.jpg"
        write_image(files["6000x4000"], np.tile(photo, (8, 12, 1))[:4000, :6000])
    runtimes = ["ncnn", "tensorflow"] if importlib.util.find_spec("ncnn") else ["tensorflow"]
    for size, file in files.items():
        for runtime in runtimes:
            words = ["upscale", file, "-o", folder / "out" / f"{runtime}{file.suffix}", "--model", model]
            words += ["--runtime", runtime, "--overwrite", *(["--max-pixels", 10**8] if size == "6000x4000" else [])]
            commands.append((f"upscale {size} x2, {runtime}", [*program, "-q", *map(str, words)]))
    return commands


def run(words):
    """Runs a command; returns its seconds and its peak memory in MB."""
    start = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}")
    return time.perf_counter() - start, usage.ru_maxrss / 1000


if __name__ == "__main__":
    main()
