"""How one tile is run: one small adapter for each engine, and the choice among them. `Runtime` is what they have."""

from .base import Runtime
from .ncnn import NcnnRuntime
from .open import DEVICES, RUNTIMES, needs_tensorflow, open_runtime
from .saved_model import SavedModelRuntime

__all__ = [
    "DEVICES",
    "RUNTIMES",
    "KerasRuntime",
    "NcnnRuntime",
    "Runtime",
    "SavedModelRuntime",
    "needs_tensorflow",
    "open_runtime",
]


def __getattr__(name):
    if name == "KerasRuntime":  # not before it is needed: it imports TensorFlow
        from .keras_model import KerasRuntime

        return KerasRuntime
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
