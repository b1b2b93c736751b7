"""Writes pixels or a Picture to a file atomically; rejects or logs what the format cannot store."""

import contextlib
import dataclasses
import io
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from ..files import atomic_file, follow_link
from .color import srgb_pixels
from .encoders import OPTIONS, encode
from .formats import Format, check_fits, format_of
from .picture import Picture
from .pillow import eight_bits, reason
from .storing import Stored, stored_in

logger = logging.getLogger("keras_edsr")


def write_picture(path: str | os.PathLike, picture: Picture, *, overwrite: bool = False, **options: Any) -> None:
    """Writes an image file with everything that the picture has, by an atomic write.

    If the format cannot store frames or transparency, the function raises an error. If it cannot store a detail, the
    logger `keras_edsr` names it in one warning: 16 bits are rounded to 8 (except in PNG and TIFF), GIF has 256 colors
    and transparency of all or nothing, and GIF and BMP have no EXIF, XMP or color profile.

    EXIF keeps its bytes, except for the sizes in it. Colors from cICP, or from gAMA and cHRM, become an ICC profile if
    the format cannot store these, and are converted to sRGB if it cannot store either.

    Args:
        path: Path of the file; its suffix, one of `SUFFIXES`, selects the format.
        picture: Picture to write.
        overwrite: Boolean, whether an existing file may be replaced.
        **options: Options of a format, which other formats ignore. JPEG: `quality` (default 95), `subsampling`
            ("4:4:4", the default, "4:2:2", "4:2:0"), `progressive`, `optimize`. WebP: `quality` (95), `lossless`,
            `method`. AVIF: `quality` (95), `subsampling` ("4:4:4"), `lossless` (still images), `speed` (6 of 0 to 10).
            PNG: `compress_level` (3 of 0 to 9).

    Raises:
        FileExistsError: If `path` exists and `overwrite` is False.
        ValueError: If the format cannot store the picture, an option is unknown, or the file cannot be written. The
            message has one line and names the file.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} already exists; pass `overwrite` to replace it.")
    follow_link(path)  # raises an error for a path that cannot be written
    _encode(lambda: atomic_file(path), path, picture, options)


def encode_picture(picture: Picture, name: str | os.PathLike, **options: Any) -> bytes:
    """Encodes a picture as `write_picture` does, and returns the bytes.

    Args:
        picture: What to encode.
        name: Name for errors and the log; its suffix, one of `SUFFIXES`, selects the format.
        **options: As `write_picture` takes them.

    Raises:
        ValueError: If `write_picture` raises it.
    """
    file = io.BytesIO()
    _encode(lambda: contextlib.nullcontext(file), Path(name), picture, options)
    return file.getvalue()


def _encode(
    open_target: Callable[[], contextlib.AbstractContextManager[BinaryIO]],
    path: Path,
    picture: Picture,
    options: dict[str, Any],
) -> None:
    file_format = format_of(path)
    unknown = set(options) - set().union(*OPTIONS.values())
    if unknown:
        raise ValueError(f"Cannot write {path}: no format has the option {', '.join(sorted(unknown))}.")
    check_fits(path, picture)
    picture, stored = _fitted(picture, file_format, path)
    try:
        with open_target() as file:
            encode(file, picture, stored, file_format.name, options)
    except (OSError, ValueError) as error:
        raise ValueError(f"Cannot write {path}: {reason(error)}.") from error


def write_image(path: str | os.PathLike, image: np.ndarray, *, overwrite: bool = False, **options: Any) -> None:
    """Writes pixels as an image file, by an atomic write.

    Args:
        path: Path of the file; its suffix, one of `SUFFIXES`, selects the format.
        image: uint8 or uint16 array: (height, width) or (height, width, channels) with 1 channel (gray), 2 (gray and
            alpha), 3 (RGB) or 4 (RGB and alpha).
        overwrite: Boolean, whether an existing file may be replaced.
        **options: As `write_picture` takes them.

    Raises:
        FileExistsError: If `path` exists and `overwrite` is False.
        ValueError: If `write_picture` raises it, or the image is not such an array. The message has one line and names
            the file.
    """
    image = np.asarray(image)
    if image.shape[2:] == (1,):
        image = image[..., 0]
    try:
        picture = Picture([image])
    except ValueError as error:
        raise ValueError(f"Cannot write {path}: {error}") from error
    write_picture(path, picture, overwrite=overwrite, **options)


# === Limits of the formats ===


def _fitted(picture: Picture, file_format: Format, path: Path) -> tuple[Picture, Stored]:
    """Removes what the format cannot store, and logs it in one line."""
    lost = []
    if picture.has_alpha and not file_format.alpha:  # opaque, because `check_fits` rejects others
        picture = dataclasses.replace(picture, frames=[_color(frame) for frame in picture.frames])
    if picture.bit_depth == 16 and (not file_format.sixteen_bits or picture.is_animated):
        lost.append("16 bits are rounded to 8")
        picture = dataclasses.replace(picture, frames=[eight_bits(frame) for frame in picture.frames])
    if file_format.name == "GIF":
        lost += _lost_in_gif(picture)
    stored = stored_in(file_format.name, picture)
    if stored.convert:
        space = stored.convert
        picture = dataclasses.replace(picture, frames=[srgb_pixels(frame, space) for frame in picture.frames])
    if file_format.name == "AVIF" and picture.is_animated and picture.plays:
        stored.lost.append("the number of plays")
    if stored.lost:
        lost.append(f"{file_format.name} cannot store {', '.join(dict.fromkeys(stored.lost))}")
    if lost:
        logger.warning("%s: %s.", path, "; ".join(lost))
    for note in stored.notes:
        logger.info("%s: %s.", path, note)
    return picture, stored


def _lost_in_gif(picture: Picture) -> Iterator[str]:
    if not picture.is_gray and any(_has_many_colors(frame) for frame in picture.frames):
        yield "GIF can store 256 colors a frame (WebP or PNG keep all)"
    if picture.has_alpha and any(((f[..., -1] > 0) & (f[..., -1] < 255)).any() for f in picture.frames):
        yield "GIF's transparency is all or nothing (WebP or PNG keep it)"
    if any(duration % 10 for duration in picture.durations):
        yield "GIF counts hundredths of a second, to which the frames' durations are rounded"


def _has_many_colors(frame: np.ndarray) -> bool:
    """Whether a frame has more than GIF holds, of which one is for what is transparent."""
    most = 256 if frame.shape[2] == 3 else 255
    return Image.fromarray(np.ascontiguousarray(frame[..., :3])).getcolors(most) is None


def _color(frame: np.ndarray) -> np.ndarray:
    return frame[..., 0] if frame.shape[2] == 2 else frame[..., :3]
