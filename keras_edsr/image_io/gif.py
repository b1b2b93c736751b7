"""GIF: the blocks of a file and its frames, composed as GIF89a defines it and browsers show it.

Pillow decodes the pixels of one frame at a time; where it composes frames itself, it lets a frame without a disposal
method inherit an earlier one and paints the background color where browsers clear (python-pillow/Pillow#5557).
"""

import io
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
from PIL import Image

from .canvas import Canvas, Disposal

# 4 is not in the specification; encoders that count bits instead of values write it for 3, and browsers take it so.
_DISPOSALS = {2: Disposal.CLEAR, 3: Disposal.RESTORE, 4: Disposal.RESTORE}
_EXTENSION, _IMAGE, _TRAILER = b"!", b",", b";"
_CONTROL, _COMMENT, _APPLICATION = 0xF9, 0xFE, 0xFF
_LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
_LONGEST_TEXT = 1 << 24
_GRAYS = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)


@dataclass(frozen=True)
class _Frame:
    """One image block of the file and the control block before it."""

    top: int
    left: int
    height: int
    width: int
    interlaced: bool
    palette: np.ndarray  # (256, 3)
    transparent: int | None
    disposal: Disposal
    duration: float
    start: int  # of the compressed pixels in the file, the size of the first code included
    length: int


@dataclass
class Gif:
    """The frames of a GIF, not decoded yet.

    Attributes:
        height: Height of the canvas in pixels; a larger first frame enlarges it, as in browsers.
        width: Width of the canvas in pixels.
        plays: Number of times that the animation is shown; 0 is endless. The default is once.
        info: Comment, ICC profile and XMP, under the names that Pillow gives them.
        cut_off: Whether the file ends without its end mark.
        has_alpha: Whether alpha is kept of frames that are opaque: a transparent color often only saves bytes.
    """

    height: int
    width: int
    plays: int = 1
    info: dict[str, bytes] = field(default_factory=dict)
    cut_off: bool = False
    has_alpha: bool = False
    _frames: list[_Frame] = field(default_factory=list)
    _file: BinaryIO = field(default_factory=io.BytesIO)

    @property
    def metadata(self) -> Image.Image:
        """An image of Pillow's that has the `info` and one pixel: opening a GIF, Pillow fills a frame of any size."""
        image = Image.new("L", (1, 1))
        image.format = "GIF"
        image.info.update(self.info)
        return image

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self._frames)

    @property
    def pixels(self) -> int:
        """Number of pixels to decode and keep in memory; a frame may be larger than the canvas."""
        canvas = self.height * self.width
        return sum(max(canvas, frame.height * frame.width) for frame in self._frames)

    @property
    def is_gray(self) -> bool:
        """Whether no frame has a color in its palette."""
        palettes = {id(frame.palette): frame.palette for frame in self._frames}
        return all(bool(np.all(palette == palette[:, :1])) for palette in palettes.values())

    def frames(self) -> Iterator[tuple[np.ndarray, float]]:
        """Yields each composed frame, uint8 (height, width, 2 or 4), with its duration in milliseconds."""
        colors = slice(0, 1) if self.is_gray else slice(0, 3)
        canvas = Canvas(self.height, self.width, 2 if self.is_gray else 4, np.dtype(np.uint8))
        for frame in self._frames:
            table = np.concatenate([frame.palette[:, colors], np.full((256, 1), 255, np.uint8)], axis=1)
            if frame.transparent is not None:
                table[frame.transparent] = 0
            pixels = table[_indices(self._file, frame)]
            yield canvas.draw(pixels, top=frame.top, left=frame.left, disposal=frame.disposal), frame.duration


def is_gif(file: BinaryIO) -> bool:
    """Whether the file begins as a GIF does."""
    file.seek(0)
    return file.read(6) in (b"GIF87a", b"GIF89a")


def read_gif(file: BinaryIO) -> Gif:
    """Reads the structure of a GIF without decoding pixels.

    Raises:
        ValueError: If it has no frame, or ends within one.
    """
    file.seek(0)
    header = file.read(13)
    if len(header) < 13:
        raise ValueError("it is truncated: its header is not complete")
    width, height, flags = struct.unpack_from("<HHB", header, 6)
    palette = _palette(file, flags)
    gif = Gif(height, width, _file=file)
    control = _Control()
    while (kind := _next_block(file)) != _TRAILER:
        if kind == _EXTENSION:
            control = _read_extension(file, gif, control)
        elif kind == _IMAGE:
            gif._frames.append(_read_frame(file, palette, control))
            control = _Control()
        else:
            gif.cut_off = True
            break
    if not gif._frames:
        raise ValueError("it has no frame")
    first = gif._frames[0]
    gif.height, gif.width = max(height, first.top + first.height), max(width, first.left + first.width)
    return gif


