"""Images to train and validate on. TensorFlow is imported only when a dataset is made."""

from .degradation import Degradation
from .div2k import div2k, div2k_pairs
from .downscale import downscale
from .folder import image_pairs
from .pairs import ImagePairs
from .patches import PatchSampler, whole_images
from .sampler import ScaleBatchSampler
from .streams import random_patches

__all__ = [
    "Degradation",
    "ImagePairs",
    "PatchSampler",
    "ScaleBatchSampler",
    "div2k",
    "div2k_pairs",
    "downscale",
    "image_pairs",
    "random_patches",
    "whole_images",
]
