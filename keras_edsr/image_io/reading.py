"""Reads a file to a Picture with everything that the package keeps, or to 8-bit pixels."""

import logging
import os
from typing import BinaryIO

import numpy as np
from PIL import Image

from ..files import open_file
from ..image_ops import dihedral
from .embedded import read_embedded
from .exif import orientation_of
from .formats import FORMATS
from .opened import ANIMATED, NO_LIMIT, Opened, opened, opened_header
from .picture import Picture
from .pillow import MAX_PIXELS, eight_bits, naming, quiet
from .pixels import with_channels, without_needless_alpha

logger = logging.getLogger("keras_edsr")

_READ_WITH_EIGHT_BITS = ("AVIF", "JPEG2000", "PPM")  # for every depth of the file, which Pillow does not report

# The place of an orientation of EXIF among the eight transforms of `image_ops.dihedral`.
_UPRIGHT = {1: 0, 2: 1, 3: 3, 4: 2, 5: 4, 6: 6, 7: 7, 8: 5}


def read_picture(path: str | os.PathLike, max_pixels: int = MAX_PIXELS) -> Picture:
    """Reads an image file with everything that the package keeps.

    Frames are ready for display: the function applies the EXIF orientation (and removes it from the EXIF), resolves a
    palette, converts one bit to black and white, and composes each frame of an animation. The logger `keras_edsr` warns
    about losses: CMYK becomes RGB, only the first of several pages is read, and damaged EXIF is skipped.

    Args:
        path: Path of the file; its content, not its suffix, determines the format.
        max_pixels: The largest number of pixels to decode, all frames together. The header decides.

    Returns:
        The picture; 16 bits stay 16 (PNG, TIFF), gray stays gray.

    Raises:
        ValueError: If the file is empty, truncated, damaged, not a valid image or too large. The message has one line
            and names the file.
        OSError: If the file is missing or may not be read.
    """
    with open_file(path) as file:
        return decode_picture(file, path, max_pixels)


