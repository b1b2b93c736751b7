"""Writing: pixels or a Picture to a file, whole or not at all; what the format can't hold is refused or said."""

import contextlib
import dataclasses
import io
import itertools
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from ..files import atomic_file, follow_link
from .exif import exif_for_size
from .formats import Format, check_fits, format_of
from .picture import Picture
from .pillow import eight_bits, reason
from .sixteen import encode_png, encode_tiff

logger = logging.getLogger("keras_edsr")

# Pillow's own defaults (quality 75, halved chroma) throw away what super-resolution has made.
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "WEBP": {"quality": 95},
    # 0.20 s a megapixel; Pillow's own 6 takes 0.50 s for 6 % less (Kodak x2, 24-11-2026).
    "PNG": {"compress_level": 3},
}
_OPTIONS = {
    "JPEG": {"quality", "subsampling", "progressive", "optimize"},
    "WEBP": {"quality", "lossless", "method"},
    "PNG": {"compress_level"},
}
_LONGEST_JPEG_EXIF = 65533  # one marker
_TIFF_BYTES = 2**32 - 2**20


def write_picture(path: str | os.PathLike, picture: Picture, *, overwrite: bool = False, **options: Any) -> None:
    """Writes an image file with all that the picture has, whole or not at all.

    What the format can't hold is refused if it changes what is seen (frames, transparency), and said by the logger
    `keras_edsr` if it is detail: 16 bits are rounded to 8 (all but PNG and TIFF), GIF's 256 colours are chosen and its
    transparency is all or nothing, GIF and BMP have no EXIF and no colour profile.

    Args:
        path: Path of the file; its suffix, one of `SUFFIXES`, tells the format.
        picture: What to write.
        overwrite: Whether a file that is already there may be replaced.
        **options: For the format that has them; others don't mind. JPEG: `quality` (95 if not given), `subsampling`
            ("4:4:4" if not given, "4:2:2", "4:2:0"), `progressive`, `optimize`. WebP: `quality` (95), `lossless`,
            `method`. PNG: `compress_level` (3 of 0 to 9).

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
    unknown = set(options) - set().union(*_OPTIONS.values())
    if unknown:
        raise ValueError(f"Cannot write {path}: no format has the option {', '.join(sorted(unknown))}.")
    check_fits(path, picture)
    picture = _fitted(picture, file_format, path)
    try:
        with open_target() as file:
            _save(file, picture, file_format, options)
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


def _fitted(picture: Picture, file_format: Format, path: Path) -> Picture:
    """Takes off what the format can't hold, and says so."""
    if picture.has_alpha and not file_format.alpha:  # opaque, or it had been refused
        picture = dataclasses.replace(picture, frames=[_colour(frame) for frame in picture.frames])
    if picture.bit_depth == 16 and (not file_format.sixteen_bits or picture.is_animated):
        logger.warning("%s: 16 bits are rounded to 8.", path)
        picture = dataclasses.replace(picture, frames=[eight_bits(frame) for frame in picture.frames])
    if not file_format.metadata and (picture.exif or picture.icc):
        lost = " and ".join([*["EXIF"] * bool(picture.exif), *["the colour profile"] * bool(picture.icc)])
        logger.warning("%s: %s holds no metadata: %s left out.", path, file_format.name, lost)
        picture = dataclasses.replace(picture, exif=None, icc=None)
    if file_format.name == "GIF":
        _say_what_gif_loses(picture, path)
    if picture.exif:
        picture = dataclasses.replace(picture, exif=_fitted_exif(picture, file_format, path))
    return picture


def _fitted_exif(picture: Picture, file_format: Format, path: Path) -> bytes | None:
    try:
        exif = exif_for_size(picture.exif or b"", picture.height, picture.width)
    except Exception:  # damaged in any way
        logger.warning("%s: its EXIF is damaged and left out.", path)
        return None
    if file_format.name == "JPEG" and len(exif) > _LONGEST_JPEG_EXIF:
        logger.warning("%s: its EXIF is longer than JPEG holds and left out.", path)
        return None
    return exif


