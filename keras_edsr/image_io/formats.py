"""The formats by suffix: which are read, which are written, and what those can hold."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .picture import Picture


@dataclass(frozen=True)
class Format:
    """A format that we write.

    Attributes:
        name: As Pillow calls it.
        alpha: Whether it holds transparency (GIF: each pixel all or nothing).
        sixteen_bits: Whether it holds 16 bits a channel.
        animation: Whether it holds several frames with their durations.
        metadata: Whether it holds EXIF and a color profile.
        longest_side: In pixels.
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
# libavif reads no more than this, unless it is told to.
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
SUFFIXES = tuple(FORMATS)  # those that are written

# Names of files that are read and not written. A file's content decides how it is read: these are the names by which
# folders and patterns are searched.
_READ_ONLY = (
    ".avifs",
    *(".heic", ".heif", ".hif"),  # with an extra; without it their files are reported, not passed over
    *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
    *(".dib", ".mpo"),
)
READ_SUFFIXES = tuple(dict.fromkeys([*SUFFIXES, *_READ_ONLY]))


def format_of(path: str | os.PathLike) -> Format:
    """Returns the format that a path's suffix names.

    Raises:
        ValueError: If it is none of `SUFFIXES`.
    """
    file_format = FORMATS.get(Path(path).suffix.lower())
    if file_format is None:
        raise ValueError(f"Cannot write {path}: its suffix must be one of {', '.join(SUFFIXES)}.")
    return file_format


def check_fits(path: str | os.PathLike, picture: Picture, size: tuple[int, int] | None = None) -> None:
    """Refuses what the format of `path` can't hold and what must not be dropped.

    Made to be asked before the work: what can be written in part (16 bits as 8, without EXIF) is
    not refused here, but said by `write_picture`.

    Args:
        path: Path of the file to write; it is not touched.
        picture: What would be written, or the picture that it will be made from.
        size: (height, width) that will be written. Defaults to the picture's own.

    Raises:
        ValueError: If the picture is animated, has transparency, or is too large, and the format
            can't hold that; or the suffix is unknown.
    """
    file_format = format_of(path)
    height, width = size or (picture.height, picture.width)
    if max(height, width) > file_format.longest_side:
        raise ValueError(
            f"Cannot write {path}: {file_format.name} holds {file_format.longest_side} pixels a side at most, and the "
            f"image has {width}x{height}. Write PNG or TIFF."
        )
    if picture.is_animated and not file_format.animation:
        raise ValueError(
            f"Cannot write {path}: {file_format.name} holds one frame, and the picture has {len(picture.frames)}. "
            "Write GIF, WebP or PNG."
        )
    if picture.has_alpha and not file_format.alpha and not is_opaque(picture):
        raise ValueError(
            f"Cannot write {path}: {file_format.name} holds no transparency, and the picture has some. "
            "Write PNG, WebP or TIFF."
        )


def is_opaque(picture: Picture) -> bool:
    """Whether no pixel of any frame is transparent."""
    if not picture.has_alpha:
        return True
    return all(bool(np.all(frame[..., -1] == np.iinfo(frame.dtype).max)) for frame in picture.frames)
