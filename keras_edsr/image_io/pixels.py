"""Pixels of one image that Pillow has opened, as an array."""

import logging
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from .heif import decode_deep_heif
from .jpeg import lacks_end, load_without_end
from .pillow import from_pillow, open_image
from .sixteen import can_decode_deep, decode_deep, is_sixteen_bits
from .tiff import TiffImage
from .tiff_colors import decode_tiff

logger = logging.getLogger("keras_edsr")

_LOW_DEPTHS = {"L;2": 2, "L;4": 4}  # bits, by Pillow's name of the layout


def decode_pixels(stored: Image.Image, file: BinaryIO, name: str) -> np.ndarray:
    """Decodes an image, of an animation the frame it stands at.

    Args:
        stored: The image, opened and not decoded.
        file: What it was opened from.
        name: What to call it in the log.

    Returns:
        uint8 or uint16, (height, width) or (height, width, 2, 3 or 4).
    """
    if isinstance(stored, TiffImage):
        return decode_tiff(stored, name)
    if can_decode_deep(stored) and not getattr(stored, "is_animated", False):
        pixels = decode_deep(stored, lambda: open_image(file))
        return _with_alpha_of_key(pixels, stored.info.get("transparency"))
    if is_sixteen_bits(stored) and stored.format not in ("BMP", "DIB"):  # theirs are 16 bits for all channels
        logger.warning("%s: its 16 bits are read as 8.", name)
    if stored.format == "HEIF" and (deep := decode_deep_heif(stored, file)) is not None:
        return deep
    if stored.format == "PNG":
        _correct_key(stored)
    without_end = stored.format == "JPEG" and lacks_end(file)
    try:
        stored.load()
    except OSError:
        if stored.format not in ("JPEG", "MPO"):
            raise
        stored, without_end = load_without_end(file), True
    if without_end:
        logger.warning("%s: its end mark is missing; all of its pixels are there.", name)
    return from_pillow(stored, name)


def with_channels(pixels: np.ndarray, *, alpha: bool, color: bool) -> np.ndarray:
    """Returns (height, width, channels) with the channels asked for: alpha is opaque where there was none."""
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    own_alpha = planes[..., -1:] if planes.shape[2] in (2, 4) else None
    own_color = planes[..., :3] if planes.shape[2] >= 3 else planes[..., :1]
    if color and own_color.shape[2] == 1:
        own_color = np.repeat(own_color, 3, axis=2)
    if not alpha:
        return own_color
    if own_alpha is None:
        own_alpha = np.full_like(planes[..., :1], np.iinfo(pixels.dtype).max)
    return np.concatenate([own_color, own_alpha], axis=2)


def without_needless_alpha(frames: list[np.ndarray]) -> list[np.ndarray]:
    """Takes the alpha off frames with 2 or 4 channels if none of their pixels is transparent."""
    limit = np.iinfo(frames[0].dtype).max
    if any(frame[..., -1].min() < limit for frame in frames):
        return frames
    gray = frames[0].shape[2] == 2
    for number, frame in enumerate(frames):  # one by one and in place, because two copies of all may exceed the memory
        frames[number] = np.ascontiguousarray(frame[..., 0] if gray else frame[..., :3])
    return frames


def _correct_key(stored: Image.Image) -> None:
    """Gives the transparent value of a gray PNG the depth that Pillow gives its pixels.

    The file has the value in the samples' own depth, in the low bits of 16 (PNG, third edition, 11.3.1.1); Pillow
    widens samples of 2 and 4 bits to 8 and leaves the value.
    """
    key = stored.info.get("transparency")
    tiles = getattr(stored, "tile", None)
    layout = tiles[0].args if tiles else None
    if stored.mode == "L" and isinstance(key, int):
        bits = _LOW_DEPTHS.get(str(layout[0] if isinstance(layout, tuple) else layout), 8)
        limit = 2**bits - 1
        stored.info["transparency"] = (key & limit) * 255 // limit
    elif stored.mode == "RGB" and isinstance(key, tuple):
        stored.info["transparency"] = tuple(value & 255 for value in key)


def _with_alpha_of_key(pixels: np.ndarray, key: Any) -> np.ndarray:
    """Makes one color transparent, as a PNG may have it instead of alpha."""
    if pixels.shape[-1] != 3 or not isinstance(key, tuple):
        return pixels
    alpha = np.where((pixels == key).all(axis=-1), 0, 65535).astype(np.uint16)
    return np.dstack([pixels, alpha])
