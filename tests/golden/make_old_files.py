"""Wrote old_files/: a file of each format as version 0.1.0 of keras_edsr (commit 316eb65) wrote it.

    git checkout 316eb65 && python tests/golden/make_old_files.py && git checkout -

Later versions have to read them, and to give the same images (`sr.npz`).
"""

from pathlib import Path

import keras
import numpy as np

from keras_edsr import EDSR, MDSR, export_ncnn, export_onnx, export_saved_model, export_tflite, save_torch
from keras_edsr.inference import upscale

FOLDER = Path(__file__).parent / "old_files"


def main():
    FOLDER.mkdir()
    keras.utils.set_random_seed(0)
    edsr = EDSR(2, 1, 4, 0.5, name="old_edsr")
    mdsr = MDSR((2, 3), 1, 4, shared_tail=False, mean=(100, 110, 120), name="old_mdsr")
    branch = mdsr.branch(3)
    edsr.save(FOLDER / "edsr.keras")
    mdsr.save(FOLDER / "mdsr.keras")
    branch.save(FOLDER / "branch.keras")
    edsr.save_to_preset(FOLDER / "edsr")
    branch.save_to_preset(FOLDER / "branch")
    save_torch(edsr, FOLDER / "edsr.pt")
    export_ncnn(mdsr, FOLDER / "mdsr_ncnn")
    export_onnx(mdsr, FOLDER / "mdsr.onnx")
    export_tflite(mdsr, FOLDER / "mdsr.tflite")
    export_saved_model(edsr, FOLDER / "edsr_saved_model", max_pixels=10_000)
    lr = np.random.default_rng(0).integers(0, 256, (24, 20, 3), np.uint8)
    sr = {f"edsr_x{s}": upscale(edsr, lr, s, runtime="tensorflow") for s in edsr.scales}
    sr |= {f"mdsr_x{s}": upscale(mdsr, lr, s, runtime="tensorflow") for s in mdsr.scales}
    np.savez_compressed(FOLDER / "sr.npz", lr=lr, **sr)


if __name__ == "__main__":
    main()
