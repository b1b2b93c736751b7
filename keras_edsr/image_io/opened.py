"""An opened image file: what Pillow knows of it, and its frames, composed by Pillow or by the package."""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image

from .apng import Apng, read_apng
from .gif import Gif, is_gif, read_gif
from .pillow import open_image
from .pixels import decode_pixels
from .png import is_png, readable

NO_LIMIT = 2**48  # pixels, where only the header is read
ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")  # formats with frames; a TIFF has pages and a phone's JPEG further images

_CUT_OFF = "its end mark is missing; all of its pixels are there"


@dataclass(frozen=True)
class Opened:
    """An image file whose pixels are not decoded yet.

    Attributes:
        stored: What Pillow knows of it. Of an APNG it has the default image alone, of a GIF no pixels.
        source: What `stored` reads; of a GIF the file.
        composed: The animation, if Pillow is not to compose it.
        notes: Faults that do not affect the pixels, logged when the pixels are decoded.
    """

    stored: Image.Image
    source: BinaryIO
    composed: Gif | Apng | None
    notes: list[str]

    @property
    def height(self) -> int:
        """Height of the first frame in the file, in pixels."""
        return self.composed.height if self.composed else self.stored.height

    @property
    def width(self) -> int:
        """Width of the first frame in the file, in pixels."""
        return self.composed.width if self.composed else self.stored.width

    @property
    def count(self) -> int:
        """Number of frames."""
        if self.composed:
            return self.composed.count
        return getattr(self.stored, "n_frames", 1) if self.stored.format in ANIMATED else 1

    @property
    def pixels(self) -> int:
        """Number of pixels of all frames."""
        return self.composed.pixels if self.composed else self.height * self.width * self.count

    @property
    def plays(self) -> int:
        """Number of times that an animation is shown; 0 is endless."""
        return self.composed.plays if self.composed else int(self.stored.info.get("loop") or 0)

    def frames(self, name: str) -> Iterator[tuple[np.ndarray, float]]:
        """Yields each frame, ready for display, with its duration in milliseconds."""
        if self.composed:
            yield from self.composed.frames()
            return
        for number in range(self.count):
            if number:
                self.stored.seek(number)
            pixels = decode_pixels(self.stored, self.source, name)
            yield pixels, float(self.stored.info.get("duration") or 0)


@contextlib.contextmanager
def opened(data: bytes | BinaryIO, max_pixels: int) -> Iterator[Opened]:
    """Opens an image file and checks what can be checked before its pixels are decoded; inside `quiet` and `naming`.

    Args:
        data: The bytes of the file, or the file opened in binary mode.
        max_pixels: The most that will be decoded.

    Raises:
        Exception: If the file is damaged or not a valid image; of any kind.
    """
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    if is_gif(file):
        gif = read_gif(file)
        yield Opened(gif.metadata, file, gif, [_CUT_OFF] if gif.cut_off else [])
        return
    source = file
    notes: list[str] = []
    composed = None
    if is_png(file):
        composed = read_apng(file)
        source, notes = readable(file, max_pixels)
    with open_image(source) as stored:
        yield Opened(stored, source, composed, notes)


@contextlib.contextmanager
def opened_header(data: bytes | BinaryIO) -> Iterator[Opened]:
    """Opens an image file of which only the header is of interest: most of it is not read."""
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    if is_gif(file):
        gif = read_gif(file)
        yield Opened(gif.metadata, file, gif, [])
        return
    composed = read_apng(file) if is_png(file) else None
    try:
        stored = open_image(file)
    except Exception:  # the same as `opened` meets
        if not is_png(file):
            raise
        file = readable(file, NO_LIMIT)[0]
        stored = open_image(file)
    with stored:
        yield Opened(stored, file, composed, [])
