"""EDSR and MDSR, single-image super-resolution for Keras (Lim et al., CVPRW 2017).

Names are imported on first use, so that `import keras_edsr` does not import TensorFlow. This import suffices for
`keras.saving.load_model` to find the classes, whichever of the two packages is imported first.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__
from .registration import register_when_keras_is_imported

if TYPE_CHECKING:
    from . import data, layers, metrics
    from ._imresize import imresize
    from .evaluation import evaluate
    from .export import export_ncnn, export_onnx, export_saved_model, export_tflite
    from .inference import upscale
    from .models import EDSR, MDSR, load_model, load_torch, save_torch

__all__ = [
    "EDSR",
    "MDSR",
    "__version__",
    "data",
    "evaluate",
    "export_ncnn",
    "export_onnx",
    "export_saved_model",
    "export_tflite",
    "imresize",
    "layers",
    "load_model",
    "load_torch",
    "metrics",
    "save_torch",
    "upscale",
]

_HOMES = {
    "EDSR": "models",
    "MDSR": "models",
    "evaluate": "evaluation",
    "export_ncnn": "export",
    "export_onnx": "export",
    "export_saved_model": "export",
    "export_tflite": "export",
    "imresize": "_imresize",
    "load_model": "models",
    "load_torch": "models",
    "save_torch": "models",
    "upscale": "inference",
}
_MODULES = {"data", "layers", "metrics"}

register_when_keras_is_imported()


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
