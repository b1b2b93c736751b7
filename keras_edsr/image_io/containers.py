"""The parts of which JPEG, WebP and ISO base media files consist, as they lie in the file, pixels passed over."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

_MOST_BYTES = 2**28  # of one part: more is damage


def jpeg_segments(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yields the segments of a JPEG before its pixels: marker (0xE1 for APP1) and content."""
    file.seek(2)
    while True:
        marker = file.read(2)
        while marker[1:] == b"\xff":  # any number of them may stand before
            marker = marker[1:] + file.read(1)
        if len(marker) < 2 or marker[0] != 0xFF or marker[1] in (0xD9, 0xDA):
            return
        if marker[1] == 0x01 or 0xD0 <= marker[1] <= 0xD7:
            continue  # without content
        head = file.read(2)
        length = struct.unpack(">H", head)[0] - 2 if len(head) == 2 else -1
        content = file.read(max(0, length))
        if length < 0 or len(content) < length:
            return
        yield marker[1], content


def webp_chunks(file: BinaryIO, wanted: tuple[bytes, ...]) -> Iterator[tuple[bytes, bytes]]:
    """Yields the chunks of a WebP that have one of these names."""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        name, length = struct.unpack("<4sL", head)
        if name in wanted and length <= _MOST_BYTES:
            content = file.read(length)
            if len(content) < length:
                return
            yield name, content
            file.seek(length % 2, 1)
        else:
            file.seek(length + length % 2, 1)


# === ISO base media: AVIF, HEIC, JPEG 2000 ===


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Yields the boxes of a piece of data: name, begin and end of the content."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        length, name = struct.unpack_from(">L4s", data, start)
        begin = start + 8
        if length == 1 and start + 16 <= end:
            (length,) = struct.unpack_from(">Q", data, begin)
            begin += 8
        stop = start + length if length else end
        if stop < begin or stop > end:
            return
        yield name, begin, stop
        start = stop


def file_boxes(file: BinaryIO, wanted: tuple[bytes, ...]) -> Iterator[tuple[bytes, bytes]]:
    """Yields the outermost boxes of a file that have one of these names."""
    size = file.seek(0, 2)
    start = 0
    while start + 8 <= size:
        file.seek(start)
        head = file.read(16)
        length, name = struct.unpack(">L4s", head[:8])
        begin = start + 8
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack(">Q", head[8:])
            begin += 8
        stop = start + length if length else size
        if stop < begin or stop > size:
            return
        if name in wanted and stop - begin <= _MOST_BYTES:
            file.seek(begin)
            yield name, file.read(stop - begin)
        start = stop
