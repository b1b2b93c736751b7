"""Items of AVIF and HEIC files: what lies beside the pixels is read, and added.

Reference: ISO/IEC 14496-12 (boxes), 23008-12 (items and their properties).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from .containers import boxes, file_boxes

_XMP_TYPE = b"application/rdf+xml"


@dataclass
class Items:
    """The `meta` box of a file, taken apart.

    Args:
        types: The four letters of each item; for a `mime` item followed by its content type.
        places: Positions of each item's pieces in the file: `(begin, length)`.
        inside: Content of each item within the `meta` box.
        primary: Number of the item that is the picture.
        properties: All properties: name and content.
        of_items: Numbers of each item's properties, from 1, as in the file.
    """

    types: dict[int, bytes] = field(default_factory=dict)
    places: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    inside: dict[int, bytes] = field(default_factory=dict)
    primary: int = 0
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    of_items: dict[int, list[int]] = field(default_factory=dict)


def read_beside(file: BinaryIO) -> tuple[bytes | None, bytes | None, bytes | None]:
    """Returns EXIF, XMP and the four bytes of `nclx` (as `Color.cicp`) of a file; None for what it does not have.

    Raises:
        ValueError, struct.error, IndexError: If its boxes are damaged.
    """
    found = dict(file_boxes(file, (b"meta", b"moov")))
    exif = xmp = cicp = None
    if b"meta" in found:
        items = read_items(found[b"meta"])
        for number, kind in items.types.items():
            if kind == b"Exif" and exif is None:
                content = _content(file, items, number)
                (begin,) = struct.unpack(">L", content[:4])
                exif = content[4 + begin :]
            elif kind == b"mime" + _XMP_TYPE and xmp is None:
                xmp = _content(file, items, number)
        numbers = [number & 0x7FFF for number in items.of_items.get(items.primary, [])]
        properties = [items.properties[number - 1] for number in numbers if 0 < number <= len(items.properties)]
        cicp = next((_cicp(content) for name, content in properties if name == b"colr" and _cicp(content)), None)
    if cicp is None and b"moov" in found:
        cicp = _cicp_of_track(found[b"moov"])
    return exif, xmp, cicp


def read_items(meta: bytes) -> Items:
    """Takes the content of a `meta` box apart."""
    items = Items()
    parts = {name: meta[begin:end] for name, begin, end in boxes(meta, 4)}
    if b"pitm" in parts:
        items.primary = struct.unpack_from(">L" if parts[b"pitm"][0] else ">H", parts[b"pitm"], 4)[0]
    if b"iinf" in parts:
        iinf = parts[b"iinf"]
        items.types = dict(_item_types(iinf, 6 if iinf[0] == 0 else 8))
    if b"iloc" in parts:
        for number, method, pieces in _item_places(parts[b"iloc"]):
            if method == 0:
                items.places[number] = pieces
            elif method == 1:
                idat = parts.get(b"idat", b"")
                items.inside[number] = b"".join(idat[begin : begin + length] for begin, length in pieces)
    if b"iprp" in parts:
        iprp = parts[b"iprp"]
        for name, begin, end in boxes(iprp):
            if name == b"ipco":
                items.properties = [(kind, iprp[at:stop]) for kind, at, stop in boxes(iprp, begin, end)]
            elif name == b"ipma":
                items.of_items.update(_item_properties(iprp[begin:end]))
    return items


def _content(file: BinaryIO, items: Items, number: int) -> bytes:
    if number in items.inside:
        return items.inside[number]
    content = bytearray()
    for begin, length in items.places.get(number, []):
        file.seek(begin)
        content += file.read(length) if length else file.read()
    return bytes(content)


def _item_types(iinf: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    for name, begin, end in boxes(iinf, start):
        if name != b"infe" or iinf[begin] < 2:
            continue
        wide = iinf[begin] > 2
        number, _, kind = struct.unpack_from(">LH4s" if wide else ">HH4s", iinf, begin + 4)
        rest = iinf[begin + (14 if wide else 12) : end].split(b"\0")
        yield number, kind + (rest[1] if kind == b"mime" and len(rest) > 1 else b"")


def _item_places(iloc: bytes) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    version = iloc[0]
    sizes = [iloc[4] >> 4, iloc[4] & 15, iloc[5] >> 4, iloc[5] & 15 if version else 0]
    at = 6

    def number(size: int) -> int:
        nonlocal at
        at += size
        return int.from_bytes(iloc[at - size : at], "big")

    for _ in range(number(4 if version == 2 else 2)):
        item = number(4 if version == 2 else 2)
        method = number(2) & 15 if version else 0
        number(2)  # which file: this one
        base = number(sizes[2])
        pieces = []
        for _ in range(number(2)):
            number(sizes[3])
            begin = number(sizes[0])
            pieces.append((base + begin, number(sizes[1])))
            if at > len(iloc):
                return
        yield item, method, pieces


def _item_properties(ipma: bytes) -> Iterator[tuple[int, list[int]]]:
    """Yields each item's properties; the highest of 16 bits says that a property is essential."""
    wide_items, wide_numbers = ipma[0] > 0, ipma[3] & 1
    (count,) = struct.unpack_from(">L", ipma, 4)
    at = 8
    for _ in range(count):
        (item,) = struct.unpack_from(">L" if wide_items else ">H", ipma, at)
        at += 4 if wide_items else 2
        length = ipma[at]
        at += 1
        numbers = struct.unpack_from(f">{length}{'H' if wide_numbers else 'B'}", ipma, at)
        at += length * (2 if wide_numbers else 1)
        yield item, list(numbers) if wide_numbers else [(n & 0x80) << 8 | n & 0x7F for n in numbers]


