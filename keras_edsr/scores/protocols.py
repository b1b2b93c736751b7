"""The evaluation protocols: what each compares, and the scores.

`benchmark` (Set5, Set14, B100, Urban100) compares BT.601's luma of the 8-bit images, not rounded, without a border of
`scale` pixels. `div2k` (DIV2K 0801-0900) compares RGB with all channels in one mean, without a border of `scale + 6`
pixels: both official programs exclude so many, although their README says `scale + 2`. PSNR has a peak of 255. SSIM has
a Gaussian window (11x11, sigma 1.5, 'valid') and averages the channels. The paper's SSIM on DIV2K is a volumetric
one, which is not comparable.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..image_ops import crop_border, luma
from .measures import MAX_PSNR, SSIM_WINDOW, Image, check_same_shape, psnr, ssim

PROTOCOLS = ("benchmark", "div2k")


class Scores(NamedTuple):
    """PSNR in dB and SSIM, of an image or as means over images."""

    psnr: float
    ssim: float


def score(sr: Image, hr: Image, scale: int, protocol: str = "benchmark") -> Scores:
    """Computes PSNR and SSIM of one image by a protocol.

    Args:
        sr: Array `(height, width)` gray or `(height, width, 3)` RGB, uint8 in 0..255.
        hr: The original, of the same shape.
        scale: Integer; the border that the protocol excludes depends on it.
        protocol: `"benchmark"` or `"div2k"`.

    Returns:
        PSNR in dB, at most 100 (for two equal images: JSON cannot express infinity, and no mean could include it), and
        SSIM.

    Raises:
        ValueError: If the shapes differ, the image is too small for the border, or `protocol` is
            unknown.
    """
    check_request(scale, protocol)
    check_same_shape(sr, hr)
    sr, hr = (crop_border(as_compared(image, protocol), border(scale, protocol)) for image in (sr, hr))
    return Scores(min(psnr(sr, hr), MAX_PSNR), ssim(sr, hr))


def means(scores: Sequence[Scores]) -> Scores:
    """Returns the mean PSNR and the mean SSIM of images."""
    return Scores(*(math.fsum(values) / len(scores) for values in zip(*scores, strict=True)))


def border(scale: int, protocol: str) -> int:
    """Returns how many pixels a protocol excludes on each side."""
    return scale if protocol == "benchmark" else scale + 6


def smallest_side(scale: int, protocol: str) -> int:
    """Returns how many pixels a side an HR image needs, so that SSIM's window fits within the border."""
    return SSIM_WINDOW + 2 * border(scale, protocol)


def as_compared(image: Image, protocol: str) -> Image:
    """Returns the values of an 8-bit image that a protocol compares: luma in float64, or the image itself."""
    return luma(image) if protocol == "benchmark" else image


def check_request(scale: Any, protocol: Any) -> None:
    """Checks a scale and a protocol.

    Raises:
        ValueError: If the scale is not a positive integer or the protocol is unknown.
    """
    whole = isinstance(scale, (int, np.integer)) and not isinstance(scale, bool)
    if not whole or scale < 1:
        raise ValueError(f"`scale` must be a positive integer. Received: scale={scale!r}.")
    if protocol not in PROTOCOLS:
        raise ValueError(f"`protocol` must be one of {PROTOCOLS}. Received: protocol={protocol!r}.")
