"""APNG: the frames of an animated PNG, composed as the PNG specification (third edition) defines it.

Pillow decodes the pixels of one frame at a time; it composes with alpha that is not straight, on top of a default image
that is not part of the animation, and without 16 bits (python-pillow/Pillow#9281 and others).
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from .canvas import Canvas, Disposal
from .pillow import eight_bits, open_image
from .pixels import decode_pixels, with_channels
from .png import Chunk, chunks_of, content_of, png_of

_DISPOSALS = {0: Disposal.KEEP, 1: Disposal.CLEAR, 2: Disposal.RESTORE}
_SHARED = (b"PLTE", b"tRNS")  # chunks that define the meaning of pixels
_GRAYS = (0, 4)  # the color types


@dataclass(frozen=True)
class _Frame:
    """A frame control chunk and the chunks of its pixels."""

    top: int
    left: int
    height: int
    width: int
    over: bool
    disposal: Disposal
    duration: float
    data: list[Chunk]


@dataclass(frozen=True)
class Apng:
    """The frames of an animated PNG, not decoded yet.

    Attributes:
        height: Height of the canvas in pixels.
        width: Width of the canvas in pixels.
        plays: Number of times that the animation is shown; 0 is endless.
    """

    height: int
    width: int
    plays: int
    _header: bytes
    _shared: list[tuple[bytes, bytes]]
    _frames: list[_Frame]
    _file: BinaryIO

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self._frames)

    @property
    def pixels(self) -> int:
        """Number of pixels to decode and keep in memory."""
        return self.height * self.width * self.count

    @property
    def has_alpha(self) -> bool:
        """Whether the file's pixels have alpha, or a transparent color."""
        return self._header[9] in (4, 6) or any(kind == b"tRNS" for kind, _ in self._shared)

    def frames(self) -> Iterator[tuple[np.ndarray, float]]:
        """Yields each composed frame with its duration in milliseconds.

        A frame is of uint8 or uint16, (height, width, 2 or 4).
        """
        color = self._header[9] not in _GRAYS
        sixteen = self._header[8] == 16
        # 8 bits are blended in 16 and rounded at the end; otherwise the errors of many faint layers would add up.
        wide = sixteen or self.has_alpha
        canvas = Canvas(self.height, self.width, 4 if color else 2, np.dtype(np.uint16 if wide else np.uint8))
        for frame in self._frames:
            pixels = with_channels(self._decode(frame), alpha=True, color=color)
            if wide and not sixteen:
                pixels = pixels.astype(np.uint16) * np.uint16(257)
            shown = canvas.draw(pixels, top=frame.top, left=frame.left, over=frame.over, disposal=frame.disposal)
            yield shown if sixteen else eight_bits(shown), frame.duration

    def _decode(self, frame: _Frame) -> np.ndarray:
        """Decodes a frame as a separate still image."""
        header = struct.pack(">II", frame.width, frame.height) + self._header[8:]
        data = b"".join(content_of(self._file, chunk)[4 if chunk.kind == b"fdAT" else 0 :] for chunk in frame.data)
        alone = io.BytesIO(png_of([(b"IHDR", header), *self._shared, (b"IDAT", data), (b"IEND", b"")]))
        with open_image(alone) as stored:
            return decode_pixels(stored, alone, "frame")


def read_apng(file: BinaryIO) -> Apng | None:
    """Reads the structure of an animated PNG without decoding pixels.

    Returns:
        The animation; None if the file is a still image.

    Raises:
        ValueError: If the animation violates the specification, or is incomplete.
    """
    chunks = chunks_of(file)
    first_pixels = next((number for number, chunk in enumerate(chunks) if chunk.kind == b"IDAT"), len(chunks))
    control = next((chunk for chunk in chunks[:first_pixels] if chunk.kind == b"acTL"), None)
    if control is None:
        return None
    count, plays = _unpacked(">II", file, control)
    if not count:
        return None
    header = content_of(file, chunks[0])
    width, height = struct.unpack_from(">II", header)
    frames = _frames(file, chunks, (height, width))[:count]
    if len(frames) < count:
        raise ValueError(f"it is truncated: its animation has {len(frames)} of {count} frames")
    shared = [(chunk.kind, content_of(file, chunk)) for chunk in chunks[:first_pixels] if chunk.kind in _SHARED]
    return Apng(height, width, plays, header, shared, frames, file)


def _frames(file: BinaryIO, chunks: list[Chunk], size: tuple[int, int]) -> list[_Frame]:
    """Reads the frame controls; the default image is a frame if one of them comes before it."""
    frames: list[_Frame] = []
    sequence = 0
    for chunk in chunks:
        if chunk.kind in (b"fcTL", b"fdAT"):
            number = _unpacked(">I", file, chunk)[0]
            if number != sequence:
                raise ValueError(f"its animation is damaged: part {number} comes where part {sequence} should")
            sequence += 1
        if chunk.kind == b"fcTL":
            frames.append(_read_control(file, chunk, size))
        elif frames and chunk.kind in (b"IDAT", b"fdAT"):
            frames[-1].data.append(chunk)
    if any(not frame.data for frame in frames):
        raise ValueError("its animation is damaged: a frame has no pixels")
    return frames


def _read_control(file: BinaryIO, chunk: Chunk, size: tuple[int, int]) -> _Frame:
    _, width, height, left, top, delay, unit, disposal, blend = _unpacked(">IIIIIHHBB", file, chunk)
    if not width or not height or left + width > size[1] or top + height > size[0]:
        raise ValueError("its animation is damaged: a frame is empty or lies beyond the image")
    if disposal not in _DISPOSALS or blend > 1:
        raise ValueError("its animation is damaged: a frame has an unknown rule of disposal or blending")
    return _Frame(top, left, height, width, blend == 1, _DISPOSALS[disposal], 1000 * delay / (unit or 100), [])


def _unpacked(layout: str, file: BinaryIO, chunk: Chunk) -> tuple:
    if chunk.length < struct.calcsize(layout):
        raise ValueError(f"it is truncated: its {chunk.kind.decode()} chunk is not complete")
    return struct.unpack_from(layout, content_of(file, chunk))
