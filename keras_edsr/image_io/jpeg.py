"""JPEG: its marks, and how it is read without the one at its end."""

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image

_END = b"\xff\xd9"
_SCAN = 0xDA
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15, without tables
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
_RESTARTS = range(0xD0, 0xD8)


def lacks_end(file: BinaryIO) -> bool:
    """Whether no end mark comes after the last scan; what comes after an end mark does not matter."""
    file.seek(-len(_END), io.SEEK_END)
    if file.read() == _END:
        return False
    file.seek(0)
    data = file.read()
    return data.rfind(_END) < data.rfind(b"\xff\xda")


def load_without_end(file: BinaryIO) -> Image.Image:
    """Decodes a JPEG that lacks its end mark and nothing else.

    libjpeg does not report missing pixels: it reads missing bits as zeros. The function therefore decodes the file with
    different bits after its end. If no pixels are missing, these bits have no effect.

    Raises:
        ValueError: If pixels are missing.
    """
    file.seek(0)
    data = file.read()
    data = data[:-1] if data.endswith(b"\xff") else data  # half of a mark
    whole = _loaded(data + _END)
    if not _has_all_scans(data) or not all(_is_alike(whole, data + noise + _END) for noise in _noises()):
        raise ValueError("it is truncated: pixels are missing at its end")
    return whole


def _is_alike(whole: Image.Image, data: bytes) -> bool:
    try:
        return np.array_equal(np.asarray(whole), np.asarray(_loaded(data)))
    except OSError:
        return False


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Returns the height and width in a JPEG's header, for any precision.

    Raises:
        ValueError: If it has none.
    """
    for mark, content in _segments(data):
        if mark in _FRAMES and len(content) >= 5:
            height, width = struct.unpack_from(">HH", content, 1)
            return height, width
    raise ValueError("its JPEG data have no header")


def _loaded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=("JPEG",))
    image.load()
    return image


def _noises() -> Iterator[bytes]:
    """Yields bits that mean something, at once and after each of the marks at which libjpeg may wait for more."""
    random = np.random.default_rng(0)
    for _ in range(6):  # one alone may end in a code that does not exist, which is taken as zeros, too
        parts = random.integers(0, 255, (len(_RESTARTS) + 1, 64), dtype=np.uint8)  # without 255, which begins a mark
        first, *others = (part.tobytes() for part in parts)
        yield first + b"".join(bytes([0xFF, mark]) + part for mark, part in zip(_RESTARTS, others, strict=True))


def _has_all_scans(data: bytes) -> bool:
    """Whether each component has its coefficients to the last bit: a progressive file may end between two scans."""
    left: set[tuple[int, int]] | None = None
    for mark, content in _segments(data):
        if mark in _FRAMES:
            components = [content[6 + 3 * number] for number in range(content[5])]
            progressive = mark in (0xC2, 0xC6, 0xCA, 0xCE)
            # Coefficients 0 and 1 to 63 have scans of their own.
            left = {(part, at) for part in components for at in (range(64) if progressive else (0,))}
        elif mark == _SCAN and left is not None:
            count = content[0]
            first, last, precision = content[1 + 2 * count : 4 + 2 * count]
            if not precision & 15:  # the lowest bit
                parts = [content[1 + 2 * number] for number in range(count)]
                left -= {(part, at) for part in parts for at in range(first, last + 1)}
    return left == set()


def _segments(data: bytes) -> list[tuple[int, bytes]]:
    """Lists marks and what follows them, without the compressed pixels, up to the end of the file."""
    segments = []
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        mark = data[at + 1]
        if mark in (0x00, 0xFF) or mark in _WITHOUT_LENGTH:
            at += 1 if mark == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        content = data[at + 4 : at + 2 + length]
        if len(content) < length - 2 or not content:
            break
        segments.append((mark, content))
        at += 2 + length
    return segments
