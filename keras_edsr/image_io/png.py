"""PNG: the chunks of a file, and which damaged ones can be skipped without losing a pixel."""

import io
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ANIMATION = (b"acTL", b"fcTL", b"fdAT")
_PIXELS = (b"IDAT", b"fdAT")
_BLOCK = 1 << 20
_PALETTE = 3  # the color type


class Chunk(NamedTuple):
    """Where a chunk's content lies in the file.

    Attributes:
        kind: Its name of four letters.
        start: Where its content begins.
        length: Length of its content, or of the existing part if the file ends within it.
        is_whole: Whether content and checksum are there.
    """

    kind: bytes
    start: int
    length: int
    is_whole: bool


def is_png(file: BinaryIO) -> bool:
    """Whether the file begins as a PNG does."""
    file.seek(0)
    return file.read(len(SIGNATURE)) == SIGNATURE


def chunks_of(file: BinaryIO) -> list[Chunk]:
    """Lists the chunks up to the end mark, without reading their content.

    Raises:
        ValueError: If the first is not a header of the right length.
    """
    size = file.seek(0, io.SEEK_END)
    chunks: list[Chunk] = []
    start = len(SIGNATURE) + 8
    while start <= size and (not chunks or chunks[-1].kind != b"IEND"):
        file.seek(start - 8)
        length, kind = struct.unpack(">I4s", file.read(8))
        if not re.fullmatch(rb"[A-Za-z]{4}", kind):
            break
        chunks.append(Chunk(kind, start, min(length, size - start), start + length + 4 <= size))
        start += length + 12
    if not chunks or chunks[0].kind != b"IHDR" or chunks[0].length != 13:
        raise ValueError("its PNG header is damaged or cut off")
    return chunks


def content_of(file: BinaryIO, chunk: Chunk) -> bytes:
    """Reads what a chunk holds."""
    file.seek(chunk.start)
    return file.read(chunk.length)


def png_of(chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Puts a file together from names and contents."""
    return SIGNATURE + b"".join(png_chunk(kind, content) for kind, content in chunks)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Returns a chunk with its length and checksum."""
    return b"".join(
        [struct.pack(">I", len(content)), kind, content, struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))]
    )


def readable(file: BinaryIO, max_pixels: int) -> tuple[BinaryIO, list[str]]:
    """Returns a PNG that Pillow can read, without animation and without damaged chunks that the pixels do not need.

    Pillow rejects a file for one wrong checksum before the pixels, and for text that exceeds its limit.

    Args:
        file: The file, opened in binary mode.
        max_pixels: The largest number of pixels to decompress; the decoder rejects larger images.

    Returns:
        The file itself if no chunk is skipped, else a copy in memory; and the messages to log, one for each chunk.

    Raises:
        ValueError: If a damaged chunk is needed.
    """
    chunks = chunks_of(file)
    color_type = content_of(file, chunks[0])[9]
    notes = []
    skipped: set[Chunk] = {chunk for chunk in chunks if chunk.kind in _ANIMATION}
    damaged = [chunk for chunk in chunks if chunk.is_whole and not _has_right_checksum(file, chunk)]
    for chunk in damaged:
        fault = f"CRC mismatch in its {chunk.kind.decode()} chunk"
        if chunk.kind in _PIXELS:
            if not all(_inflates(file, stream, max_pixels) for stream in _streams(chunks) if chunk in stream):
                raise ValueError(f"{fault}: its pixels are damaged")
            notes.append(f"{fault}; all of its pixels are there")
        elif _is_needed(chunk.kind, color_type):
            raise ValueError(fault)
        elif chunk.kind != b"IEND":
            skipped.add(chunk)
            notes.append(f"{fault}, which is skipped")
    if chunks[-1].kind != b"IEND" or not chunks[-1].is_whole:
        notes.append("its end is cut off; all of its pixels are there")
        if not chunks[-1].is_whole and chunks[-1].kind not in _PIXELS:
            if _is_needed(chunks[-1].kind, color_type):
                raise ValueError("it is truncated")
            skipped.add(chunks[-1])
    after_pixels = [chunk for chunk in _after_pixels(chunks) if chunk not in skipped]
    if not skipped and not notes and not after_pixels and _opens(file):
        return file, []
    kept = [chunk for chunk in chunks if chunk not in skipped and chunk.kind not in (b"IDAT", b"IEND")]
    rejected = _rejected(file, kept, color_type)
    notes += [f"its {chunk.kind.decode()} chunk is damaged or too long, and is skipped" for chunk in rejected]
    kept = [chunk for chunk in kept if chunk not in rejected]
    pixels = [chunk for chunk in chunks if chunk.kind == b"IDAT"]
    # All that is not pixels comes first: Pillow then knows it without decoding them.
    return io.BytesIO(_with_end(file, [*kept, *pixels])), notes


