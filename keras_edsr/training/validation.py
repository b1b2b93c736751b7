"""Validation on whole images, by the benchmark protocol, with the numbers of `evaluate`."""

from collections.abc import Callable

import numpy as np

from ..data import ImagePairs
from ..inference import upscale
from ..scores import means, score, smallest_side

PROTOCOL = "benchmark"


def check_validation(pairs: ImagePairs) -> None:
    """Checks before training that the images can be scored.

    Raises:
        ValueError: If an image is too small. The message names it.
    """
    for scale in pairs.scales:
        needed = smallest_side(scale, PROTOCOL)
        for i, name in enumerate(pairs.names):
            height, width = pairs.hr(i, scale).shape[:2]
            if min(height, width) < needed:
                raise ValueError(
                    f"{name} in {pairs.origin} is too small to validate on: {height}x{width}, and SSIM at scale "
                    f"{scale} needs {needed} pixels a side. Remove it from the folder."
                )


def validate(
    model, pairs, show: Callable[[str, np.ndarray, np.ndarray, np.ndarray], None] | None = None
) -> dict[str, float]:
    """Scores `model` on whole images, as the uint8 images that `upscale` would save.

    Args:
        model: An `EDSR` or `MDSR`.
        pairs: `ImagePairs` at the model's scales.
        show: Function `(name, lr, sr, hr)`, called with each image; the name ends in the scale.

    Returns:
        `val_psnr` (dB) and `val_ssim`, means over the images. For several scales these are means over the scales, and
        `val_psnr_x2`, `val_ssim_x2`, … are the values of each scale.
    """
    found = {}
    for scale in pairs.scales:
        scores = []
        for i, name in enumerate(pairs.names):
            lr, hr = pairs.lr(i, scale), pairs.hr(i, scale)
            sr = upscale(model, lr, scale)
            scores.append(score(sr, hr, scale, PROTOCOL))
            if show:
                show(f"{name} x{scale}", lr, sr, hr)
        found[scale] = means(scores)
    mean = _row(means(list(found.values())))
    for scale, mean_of_scale in found.items() if len(found) > 1 else ():
        mean |= _row(mean_of_scale, f"_x{scale}")
    return mean


def _row(scores, suffix=""):
    return {f"val_{name}{suffix}": value for name, value in scores._asdict().items()}
