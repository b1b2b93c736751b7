"""What the page does with a picture: looks at it, upscales it, and makes the bicubic that it is compared with."""

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..image_io import Picture, count_pixels, eight_bits, read_picture, read_size, write_picture
from ..imresize import imresize
from ..inference import upscale_files
from ..inference.alpha import fill_hidden
from .choices import Choice

# 1600x1200. At x4 that makes 31 megapixels, which a phone's browser still shows.
MAX_PIXELS = 2_000_000

_REACH = 4  # LR pixels that the bicubic of one pixel looks at, and its alpha


@dataclass(frozen=True)
class Result:
    """Paths of what was made.

    Attributes:
        before: Bicubic of the result's size, 8 bits.
        after: What to show beside it: `download`, or of an animation the first frame.
        download: The result, a PNG with all that the picture's file held.
    """

    before: Path
    after: Path
    download: Path


def read_upload(path: str | os.PathLike, max_pixels: int) -> Picture:
    """Reads a picture that somebody chose.

    Raises:
        ValueError: It is no picture or too large; one line that calls it by its name, without the folder.
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
    """Writes the first frame as a PNG, which a browser shows whatever the picture's format was."""
    return _write_still(folder / "preview.png", picture, picture.image)


def describe(name: str, picture: Picture, scale: int) -> str:
    """Says what a picture is and what it becomes, in a line."""
    kinds = ["gray"] * picture.is_gray + ["transparent"] * picture.has_alpha + ["16 bits"] * (picture.bit_depth == 16)
    kinds += [f"{len(picture.frames)} frames"] * picture.is_animated
    what = f", {', '.join(kinds)}" if kinds else ""
    return f"{name}: {_size(picture)}{what}, becomes {_size(picture, scale)}"


def upscale_upload(
    path: str | os.PathLike,
    folder: Path,
    choice: Choice,
    scale: int,
    self_ensemble: bool = False,
    max_pixels: int = MAX_PIXELS,
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Upscales a picture that somebody chose, as `upscale_files` does.

    Args:
        path: Of the picture.
        folder: Where the files are made; it exists.
        choice: Of the model.
        scale: One of the model's.
        self_ensemble: As `upscale` takes.
        max_pixels: The most that the picture may have, all frames together.
        progress: As `upscale` takes; what it raises stops the work.

    Raises:
        ValueError: The picture cannot be read or is too large, there is not enough memory, or the model has no such
            scale; one line.
    """
    path = Path(path)
    if scale not in choice.scales:
        raise ValueError(f"{choice.label} has the scales {', '.join(map(str, choice.scales))}. Received: {scale}.")
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
    """Writes pixels in a picture's colours, 8 bits, without its EXIF."""
    still = dataclasses.replace(picture, frames=[eight_bits(pixels)], durations=(), plays=0, exif=None)
    write_picture(path, still)
    return path


def _bicubic(frame: NDArray, scale: int) -> NDArray:
    if frame.ndim == 3 and frame.shape[2] in (2, 4):
        # Else what lies hidden, often black, would bleed into the edges.
        frame = np.dstack([fill_hidden(frame[..., :-1], frame[..., -1], _REACH), frame[..., -1]])
    return imresize(frame, scale)


# === What the page says ===


def _too_large(path: Path, pixels: int, max_pixels: int) -> str:
    with open(path, "rb") as file:
        height, width = read_size(file, path)
    frames = f", {pixels // (height * width)} frames" if pixels > height * width else ""
    return (
        f"{path.name} is too large for this page: it has {pixels:,} pixels ({width}x{height}{frames}), and the limit "
        f"is {max_pixels:,}. Make it smaller; or on a machine of your own use `keras-edsr upscale`, or "
        f"`keras-edsr demo --max-pixels {pixels}`."
    )


def _by_name(error: Exception, path: Path) -> str:
    return str(error).replace(str(path), path.name)


def _size(picture: Picture, scale: int = 1) -> str:
    return f"{picture.width * scale}x{picture.height * scale}"
