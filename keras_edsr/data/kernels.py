"""Blur kernels, and convolution with them. The module needs NumPy only."""

import math

import numpy as np
from numpy.typing import NDArray

_QUADRATURE_POINTS = 256  # the trapezoid rule on a full period: exact to 1e-15 for |x| < 200


def gaussian_kernel(
    size: int,
    sigma: tuple[float, float],
    angle: float = 0.0,
    beta: float = 1.0,
) -> NDArray[np.float64]:
    """Returns a generalized Gaussian: `exp(-q**beta / 2)`, with `q = x' S^-1 x`.

    Args:
        size: Odd integer, height and width.
        sigma: Standard deviations in pixels along the two axes; equal ones give an isotropic kernel.
        angle: Angle of the first axis, in radians.
        beta: Shape. 1 is a Gaussian; a smaller value has heavier tails, a larger one a flatter top.

    Returns:
        `(size, size)`, sums to 1.

    Reference: [Wang et al., 2021](https://arxiv.org/abs/2107.10833), section 3.2.
    """
    return _normalized(np.exp(-0.5 * _quadratic_form(size, sigma, angle) ** beta))


def plateau_kernel(
    size: int,
    sigma: tuple[float, float],
    angle: float = 0.0,
    beta: float = 1.0,
) -> NDArray[np.float64]:
    """Returns a plateau: `1 / (1 + q**beta)`, with `q` and the arguments as in `gaussian_kernel`."""
    return _normalized(1 / (1 + _quadratic_form(size, sigma, angle) ** beta))


def sinc_kernel(size: int, cutoff: float) -> NDArray[np.float64]:
    """Returns the circular low-pass filter, which rings at edges: `cutoff * J1(cutoff * r) / (2 * pi * r)`.

    Args:
        size: Odd integer, height and width.
        cutoff: Highest frequency that passes, in radians per pixel; at most pi.

    Returns:
        `(size, size)`, sums to 1.

    Reference: [Wang et al., 2021](https://arxiv.org/abs/2107.10833), equation 6.
    """
    y, x = _grid(size)
    radius = np.hypot(x, y)
    middle = size // 2
    radius[middle, middle] = 1.0  # the limit is written below
    kernel = cutoff * _bessel_j1(cutoff * radius) / (2 * math.pi * radius)
    kernel[middle, middle] = cutoff**2 / (4 * math.pi)
    return _normalized(kernel)


def gaussian_weights(sigma: float) -> NDArray[np.float64]:
    """Returns the weights of a Gaussian along one dimension, out to four standard deviations; they sum to 1."""
    radius = max(1, math.ceil(4 * sigma))
    return _normalized(np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2))


def convolve(image: NDArray[np.float32], kernel: NDArray[np.float64]) -> NDArray[np.float32]:
    """Convolves each channel with a kernel of odd sides; the image is mirrored at its border.

    Args:
        image: `(height, width, channels)`.
        kernel: `(rows, columns)`; symmetric about its middle, as blur kernels are.

    Returns:
        A new array of the image's shape.
    """
    rows, columns = (side // 2 for side in kernel.shape)
    height, width = image.shape[:2]
    padded = np.pad(image, ((rows, rows), (columns, columns), (0, 0)), mode="reflect")
    # By Fourier transform: the time does not depend on the kernel, and a kernel of 21x21 would take 441 products a
    # pixel. Values that wrap around fall on the padding, which is cropped.
    shape = (_fast_length(padded.shape[0]), _fast_length(padded.shape[1]))
    spectrum = np.fft.rfft2(padded, shape, axes=(0, 1))
    spectrum *= np.fft.rfft2(kernel.astype(np.float32), shape)[..., None]
    full = np.fft.irfft2(spectrum, shape, axes=(0, 1))
    blurred = full[2 * rows : 2 * rows + height, 2 * columns : 2 * columns + width]
    return np.ascontiguousarray(blurred, np.float32)


def convolve_separable(image: NDArray[np.float32], weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Convolves rows and columns with the same symmetric weights; the image is mirrored at its border.

    The result equals that of `convolve` with the outer product of the weights; short weights are faster this way.
    """
    radius = len(weights) // 2
    height, width, channels = image.shape
    padded = np.pad(image, ((radius, radius), (radius, radius), (0, 0)), mode="reflect")
    rows = padded.reshape(len(padded), -1)  # a step of one column is a step of `channels` values
    rows = _weighted_sum([rows[tap : tap + height] for tap in range(len(weights))], weights)
    columns = [rows[:, tap * channels : (tap + width) * channels] for tap in range(len(weights))]
    return _weighted_sum(columns, weights).reshape(height, width, channels)


def _weighted_sum(views: list[NDArray[np.float32]], weights: NDArray[np.float64]) -> NDArray[np.float32]:
    middle = len(weights) // 2
    total = views[middle] * np.float32(weights[middle])
    product = np.empty_like(total)
    for tap in range(middle):
        np.add(views[tap], views[-1 - tap], out=product)
        product *= np.float32(weights[tap])
        total += product
    return total


def _grid(size: int) -> NDArray[np.float64]:
    return np.indices((size, size), np.float64) - size // 2


def _quadratic_form(size: int, sigma: tuple[float, float], angle: float) -> NDArray[np.float64]:
    y, x = _grid(size)
    along = (math.cos(angle) * x + math.sin(angle) * y) / sigma[0]
    across = (math.cos(angle) * y - math.sin(angle) * x) / sigma[1]
    return along**2 + across**2


def _normalized(kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    return kernel / kernel.sum()


def _bessel_j1(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the Bessel function of the first kind and order 1, by Bessel's integral."""
    angles = 2 * math.pi * np.arange(_QUADRATURE_POINTS) / _QUADRATURE_POINTS
    return np.cos(angles - x[..., None] * np.sin(angles)).mean(axis=-1)


def _fast_length(length: int) -> int:
    """Returns the next even number without prime factors above 5."""
    length += length % 2
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 2
