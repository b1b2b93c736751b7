"""From what a user names a model by to the runtime that runs it. TensorFlow is imported only where it is needed."""

import functools
import importlib.util
import logging
import os
import threading
import weakref
from pathlib import Path
from typing import Any

from .. import presets
from ..checkpoints import ForeignModelError
from . import ncnn
from .base import Runtime
from .ncnn_format import is_ncnn, ncnn_networks, read_ncnn
from .onnx import OnnxRuntime
from .saved_model import SavedModelRuntime, find_version
from .tflite import TfliteRuntime

RUNTIMES = ("auto", "tensorflow", "ncnn")  # or None
DEVICES = ("cpu", "gpu")  # or None

_FILES: dict[str, tuple[str, str, Any]] = {  # exported files by suffix: what they are, what runs them, and the class
    ".tflite": ("a TensorFlow Lite file", "LiteRT", TfliteRuntime),
    ".onnx": ("an ONNX file", "onnxruntime", OnnxRuntime),
}

logger = logging.getLogger("keras_edsr")

_runtimes: Any = weakref.WeakKeyDictionary()  # Keras models to dicts: device to KerasRuntime
_lock = threading.RLock()


def open_runtime(model: Any, runtime: str | None = None, device: str | None = None) -> Runtime:
    """Returns the runtime for a Keras model, a preset or a file.

    A model keeps its runtime, so that a second call does not trace again. A file is loaded again if it has changed.

    Args:
        model: An `EDSR`, `MDSR` or branch; a preset's name or folder; the path of a file that `load_model` takes; the
            folder or file of an exported model: a SavedModel, .tflite, .onnx, or ncnn's .param; or a runtime, which is
            returned unchanged.
        runtime: None, the default, for the model's own runtime: TensorFlow, or that of its export.
            "tensorflow", the reference; "ncnn", within a gray level of it and about twice as fast on a CPU; or "auto",
            which selects ncnn for a string or a path if ncnn is installed and TensorFlow has no GPU.
            A model in memory "auto" runs in TensorFlow, which follows its weights; with "ncnn" the weights are those
            of now, converted at each call: keep the runtime to use it again.
        device: "cpu" or "gpu" (in ncnn through Vulkan); None, the default, for a GPU if TensorFlow has one.

    Raises:
        ValueError: If there is no such preset or file, it is not a model of this package, or it cannot be read; or if
            the runtime is not installed, or there is no such device.
        OSError: If the preset cannot be downloaded.
    """
    _check_choice(runtime, device)
    if isinstance(model, Runtime):
        return model
    if not isinstance(model, str | os.PathLike):
        return _open_model(model, runtime, device)
    path = _find(model)
    if path.suffix in _FILES:
        _takes_ncnn(path, runtime, device)
        return _open_file(path, _modified(path), device)
    if (folder := find_version(path)) is not None:
        _takes_ncnn(path, runtime, device)
        return _open_saved_model(folder, _modified(folder / "saved_model.pb"), device)
    if _takes_ncnn(path, runtime, device):
        try:
            return _open_ncnn(os.fspath(model), path, _modified(path), device or "cpu")
        except ForeignModelError:
            if runtime == "ncnn":
                raise
    return _open_keras(_load(os.fspath(model), path, _modified(path)), device)


def needs_tensorflow(model: str | os.PathLike, runtime: str | None = None, device: str | None = None) -> bool:
    """Whether `open_runtime` with these arguments, `model` a string or path, would import TensorFlow."""
    _check_choice(runtime, device)
    path = _find(model)
    if path.suffix in _FILES:
        _takes_ncnn(path, runtime, device)
        return False
    if runtime == "auto" and device != "cpu" and _may_have_gpu() and not is_ncnn(path):
        return True
    _modified(path)  # raises an error for a missing file
    return not _takes_ncnn(path, runtime, device)


# === Which runtime ===


def _check_choice(runtime, device):
    if runtime is not None and runtime not in RUNTIMES:
        raise ValueError(f"`runtime` must be one of {', '.join(RUNTIMES)}. Received: runtime={runtime!r}.")
    if device is not None and device not in DEVICES:
        raise ValueError(f"`device` must be None or one of {', '.join(DEVICES)}. Received: device={device!r}.")


