"""16 bits in several channels, for which Pillow has no mode: read through it in two halves, written by ourselves."""

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

_BLOCK_BYTES = 1 << 20
_PNG_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by the number of channels


def is_sixteen_bits(stored: Image.Image) -> bool:
    """Whether an opened file that is not decoded yet has 16 bits in several channels."""
    return len(stored.getbands()) > 1 and ";16" in _rawmode(stored)


def can_decode_deep(stored: Image.Image) -> bool:
    """Whether `decode_deep` is for this file."""
    return stored.format == "PNG" and stored.mode in ("RGB", "RGBA") and is_sixteen_bits(stored)


def decode_deep(stored: Image.Image, again: Callable[[], Image.Image]) -> np.ndarray:
    """Decodes such a file to uint16, which takes two passes: Pillow's, for the high bytes, and one for the low.

    Args:
        stored: The file, opened and not decoded; afterwards it is.
        again: Opens the file once more.

    Returns:
        uint16 (height, width, 2, 3 or 4).
    """
    layout = _rawmode(stored).removesuffix(";16B")
    if layout == "LA":
        # Four bytes a pixel, two for each value: as many as RGBA has, which leaves them as they are.
        return _decode_as(stored, "RGBA").view(">u2").astype(np.uint16)
    pixels = _decode_as(stored, f"{layout};16B").astype(np.uint16)
    pixels <<= 8
    pixels |= _decode_as(again(), f"{layout};16L")  # where the first took the high byte of each value, this the low
    return pixels


def encode_png(file: BinaryIO, pixels: np.ndarray, compress_level: int = 6) -> None:
    """Writes uint16 (height, width) or (height, width, 2, 3 or 4) as a PNG of 16 bits."""
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, width, -1)
    file.write(b"\x89PNG\r\n\x1a\n")
    color_type = _PNG_COLOR_TYPES[rows.shape[2]]
    _write_chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0))
    compressor = zlib.compressobj(compress_level)
    for block in _png_rows(rows):
        _write_chunk(file, b"IDAT", compressor.compress(block))
    _write_chunk(file, b"IDAT", compressor.flush())
    _write_chunk(file, b"IEND", b"")


def _rawmode(stored: Image.Image) -> str:
    """The layout of the pixels in the file, as Pillow's decoders name it: `RGB;16B`."""
    tiles = getattr(stored, "tile", None)
    if not tiles:
        return ""
    args = tiles[0].args
    return str(args[0]) if isinstance(args, tuple) and args else str(args)


def _decode_as(image: Any, rawmode: str) -> np.ndarray:
    image.tile = [
        tile._replace(args=(rawmode, *tile.args[1:]) if isinstance(tile.args, tuple) else rawmode)
        for tile in image.tile
    ]
    image.load()
    return np.array(image)


def _png_rows(pixels: np.ndarray) -> Iterator[bytes]:
    """Yields blocks of rows, each row with the filter before it that leaves the least (PNG, section 12.8)."""
    height, width, channels = pixels.shape
    step = 2 * channels  # bytes of a pixel
    rows = max(1, _BLOCK_BYTES // (width * step))
    above = np.zeros((1, width * step), np.uint8)
    for start in range(0, height, rows):
        raw = pixels[start : start + rows].astype(">u2").reshape(-1, width * channels).view(np.uint8)
        up = np.concatenate([above, raw[:-1]])
        left, up_left = _shifted(raw, step), _shifted(up, step)
        average = ((left.astype(np.uint16) + up) // 2).astype(np.uint8)
        guesses = [np.zeros_like(raw), left, up, average, _paeth(left, up, up_left)]
        filtered = np.stack([raw - guess for guess in guesses])  # (5, rows, bytes): uint8 wraps as it should
        best = np.abs(filtered.view(np.int8).astype(np.int16)).sum(axis=2).argmin(axis=0)
        chosen = filtered[best, np.arange(len(raw))]
        yield np.concatenate([best.astype(np.uint8)[:, None], chosen], axis=1).tobytes()
        above = raw[-1:]


def _shifted(rows: np.ndarray, step: int) -> np.ndarray:
    return np.pad(rows, ((0, 0), (step, 0)))[:, :-step]


def _paeth(left: np.ndarray, up: np.ndarray, up_left: np.ndarray) -> np.ndarray:
    a, b, c = (values.astype(np.int16) for values in (left, up, up_left))
    to_a, to_b, to_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    return np.where((to_a <= to_b) & (to_a <= to_c), left, np.where(to_b <= to_c, up, up_left))


def _write_chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    if kind == b"IDAT" and not data:
        return  # the compressor keeps what it has
    file.write(struct.pack(">I", len(data)) + kind)
    file.write(data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))