def _has_right_checksum(file: BinaryIO, chunk: Chunk) -> bool:
    checksum = zlib.crc32(chunk.kind)
    file.seek(chunk.start)
    for done in range(0, chunk.length, _BLOCK):
        checksum = zlib.crc32(file.read(min(_BLOCK, chunk.length - done)), checksum)
    return checksum == int.from_bytes(file.read(4), "big")


def _is_needed(kind: bytes, color_type: int) -> bool:
    """Whether the pixels cannot be known without it; a palette of an image that is not one is a proposal."""
    if kind == b"PLTE":
        return color_type == _PALETTE
    return kind in (b"IHDR", b"tRNS", *_ANIMATION)


def _streams(chunks: list[Chunk]) -> Iterator[list[Chunk]]:
    """Yields the chunks of each compressed image: those of the default image, and of each further frame."""
    stream: list[Chunk] = []
    for chunk in chunks:
        if chunk.kind in _PIXELS and (not stream or chunk.kind == stream[0].kind):
            stream.append(chunk)
        elif chunk.kind == b"fcTL" or chunk.kind in _PIXELS:
            if stream:
                yield stream
            stream = [chunk] if chunk.kind in _PIXELS else []
    if stream:
        yield stream


def _inflates(file: BinaryIO, stream: list[Chunk], max_pixels: int) -> bool:
    """Whether the compressed pixels are whole and have their own checksum (Adler-32) right."""
    decompressor = zlib.decompressobj()
    left = 8 * max_pixels + _BLOCK  # bytes of the largest image, with a filter byte a row
    for chunk in stream:
        data = content_of(file, chunk)[4 if chunk.kind == b"fdAT" else 0 :]
        while data and left > 0:
            try:
                left -= len(decompressor.decompress(data, _BLOCK))
            except zlib.error:
                return False
            data = decompressor.unconsumed_tail
    return decompressor.eof


def _after_pixels(chunks: list[Chunk]) -> list[Chunk]:
    last = max((number for number, chunk in enumerate(chunks) if chunk.kind == b"IDAT"), default=len(chunks))
    return [chunk for chunk in chunks[last + 1 :] if chunk.kind != b"IEND"]


def _rejected(file: BinaryIO, chunks: list[Chunk], color_type: int) -> list[Chunk]:
    """Returns the chunks for which Pillow would reject the file."""
    if _opens(io.BytesIO(_with_end(file, chunks, b"IDAT"))):
        return []
    needed = [chunk for chunk in chunks if _is_needed(chunk.kind, color_type)]
    others = [chunk for chunk in chunks if chunk not in needed]
    rejected = [other for other in others if not _opens(io.BytesIO(_with_end(file, [*needed, other], b"IDAT")))]
    return rejected or others  # Pillow also limits the sum of all texts


def _opens(file: BinaryIO) -> bool:
    file.seek(0)
    try:
        Image.open(file, formats=("PNG",))  # not closed: the file is not its own
    except Exception:  # a damaged chunk raises SyntaxError, ValueError, struct.error, ...
        return False
    return True


def _with_end(file: BinaryIO, chunks: list[Chunk], *empty: bytes) -> bytes:
    contents = ((chunk.kind, content_of(file, chunk)) for chunk in chunks)
    return png_of([*contents, *((kind, b"") for kind in (*empty, b"IEND"))])
