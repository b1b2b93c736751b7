"""Validation on whole images, by the benchmark protocol: Y of BT.601, crop_border = scale."""

from collections.abc import Callable

import numpy as np

from ..data import ImagePairs
from ..image_ops import SSIM_WINDOW
from ..inference import upscale
from ..metrics import PSNR, SSIM


def check_validation(pairs: ImagePairs) -> None:
    """Checks that the images can be scored: better before training than after the first epoch.

    Raises:
        ValueError: An image is too small; it is named.
    """
    for scale in pairs.scales:
        needed = SSIM_WINDOW + 2 * scale
        for i, name in enumerate(pairs.names):
            height, width = pairs.hr(i, scale).shape[:2]
            if min(height, width) < needed:
                raise ValueError(
                    f"{name} in {pairs.origin} is too small to validate on: {height}x{width}, and SSIM at scale "
                    f"{scale} needs {needed} pixels a side. Take it out of the folder."
                )


def validate(
    model, pairs, show: Callable[[str, np.ndarray, np.ndarray, np.ndarray], None] | None = None
) -> dict[str, float]:
    """Scores `model` on whole images, as uint8, as they would be saved.

    Args:
        model: An `EDSR` or `MDSR`.
        pairs: `ImagePairs` at its scales.
        show: Function `(name, lr, sr, hr)`, called with each image; the name ends in the scale.

    Returns:
        `val_psnr` (dB) and `val_ssim`, means over the images; of several scales the means over those, and for each
        scale `val_psnr_x2`, `val_ssim_x2`, ….
    """
    scores = {}
    for scale in pairs.scales:
        metrics = {
            "psnr": PSNR(crop_border=scale, y_channel=True),
            "ssim": SSIM(crop_border=scale, y_channel=True),
        }
        for i, name in enumerate(pairs.names):
            lr, hr = pairs.lr(i, scale), pairs.hr(i, scale)
            sr = upscale(model, lr, scale)
            for metric in metrics.values():
                metric.update_state(hr[None], sr[None])
            if show:
                show(f"{name} x{scale}", lr, sr, hr)
        for name, metric in metrics.items():
            scores[f"val_{name}_x{scale}"] = float(metric.result())
    means = {
        f"val_{name}": sum(scores[f"val_{name}_x{s}"] for s in pairs.scales) / len(pairs.scales)
        for name in ("psnr", "ssim")
    }
    return means if len(pairs.scales) == 1 else means | scores
