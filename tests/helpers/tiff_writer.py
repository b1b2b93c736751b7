"""Writes TIFFs of every layout, from the TIFF 6.0 specification and that of BigTIFF; the reader is not used."""

import struct
import zlib
from dataclasses import dataclass, field

import imagecodecs
import numpy as np

SHORT, LONG, RATIONAL, LONG8 = 3, 4, 5, 16
_FORMATS = {1: "B", 2: "B", SHORT: "H", LONG: "I", RATIONAL: "II", 7: "B", LONG8: "Q"}

COMPRESSIONS = {
    1: bytes,
    5: imagecodecs.lzw_encode,
    8: zlib.compress,
    32946: zlib.compress,
    32773: imagecodecs.packbits_encode,
    34925: imagecodecs.lzma_encode,
    50000: imagecodecs.zstd_encode,
}


@dataclass
class Page:
    """One image: unsigned or signed integers of (height, width, channels), and how they are stored."""

    samples: np.ndarray
    bits: int
    photometric: int
    planar: int = 1
    compression: int = 1
    predictor: int = 1
    fill_order: int = 1
    tile: tuple[int, int] | None = None  # height and width, multiples of 16
    rows: int | None = None  # of a strip
    subsampling: tuple[int, int] = (1, 1)  # of YCbCr, across and down
    tags: dict = field(default_factory=dict)  # further ones: code to (type, values)


def tiff(*pages, order="<", big=False, encode=None):
    """The bytes of a file; `encode` makes those of a strip or tile from its samples, if it is not to be done here."""
    offset, count, entry = ("Q", "Q", "HHQ") if big else ("I", "H", "HHI")
    inline = struct.calcsize(order + offset)
    head = (b"II" if order == "<" else b"MM") + struct.pack(
        order + ("HHH" if big else "H"), *((43, 8, 0) if big else (42,))
    )
    file = bytearray(head)
    place = len(file)  # of the offset of the next directory
    file += bytes(inline)
    for page in pages:
        tags = dict(_tags(page, order))
        segments = [encode(part) if encode else _stored(page, part, order) for part in _segments(page)]
        offsets = []
        for segment in segments:
            offsets.append(len(file))
            file += segment + bytes(len(segment) % 2)
        where, sizes = (324, 325) if page.tile else (273, 279)
        tags |= {where: (LONG8 if big else LONG, offsets), sizes: (LONG, [len(segment) for segment in segments])}
        struct.pack_into(order + offset, file, place, len(file))
        directory = struct.pack(order + count, len(tags))
        after = len(file) + len(directory) + len(tags) * (struct.calcsize("=" + entry) + inline) + inline
        values = b""
        for code, (kind, numbers) in sorted(tags.items()):
            form = _FORMATS[kind]
            value = struct.pack(
                f"{order}{len(numbers)}{form}" if len(form) == 1 else f"{order}{len(numbers)}I", *numbers
            )
            directory += struct.pack(order + entry, code, kind, len(numbers) // len(form))
            if len(value) <= inline:
                directory += value.ljust(inline, b"\0")
            else:
                directory += struct.pack(order + offset, after + len(values))
                values += value + bytes(len(value) % 2)
        place = len(file) + len(directory)
        file += directory + bytes(inline) + values
    return bytes(file)


def _tags(page, order):
    height, width, channels = page.samples.shape
    yield 256, (LONG, [width])
    yield 257, (LONG, [height])
    yield 258, (SHORT, [page.bits] * channels)
    yield 259, (SHORT, [page.compression])
    yield 262, (SHORT, [page.photometric])
    yield 266, (SHORT, [page.fill_order])
    yield 277, (SHORT, [channels])
    yield 284, (SHORT, [page.planar])
    if page.predictor != 1:
        yield 317, (SHORT, [page.predictor])
    if page.samples.dtype.kind == "i":
        yield 339, (SHORT, [2] * channels)
    if page.tile:
        yield 322, (LONG, [page.tile[1]])
        yield 323, (LONG, [page.tile[0]])
    else:
        yield 278, (LONG, [page.rows or height])
    yield from page.tags.items()


def _segments(page):
    """The strips or tiles in the order of the file, as arrays."""
    height, width, channels = page.samples.shape
    planes = [page.samples[..., [c]] for c in range(channels)] if page.planar == 2 else [page.samples]
    tall, wide = page.tile or (page.rows or height, width)
    for plane in planes:
        if page.tile:  # filled up to whole tiles
            plane = np.pad(plane, ((0, -height % tall), (0, -width % wide), (0, 0)), mode="edge")
        for top in range(0, height, tall):
            for left in range(0, width, wide):
                yield plane[top : top + tall, left : left + wide]


def _stored(page, samples, order):
    if page.subsampling != (1, 1):
        samples = subsampled_units(samples, *page.subsampling)[None]
    if page.predictor == 2:  # differences of neighbors in a row, per channel, which wrap
        samples = samples.copy()
        samples[:, 1:] = samples[:, 1:] - samples[:, :-1]
    data = COMPRESSIONS[page.compression](packed(samples, page.bits, order))
    return reversed_bits(data) if page.fill_order == 2 else bytes(data)


def packed(samples, bits, order):
    """Rows of samples without gaps, high bits first, each row up to a whole byte; 16 bits and more in byte order."""
    rows = samples.reshape(len(samples), -1)
    if bits in (8, 16, 32):
        return rows.astype(f"{order}{rows.dtype.kind}{bits // 8}").tobytes()
    places = np.arange(bits - 1, -1, -1)
    each = (rows[..., None].astype(np.int64) >> places & 1).astype(np.uint8)
    return np.packbits(each.reshape(len(rows), -1), axis=1).tobytes()


def reversed_bits(data):
    """Each byte with its lowest bit first."""
    return np.packbits(np.unpackbits(np.frombuffer(bytes(data), np.uint8)), bitorder="little").tobytes()


def subsampled_units(samples, across, down):
    """YCbCr in data units: `down` rows of `across` Y, then the Cb and Cr at the unit's first place (section 21)."""
    height, width, _ = samples.shape
    samples = np.pad(samples, ((0, -height % down), (0, -width % across), (0, 0)), mode="edge")
    units = []
    for top in range(0, len(samples), down):
        for left in range(0, samples.shape[1], across):
            units += samples[top : top + down, left : left + across, 0].ravel().tolist()
            units += samples[top, left, 1:].tolist()
    return np.array(units, samples.dtype)
