"""What the page does with a picture: reads it, upscales it, and makes the bicubic image to compare with."""

import dataclasses
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .._imresize import imresize
from ..image_io import Picture, count_pixels, eight_bits, jpeg_quality, read_picture, read_size, write_picture
from ..inference import choose, upscale_files
from ..inference.alpha import fill_hidden
from .choices import Choice

# 1600x1200. At x4 this makes 31 megapixels, which the browser of a phone still displays.
MAX_PIXELS = 2_000_000

_REACH = 4  # LR pixels that one pixel of the bicubic image depends on, and that its alpha depends on


@dataclass(frozen=True)
class Result:
    """Paths of the files that `upscale_upload` writes.

    Attributes:
        before: The bicubic image in the result's size, 8 bits.
        after: The image to show beside it: `download`, or the first frame of an animation.
        download: The result, a PNG with everything that the source file held.
    """

    before: Path
    after: Path
    download: Path


def read_upload(path: str | os.PathLike, max_pixels: int) -> Picture:
    """Reads a picture that a user uploaded.

    Raises:
        ValueError: If the file is not a valid image or is too large. The message has one line and names the file
            without its folder.
    """
    path = Path(path)
    pixels = count_pixels(path)
    if pixels > max_pixels:
        raise ValueError(_too_large(path, pixels, max_pixels))
    try:
        return read_picture(path, max_pixels)
    except ValueError as error:
        raise ValueError(_by_name(error, path)) from error


def write_preview(folder: Path, picture: Picture) -> Path:
    """Writes the first frame as a PNG, which every browser can show."""
    return _write_still(folder / "preview.png", picture, picture.image)


def describe(name: str, picture: Picture, scale: int) -> str:
    """Describes a picture and the size of its result in one line."""
    kinds = ["gray"] * picture.is_gray + ["transparent"] * picture.has_alpha + ["16 bits"] * (picture.bit_depth == 16)
    kinds += [f"{len(picture.frames)} frames"] * picture.is_animated
    what = f", {', '.join(kinds)}" if kinds else ""
    return f"{name}: {_size(picture)}{what}, becomes {_size(picture, scale)}"


def advise(path: str | os.PathLike, scale: int, offered: Iterable[str]) -> str:
    """Returns a sentence that names the preset for photographs if the picture needs it and the page offers it.

    Args:
        path: The picture's file.
        scale: Integer.
        offered: The models that the page offers.
    """
    networks = choose(scale)
    preset = networks.preset(path)
    if preset != networks.photo or preset not in offered:
        return ""
    return f". This JPEG lost much detail (quality {jpeg_quality(path)}): try {preset}"


def upscale_upload(
    path: str | os.PathLike,
    folder: Path,
    choice: Choice,
    scale: int,
    self_ensemble: bool = False,
    max_pixels: int = MAX_PIXELS,
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Upscales a picture that a user uploaded, as `upscale_files` does.

    Args:
        path: The picture's file.
        folder: An existing folder, for the files that the function writes.
        choice: The model.
        scale: One of the model's scales.
        self_ensemble: As `upscale` takes it.
        max_pixels: The largest number of pixels that the picture may have, all frames together.
        progress: As `upscale` takes it; an exception that it raises stops the work.

    Raises:
        ValueError: If the picture cannot be read or is too large, memory is not sufficient, or the model does not
            have the scale. The message has one line.
    """
    path = Path(path)
    if scale not in choice.scales:
        raise ValueError(
            f"`scale` must be one of {', '.join(map(str, choice.scales))} for {choice.label}. Received: scale={scale}."
        )
    picture = read_upload(path, max_pixels)
    target = folder / f"{path.stem}_x{scale}.png"
    failed = upscale_files(
        [(path, target)],
        choice.model,
        scale,
        self_ensemble=self_ensemble,
        max_pixels=max_pixels,
        progress=progress and (lambda _, *done: progress(*done)),
    )
    for source, error in failed:
        raise ValueError(_by_name(error, source)) from error
    before = _write_still(folder / "bicubic.png", picture, _bicubic(picture.image, scale))
    after = target
    if picture.is_animated:
        sr = read_picture(target, max_pixels * scale**2)
        after = _write_still(folder / "first_frame.png", sr, sr.image)
    return Result(before, after, target)


def _write_still(path: Path, picture: Picture, pixels: NDArray) -> Path:
    """Writes pixels in a picture's color space, with 8 bits and without EXIF."""
    still = dataclasses.replace(picture, frames=[eight_bits(pixels)], durations=(), plays=0, exif=None)
    write_picture(path, still)
    return path


def _bicubic(frame: NDArray, scale: int) -> NDArray:
    if frame.ndim == 3 and frame.shape[2] in (2, 4):
        # Otherwise hidden colors, which are often black, would bleed into the edges.
        frame = np.dstack([fill_hidden(frame[..., :-1], frame[..., -1], _REACH), frame[..., -1]])
    return imresize(frame, scale)


# === Messages on the page ===


def _too_large(path: Path, pixels: int, max_pixels: int) -> str:
    with open(path, "rb") as file:
        height, width = read_size(file, path)
    frames = f", {pixels // (height * width)} frames" if pixels > height * width else ""
    return (
        f"{path.name} is too large for this page: it has {pixels:,} pixels ({width}x{height}{frames}), and the limit "
        f"is {max_pixels:,}. Make it smaller; or on your own machine use `keras-edsr upscale`, or "
        f"`keras-edsr demo --max-pixels {pixels}`."
    )


def _by_name(error: Exception, path: Path) -> str:
    return str(error).replace(str(path), path.name)


def _size(picture: Picture, scale: int = 1) -> str:
    return f"{picture.width * scale}x{picture.height * scale}"
