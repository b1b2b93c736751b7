"""Selects the part of an image that a report shows, and draws errors as colors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..scores import Image, as_compared, border

REGION = 96  # HR pixels: small enough to compare pixel by pixel, side by side
VIEW = 512  # HR pixels at most: the part that the slider shows around the region

GAINS = (16, 8, 4, 2, 1)
CLIPPED = 0.01  # share of a region's errors that may exceed the color scale

# From black by purple, red and yellow to white: brighter always means a larger error, also to color-blind readers.
_STOPS = ((0, 0, 4), (61, 10, 100), (144, 32, 96), (217, 72, 54), (250, 150, 20), (249, 222, 110), (255, 255, 255))


@dataclass(frozen=True)
class Box:
    """A part of an HR image, in HR pixels; all four are multiples of the scale."""

    top: int
    left: int
    height: int
    width: int

    def of(self, image: Image) -> Image:
        """Returns this part of an image of the HR image's size."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]

    def of_lr(self, image: Image, scale: int) -> Image:
        """Returns this part of the LR image."""
        top, left, height, width = (pixels // scale for pixels in (self.top, self.left, self.height, self.width))
        return image[top : top + height, left : left + width]


def telling_region(baseline: Image, srs: Sequence[Image], hr: Image, scale: int, protocol: str) -> Box:
    """Finds the square where the networks' images differ most from the baseline's.

    Readers see most there, for better or worse. Without networks it is the square where the baseline's error is
    largest. The differences are those of the values that the protocol compares, squared and summed, without the
    protocol's border. Of equal squares the first is taken, so the same images give the same region.

    Args:
        baseline: `(height, width)` or `(height, width, channels)`, 8 bits: the bicubic image.
        srs: The networks' images, of the same shape; may be empty.
        hr: The original, of the same shape, its sides multiples of the scale.
        scale: Integer.
        protocol: `"benchmark"` or `"div2k"`.

    Returns:
        A square of about 96 HR pixels a side, or as much of it as the image has.
    """
    from_where = as_compared(baseline, protocol)
    height, width = hr.shape[:2]
    inside = np.zeros((height, width))
    edge = border(scale, protocol)
    for image in srs or [hr]:
        inside[edge:-edge, edge:-edge] += _squares(as_compared(image, protocol), from_where)[edge:-edge, edge:-edge]
    by_lr_pixel = inside.reshape(height // scale, scale, width // scale, scale).sum((1, 3))
    side = max(1, round(REGION / scale))
    rows, columns = (min(side, length) for length in by_lr_pixel.shape)
    sums = _window_sums(by_lr_pixel, rows, columns)
    top, left = np.unravel_index(np.argmax(sums), sums.shape)
    return Box(int(top) * scale, int(left) * scale, rows * scale, columns * scale)


def view_around(region: Box, height: int, width: int, scale: int) -> Box:
    """Returns a part of at most 512 HR pixels a side, with the region in its middle as far as the image allows."""

    def span(start: int, size: int, length: int) -> tuple[int, int]:
        most = min(VIEW // scale * scale, length)
        first = start + size // 2 - most // 2
        return min(max(first, 0), length - most) // scale * scale, most

    top, rows = span(region.top, region.height, height)
    left, columns = span(region.left, region.width, width)
    return Box(top, left, rows, columns)


def error(sr: Image, hr: Image, protocol: str) -> NDArray[np.float64]:
    """Returns the absolute difference of the compared values, `(height, width)`, the mean over channels."""
    difference = np.abs(np.subtract(as_compared(sr, protocol), as_compared(hr, protocol), dtype=np.float64))
    return difference.mean(-1) if difference.ndim == 3 else difference


def choose_gain(errors: NDArray[np.float64]) -> int:
    """Returns the largest gain at which nearly all errors, in gray levels, stay below 255."""
    most = np.quantile(errors, 1 - CLIPPED)
    return next((gain for gain in GAINS if gain * most <= 255), GAINS[-1])


def in_color(errors: NDArray[np.float64], gain: int) -> NDArray[np.uint8]:
    """Draws errors in gray levels, `(height, width)`, as RGB: black means zero, white is 255 / gain or more."""
    return _palette()[np.minimum(np.rint(errors * gain), 255).astype(np.uint8)]


def gradient() -> str:
    """Returns the colors of errors, from zero to the largest, in the syntax of CSS's `linear-gradient`."""
    return ", ".join(f"rgb{stop}" for stop in _STOPS)


def _palette() -> NDArray[np.uint8]:
    at = np.linspace(0, 255, len(_STOPS))
    channels = [np.interp(np.arange(256), at, channel) for channel in zip(*_STOPS, strict=True)]
    return np.rint(np.stack(channels, -1)).astype(np.uint8)  # (256, 3)


def _squares(one: Image, other: Image) -> NDArray[np.float64]:
    squares = np.square(np.subtract(one, other, dtype=np.float64))
    return squares.sum(-1) if squares.ndim == 3 else squares


def _window_sums(values: NDArray[np.float64], rows: int, columns: int) -> NDArray[np.float64]:
    """Returns the sums over every window of `rows` x `columns`: `(h, w)` to `(h - rows + 1, w - columns + 1)`."""
    total = np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    return total[rows:, columns:] - total[:-rows, columns:] - total[rows:, :-columns] + total[:-rows, :-columns]