@dataclass(frozen=True)
class _Control:
    """A graphic control block, which applies to the next image only."""

    disposal: Disposal = Disposal.KEEP
    duration: float = 0.0
    transparent: int | None = None


def _next_block(file: BinaryIO) -> bytes:
    """Returns the mark of the next block, or nothing at the end; stray bytes between blocks are skipped."""
    mark = file.read(1)
    if mark in (_EXTENSION, _IMAGE, _TRAILER, b""):
        return mark
    while piece := file.read(1 << 16):
        if found := re.search(rb"[!,;]", piece):
            file.seek(found.end() - len(piece), io.SEEK_CUR)
            return found.group()
    return b""


def _palette(file: BinaryIO, flags: int) -> np.ndarray | None:
    """Reads a color table, if there is one; indices beyond it are black."""
    if not flags & 0x80:
        return None
    length = 3 << (flags & 7) + 1
    colors = np.zeros((256, 3), np.uint8)
    data = file.read(length)
    if len(data) < length:
        raise ValueError("it is truncated: a color table is not complete")
    colors[: length // 3] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return colors


def _read_extension(file: BinaryIO, gif: Gif, control: _Control) -> _Control:
    """Reads an extension; returns the control block that is in force after it."""
    label = file.read(1)
    first = _sub_block(file)
    if label == bytes([_CONTROL]) and len(first) >= 4:
        flags, delay, transparent = struct.unpack_from("<BHB", first)
        control = _Control(
            _DISPOSALS.get(flags >> 2 & 7, Disposal.KEEP), 10.0 * delay, transparent if flags & 1 else None
        )
    elif label == bytes([_COMMENT]) and first:
        text = first + _rest(file)
        gif.info["comment"] = gif.info["comment"] + b"\n" + text if "comment" in gif.info else text
        return control
    elif label == bytes([_APPLICATION]):
        _read_application(file, gif, first)
        return control
    if first:
        _skip(file)
    return control


def _read_application(file: BinaryIO, gif: Gif, name: bytes) -> None:
    if not name:
        return
    if name == b"XMP DataXMP":
        # Not in sub-blocks: the text, then 257 bytes that lead a reader of sub-blocks to their end.
        start = file.tell()
        _skip(file)
        length = file.tell() - start - 258
        if 0 < length <= _LONGEST_TEXT:
            file.seek(start)
            gif.info["xmp"] = file.read(length)
            file.seek(258, io.SEEK_CUR)
    elif name == b"ICCRGBG1012":
        gif.info["icc_profile"] = _rest(file)
    elif name in _LOOPS:
        block = _sub_block(file)
        if len(block) >= 3 and block[0] & 7 == 1:
            again = int.from_bytes(block[1:3], "little")
            gif.plays = again + 1 if again else 0  # the file counts the times after the first
        if block:
            _skip(file)
    else:
        _skip(file)


def _read_frame(file: BinaryIO, palette: np.ndarray | None, control: _Control) -> _Frame:
    header = file.read(9)
    if len(header) < 9:
        raise ValueError("it is truncated: a frame's header is not complete")
    left, top, width, height, flags = struct.unpack("<HHHHB", header)
    own = _palette(file, flags)
    start = file.tell()
    file.seek(1, io.SEEK_CUR)
    _skip(file)
    return _Frame(
        top,
        left,
        height,
        width,
        bool(flags & 0x40),
        own if own is not None else palette if palette is not None else _GRAYS,
        control.transparent,
        control.disposal,
        control.duration,
        start,
        file.tell() - start,
    )


def _sub_block(file: BinaryIO) -> bytes:
    size = file.read(1)
    return file.read(size[0]) if size else b""


def _rest(file: BinaryIO) -> bytes:
    """Reads the sub-blocks that follow, up to a length that no text has."""
    blocks, length = [], 0
    while block := _sub_block(file):
        length += len(block)
        if length <= _LONGEST_TEXT:
            blocks.append(block)
    return b"".join(blocks)


def _skip(file: BinaryIO) -> None:
    while _sub_block(file):
        pass


def _indices(file: BinaryIO, frame: _Frame) -> np.ndarray:
    """Decodes the numbers of a frame's colors: Pillow reads them as the grays of a file with this frame alone."""
    if not frame.height or not frame.width:
        return np.zeros((frame.height, frame.width), np.uint8)
    file.seek(frame.start)
    alone = b"".join(
        [
            b"GIF89a" + struct.pack("<HHBBB", frame.width, frame.height, 0x87, 0, 0),
            _GRAYS.tobytes(),
            _IMAGE + struct.pack("<HHHHB", 0, 0, frame.width, frame.height, 0x40 if frame.interlaced else 0),
            file.read(frame.length),
            _TRAILER,
        ]
    )
    with Image.open(io.BytesIO(alone), formats=("GIF",)) as image:
        return np.array(image)
