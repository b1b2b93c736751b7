"""Tiny photographs, and tiny runs of training on them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from keras_edsr import imresize

# The options of a run that takes a second. Six steps in two epochs.
TINY = {
    "num_blocks": 1,
    "filters": 4,
    "patch_size": 8,
    "batch_size": 4,
    "steps": 6,
    "checkpoint_every": 3,
    "learning_rate": 0.01,
}


def photo(height, width, seed=0):
    """Smooth 8-bit noise: something that bicubic can guess in part."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (height // 4, width // 4, 3)).astype(np.uint8)
    return imresize(coarse, output_shape=(height, width))


def write_photos(folder, count, seed=0, height=48, width=60):
    """Writes `0.png`, `1.png`, … of slightly different sizes; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(photo(height + 4 * i, width, seed + i)).save(folder / f"{i}.png")
    return folder


def write_data(folder):
    """Writes photographs to train and to validate on; returns the settings that name them."""
    return {
        "hr": str(write_photos(folder / "hr", 3)),
        "validation": str(write_photos(folder / "val", 2, seed=100)),
    }


def arguments(**settings):
    """The command line of `keras-edsr train` with these settings."""
    words = ["train"]
    for name, value in settings.items():
        value = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        words += [f"--{name.replace('_', '-')}", value]
    return words


def run_cli(words, cwd=None, **kwargs):
    """Runs `keras-edsr` in a process of its own."""
    return _run([sys.executable, "-m", "keras_edsr", *words], cwd, **kwargs)


def run_killed(point, words, cwd=None):
    """Runs `keras-edsr`, which kills itself at `point` (see killed.py), and checks that it did."""
    script = Path(__file__).with_name("killed.py")
    done = _run([sys.executable, str(script), point, *words], cwd)
    assert done.returncode == -signal.SIGKILL, done.stderr


def run_two_devices(words, stop_at=None):
    """Runs `keras-edsr` on one CPU that is made to look like two, and stops it by SIGTERM after a step."""
    point = [] if stop_at is None else [f"stop:{stop_at}"]
    script = Path(__file__).with_name("killed.py")
    return _run([sys.executable, str(script), "two", *point, *words], None)


def _run(command, cwd, **kwargs):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600, **kwargs)


def state(folder):
    """What a run has come to: the arrays of its checkpoint (weights, slots, metrics, progress), and its history."""
    with np.load(Path(folder, "checkpoint.npz")) as file:
        arrays = dict(file)
    return {**arrays, "history": np.array(Path(folder, "history.json").read_text())}


def history(folder):
    """The rows of a run's history.json."""
    return json.loads(Path(folder, "history.json").read_text())


def assert_same_run(one, two):
    """Checks that two run folders came to the same, to the bit: `best.keras` and `last.keras`, too."""
    one, two = Path(one), Path(two)
    expected, found = state(one), state(two)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    for name in ("best.keras", "last.keras"):
        assert (one / name).exists() == (two / name).exists()
        if (one / name).exists():
            for a, b in zip(weights(one / name), weights(two / name), strict=True):
                np.testing.assert_array_equal(a, b, err_msg=name)


def weights(path):
    """The weights of a .keras file."""
    import keras

    import keras_edsr.models  # noqa: F401  (registers the classes)

    return keras.saving.load_model(path, compile=False).get_weights()
