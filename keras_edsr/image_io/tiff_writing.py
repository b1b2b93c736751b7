"""TIFF written with EXIF that keeps its places.

The file begins with the EXIF block, whose header becomes the file's. So everything to which a directory or a maker
note leads stays where it was; only the first directory, which now describes the pixels, too, is written anew behind it.
"""

from typing import BinaryIO

import numpy as np

from .directories import (
    BYTE,
    LONG,
    LONG8,
    SHORT,
    SUB_DIRECTORIES,
    UNDEFINED,
    Directory,
    Reader,
    Value,
    Writer,
    pack,
)
from .exif import MAKER_NOTE, STORAGE, X_RESOLUTION, maker_note_of, resolution_tags, tree_of
from .metadata import Density

_LARGEST = 2**32 - 2**24  # a file of more, which has offsets of 64 bits, is not read by all
_BLOCK_BYTES = 1 << 20  # of a strip
_XMP, _PHOTOSHOP, _ICC = 0x02BC, 0x8649, 0x8773
_STRIPS = 0x0111


def encode_tiff(
    file: BinaryIO,
    pixels: np.ndarray,
    *,
    exif: bytes | None = None,
    icc: bytes | None = None,
    xmp: bytes | None = None,
    photoshop: bytes | None = None,
    density: Density | None = None,
) -> None:
    """Writes a TIFF, not compressed, in the byte order of its EXIF; a BigTIFF if it is larger than 4 GB.

    Args:
        file: Where to write.
        pixels: uint8 or uint16 (height, width) or (height, width, 2, 3 or 4).
        exif: EXIF block.
        icc: ICC profile.
        xmp: XMP packet.
        photoshop: Photoshop's image resources.
        density: Pixels per length; the EXIF's own is taken before it.
    """
    big = pixels.nbytes > _LARGEST
    order, begin, first, sub_directories, placed = _begin_of(exif, big)
    height = len(pixels)
    rows = max(1, _BLOCK_BYTES // (pixels.nbytes // height))
    tags = {
        **(resolution_tags(density, order) if density and X_RESOLUTION not in first else {}),
        **first,
        **_tags_of_pixels(pixels, order, rows),
    }
    if sub_directories:
        tags[SUB_DIRECTORIES] = pack(order, LONG8 if big else LONG, sub_directories)
    for tag, kind, content in ((_XMP, BYTE, xmp), (_PHOTOSHOP, UNDEFINED, photoshop), (_ICC, UNDEFINED, icc)):
        if content:
            tags[tag] = Value(kind, len(content), content)
    lengths = [min(rows, height - row) * (pixels.nbytes // height) for row in range(0, height, rows)]
    head = b""
    for _ in range(2):  # once to know the length of it
        places = [len(head) + sum(lengths[:1]) * number for number in range(len(lengths))]
        tags[_STRIPS] = pack(order, LONG8 if big else LONG, places)
        writer = Writer(order, big, begin)
        head = writer.finish(writer.directory(tags, placed))
        head += bytes(len(head) % 2)
    file.write(head)
    for row in range(0, height, rows):
        strip = pixels[row : row + rows]
        file.write(strip.astype(f"{order}u{strip.itemsize}").tobytes())


def _begin_of(exif: bytes | None, big: bool) -> tuple[str, bytes, Directory, list[int], dict[int, int]]:
    """Returns what the file begins with.

    Returns:
        The byte order, the data, the tags of the first directory, the places of directories beside it, and those of
        values that are in the data.
    """
    if not exif:
        return "<", b"", {}, [], {}
    if big:  # its header is longer, and its directories are of another kind
        return _begin_of_big(exif)
    block = exif.removeprefix(b"Exif\0\0")
    reader = Reader.of_bytes(block)
    entries, thumbnail = reader.directory(reader.first)
    kept = [entry for entry in entries if entry.tag not in STORAGE]
    first = {entry.tag: Value(entry.type, entry.count, entry.field, raw=True) for entry in kept}
    if not thumbnail:
        return reader.order, block, first, [], {}
    # In EXIF it is the second of a chain; in a TIFF that would be another page.
    before = [place for entry in kept if entry.tag == SUB_DIRECTORIES for place in reader.readable(entry)]
    return reader.order, block, first, [*before, thumbnail], {}


def _begin_of_big(exif: bytes) -> tuple[str, bytes, Directory, list[int], dict[int, int]]:
    order, first, thumbnail, place = tree_of(exif)
    writer = Writer(order, big=True)
    placed = {}
    if place is not None and place >= len(writer.data):
        placed[MAKER_NOTE] = writer.place(maker_note_of(first), place)
    beside = [writer.directory(thumbnail)] if thumbnail else []
    first = {tag: value for tag, value in first.items() if tag not in STORAGE and tag != SUB_DIRECTORIES}
    return order, bytes(writer.data), first, beside, placed


def _tags_of_pixels(pixels: np.ndarray, order: str, rows: int) -> Directory:
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    row_bytes = pixels.nbytes // height
    lengths = [min(rows, height - row) * row_bytes for row in range(0, height, rows)]
    tags = {
        0x0100: pack(order, LONG, (width,)),
        0x0101: pack(order, LONG, (height,)),
        0x0102: pack(order, SHORT, (8 * pixels.itemsize,) * channels),
        0x0103: pack(order, SHORT, (1,)),  # not compressed
        0x0106: pack(order, SHORT, (2 if channels >= 3 else 1,)),  # RGB, or gray with black as 0
        0x0115: pack(order, SHORT, (channels,)),
        0x0116: pack(order, LONG, (rows,)),
        0x0117: pack(order, LONG, lengths),
        0x011C: pack(order, SHORT, (1,)),  # channels side by side
    }
    if channels in (2, 4):
        tags[0x0152] = pack(order, SHORT, (2,))  # alpha that is not premultiplied
    return tags
