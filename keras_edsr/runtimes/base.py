"""What a runtime is: a network in one form, and how one tile of an image is run through it."""

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class Runtime(Protocol):
    """A small class around a network in one form.

    One that takes tiles of a single size has `window`, their (height, width) in LR pixels; one that keeps memory from
    tile to tile has a method `release`, which gives it back.

    Attributes:
        scales: Tuple of integers.
        halo: LR pixels of context that a tile needs on each side.
        channels: Channels of the images.
        filters: Channels of the body.
        device_name: Where it runs, for a log.
    """

    scales: tuple[int, ...]
    halo: int
    channels: int
    filters: int
    device_name: str

    def bytes_per_pixel(self, scale: int) -> float:
        """Returns an estimate of the memory that one LR pixel of a tile takes."""

    def free_memory(self) -> float | None:
        """Returns the bytes that its device has left; None for the computer's memory, or where they are not known."""

    def run(self, tiles: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
        """Returns the SR tiles: `(n, h, w, c)` in 0..255 to `(n, s*h, s*w, c)`."""
