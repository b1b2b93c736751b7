"""Runs .tflite files of `export_tflite`, without TensorFlow."""

import importlib.util
import os
import threading
from pathlib import Path

import numpy as np

from ..files import reason
from ..machine import count_cores
from ..network.about import KEY, About


def is_installed() -> bool:
    """Whether the package `ai_edge_litert` is installed; does not import it."""
    return importlib.util.find_spec("ai_edge_litert") is not None


class TfliteRuntime:
    """Runs tiles through a .tflite file in LiteRT (formerly TensorFlow Lite), on the CPU.

    Args:
        path: Path of the .tflite file.
        device: "cpu" or None.

    Attributes:
        window: Height and width in LR pixels of the tiles if the file has a fixed size, else None.

    Raises:
        ValueError: If it is not a file of `export_tflite`, it is damaged, LiteRT is not installed, or `device` is a
            GPU. The message has one line.
    """

    def __init__(self, path: str | os.PathLike, device: str | None = None):
        if not is_installed():
            raise ValueError("Running .tflite files needs ai-edge-litert: pip install 'keras-edsr[litert]'")
        if device == "gpu":
            raise ValueError("A .tflite file runs on the CPU here. Omit `device`.")
        from ai_edge_litert.interpreter import Interpreter

        about = read_tflite_about(Path(path))
        self.scales = about.scales
        self.halo = about.halo
        self.channels = about.channels
        self.filters = about.filters
        self.device_name = "the CPU"
        try:
            self._interpreter = Interpreter(os.fspath(path), num_threads=count_cores())
            self._runners = {scale: self._interpreter.get_signature_runner(f"x{scale}") for scale in self.scales}
            runner = self._runners[self.scales[0]]
            self._input, self._output = runner.get_input_details()["lr"], runner.get_output_details()["sr"]
        except Exception as error:  # ValueError and RuntimeError by LiteRT's C++; KeyError for other files
            raise ValueError(f"{path} is not a TensorFlow Lite model that LiteRT can run: {reason(error)}.") from error
        _, height, width, _ = map(int, self._input["shape_signature"])
        self.window = None if height < 0 else (height, width)
        self._lock = threading.Lock()  # an interpreter runs one call at a time, on all cores

    def bytes_per_pixel(self, scale):
        """Memory that LiteRT takes per LR pixel, which gives the place of what was used to what comes.

        Measured: 1.4 kB for 32 filters x2 in float32, this says 1.5; a quarter of it in 8 bits.
        """
        size = np.dtype(self._input["dtype"]).itemsize
        return size * self.filters * (2 * scale**2 + 4)

    def free_memory(self):
        """None: that of the computer."""

    def run(self, tiles, scale):
        """Returns the SR tiles: float32 `(n, h, w, c)` to `(n, s*h, s*w, c)`, in 0..255, clipped.

        The tiles must have the size of `window`, if that is not None. Of a model of 8 bits they are whole numbers.
        """
        with self._lock:
            return np.concatenate([self._run_one(tile[None], scale) for tile in tiles])

    def _run_one(self, tile, scale):
        try:
            sr = self._runners[scale](lr=_quantized(tile, self._input))["sr"]
        except Exception as error:  # as above
            raise ValueError(
                f"LiteRT cannot run a tile of {tile.shape[2]}x{tile.shape[1]} pixels: {reason(error)}."
            ) from error
        return _dequantized(sr, self._output)


def read_tflite_about(path: Path) -> About:
    """Reads the description of the network in a .tflite file.

    Raises:
        ValueError: If the file cannot be read, is not valid, or has no description. The message has one line.
    """
    from ai_edge_litert import schema_py_generated as schema

    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"Cannot read {path}: {reason(error)}.") from error
    text = None
    try:
        if content[4:8] != b"TFL3":
            raise ValueError("it does not begin with the signature of one")
        model = schema.Model.GetRootAs(content, 0)
        entries = [model.Metadata(i) for i in range(model.MetadataLength())]
        for entry in entries:
            if entry.Name() == KEY.encode():
                text = model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
    except Exception as error:  # a damaged file raises struct.error, IndexError, AttributeError, ...
        raise ValueError(f"{path} is not a valid TensorFlow Lite model: {reason(error)}.") from error
    return About.from_json(text, path, "a TensorFlow Lite model")


def _quantized(pixels, tensor):
    """Pixels in the type of a tensor, by its own scale and zero point."""
    if tensor["dtype"] == np.float32:
        return np.ascontiguousarray(pixels, np.float32)
    step, zero = tensor["quantization"]
    limits = np.iinfo(tensor["dtype"])
    return np.clip(np.rint(pixels / step + zero), limits.min, limits.max).astype(tensor["dtype"])


def _dequantized(values, tensor):
    if tensor["dtype"] == np.float32:
        return values
    step, zero = tensor["quantization"]
    return (values.astype(np.float32) - np.float32(zero)) * np.float32(step)