def _cicp(colr: bytes) -> bytes | None:
    if colr[:4] != b"nclx" or len(colr) < 10:
        return None
    primaries, transfer = struct.unpack_from(">HH", colr, 4)
    # The matrix and the range are those of the file's YCbCr, of which the decoder makes RGB.
    return bytes([primaries & 255, transfer & 255, 0, 1])


def _cicp_of_track(moov: bytes) -> bytes | None:
    """Looks for `nclx` in a movie's first track of pictures."""

    def within(start: int, end: int, path: tuple[bytes, ...]) -> Iterator[tuple[int, int]]:
        for name, begin, stop in boxes(moov, start, end):
            if name == path[0]:
                yield from within(begin, stop, path[1:]) if len(path) > 1 else [(begin, stop)]

    for begin, end in within(0, len(moov), (b"trak", b"mdia", b"minf", b"stbl", b"stsd")):
        for _, entry, entry_end in boxes(moov, begin + 8, end):
            for name, at, stop in boxes(moov, entry + 78, entry_end):
                if name == b"colr" and _cicp(moov[at:stop]):
                    return _cicp(moov[at:stop])
    return None


# === Written ===


def with_cicp(data: bytes, cicp: bytes) -> bytes:
    """Returns an AVIF whose `nclx` has other primaries and another transfer function."""
    mark = b"colrnclx"
    changed = bytearray(data)
    at = data.find(mark)
    while at >= 0 and at < _end_of_boxes(data):
        struct.pack_into(">HH", changed, at + len(mark), cicp[0], cicp[1])
        at = data.find(mark, at + 1)
    return bytes(changed)


def with_items(data: bytes, exif: bytes | None, xmp: bytes | None, icc: bytes | None) -> bytes:
    """Returns an AVIF of one image, as libavif writes it, with EXIF, XMP and an ICC profile added.

    Args:
        data: The boxes `ftyp`, `meta` and `mdat`.
        exif: EXIF block without its mark.
        xmp: XMP packet.
        icc: ICC profile.
    """
    top = {name: (begin, end) for name, begin, end in boxes(data)}
    meta = data[slice(*top[b"meta"])]
    items = read_items(meta)
    parts = {name: meta[begin:end] for name, begin, end in boxes(meta, 4)}
    added = {}
    number = max(items.types)
    infos, references = [], []
    for kind, content in ((b"Exif\0", exif and bytes(4) + exif), (b"mime\0" + _XMP_TYPE + b"\0", xmp)):
        if content:
            number += 1
            added[number] = content
            infos.append(_box(b"infe", struct.pack(">LHH", 2 << 24, number, 0) + kind))
            references.append(_box(b"cdsc", struct.pack(">HHH", number, 1, items.primary)))
    if icc:
        items.properties.append((b"colr", b"prof" + icc))
        items.of_items[items.primary].append(len(items.properties))
    ipma = b"".join(
        struct.pack(">HB", item, len(numbers)) + bytes(n >> 8 | n & 0x7F for n in numbers)
        for item, numbers in items.of_items.items()
    )
    properties = _box(b"ipco", b"".join(_box(*part) for part in items.properties))
    iinf = parts[b"iinf"]
    new = {
        b"hdlr": parts[b"hdlr"],
        b"pitm": parts[b"pitm"],
        b"iloc": b"",
        b"iinf": iinf[:4] + struct.pack(">H", len(items.types) + len(added)) + iinf[6:] + b"".join(infos),
        b"iref": parts.get(b"iref", bytes(4)) + b"".join(references),
        b"iprp": properties + _box(b"ipma", struct.pack(">LL", 0, len(items.of_items)) + ipma),
    }
    begin, end = top[b"mdat"]
    payload = data[begin:end]
    ftyp = data[: top[b"meta"][0] - 8]
    shift = 0
    for _ in range(2):  # once to know the length of it
        places = dict(items.places)
        places = {item: [(at + shift - begin, length) for at, length in pieces] for item, pieces in places.items()}
        at = shift + len(payload)
        for item, content in added.items():
            places[item] = [(at, len(content))]
            at += len(content)
        new[b"iloc"] = _iloc(places)
        boxed = _box(b"meta", bytes(4) + b"".join(_box(*part) for part in new.items()))
        shift = len(ftyp) + len(boxed) + 8
    return ftyp + boxed + _box(b"mdat", payload + b"".join(added.values()))


def _iloc(places: dict[int, list[tuple[int, int]]]) -> bytes:
    rows = [
        struct.pack(">HHH", item, 0, len(pieces)) + b"".join(struct.pack(">LL", *piece) for piece in pieces)
        for item, pieces in places.items()
    ]
    return struct.pack(">LBBH", 0, 0x44, 0, len(rows)) + b"".join(rows)


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">L4s", 8 + len(content), name) + content


def _end_of_boxes(data: bytes) -> int:
    """Where the coded pixels begin."""
    return next((begin for name, begin, _ in boxes(data) if name == b"mdat"), len(data))
