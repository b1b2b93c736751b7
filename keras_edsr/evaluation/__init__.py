"""How near images are to the originals, by the paper's protocol: scores, tables, and a report to look at."""

from .measures import PROTOCOLS, psnr, score, ssim
from .protocol import BICUBIC, evaluate, evaluate_images

__all__ = ["BICUBIC", "PROTOCOLS", "evaluate", "evaluate_images", "psnr", "score", "ssim"]
