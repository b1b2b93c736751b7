"""Models for elsewhere: SavedModel, TensorFlow Lite, ONNX, ncnn. Each is run again and compared before it counts.

Names are imported when they are first used: each format has its own packages.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ..machine import need_tensorflow

if TYPE_CHECKING:
    from .ncnn import export_ncnn
    from .onnx import export_onnx
    from .saved_model import export_saved_model
    from .tflite import export_tflite

__all__ = ["export_ncnn", "export_onnx", "export_saved_model", "export_tflite"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    need_tensorflow("Export")
    return getattr(importlib.import_module(f".{name.removeprefix('export_')}", __name__), name)
