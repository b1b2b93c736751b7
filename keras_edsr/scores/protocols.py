"""What of two images a protocol compares, and its scores.

`benchmark` (Set5, Set14, B100, Urban100): BT.601's luma of the 8-bit images, not rounded; as many
pixels left out along the border as the scale. `div2k` (DIV2K 0801-0900): RGB, all channels in one
mean; scale + 6 pixels left out, as both official programs do (their README says + 2). PSNR with a
peak of 255 and SSIM (Gaussian 11x11, sigma 1.5, 'valid', channels averaged).
The paper's SSIM on DIV2K is another one, volumetric, and can't be compared.
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
    """PSNR and SSIM of one image by a protocol.

    Args:
        sr: `(height, width)` gray or `(height, width, 3)` RGB, uint8 in 0..255: after the rounding.
        hr: The original, of the same shape.
        scale: Integer; the border that is left out depends on it.
        protocol: `"benchmark"` or `"div2k"`.

    Returns:
        PSNR in dB, 100 at most (two equal images; infinity would drown every mean and is no JSON),
        and SSIM.

    Raises:
        ValueError: If the shapes differ, the image is too small for the border, or `protocol` is
            unknown.
    """
    check_request(scale, protocol)
    check_same_shape(sr, hr)
    sr, hr = (crop_border(as_compared(image, protocol), border(scale, protocol)) for image in (sr, hr))
    return Scores(min(psnr(sr, hr), MAX_PSNR), ssim(sr, hr))


def means(scores: Sequence[Scores]) -> Scores:
    """The mean PSNR and the mean SSIM of images."""
    return Scores(*(math.fsum(values) / len(scores) for values in zip(*scores, strict=True)))


def border(scale: int, protocol: str) -> int:
    """How many pixels a protocol leaves out on each side."""
    return scale if protocol == "benchmark" else scale + 6


def smallest_side(scale: int, protocol: str) -> int:
    """How many pixels a side an HR image must have, so that SSIM's window fits within the border."""
    return SSIM_WINDOW + 2 * border(scale, protocol)


def as_compared(image: Image, protocol: str) -> Image:
    """The values of an 8-bit image that a protocol compares: luma in float64, or the image as it is."""
    return luma(image) if protocol == "benchmark" else image


def check_request(scale: Any, protocol: Any) -> None:
    """Makes sure that a scale and a protocol are such.

    Raises:
        ValueError: The scale is no positive integer, or the protocol is unknown.
    """
    whole = isinstance(scale, (int, np.integer)) and not isinstance(scale, bool)
    if not whole or scale < 1:
        raise ValueError(f"`scale` must be a positive integer. Received: scale={scale!r}.")
    if protocol not in PROTOCOLS:
        raise ValueError(f"`protocol` must be one of {PROTOCOLS}. Received: protocol={protocol!r}.")
