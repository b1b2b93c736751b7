"""The formats by suffix: which can be read or written, and what each can store."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .picture import Picture


@dataclass(frozen=True)
class Format:
    """A format that can be written.

    Attributes:
        name: Pillow's name.
        alpha: Whether it can store transparency (GIF: each pixel all or nothing).
        sixteen_bits: Whether it can store 16 bits a channel.
        animation: Whether it can store several frames with their durations.
        metadata: Whether it can store EXIF and a color profile.
        longest_side: Largest side in pixels.
    """

    name: str
    alpha: bool = False
    sixteen_bits: bool = False
    animation: bool = False
    metadata: bool = False
    longest_side: int = 2**31 - 1


_PNG = Format("PNG", alpha=True, sixteen_bits=True, animation=True, metadata=True)
_JPEG = Format("JPEG", metadata=True, longest_side=65500)  # libjpeg's JPEG_MAX_DIMENSION
_WEBP = Format("WEBP", alpha=True, animation=True, metadata=True, longest_side=16383)
_TIFF = Format("TIFF", alpha=True, sixteen_bits=True, metadata=True)
# libavif's default limit for reading.
_AVIF = Format("AVIF", alpha=True, animation=True, metadata=True, longest_side=32768)
_GIF = Format("GIF", alpha=True, animation=True, longest_side=65535)
_BMP = Format("BMP")

FORMATS = {
    ".png": _PNG,
    ".apng": _PNG,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".jpe": _JPEG,
    ".jif": _JPEG,
    ".jfif": _JPEG,
    ".webp": _WEBP,
    ".avif": _AVIF,
    ".gif": _GIF,
    ".bmp": _BMP,
    ".tif": _TIFF,
    ".tiff": _TIFF,
}
SUFFIXES = tuple(FORMATS)  # suffixes of formats that can be written

# Suffixes of formats that can be read but not written. Reading depends on a file's content; folders and patterns are
# searched by these suffixes.
_READ_ONLY = (
    ".avifs",
    *(".heic", ".heif", ".hif"),  # with an extra; without it these files are reported, not skipped
    *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
    *(".dib", ".mpo"),
)
READ_SUFFIXES = tuple(dict.fromkeys([*SUFFIXES, *_READ_ONLY]))


def format_of(path: str | os.PathLike) -> Format:
    """Returns the format that a path's suffix names.

    Raises:
        ValueError: If it is not one of `SUFFIXES`.
    """
    file_format = FORMATS.get(Path(path).suffix.lower())
    if file_format is None:
        raise ValueError(f"Cannot write {path}: its suffix must be one of {', '.join(SUFFIXES)}.")
    return file_format


def check_fits(path: str | os.PathLike, picture: Picture, size: tuple[int, int] | None = None) -> None:
    """Rejects a picture if the format of `path` cannot store something that must not be dropped.

    Call it before the work. It does not reject what can be written in part (16 bits as 8, without EXIF):
    `write_picture` warns about these.

    Args:
        path: Path of the file to write, which this function does not access.
        picture: The picture to write, or the picture from which it will be made.
        size: (height, width) of the file. Defaults to the picture's size.

    Raises:
        ValueError: If the picture is animated, has transparency, or is too large, and the format cannot store that;
            or if the suffix is unknown.
    """
    file_format = format_of(path)
    height, width = size or (picture.height, picture.width)
    if max(height, width) > file_format.longest_side:
        raise ValueError(
            f"Cannot write {path}: {file_format.name} can store {file_format.longest_side} pixels a side, and the "
            f"image has {width}x{height}. Write PNG or TIFF."
        )
    if picture.is_animated and not file_format.animation:
        raise ValueError(
            f"Cannot write {path}: {file_format.name} can store one frame, and the picture has {len(picture.frames)}. "
            "Write GIF, WebP or PNG."
        )
    if picture.has_alpha and not file_format.alpha and not is_opaque(picture):
        raise ValueError(
            f"Cannot write {path}: {file_format.name} cannot store transparency, and the picture has some. "
            "Write PNG, WebP or TIFF."
        )


def is_opaque(picture: Picture) -> bool:
    """Whether no pixel of any frame is transparent."""
    if not picture.has_alpha:
        return True
    return all(bool(np.all(frame[..., -1] == np.iinfo(frame.dtype).max)) for frame in picture.frames)
