"""Files of weights <-> (Network, arrays): PyTorch's of EDSR and MDSR, read without trusting them, and Keras'."""

from .description import Description, describe, open_checkpoint
from .encoders import read_encoder
from .files import SUFFIXES, read, read_torch, write_torch
from .keras_files import ForeignModelError, read_keras
from .layouts import LAYOUTS
from .tensors import CheckpointError

__all__ = [
    "LAYOUTS",
    "SUFFIXES",
    "CheckpointError",
    "Description",
    "ForeignModelError",
    "describe",
    "open_checkpoint",
    "read",
    "read_encoder",
    "read_keras",
    "read_torch",
    "write_torch",
]
