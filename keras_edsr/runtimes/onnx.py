"""Runs ONNX files of `export_onnx`, without TensorFlow."""

import importlib.util
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from ..files import reason
from ..image_ops import PEAK
from ..network.about import KEY, About

_NO_GPU = ("CPUExecutionProvider", "AzureExecutionProvider")  # what onnxruntime has everywhere; Azure's is a server


def is_installed() -> bool:
    """Whether the packages `onnx` and `onnxruntime` are installed; does not import them."""
    return all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime"))


class OnnxRuntime:
    """Runs tiles through an ONNX file in onnxruntime, and makes each scale's network on first use.

    Args:
        path: Path of the .onnx file.
        device: "cpu" or "gpu"; None for a GPU if onnxruntime has one.

    Raises:
        ValueError: If it is not an ONNX file of `export_onnx`, it is damaged, a package is not installed, or
            onnxruntime has no GPU. The message has one line.
    """

    def __init__(self, path: str | os.PathLike, device: str | None = None):
        if not is_installed():
            raise ValueError("Running .onnx files needs onnxruntime: pip install 'keras-edsr[onnx]'")
        self._path, self._device = Path(path), device
        self._model = _read(self._path)
        properties = {entry.key: entry.value for entry in self._model.metadata_props}
        about = About.from_json(properties.get(KEY), self._path, "an ONNX model")
        self.scales = about.scales
        self.halo = about.halo
        self.channels = about.channels
        self.filters = about.filters
        self._factor = np.float32(PEAK / (about.value_range or PEAK))
        self._input = self._model.graph.input[0].name if self._model.graph.input else ""
        outputs = [value.name for value in self._model.graph.output]
        if len(outputs) != len(self.scales):
            raise ValueError(
                f"{self._path} must have an output for each of its scales, {self.scales}; it has {outputs}."
            )
        self._outputs = dict(zip(self.scales, outputs, strict=True))
        self._sessions: dict[int, Any] = {}
        self._lock = threading.Lock()
        on_cpu = self._session(self.scales[0]).get_providers()[0] in _NO_GPU
        self.device_name = "the CPU" if on_cpu else "the GPU"

    def bytes_per_pixel(self, scale):
        """Memory that onnxruntime takes per LR pixel, as in `KerasRuntime` but for a copy of the shuffled features.

        Measured: 1.1 to 2.5 kB for 32 filters x2, this says 2.6.
        """
        return 4 * self.filters * (4 * scale**2 + 4)

    def free_memory(self):
        """None: not known of a GPU."""

    def run(self, tiles, scale):
        """Returns the SR tiles: float32 `(n, h, w, c)` to `(n, s*h, s*w, c)`, in 0..255 but not clipped."""
        planes = np.ascontiguousarray(tiles.transpose(0, 3, 1, 2), np.float32)
        if self._factor != 1:
            planes = planes / self._factor
        try:
            (sr,) = self._session(scale).run(None, {self._input: planes})
        except Exception as error:  # onnxruntime's own kinds, which have no common base
            raise ValueError(
                f"onnxruntime cannot run a tile of this size: {reason(error)}. Pass a smaller `tile_size`."
            ) from error
        if self._factor != 1:
            sr = sr * self._factor
        return sr.transpose(0, 2, 3, 1)

    def _session(self, scale):
        with self._lock:
            if scale not in self._sessions:
                self._sessions[scale] = _open(_only(self._model, self._outputs[scale]), self._path, self._device)
            return self._sessions[scale]


def _read(path):
    import onnx

    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except OSError as error:
        raise ValueError(f"Cannot read {path}: {reason(error)}.") from error
    except Exception as error:  # of protobuf, whose kinds differ from one implementation to the other
        raise ValueError(f"{path} is not a valid ONNX model: {reason(error)}.") from error
    if not model.graph.node:
        raise ValueError(f"{path} is not a valid ONNX model: it has no operators.")
    return model


def _only(model, output):
    """Returns the model with one of its outputs.

    onnxruntime 1.32 computes every scale of an MDSR for any requested output, even with the run option
    `only_execute_path_to_fetches`: its profile lists the same 87 nodes.
    """
    import onnx

    if [value.name for value in model.graph.output] == [output]:
        return model
    makers = {name: node for node in model.graph.node for name in node.output}
    needed, open_ends = set(), [output]
    while open_ends:
        name = open_ends.pop()
        if name not in needed:
            needed.add(name)
            open_ends += makers[name].input if name in makers else []
    part = onnx.ModelProto()
    part.CopyFrom(model)
    for values in (part.graph.initializer, part.graph.output):
        kept = [value for value in values if value.name in needed]
        del values[:]
        values.extend(kept)
    nodes = [node for node in part.graph.node if needed.intersection(node.output)]
    del part.graph.node[:]
    part.graph.node.extend(nodes)
    return part


def _open(model, path, device):
    import onnxruntime

    available = onnxruntime.get_available_providers()
    gpus = [] if device == "cpu" else [name for name in available if name not in _NO_GPU]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors, which are raised as well
    options.enable_cpu_mem_arena = False  # the arena needs up to twice the memory, and keeps it
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, [*gpus, "CPUExecutionProvider"])
    except Exception as error:  # as in `run`
        raise ValueError(f"{path} is not an ONNX model that onnxruntime can run: {reason(error)}.") from error
    if device == "gpu" and session.get_providers()[0] in _NO_GPU:
        raise ValueError("onnxruntime finds no GPU: it needs the package onnxruntime-gpu. Omit `device`.")
    return session
