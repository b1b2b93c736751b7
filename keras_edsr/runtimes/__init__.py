"""How one tile is run. A runtime is a small class around a network in one form.

Each has `scales`, `halo` (LR pixels), `channels`, `device_name`, `bytes_per_pixel(scale)` (an estimate of the memory
that one LR pixel of a tile takes), `free_memory()` (bytes; None for the computer's) and `run(tiles, scale)`: float32
`(n, h, w, channels)` in 0..255 to `(n, s*h, s*w, channels)`. One that takes tiles of one size alone says it by
`window`, (height, width) in LR pixels; one that keeps memory from tile to tile gives it back by `release()`.
"""

from .ncnn import NcnnRuntime
from .open import DEVICES, RUNTIMES, needs_tensorflow, open_runtime
from .saved_model import SavedModelRuntime

__all__ = [
    "DEVICES",
    "RUNTIMES",
    "KerasRuntime",
    "NcnnRuntime",
    "SavedModelRuntime",
    "needs_tensorflow",
    "open_runtime",
]


def __getattr__(name):
    if name == "KerasRuntime":  # not before it is needed: it imports TensorFlow
        from .keras_model import KerasRuntime

        return KerasRuntime
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
