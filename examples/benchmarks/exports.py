"""Exports of one network: size, PSNR, and seconds for 256x256 pixels of each format and mode.

python examples/benchmarks/exports.py edsr_compact_x2 --hr Set5 --calibration photos

PSNR is `keras_edsr.evaluate`'s on the folder of HR images, protocol "benchmark". Seconds are the whole call of
`keras_edsr.upscale`, the least of the rounds, which take every export in turn, so that a machine whose speed drifts
slows all of them. It needs pip install 'keras-edsr[litert,onnx,ncnn]'. Run for README's table.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from keras_edsr import evaluate, export, upscale
from keras_edsr.models import load_model
from keras_edsr.runtimes import open_runtime

TFLITE_MODES = (None, "float16", "dynamic", "int8")


def main():
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a preset, or a model's file")
    parser.add_argument("--hr", required=True, help="folder of HR images, such as Set5")
    parser.add_argument("--calibration", required=True, help="folder of photographs, for int8")
    parser.add_argument("--scale", type=int, help="of a model that has several")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    model = load_model(args.model)
    scale = args.scale or model.scales[0]
    with tempfile.TemporaryDirectory() as folder:
        exports = write(model, Path(folder), args.calibration)
        runtimes = {name: open_runtime(path) for name, path in exports.items()}
        seconds = measure(runtimes, scale, args.rounds)
        psnr = {name: evaluate(runtime, args.hr, scale)["psnr"] for name, runtime in runtimes.items()}
        print(f"{args.model} x{scale}: PSNR on {Path(args.hr).name}, seconds for LR 256x256")
        print(f"{'export':<22} {'bytes':>10} {'PSNR/dB':>8} {'lost/dB':>8} {'seconds':>8}")
        for name, path in exports.items():
            lost = psnr["Keras"] - psnr[name]
            print(f"{name:<22} {count_bytes(path):>10,} {psnr[name]:8.3f} {lost:8.3f} {seconds[name]:8.3f}")


def write(model, folder, calibration):
    """Exports a model in every way; returns what `open_runtime` takes by name."""
    paths = {"Keras": folder / "m.keras"}
    model.save(paths["Keras"])
    for mode in TFLITE_MODES:
        options = {"calibration": calibration} if mode == "int8" else {}
        target = folder / f"{mode}.tflite"
        paths[f"TFLite {mode or 'float32'}"] = export.export_tflite(model, target, quantize=mode, **options)
    paths["ONNX"] = export.export_onnx(model, folder / "m.onnx")
    paths["ncnn"] = export.export_ncnn(model, folder / "ncnn")
    paths["SavedModel"] = export.export_saved_model(model, folder / "saved_model")
    return paths


def measure(runtimes, scale, rounds):
    """Returns the least seconds of each runtime."""
    image = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    taken = {name: [] for name in runtimes}
    for _ in range(rounds + 1):  # the first one is not counted
        for name, runtime in runtimes.items():
            start = time.perf_counter()
            upscale(runtime, image, scale)
            taken[name].append(time.perf_counter() - start)
    return {name: min(values[1:]) for name, values in taken.items()}


def count_bytes(path):
    """Of a file, or of all files of a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


if __name__ == "__main__":
    main()
