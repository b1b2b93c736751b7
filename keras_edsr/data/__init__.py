"""Images for training and validation. The package imports TensorFlow only to make a dataset.

Names are imported on first use, so that `keras_edsr.data.degradation` needs NumPy and Pillow only. No module here has
the name of a public object: importing the module would hide the object.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .datasets import div2k, div2k_pairs, image_pairs
    from .degradation import Degradation
    from .div2k_images import is_track
    from .lr_files import degrade, downscale
    from .pairs import ImagePairs
    from .patches import PatchSampler, whole_images
    from .sampler import ScaleBatchSampler
    from .streams import random_patches

__all__ = [
    "Degradation",
    "ImagePairs",
    "PatchSampler",
    "ScaleBatchSampler",
    "degrade",
    "div2k",
    "div2k_pairs",
    "downscale",
    "image_pairs",
    "is_track",
    "random_patches",
    "whole_images",
]

_HOMES = {
    "Degradation": "degradation",
    "ImagePairs": "pairs",
    "PatchSampler": "patches",
    "ScaleBatchSampler": "sampler",
    "degrade": "lr_files",
    "div2k": "datasets",
    "div2k_pairs": "datasets",
    "downscale": "lr_files",
    "image_pairs": "datasets",
    "is_track": "div2k_images",
    "random_patches": "streams",
    "whole_images": "patches",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