def _say_what_gif_loses(picture: Picture, path: Path) -> None:
    if not picture.is_gray:
        logger.warning("%s: GIF holds 256 colours a frame; WebP or PNG keep all.", path)
    if picture.has_alpha and any(((f[..., -1] > 0) & (f[..., -1] < 255)).any() for f in picture.frames):
        logger.warning("%s: GIF's transparency is all or nothing; WebP or PNG keep it.", path)
    if any(duration % 10 for duration in picture.durations):
        logger.warning("%s: GIF counts hundredths of a second; the frames' durations are rounded.", path)


def _colour(frame: np.ndarray) -> np.ndarray:
    return frame[..., 0] if frame.shape[2] == 2 else frame[..., :3]


# === Encoding ===


def _save(file: BinaryIO, picture: Picture, file_format: Format, options: dict[str, Any]) -> None:
    name = file_format.name
    chosen = _SAVE_OPTIONS.get(name, {}) | {k: v for k, v in options.items() if k in _OPTIONS.get(name, ())}
    if picture.bit_depth == 16:
        encode = encode_png if name == "PNG" else encode_tiff
        encode(file, picture.image, icc=picture.icc, exif=picture.exif, **chosen)
        return
    metadata = {"icc_profile": picture.icc, "exif": picture.exif}
    chosen |= {key: value for key, value in metadata.items() if value}
    if chosen.get("lossless"):
        chosen["exact"] = True  # the colours of transparent pixels, too
    if name == "TIFF" and picture.image.nbytes > _TIFF_BYTES:
        chosen["big_tiff"] = True
    images = [(_gif_image if name == "GIF" else _image)(frame) for frame in picture.frames]
    if name == "GIF":
        chosen["optimize"] = False  # it would number the transparent colour anew
        if picture.has_alpha:
            chosen |= {"transparency": _TRANSPARENT, "disposal": 2}
    if picture.is_animated:
        chosen |= {"save_all": True, "append_images": images[1:], "duration": _durations(picture, file_format)}
        chosen |= _loop(picture, file_format)
        if name == "WEBP" and picture.has_alpha:
            # Whole frames: of differences alone libwebp may write a file that says it has no alpha.
            chosen["kmax"] = 1
    images[0].save(file, format=name, **chosen)


def _image(frame: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(frame))


_TRANSPARENT = 255  # the last of GIF's colours


def _gif_image(frame: np.ndarray) -> Image.Image:
    """Chooses the colours: all of a frame that has no more than there are, else by median cut."""
    if frame.ndim == 2:
        return _image(frame)
    if frame.shape[2] == 2:
        frame = np.concatenate([np.repeat(frame[..., :1], 3, axis=2), frame[..., 1:]], axis=2)
    if frame.shape[2] == 3:
        return _image(frame).quantize(256, Image.Quantize.MEDIANCUT)
    chosen = _image(frame[..., :3]).quantize(255, Image.Quantize.MEDIANCUT)
    indices = np.where(frame[..., 3] < 128, _TRANSPARENT, np.array(chosen)).astype(np.uint8)
    image = _image(indices)
    palette = (chosen.getpalette() or []) + [0] * 768
    image.putpalette(palette[:768])
    return image


def _durations(picture: Picture, file_format: Format) -> list[int]:
    unit = 10 if file_format.name == "GIF" else 1
    # The times at which frames end are rounded, not each duration: errors don't add up.
    ends = [unit * round(end / unit) for end in itertools.accumulate(picture.durations)]
    return [end - start for start, end in itertools.pairwise([0, *ends])]


def _loop(picture: Picture, file_format: Format) -> dict[str, int]:
    if file_format.name != "GIF":
        return {"loop": picture.plays}
    if picture.plays == 1:
        return {}  # a GIF without a count is shown once
    return {"loop": max(0, picture.plays - 1)}
