"""Writing: pixels or a Picture to a file, whole or not at all; what the format can't hold is refused or said."""

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
    """Writes an image file with all that the picture has, whole or not at all.

    What the format can't hold is refused if it changes what is seen (frames, transparency). If it is detail, the logger
    `keras_edsr` names it in one warning: 16 bits are rounded to 8 (all but PNG and TIFF), GIF's 256 colors are chosen
    and its transparency is all or nothing, GIF and BMP have no EXIF, no XMP and no color profile.

    EXIF keeps its bytes; only the sizes that it tells are changed. Colors told by cICP, or gAMA and cHRM, become an ICC
    profile where the format has no such thing, and are converted to sRGB where it has neither.

    Args:
        path: Path of the file; its suffix, one of `SUFFIXES`, tells the format.
        picture: What to write.
        overwrite: Whether a file that is already there may be replaced.
        **options: For the format that has them; others don't mind. JPEG: `quality` (95 if not given), `subsampling`
            ("4:4:4" if not given, "4:2:2", "4:2:0"), `progressive`, `optimize`. WebP: `quality` (95), `lossless`,
            `method`. AVIF: `quality` (95), `subsampling` ("4:4:4"), `lossless` (still images), `speed` (6 of 0 to 10).
            PNG: `compress_level` (3 of 0 to 9).

    Raises:
        FileExistsError: If `path` exists and `overwrite` is False.
        ValueError: If the format can't hold the picture, an option is unknown, or the file can't be written; one line
            that names the file.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already; it is replaced only with `overwrite`.")
    follow_link(path)  # raises where there is nothing that could be written
    _encode(lambda: atomic_file(path), path, picture, options)


def encode_picture(picture: Picture, name: str | os.PathLike, **options: Any) -> bytes:
    """Encodes a picture as `write_picture` does, for who has another place for it than a file.

    Args:
        picture: What to encode.
        name: What to call it in an error and in the log; its suffix, one of `SUFFIXES`, tells the format.
        **options: As `write_picture` takes them.

    Raises:
        ValueError: As `write_picture`.
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
    """Writes pixels as an image file, whole or not at all.

    Args:
        path: Path of the file; its suffix, one of `SUFFIXES`, tells the format.
        image: uint8 or uint16 array: (height, width) or (height, width, channels) with 1 channel (gray), 2 (gray and
            alpha), 3 (RGB) or 4 (RGB and alpha).
        overwrite: Whether a file that is already there may be replaced.
        **options: As `write_picture` takes them.

    Raises:
        FileExistsError: If `path` exists and `overwrite` is False.
        ValueError: As `write_picture`, or the image is not such an array; one line that names the file.
    """
    image = np.asarray(image)
    if image.shape[2:] == (1,):
        image = image[..., 0]
    try:
        picture = Picture([image])
    except ValueError as error:
        raise ValueError(f"Cannot write {path}: {error}") from error
    write_picture(path, picture, overwrite=overwrite, **options)


# === What a format can't hold ===


def _fitted(picture: Picture, file_format: Format, path: Path) -> tuple[Picture, Stored]:
    """Takes off what the format can't hold, and logs it in one line."""
    lost = []
    if picture.has_alpha and not file_format.alpha:  # opaque, or it had been refused
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
        stored.lost.append("how many times the animation is shown")
    if stored.lost:
        lost.append(f"{file_format.name} cannot keep, and it is left out: {', '.join(dict.fromkeys(stored.lost))}")
    if lost:
        logger.warning("%s: %s.", path, "; ".join(lost))
    for note in stored.notes:
        logger.info("%s: %s.", path, note)
    return picture, stored


def _lost_in_gif(picture: Picture) -> Iterator[str]:
    if not picture.is_gray and any(_has_many_colors(frame) for frame in picture.frames):
        yield "GIF holds 256 colors a frame (WebP or PNG keep all)"
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
