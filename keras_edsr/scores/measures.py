"""PSNR and SSIM in double precision, as `evaluate`, training's validation and export's check use them."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..image_ops import PEAK

MAX_PSNR = 100.0  # dB; the score of two equal images, whose PSNR is infinite

# Wang et al., "Image quality assessment", 2004, section III.
SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
SSIM_C1 = (0.01 * PEAK) ** 2
SSIM_C2 = (0.03 * PEAK) ** 2

SSIM_ROWS = 32  # rows at a time, so that the maps of a large image stay in the processor's cache

Image = NDArray[Any]


def psnr(sr: Image, hr: Image) -> float:
    """Computes the peak signal-to-noise ratio in dB: `10 log10(255^2 / MSE)`, over all pixels and channels.

    Args:
        sr: Array of any shape in 0..255.
        hr: Array of the same shape.

    Returns:
        PSNR in dB; infinity for two equal images, as in scikit-image.

    Raises:
        ValueError: If the shapes differ.

    Examples:
        >>> import numpy as np
        >>> hr = np.zeros((12, 12), "uint8")
        >>> round(psnr(hr + 1, hr), 2)  # an error of 1 gray level
        48.13
    """
    check_same_shape(sr, hr)
    error = np.asarray(sr, np.float64) - np.asarray(hr, np.float64)
    mse = float(np.mean(np.square(error, out=error)))
    return 10 * math.log10(PEAK**2 / mse) if mse else math.inf


def ssim(sr: Image, hr: Image) -> float:
    """Computes the structural similarity with a Gaussian window of 11x11, where it lies within the image.

    Args:
        sr: Array `(height, width)` or `(height, width, channels)` in 0..255, with at least 11 pixels a side.
        hr: Array of the same shape.

    Returns:
        The mean over pixels and over channels, each compared separately.

    Raises:
        ValueError: If the shapes differ or are smaller than the window.

    Reference: [Wang et al., 2004](https://doi.org/10.1109/TIP.2003.819861), section III.
    """
    check_same_shape(sr, hr)
    height, width, *rest = np.shape(sr)
    channels = math.prod(rest)
    rows, columns = height - SSIM_WINDOW + 1, width - SSIM_WINDOW + 1
    if min(rows, columns) < 1:
        raise ValueError(
            f"SSIM needs {SSIM_WINDOW} pixels a side within the border. Received: {height}x{width}. Use a larger image."
        )
    # Channels are interleaved: a step of one pixel along the width is `channels` values long.
    sr, hr = np.reshape(sr, (height, -1)), np.reshape(hr, (height, -1))
    total = 0.0
    for row in range(0, rows, SSIM_ROWS):
        strip = slice(row, row + SSIM_ROWS + SSIM_WINDOW - 1)
        total += float(np.sum(_ssim_map(sr[strip], hr[strip], channels)))
    return total / (rows * columns * channels)


def ssim_window() -> list[float]:
    """Returns the weights of SSIM's Gaussian window along one dimension: 11 numbers that sum to 1."""
    middle = SSIM_WINDOW // 2
    weights = [math.exp(-0.5 * ((i - middle) / SSIM_SIGMA) ** 2) for i in range(SSIM_WINDOW)]
    return [weight / sum(weights) for weight in weights]


def _ssim_map(x: Image, y: Image, channels: int) -> NDArray[np.float64]:
    x, y = x.astype(np.float64), y.astype(np.float64)

    def mean(image: Image) -> Image:
        return _window_mean(_window_mean(image, step=1).T, step=channels).T

    mean_x, mean_y = mean(x), mean(y)
    squares, product = mean_x**2 + mean_y**2, mean_x * mean_y
    variances = mean(x * x + y * y) - squares  # of x plus y: only the sum is needed
    covariance = mean(x * y) - product
    luminance = (2 * product + SSIM_C1) / (squares + SSIM_C1)
    return luminance * (2 * covariance + SSIM_C2) / (variances + SSIM_C2)


def _window_mean(image: Image, step: int) -> NDArray[np.float64]:
    """Applies SSIM's window along the first axis to values `step` apart, `(n, m)` to `(n - 10 * step, m)`."""
    weights = ssim_window()
    middle = SSIM_WINDOW // 2
    length = len(image) - 2 * middle * step

    def shifted(taps: int) -> Image:
        return image[taps * step : taps * step + length]

    total = weights[middle] * shifted(middle)
    pair = np.empty_like(total)
    for i in range(middle):  # the window is symmetric: this takes half the products
        np.add(shifted(i), shifted(SSIM_WINDOW - 1 - i), out=pair)
        pair *= weights[i]
        total += pair
    return total


def check_same_shape(sr: Image, hr: Image) -> None:
    """Raises ValueError unless the two images have the same shape."""
    if np.shape(sr) != np.shape(hr):
        raise ValueError(
            f"Images to compare must have the same shape. Received: sr of {np.shape(sr)} and hr of "
            f"{np.shape(hr)}. Crop the HR image to a multiple of the scale."
        )
