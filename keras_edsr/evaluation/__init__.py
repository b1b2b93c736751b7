"""Scores of images against the originals by the paper's protocol: tables and an HTML report."""

from ..scores import PROTOCOLS, psnr, score, ssim
from .protocol import BICUBIC, evaluate, evaluate_images
from .report import PAGE, short_names, write_report

__all__ = [
    "BICUBIC",
    "PAGE",
    "PROTOCOLS",
    "evaluate",
    "evaluate_images",
    "psnr",
    "score",
    "short_names",
    "ssim",
    "write_report",
]