def _takes_ncnn(path, runtime, device):
    if is_ncnn(path):
        if runtime == "tensorflow":
            raise ValueError(f"{path} is a model of ncnn, which TensorFlow cannot run. Pass runtime='ncnn' or 'auto'.")
        return True
    if path.suffix in _FILES:
        kind, program, _ = _FILES[path.suffix]
        if runtime in ("tensorflow", "ncnn"):
            raise ValueError(f"{path} is {kind}, which {program} runs, not {runtime}. Omit `runtime`, or pass 'auto'.")
        return False
    if find_version(path) is not None:
        if runtime == "ncnn":
            raise ValueError(f"{path} is a SavedModel, which ncnn cannot run. Pass runtime='tensorflow' or 'auto'.")
        return False
    if runtime != "auto":
        if device == "gpu" and runtime == "ncnn" and ncnn.is_installed():
            ncnn.gpu_name()  # loads the driver: after TensorFlow, Mesa's in software would crash at exit
        return runtime == "ncnn"
    if not ncnn.is_installed() or (device != "cpu" and _tensorflow_has_gpu()):
        return False
    return device != "gpu" or ncnn.gpu_name() is not None


def _tensorflow_has_gpu():
    if not _may_have_gpu() or importlib.util.find_spec("tensorflow") is None:
        return False
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _may_have_gpu():
    """Whether TensorFlow may find a GPU, without importing it, which takes seconds."""
    nodes = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")  # NVIDIA, the same in WSL, AMD
    return any(map(os.path.exists, nodes)) or importlib.util.find_spec("tensorflow-plugins") is not None


# === Opening ===


def _open_model(model, runtime, device):
    import keras

    if not isinstance(model, keras.Model):
        raise ValueError(
            "`model` must be an EDSR, an MDSR, a branch of one, a preset's name or the path of a .keras file. "
            f"Received: {type(model).__name__}."
        )
    if runtime != "ncnn":
        return _open_keras(model, device)
    if not hasattr(model, "network"):
        raise ValueError(
            f"Only an EDSR, an MDSR or a branch of one runs in ncnn. Received: {type(model).__name__} {model.name!r}."
        )
    return ncnn.NcnnRuntime(ncnn_networks(model.network, model.get_arrays()), device or "cpu")


def _open_keras(model, device):
    from .keras_model import KerasRuntime

    with _lock:
        runtimes = _runtimes.setdefault(model, {})
        if device not in runtimes:
            runtimes[device] = KerasRuntime(model, device)
            logger.info("Runtime: %s, on %s.", runtimes[device].name, runtimes[device].device_name)
        return runtimes[device]


@functools.lru_cache(maxsize=2)
def _open_ncnn(model, path, modified, device):
    networks = read_ncnn(path) if is_ncnn(path) else ncnn_networks(*presets.read_model(model))
    runtime = ncnn.NcnnRuntime(networks, device)
    logger.info("Runtime: ncnn, on %s.", runtime.device_name)
    return runtime


@functools.lru_cache(maxsize=2)
def _open_saved_model(folder, modified, device):
    runtime = SavedModelRuntime(folder, device)
    logger.info("Runtime: TensorFlow, on %s, for the SavedModel in %s.", runtime.device_name, folder)
    return runtime


@functools.lru_cache(maxsize=2)
def _open_file(path, modified, device):
    _, program, kind = _FILES[path.suffix]
    runtime = kind(path, device)
    logger.info("Runtime: %s, on %s.", program, runtime.device_name)
    return runtime


@functools.lru_cache(maxsize=2)
def _load(model, path, modified):
    from ..models import load_model

    return load_model(model)


def _find(model):
    return Path(model) if is_ncnn(Path(model)) else presets.find_model(model)


def _modified(path):
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise ValueError(
            f"A model must be a preset's name or the path of a model's file. Received: {path}, which cannot be read "
            f"({error.strerror}). {presets.say_unknown(path)}"
        ) from None
