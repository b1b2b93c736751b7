"""PSNR and SSIM in double precision, and what of two images a protocol compares.

`benchmark` (Set5, Set14, B100, Urban100): BT.601's luma of the 8-bit images, not rounded; as many
pixels left out along the border as the scale. `div2k` (DIV2K 0801-0900): RGB, all channels in one
mean; scale + 6 pixels left out, as both official programs do (their README says + 2). PSNR with a
peak of 255 and SSIM (Gaussian 11x11, sigma 1.5, 'valid', channels averaged).
The paper's SSIM on DIV2K is another one, volumetric (facts §9.4), and can't be compared.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..image_ops import MAX_PSNR, PEAK, SSIM_C1, SSIM_C2, SSIM_WINDOW, crop_border, luma, ssim_window

PROTOCOLS = ("benchmark", "div2k")

SSIM_ROWS = 32  # at a time, so that the maps of a large image stay in the cache

Image = NDArray[Any]


def score(sr: Image, hr: Image, scale: int, protocol: str = "benchmark") -> tuple[float, float]:
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
    _check_same_shape(sr, hr)
    sr, hr = (crop_border(as_compared(image, protocol), border(scale, protocol)) for image in (sr, hr))
    return min(psnr(sr, hr), MAX_PSNR), ssim(sr, hr)


def border(scale: int, protocol: str) -> int:
    """How many pixels a protocol leaves out on each side."""
    return scale if protocol == "benchmark" else scale + 6


def as_compared(image: Image, protocol: str) -> Image:
    """The values of an 8-bit image that a protocol compares: luma in float64, or the image as it is."""
    return luma(image) if protocol == "benchmark" else image


def psnr(sr: Image, hr: Image) -> float:
    """Peak signal-to-noise ratio in dB: `10 log10(255^2 / MSE)`, over all pixels and channels.

    Args:
        sr: Array of any shape in 0..255.
        hr: Array of the same shape.

    Returns:
        Infinity for two equal images, as scikit-image.

    Raises:
        ValueError: If the shapes differ.
    """
    _check_same_shape(sr, hr)
    error = np.asarray(sr, np.float64) - np.asarray(hr, np.float64)
    mse = float(np.mean(np.square(error, out=error)))
    return 10 * math.log10(PEAK**2 / mse) if mse else math.inf


def ssim(sr: Image, hr: Image) -> float:
    """Structural similarity with a Gaussian window of 11x11, only where it lies within the image.

    Args:
        sr: `(height, width)` or `(height, width, channels)` in 0..255, 11 pixels a side at least.
        hr: Array of the same shape.

    Returns:
        The mean over pixels, and over channels, each compared on its own.

    Raises:
        ValueError: If the shapes differ or are smaller than the window.

    Reference: [Wang et al., 2004](https://doi.org/10.1109/TIP.2003.819861), section III.
    """
    _check_same_shape(sr, hr)
    height, width, *rest = np.shape(sr)
    channels = math.prod(rest)
    rows, columns = height - SSIM_WINDOW + 1, width - SSIM_WINDOW + 1
    if min(rows, columns) < 1:
        raise ValueError(
            f"SSIM needs {SSIM_WINDOW} pixels a side within the border. "
            f"Received: {height}x{width}. Take a larger image."
        )
    # Channels lie side by side: a step of one pixel along the width is `channels` values long.
    sr, hr = np.reshape(sr, (height, -1)), np.reshape(hr, (height, -1))
    total = 0.0
    for row in range(0, rows, SSIM_ROWS):
        strip = slice(row, row + SSIM_ROWS + SSIM_WINDOW - 1)
        total += float(np.sum(_ssim_map(sr[strip], hr[strip], channels)))
    return total / (rows * columns * channels)


def _ssim_map(x: Image, y: Image, channels: int) -> NDArray[np.float64]:
    x, y = x.astype(np.float64), y.astype(np.float64)

    def mean(image: Image) -> Image:
        return _window_mean(_window_mean(image, step=1).T, step=channels).T

    mean_x, mean_y = mean(x), mean(y)
    squares, product = mean_x**2 + mean_y**2, mean_x * mean_y
    variances = mean(x * x + y * y) - squares  # of x and of y: only their sum is needed
    covariance = mean(x * y) - product
    luminance = (2 * product + SSIM_C1) / (squares + SSIM_C1)
    return luminance * (2 * covariance + SSIM_C2) / (variances + SSIM_C2)


def _window_mean(image: Image, step: int) -> NDArray[np.float64]:
    """SSIM's window along the first axis: values `step` apart, `(n, m)` to `(n - 10 * step, m)`."""
    weights = ssim_window()
    middle = SSIM_WINDOW // 2
    length = len(image) - 2 * middle * step

    def shifted(taps: int) -> Image:
        return image[taps * step : taps * step + length]

    total = weights[middle] * shifted(middle)
    pair = np.empty_like(total)
    for i in range(middle):  # the window is symmetric: half the products
        np.add(shifted(i), shifted(SSIM_WINDOW - 1 - i), out=pair)
        pair *= weights[i]
        total += pair
    return total


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


def _check_same_shape(sr: Image, hr: Image) -> None:
    if np.shape(sr) != np.shape(hr):
        raise ValueError(
            f"Two images to compare must have one shape. Received: sr of {np.shape(sr)} and hr of "
            f"{np.shape(hr)}. Crop the HR image to a multiple of the scale."
        )
