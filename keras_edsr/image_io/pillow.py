"""Wraps Pillow: without warnings, with the package's limit of pixels; converts images to arrays and back."""

import contextlib
import io
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms

from .. import files
from .directories import is_tiff
from .heif import is_heif, open_heif
from .tiff import TiffImage
from .unreadable import why_unreadable

logger = logging.getLogger("keras_edsr")

# Pillow's own limit, where it begins to warn: a quarter of a gigabyte of RGB. A few kilobytes can hold more.
MAX_PIXELS = 89_478_485

# What may be opened. Pillow knows more, some of which start other programs (EPS) or fit any bytes (TGA).
_READ = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF", "JPEG2000", "PPM", "DIB")

_HEAD = 512  # bytes that identify a file's format


class _Quiet:
    """Turns Pillow's warnings off and lifts its limit of pixels while any thread is inside.

    Both are global to the process and shared by its threads: the first thread sets them, and the last one restores the
    old values. The package itself checks the size before it decodes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._restore = contextlib.ExitStack()

    @contextlib.contextmanager
    def __call__(self, max_pixels: int) -> Iterator[None]:
        with self._lock:
            if not self._inside:
                self._restore.enter_context(warnings.catch_warnings())
                self._restore.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._inside += 1
            if Image.MAX_IMAGE_PIXELS is not None:
                Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, max_pixels)
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._restore.close()


quiet = _Quiet()


def open_image(data: bytes | BinaryIO) -> Image.Image:
    """Opens an image without decoding it; inside `quiet` and `naming`."""
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    file.seek(0)
    head = file.read(_HEAD)
    if is_heif(head):
        return open_heif(file)
    try:
        if is_tiff(head):
            return TiffImage(file)
        file.seek(0)
        return Image.open(file, formats=_READ)
    except (Image.UnidentifiedImageError, SyntaxError) as error:
        raise ValueError(why_unreadable(head)) from error


def naming(name: str | os.PathLike) -> contextlib.AbstractContextManager[None]:
    """Turns whatever a decoder raises into one ValueError that names the image."""
    return files.explaining(f"Cannot read the image {os.fspath(name)}", reason=reason)


def reason(error: Exception) -> str:
    """Says in one line, without a full stop, what went wrong."""
    if isinstance(error, Image.DecompressionBombError):
        return "it has more pixels than `max_pixels` (--max-pixels) allows"
    return files.reason(error)


def from_pillow(image: Image.Image, name: str = "image") -> np.ndarray:
    """Turns a Pillow image of any mode into an array.

    A palette is resolved, one bit becomes black and white, CMYK becomes RGB (by its color profile, if it has one),
    a transparent color becomes alpha.

    Args:
        image: The image. Of an animation the frame it stands at.
        name: What to call it in the log.

    Returns:
        A new array of uint8 or uint16: (height, width), or (height, width, channels) with 2 (gray and alpha), 3 or 4
        channels.

    Raises:
        ValueError: If its values have no known range (floats, or integers beyond 16 bits).
    """
    mode = image.mode
    if mode.startswith("I"):
        return _integers(image)
    if mode == "F":
        raise ValueError("its pixels are floating-point numbers, which have no known range")
    if mode == "CMYK":
        logger.warning("%s: CMYK is converted to RGB.", name)
        return np.array(_cmyk_to_rgb(image))
    gray = mode in ("1", "L", "LA", "La")
    alpha = image.has_transparency_data
    wanted = ("LA" if alpha else "L") if gray else ("RGBA" if alpha else "RGB")
    return np.array(image if mode == wanted else image.convert(wanted))  # a copy: Pillow's own buffer is read-only


def to_pillow(pixels: np.ndarray) -> Image.Image:
    """Turns an array as of `from_pillow` into a Pillow image of mode L, LA, RGB, RGBA or I;16.

    Pillow has no mode for 16 bits in several channels: they are rounded to 8, and the logger warns.
    """
    if pixels.dtype == np.uint16 and pixels.ndim == 3:
        logger.warning("A Pillow image holds 16 bits of gray only: 8 bits are kept of each channel.")
        pixels = eight_bits(pixels)
    return Image.fromarray(np.ascontiguousarray(pixels))


def eight_bits(pixels: np.ndarray) -> np.ndarray:
    """Rounds uint16 to uint8; 65535 is 255. What is uint8 stays."""
    if pixels.dtype == np.uint8:
        return pixels
    whole, rest = np.divmod(pixels, np.uint16(257))  # without wider integers: an image may be large
    return whole.astype(np.uint8) + (rest > 128)


def _integers(image: Image.Image) -> np.ndarray:
    values = np.array(image)
    if values.min() < 0 or values.max() > 65535:  # Pillow has TIFF's 32 bits, signed or not, in this mode, too
        raise ValueError("its pixels are integers beyond 0..65535, which have no known range")
    values = values.astype(np.uint16)
    key = image.info.get("transparency")
    if isinstance(key, int):
        return np.stack([values, np.where(values == key, 0, 65535).astype(np.uint16)], axis=-1)
    return values


def _cmyk_to_rgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if profile:
        with contextlib.suppress(ImageCms.PyCMSError, OSError):  # a profile of another kind, or damaged
            converted = ImageCms.profileToProfile(
                image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            if converted is not None:
                return converted
    return image.convert("RGB")
