"""Runs an export in a process of its own: `python -P rerun.py WORK`; `verify` starts it.

A script, not a module to import: a SavedModel has to run where keras and keras_edsr are not installed, so neither may
be imported before that was tried. WORK holds `job.json` and `photo.npy`, and gets `x2.npy`, … and, for a SavedModel,
`plain_x2.npy`, …
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

BLOCKED = ("keras", "keras_edsr")


def main(work):
    """Does the job in a folder.

    Args:
        work: Path of the folder. Its job.json has `path`, that of the export; `scales`; `signatures`, the name of a
            SavedModel's signature for uint8 for each scale, empty for other formats; and `sys_path`, where modules
            are looked for.
    """
    job = json.loads((work / "job.json").read_text())
    sys.path[:] = job["sys_path"]
    photo = np.load(work / "photo.npy")
    if job["signatures"]:
        for scale, sr in zip(job["scales"], run_plainly(job["path"], job["signatures"], photo), strict=True):
            np.save(work / f"plain_x{scale}.npy", sr)
    from keras_edsr.inference import upscale
    from keras_edsr.runtimes import open_runtime

    runtime = open_runtime(job["path"], device="cpu")
    for scale in job["scales"]:
        np.save(work / f"x{scale}.npy", upscale(runtime, photo, scale, tile_size=None))


def run_plainly(path, signatures, photo):
    """Returns what a SavedModel's signatures give with TensorFlow alone."""
    for name in BLOCKED:
        sys.modules[name] = None  # type: ignore[assignment]  # to import it is an error
    import tensorflow as tf

    loaded = tf.saved_model.load(os.fspath(path))
    results = [loaded.signatures[name](images=tf.constant(photo[None]))["sr"].numpy()[0] for name in signatures]
    for name in BLOCKED:
        del sys.modules[name]
    return results


if __name__ == "__main__":
    main(Path(sys.argv[1]))