def decode_picture(data: bytes | BinaryIO, name: str | os.PathLike, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decodes an image file held in memory or open for reading, as `read_picture` does.

    Args:
        data: The bytes of the file, or the file opened in binary mode.
        name: Name for errors and the log.
        max_pixels: As in `read_picture`.

    Raises:
        ValueError: If `read_picture` raises it.
    """
    with naming(name), quiet(max_pixels), opened(data, max_pixels) as image:
        _check_pixels(image, image.count, image.pixels, max_pixels)
        stored = image.stored
        _say_what_is_left(image, name)
        frames, durations = [], []
        for pixels, duration in image.frames(str(name)):
            frames.append(pixels)
            durations.append(duration)
        frames = _alike(frames)
        if image.composed and not image.composed.has_alpha:
            frames = without_needless_alpha(frames)
        for note in image.notes:
            logger.warning("%s: %s.", name, note)
        beside = read_embedded(image.source, name)
        orientation = _UPRIGHT[orientation_of(stored)]
        animated = len(frames) > 1
        return Picture(
            frames=[_turned(frame, orientation) for frame in frames],
            durations=tuple(durations) if animated else (),
            plays=image.plays if animated else 0,
            exif=beside.exif,
            icc=_profile(stored) or beside.icc,
            metadata=beside.metadata,
        )


def read_image(path: str | os.PathLike, channels: int | None = None, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Reads the pixels of an image file, ready for display.

    The function applies the EXIF orientation, resolves a palette, rounds 16 bits to 8, converts CMYK to RGB, drops
    alpha, and reads the first of several frames.

    Args:
        path: Path of the file; its content, not its suffix, determines the format.
        channels: `3` for RGB, `1` for gray, `None` for the file's channels.
        max_pixels: The largest number of pixels to decode. The header decides.

    Returns:
        uint8 array in [0, 255]: (height, width, 3), or (height, width) when `channels` is 1, or
        is None and the file has one channel.

    Raises:
        ValueError: If the file is empty, truncated, damaged, not a valid image or too large, or `channels` is not one
            of the above. The message has one line and names the file.
        OSError: If the file is missing or may not be read.
    """
    with open_file(path) as file:
        return decode_image(file, path, channels, max_pixels)


def decode_image(
    data: bytes | BinaryIO, name: str | os.PathLike, channels: int | None = None, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Decodes an image file held in memory or open for reading, as `read_image` does.

    Args:
        data: The bytes of the file, or the file opened in binary mode.
        name: Name for errors.
        channels: As in `read_image`.
        max_pixels: As in `read_image`.

    Returns:
        uint8 array, as `read_image` returns.

    Raises:
        ValueError: If `read_image` raises it.
    """
    if channels not in (None, 1, 3):
        raise ValueError(f"`channels` must be None, 1 or 3. Received: channels={channels}.")
    with naming(name), quiet(max_pixels), opened(data, max_pixels) as image:
        _check_pixels(image, 1, image.height * image.width, max_pixels)
        pixels = eight_bits(next(image.frames(str(name)))[0])
        for note in image.notes:
            logger.warning("%s: %s.", name, note)
        pixels = _in_channels(_without_alpha(pixels), channels)
        return _turned(pixels, _UPRIGHT[orientation_of(image.stored)])


def read_size(data: bytes | BinaryIO, name: str | os.PathLike) -> tuple[int, int]:
    """Reads an image's (height, width), as stored, without decoding it.

    Args:
        data: The bytes of the file, or the file opened in binary mode.
        name: Name for errors.

    Raises:
        ValueError: If the data do not begin as an image. The message has one line and names it.
    """
    with naming(name), quiet(NO_LIMIT), opened_header(data) as image:
        return image.height, image.width


def suffix_of(data: bytes | BinaryIO, name: str | os.PathLike) -> str:
    """Returns the suffix by which the format of an image is written, such as ".png".

    Args:
        data: The bytes of the file, or the file opened in binary mode.
        name: Name for errors.

    Raises:
        ValueError: If the data do not begin as an image, or their format is not written. The message has one line and
            names it.
    """
    with naming(name), quiet(NO_LIMIT), opened_header(data) as image:
        kind = {"MPO": "JPEG", "DIB": "BMP"}.get(image.stored.format or "", image.stored.format)
        for suffix, file_format in FORMATS.items():
            if file_format.name == kind:
                return suffix
        raise ValueError(f"{kind} is read and not written; name a suffix to write, such as .png (--suffix .png)")


def count_pixels(path: str | os.PathLike) -> int:
    """Returns the number of pixels in the header, all frames together; 0 if the header cannot be read."""
    try:
        with open_file(path) as file, naming(path), quiet(NO_LIMIT), opened_header(file) as image:
            return image.pixels
    except (OSError, ValueError):
        return 0


def _check_pixels(image: Opened, frames: int, pixels: int, max_pixels: int) -> None:
    if pixels > max_pixels:
        size = f"{image.width}x{image.height}" + (f" with {frames} frames" if frames > 1 else "")
        raise ValueError(f"it has {pixels} pixels ({size}), and `max_pixels` (--max-pixels) is {max_pixels}")
    if not pixels:
        raise ValueError("it has no pixels")


def _say_what_is_left(image: Opened, name: str | os.PathLike) -> None:
    stored = image.stored
    left = 0 if stored.format in ANIMATED else getattr(stored, "n_frames", 1) - 1
    if left and stored.format in ("MPO", "HEIF"):
        logger.info("%s: its first image is taken, and %d others (preview, depth, gain map) are left.", name, left)
    elif left:
        logger.warning("%s: its first page is taken, and %d others are left.", name, left)
    if stored.format in _READ_WITH_EIGHT_BITS and not stored.mode.startswith("I"):
        logger.info("%s: %s is read with 8 bits.", name, stored.format)


def _alike(frames: list[np.ndarray]) -> list[np.ndarray]:
    """Gives all frames the channels that any of them needs."""
    channels = [1 if frame.ndim == 2 else frame.shape[2] for frame in frames]
    if len(set(channels)) == 1:
        return frames
    alpha, color = any(count in (2, 4) for count in channels), any(count > 2 for count in channels)
    return [with_channels(frame, alpha=alpha, color=color) for frame in frames]


def _turned(pixels: np.ndarray, k: int) -> np.ndarray:
    if not k:
        return pixels
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    return np.ascontiguousarray(dihedral(planes, k)).reshape(
        *(pixels.shape[:2] if k < 4 else pixels.shape[1::-1]), *pixels.shape[2:]
    )


def _without_alpha(pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim == 2:
        return pixels
    return {2: lambda: pixels[..., 0], 3: lambda: pixels, 4: lambda: pixels[..., :3]}[pixels.shape[2]]()


def _in_channels(pixels: np.ndarray, channels: int | None) -> np.ndarray:
    if channels == 1 and pixels.ndim == 3:
        return np.array(Image.fromarray(np.ascontiguousarray(pixels)).convert("L"))
    if channels == 3 and pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    return np.ascontiguousarray(pixels)


def _profile(stored: Image.Image) -> bytes | None:
    profile = stored.info.get("icc_profile")
    # CMYK's own does not fit the RGB that it has become.
    return profile if isinstance(profile, bytes) and profile and stored.mode != "CMYK" else None
