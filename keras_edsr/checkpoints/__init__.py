"""PyTorch's files of EDSR and MDSR: read without trusting them, recognised, written. No Keras model is made here."""

from .description import Description, describe, open_checkpoint, published_scaling
from .layouts import LAYOUTS, Network
from .tensors import CheckpointError

SUFFIXES = (".pt", ".pth", ".safetensors")

__all__ = [
    "LAYOUTS",
    "SUFFIXES",
    "CheckpointError",
    "Description",
    "Network",
    "describe",
    "open_checkpoint",
    "published_scaling",
]
