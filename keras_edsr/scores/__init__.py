"""PSNR and SSIM in NumPy, and what each evaluation protocol compares."""

from .measures import MAX_PSNR, Image, psnr, ssim
from .protocols import PROTOCOLS, Scores, as_compared, border, check_request, means, score, smallest_side

__all__ = [
    "MAX_PSNR",
    "PROTOCOLS",
    "Image",
    "Scores",
    "as_compared",
    "border",
    "check_request",
    "means",
    "psnr",
    "score",
    "smallest_side",
    "ssim",
]
