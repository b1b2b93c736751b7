"""The LR images of a set at one scale: stored images, or images that are made on request."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from .degradation import Degradation, image_seed

# LR pixels around a patch that are degraded with it: blur, resizing and a codec's blocks depend on them.
_MARGIN = 8


class LrImages(Protocol):
    """LR images by their position in the set."""

    def image(self, index: int) -> np.ndarray:
        """Returns a whole image: uint8 (height, width, channels), read-only."""

    def size(self, index: int) -> tuple[int, int]:
        """Returns its height and width."""

    def patch(self, index: int, top: int, left: int, size: int, seed: int) -> np.ndarray:
        """Returns a square part of it; `seed` is for the random parameters of the patch."""

    def select(self, indices: Sequence[int]) -> "LrImages":
        """Returns the images at some positions."""


class Stored:
    """LR images in memory or in a memory map.

    Args:
        images: uint8 arrays (height, width, channels).
    """

    def __init__(self, images: Sequence[np.ndarray]) -> None:
        self.images = [read_only(image) for image in images]

    def image(self, index: int) -> np.ndarray:
        """As `LrImages`."""
        return self.images[index]

    def size(self, index: int) -> tuple[int, int]:
        """As `LrImages`."""
        height, width = self.images[index].shape[:2]
        return height, width

    def patch(self, index: int, top: int, left: int, size: int, seed: int) -> np.ndarray:
        """As `LrImages`; ignores the seed."""
        return self.images[index][top : top + size, left : left + size]

    def select(self, indices: Sequence[int]) -> "Stored":
        """As `LrImages`."""
        return Stored([self.images[index] for index in indices])


class Degraded:
    """LR images that a `Degradation` makes each time they are requested.

    A whole image is a pure function of the HR image, its name and the seed of the set. A patch has its own seed, so
    that each patch is degraded differently.

    Args:
        names: Names of the HR images.
        hr: HR images, uint8 arrays (height, width, channels).
        scale: Integer, 1 or more.
        degradation: How to make LR images.
        seed: Integer, for whole images.
    """

    def __init__(
        self, names: Sequence[str], hr: Sequence[np.ndarray], scale: int, degradation: Degradation, seed: int
    ) -> None:
        self.names = names
        self.hr = hr
        self.scale = scale
        self.degradation = degradation
        self.seed = seed
        for index, name in enumerate(names):
            if not all(self.size(index)):
                height, width = hr[index].shape[:2]
                raise ValueError(f"{name} is too small for scale {scale}: {height}x{width}.")

    def image(self, index: int) -> np.ndarray:
        """As `LrImages`."""
        return read_only(self.degradation(self.hr[index], self.scale, image_seed(self.seed, self.names[index])))

    def size(self, index: int) -> tuple[int, int]:
        """As `LrImages`."""
        height, width = self.hr[index].shape[:2]
        return height // self.scale, width // self.scale

    def patch(self, index: int, top: int, left: int, size: int, seed: int) -> np.ndarray:
        """As `LrImages`; degrades the patch together with a margin around it."""
        above, before = min(top, _MARGIN), min(left, _MARGIN)
        height, width = self.size(index)
        rows = slice(self.scale * (top - above), self.scale * min(height, top + size + _MARGIN))
        columns = slice(self.scale * (left - before), self.scale * min(width, left + size + _MARGIN))
        lr = self.degradation(self.hr[index][rows, columns], self.scale, seed)
        return lr[above : above + size, before : before + size]

    def select(self, indices: Sequence[int]) -> "Degraded":
        """As `LrImages`."""
        names, hr = [self.names[index] for index in indices], [self.hr[index] for index in indices]
        return Degraded(names, hr, self.scale, self.degradation, self.seed)


def read_only(image: np.ndarray) -> np.ndarray:
    """Returns a read-only view."""
    view = image.view()
    view.flags.writeable = False
    return view
