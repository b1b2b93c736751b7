"""PNGs and APNGs written and composed by the specification (third edition), without the package and Pillow."""

import dataclasses
import struct
import zlib

import numpy as np
from hypothesis import strategies as st

GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}
DEPTHS = {GRAY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GRAY_ALPHA: (8, 16), RGBA: (8, 16)}
# Table of section 8.1: x start, y start, x step, y step
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclasses.dataclass
class Kind:
    """What the samples mean.

    Attributes:
        color_type: As in the header.
        depth: Bits a sample.
        palette: (n, 3) of uint8, for color type 3.
        transparent: The tRNS chunk: alphas of the palette's first entries, or one sample a color channel.
        interlaced: Whether by Adam7.
    """

    color_type: int
    depth: int
    palette: np.ndarray | None = None
    transparent: tuple[int, ...] | None = None
    interlaced: bool = False


@dataclasses.dataclass
class ApngFrame:
    left: int
    top: int
    samples: np.ndarray  # (height, width, channels)
    disposal: int = 0
    blend: int = 0
    delay: tuple[int, int] = (1, 10)


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def packed(samples, depth):
    """Section 7.2: the bytes of each row; leftmost samples in the high bits."""
    rows = samples.reshape(samples.shape[0], -1)
    if depth == 16:
        return rows.astype(">u2").view(np.uint8).reshape(len(rows), -1)
    if depth == 8:
        return rows.astype(np.uint8)
    bits = (rows[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    return np.packbits(bits.reshape(len(rows), -1).astype(np.uint8), axis=1)


def filtered(rows, step, random):
    """Section 9: each row with a filter of any type."""
    out = bytearray()
    above = bytes(rows.shape[1])
    for row in rows:
        raw, kind = row.tobytes(), int(random.integers(5))
        out.append(kind)
        for at, value in enumerate(raw):
            a = raw[at - step] if at >= step else 0
            b = above[at]
            c = above[at - step] if at >= step else 0
            p = a + b - c
            paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            out.append((value - (0, a, b, (a + b) // 2, paeth)[kind]) & 255)
        above = raw
    return bytes(out)


def compressed(samples, kind, random):
    step = max(1, CHANNELS[kind.color_type] * kind.depth // 8)
    passes = [samples[y::dy, x::dx] for x, y, dx, dy in ADAM7] if kind.interlaced else [samples]
    parts = [filtered(packed(part, kind.depth), step, random) for part in passes if part.size]
    return zlib.compress(b"".join(parts), int(random.integers(10)))


def with_content_changed(data, name, change, occurrence=0):
    """Changes a chunk's content and makes its checksum right."""
    at = -1
    for _ in range(occurrence + 1):
        at = data.index(name, at + 1)
    length = int.from_bytes(data[at - 4 : at], "big")
    return data[: at - 4] + chunk(name, change(data[at + 4 : at + 4 + length])) + data[at + 8 + length :]


def pieces(data, random):
    """Cuts into one to four chunks' contents, which may be empty."""
    cuts = sorted(random.integers(0, len(data) + 1, random.integers(4)).tolist())
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def header(width, height, kind):
    out = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, kind.depth, kind.color_type, 0, 0, kind.interlaced))
    if kind.palette is not None:
        out += chunk(b"PLTE", kind.palette.astype(np.uint8).tobytes())
    if kind.transparent is not None:
        layout = ">%dB" if kind.color_type == PALETTE else ">%dH"
        out += chunk(b"tRNS", struct.pack(layout % len(kind.transparent), *kind.transparent))
    return SIGNATURE, out


def write_png(samples, kind, seed=0, before=b"", after=b""):
    """A still image; `before` and `after` are chunks around its pixels."""
    random = np.random.default_rng(seed)
    signature, head = header(samples.shape[1], samples.shape[0], kind)
    data = b"".join(chunk(b"IDAT", piece) for piece in pieces(compressed(samples, kind, random), random))
    return signature + head + before + data + after + chunk(b"IEND", b"")


def write_apng(width, height, kind, frames, hidden=None, plays=0, seed=0):
    """An animation; `hidden` is a default image that is no frame, else the first frame is the default image."""
    random = np.random.default_rng(seed)
    signature, head = header(width, height, kind)
    out = [signature, head, chunk(b"acTL", struct.pack(">II", len(frames), plays))]
    sequence = 0
    if hidden is not None:
        out += [chunk(b"IDAT", piece) for piece in pieces(compressed(hidden, kind, random), random)]
    for number, frame in enumerate(frames):
        rows, columns = frame.samples.shape[:2]
        place = (columns, rows, frame.left, frame.top)
        out.append(
            chunk(b"fcTL", struct.pack(">IIIIIHHBB", sequence, *place, *frame.delay, frame.disposal, frame.blend))
        )
        sequence += 1
        for piece in pieces(compressed(frame.samples, kind, random), random):
            if number == 0 and hidden is None:
                out.append(chunk(b"IDAT", piece))
            else:
                out.append(chunk(b"fdAT", struct.pack(">I", sequence) + piece))
                sequence += 1
    return b"".join([*out, chunk(b"IEND", b"")])


def meaning(samples, kind):
    """Straight RGBA of 0 to 1 of samples."""
    limit = 2**kind.depth - 1
    height, width = samples.shape[:2]
    out = np.ones((height, width, 4))
    for y in range(height):
        for x in range(width):
            values = tuple(int(v) for v in samples[y, x])
            if kind.color_type == PALETTE:
                out[y, x, :3] = kind.palette[values[0]] / 255
                if kind.transparent is not None and values[0] < len(kind.transparent):
                    out[y, x, 3] = kind.transparent[values[0]] / 255
                continue
            color = values[:3] if kind.color_type in (RGB, RGBA) else values[:1] * 3
            out[y, x, :3] = np.array(color) / limit
            if kind.color_type in (GRAY_ALPHA, RGBA):
                out[y, x, 3] = values[-1] / limit
            elif kind.transparent is not None:
                out[y, x, 3] = values != kind.transparent
    return out


def compose_apng(width, height, kind, frames):
    """Straight RGBA of 0 to 1 of each frame, by the text of the fcTL chunk and of section 13.16 (alpha)."""
    buffer = np.zeros((height, width, 4))
    shown = []
    for number, frame in enumerate(frames):
        pixels = meaning(frame.samples, kind)
        rows, columns = pixels.shape[:2]
        area = (slice(frame.top, frame.top + rows), slice(frame.left, frame.left + columns))
        before = buffer.copy()
        if frame.blend == 0:
            buffer[area] = pixels
        else:
            for y in range(rows):
                for x in range(columns):
                    above, below = pixels[y, x], buffer[frame.top + y, frame.left + x].copy()
                    alpha = above[3] + below[3] * (1 - above[3])
                    color = above[:3] * above[3] + below[:3] * below[3] * (1 - above[3])
                    buffer[frame.top + y, frame.left + x] = [*(color / alpha if alpha else (0, 0, 0)), alpha]
        shown.append(buffer.copy())
        if frame.disposal == 1 or (frame.disposal == 2 and number == 0):
            buffer[area] = 0
        elif frame.disposal == 2:
            buffer = before
    return shown


@st.composite
def kinds(draw):
    color_type = draw(st.sampled_from(list(DEPTHS)))
    depth = draw(st.sampled_from(DEPTHS[color_type]))
    palette, transparent = None, None
    if color_type == PALETTE:
        colors = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        palette = colors.integers(0, 256, (draw(st.integers(1, 2**depth)), 3), dtype=np.uint8)
        transparent = draw(st.none() | st.lists(st.integers(0, 255), min_size=1, max_size=len(palette)).map(tuple))
    elif color_type in (GRAY, RGB):
        values = st.tuples(*[st.integers(0, 2**depth - 1)] * CHANNELS[color_type])
        transparent = draw(st.none() | values)
    return Kind(color_type, depth, palette, transparent, draw(st.booleans()))


def made_samples(draw, height, width, kind):
    """Samples with the transparent one and the extremes among them."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = len(kind.palette) if kind.palette is not None else 2**kind.depth
    samples = random.integers(0, count, (height, width, CHANNELS[kind.color_type]))
    special = random.random((height, width))
    if kind.transparent is not None and kind.color_type != PALETTE:
        samples[special < 0.4] = kind.transparent
    if kind.color_type in (GRAY_ALPHA, RGBA):
        samples[special < 0.2, -1] = 0
        samples[special > 0.8, -1] = count - 1
    return samples


@st.composite
def pngs(draw):
    kind = draw(kinds())
    return made_samples(draw, draw(st.integers(1, 20)), draw(st.integers(1, 20)), kind), kind


@st.composite
def apngs(draw):
    """Width, height, kind and frames of any valid animation of a few frames, and perhaps a hidden image."""
    kind = draw(kinds())
    width, height = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    hidden = made_samples(draw, height, width, kind) if draw(st.booleans()) else None
    frames = []
    for number in range(draw(st.integers(1, 6))):
        left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        columns, rows = draw(st.integers(1, width - left)), draw(st.integers(1, height - top))
        if number == 0:  # "the first frame must have the size of the canvas"
            left, top, columns, rows = 0, 0, width, height
        frames.append(
            ApngFrame(
                left,
                top,
                made_samples(draw, rows, columns, kind),
                draw(st.sampled_from([0, 1, 2])),
                draw(st.sampled_from([0, 1])),
                (draw(st.integers(0, 65535)), draw(st.integers(0, 65535))),
            )
        )
    return width, height, kind, frames, hidden
