"""Runs SavedModels of `export_saved_model`, in tiles that a JSON file inside them describes."""

import os
import threading
from pathlib import Path

import numpy as np

from ..files import reason
from ..network import About

ABOUT = Path("assets.extra", "keras_edsr.json")  # TensorFlow Serving leaves this folder alone


def is_saved_model(path: str | os.PathLike) -> bool:
    """Whether `path` is the folder of a SavedModel, or of versions of one, as TensorFlow Serving has them."""
    return find_version(path) is not None


def find_version(path: str | os.PathLike) -> Path | None:
    """Returns the SavedModel at `path`: that folder, or the last version in it; None if there is none."""
    path = Path(path)
    if not path.is_dir():
        return None
    versions = sorted((entry for entry in path.iterdir() if entry.name.isdecimal()), key=lambda entry: int(entry.name))
    folders = (path, *reversed(versions))
    return next((folder for folder in folders if (folder / "saved_model.pb").is_file()), None)


class SavedModelRuntime:
    """Runs tiles through a SavedModel, with TensorFlow only, without Keras and the model's classes.

    The limit of pixels in the signatures, which is for servers, does not apply. A SavedModel with a self-ensemble
    applies it to each tile; one with uint8 output returns integers.

    Loading a SavedModel runs its program: load it only from a source that you trust.

    Args:
        path: Path of the SavedModel's folder, or of the folder with its versions, of which the last counts.
        device: "cpu" or "gpu"; None for TensorFlow's choice.

    Raises:
        ValueError: If it is not a SavedModel of `export_saved_model`, it is damaged, or TensorFlow has no GPU.
    """

    def __init__(self, path: str | os.PathLike, device: str | None = None):
        import tensorflow as tf

        folder = find_version(path)
        if folder is None:
            raise ValueError(f"{path} is not a valid SavedModel: neither it nor a version in it has a saved_model.pb.")
        about = _read_about(folder)
        gpus = tf.config.list_logical_devices("GPU")
        if device == "gpu" and not gpus:
            raise ValueError("TensorFlow finds no GPU. Omit `device`.")
        self.device_name = "the GPU" if gpus and device != "cpu" else "the CPU"
        self.scales = about.scales
        self.halo = about.halo
        self.channels = about.channels
        self.filters = about.filters
        self._device = device and f"/{device}:0"
        try:
            with tf.device(self._device):
                self._loaded = tf.saved_model.load(os.fspath(folder))
            self._functions = {scale: getattr(self._loaded, f"x{scale}") for scale in self.scales}
        except Exception as error:  # of TensorFlow, protobuf and the file system
            raise ValueError(f"{folder} is a damaged SavedModel: {reason(error)}.") from error
        self._lock = threading.Lock()  # as in KerasRuntime

    def bytes_per_pixel(self, scale):
        """As `KerasRuntime` has it: the graph is the same."""
        return 4 * self.filters * (2 * scale**2 + 4)

    def free_memory(self):
        """None: not known of a GPU."""

    def run(self, tiles, scale):
        """Returns the SR tiles: float32 `(n, h, w, c)` to `(n, s*h, s*w, c)`, in 0..255 but not clipped."""
        import tensorflow as tf

        with tf.device(self._device), self._lock:
            return np.asarray(self._functions[scale](tf.constant(tiles, tf.float32)), np.float32)


def _read_about(folder: Path) -> About:
    file = folder / ABOUT
    return About.from_json(file.read_bytes() if file.is_file() else None, folder, "a SavedModel")
