"""GIFs written and composed by the specification, with nothing of the package: GIF89a (1990) and Appendix F (LZW).

Where the text and all browsers differ, the browsers are followed: what is cleared becomes transparent, not the
background color, and the canvas begins transparent.
"""

import struct
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

KEEP, CLEAR, RESTORE = 1, 2, 3
CLEAR_TABLE, APPLICATION, COMMENT = 0xF9, b"\x21\xff", b"\x21\xfe"


@dataclass
class GifFrame:
    left: int
    top: int
    indices: np.ndarray
    disposal: int = 0
    transparent: int | None = None
    palette: np.ndarray | None = None
    interlaced: bool = False
    delay: int = 5  # hundredths of a second
    has_control: bool = True
    full_table: bool = False  # whether the encoder goes on with a full table ("deferred clear code")


def lzw(indices, code_size, defer):
    """Appendix F: codes of growing width, low bits first."""
    clear, end = 1 << code_size, (1 << code_size) + 1
    bits, count, out = 0, 0, bytearray()

    def emit(code, width):
        nonlocal bits, count
        bits |= code << count
        count += width
        while count >= 8:
            out.append(bits & 255)
            bits >>= 8
            count -= 8

    table = {bytes([value]): value for value in range(clear)}
    width, following = code_size + 1, end + 1
    emit(clear, width)
    prefix = b""
    for value in indices:
        longer = prefix + bytes([value])
        if longer in table:
            prefix = longer
            continue
        emit(table[prefix], width)
        if following < 4096:
            table[longer] = following
            if following == 1 << width:
                width += 1
            following += 1
        elif not defer:
            emit(clear, width)
            table = {bytes([value]): value for value in range(clear)}
            width, following = code_size + 1, end + 1
        prefix = bytes([value])
    emit(table[prefix], width)
    if following == 1 << width and width < 12:
        width += 1
    emit(end, width)
    if count:
        out.append(bits & 255)
    return bytes(out)


def blocks(data, size=255):
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    return b"".join(bytes([len(piece)]) + piece for piece in pieces) + b"\0"


def table_bits(palette):
    return int(np.log2(len(palette))) - 1


def write_gif(width, height, palette, frames, loop=None, background=0, comment=None, ending=b";"):
    flags = 0x70 | (0x80 | table_bits(palette) if palette is not None else 0)
    out = [b"GIF89a", struct.pack("<HHBBB", width, height, flags, background, 0)]
    if palette is not None:
        out.append(palette.astype(np.uint8).tobytes())
    if loop is not None:
        out += [APPLICATION, blocks(b"NETSCAPE2.0", 11)[:-1], blocks(b"\1" + struct.pack("<H", loop))]
    for frame in frames:
        if comment is not None:
            out += [COMMENT, blocks(comment)]
        if frame.has_control:
            packed = frame.disposal << 2 | (frame.transparent is not None)
            out += [b"\x21\xf9\x04", struct.pack("<BHBB", packed, frame.delay, frame.transparent or 0, 0)]
        rows, columns = frame.indices.shape
        packed = 0x40 * frame.interlaced | (0x80 | table_bits(frame.palette) if frame.palette is not None else 0)
        out.append(b"," + struct.pack("<HHHHB", frame.left, frame.top, columns, rows, packed))
        if frame.palette is not None:
            out.append(frame.palette.astype(np.uint8).tobytes())
        indices = frame.indices
        if frame.interlaced:  # Appendix E
            order = [*range(0, rows, 8), *range(4, rows, 8), *range(2, rows, 4), *range(1, rows, 2)]
            indices = indices[order]
        used = frame.palette if frame.palette is not None else palette
        code_size = max(2, table_bits(used) + 1)
        out += [bytes([code_size]), blocks(lzw(indices.ravel().tolist(), code_size, frame.full_table))]
    return b"".join(out) + ending


def compose_gif(width, height, palette, frames):
    """Straight RGBA of each frame, pixel by pixel."""
    canvas = [[(0, 0, 0, 0)] * width for _ in range(height)]
    shown = []
    for frame in frames:
        colors = frame.palette if frame.palette is not None else palette
        transparent = frame.transparent if frame.has_control else None
        disposal = frame.disposal if frame.has_control else 0
        before = [row[:] for row in canvas]
        places = [
            (frame.top + y, frame.left + x, int(frame.indices[y, x]))
            for y in range(frame.indices.shape[0])
            for x in range(frame.indices.shape[1])
            if frame.top + y < height and frame.left + x < width
        ]
        for y, x, index in places:
            if index != transparent:
                canvas[y][x] = (*(int(v) for v in colors[index]), 255)
        shown.append(np.array(canvas, np.uint8))
        for y, x, _ in places:
            if disposal == CLEAR:
                canvas[y][x] = (0, 0, 0, 0)
            elif disposal == RESTORE:
                canvas[y][x] = before[y][x]
    return shown


palettes = st.tuples(st.integers(1, 8), st.integers(0, 2**32 - 1), st.booleans())


def made_palette(bits, seed, gray):
    colors = np.random.default_rng(seed).integers(0, 256, (2**bits, 3), dtype=np.uint8)
    return np.repeat(colors[:, :1], 3, axis=1) if gray else colors


@st.composite
def gifs(draw):
    """Arguments of `write_gif` and `compose_gif`: any valid animation of a few frames."""
    width, height = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    gray = draw(st.sampled_from([False, False, False, True]))
    palette = made_palette(*draw(palettes)[:2], gray) if draw(st.sampled_from([True, True, False])) else None
    frames = []
    for number in range(draw(st.integers(1, 7))):
        left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        columns, rows = draw(st.integers(1, width - left)), draw(st.integers(1, height - top))
        if draw(st.booleans()) and number == 0:
            left, top, columns, rows = 0, 0, width, height
        own = made_palette(*draw(palettes)[:2], gray) if palette is None or draw(st.booleans()) else None
        colors = own if own is not None else palette
        seed = draw(st.integers(0, 2**32 - 1))
        indices = np.random.default_rng(seed).integers(0, len(colors), (rows, columns), dtype=np.uint8)
        if draw(st.booleans()):
            indices %= 2
        frames.append(
            GifFrame(
                left,
                top,
                indices,
                disposal=draw(st.sampled_from([0, 1, 2, 3])),
                transparent=draw(st.none() | st.sampled_from([0, 1]) | st.integers(0, len(colors) - 1)),
                palette=own,
                interlaced=draw(st.booleans()),
                delay=draw(st.integers(0, 65535)),
                has_control=draw(st.sampled_from([True, True, True, False])),
                full_table=draw(st.booleans()),
            )
        )
    return width, height, palette, frames
