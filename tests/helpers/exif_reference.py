"""EXIF blocks written and read from the specification: EXIF 2.32 (CIPA DC-008), 4.6, and TIFF 6.0, section 2.

Nothing here is from the package. A block is described by its directories: `{"first": {tag: (type, bytes)}, ...}`, the
bytes of a value in the byte order of the block.
"""

import struct

from hypothesis import strategies as st

# BYTE, ASCII, SHORT, LONG, RATIONAL, SBYTE, UNDEFINED, SSHORT, SLONG, SRATIONAL, FLOAT, DOUBLE; UTF-8 (EXIF 3.0).
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 129: 1}
_ALIGNED = {1: "B", 2: "B", 3: "H", 4: "L", 5: "L", 6: "b", 7: "B", 8: "h", 9: "l", 10: "l", 11: "L", 12: "Q", 129: "B"}
EXIF, GPS, INTEROP, SUB, MAKER_NOTE = 0x8769, 0x8825, 0xA005, 0x014A, 0x927C
POINTERS = {"first": {EXIF: "exif", GPS: "gps", SUB: "sub"}, "exif": {INTEROP: "interop"}}

# Descriptions, and what EXIF has about color; no tag of how pixels are stored.
_FIRST = [0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C, 0x0213, 0x4746, 0x8298, 0x9C9B, 0xEA1C, 0xFDE9]
_EXIF = [0x829A, 0x8827, 0x9000, 0x9003, 0x9101, 0x9201, 0x9286, 0xA001, 0xA300, 0xA302, 0xA430, 0xA432, 0xA500, 0xFDEA]
_GPS = list(range(0x20))
_INTEROP = [1, 2, 0x1000, 0xFDEB]


def _values(order):
    def of_type(kind):
        code = _ALIGNED[kind]
        size = struct.calcsize("=" + code)
        least = -(256**size) // 2 if code.islower() else 0
        number = st.integers(least, least + 256**size - 1)
        step = SIZES[kind] // size
        return st.lists(st.tuples(*[number] * step), min_size=1, max_size=9).map(
            lambda rows: (kind, b"".join(struct.pack(f"{order}{step}{code}", *row) for row in rows))
        )

    texts = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20)
    return st.one_of(
        st.sampled_from(sorted(SIZES)).flatmap(of_type),
        st.tuples(st.just(2), texts.map(lambda text: text.encode() + b"\0")),
        st.tuples(st.just(2), texts.map(lambda text: text.encode("latin-1", "replace") + b"\0")),
    )


@st.composite
def exif_descriptions(draw, thumbnail=b""):
    """Draws `(order, directories, thumbnail, gap)`: every type, any of the directories, either byte order."""
    order = draw(st.sampled_from("<>"))
    values = _values(order)

    def some(tags):
        return draw(st.dictionaries(st.sampled_from(tags), values, max_size=6))

    def size(*tags):
        kind = draw(st.sampled_from([3, 4]))
        return {tag: (kind, struct.pack(order + " HL"[kind - 2], 7)) for tag in tags if draw(st.booleans())}

    directories = {"first": {**some(_FIRST), **size(0x0100, 0x0101)}}
    if draw(st.booleans()):
        directories["first"][0x0112] = (3, struct.pack(order + "H", 1))
    if draw(st.booleans()):
        directories["exif"] = {**some(_EXIF), **size(0xA002, 0xA003)}
        if draw(st.booleans()):
            directories["exif"][MAKER_NOTE] = (7, draw(st.binary(min_size=5, max_size=60)))
        if draw(st.booleans()):
            directories["interop"] = {**some(_INTEROP), **size(0x1001, 0x1002)}
    if draw(st.booleans()):
        directories["gps"] = some(_GPS)
    if draw(st.booleans()):
        directories["sub"] = some(_FIRST)
    kept = draw(st.sampled_from([b"", thumbnail]))
    return order, directories, kept, draw(st.integers(0, 3))


def sized(directories, order, width, height):
    """Returns the directories with other sizes in the tags that tell them."""
    sizes = {
        "first": {0x0100: width, 0x0101: height},
        "exif": {0xA002: width, 0xA003: height},
        "interop": {0x1001: width, 0x1002: height},
    }
    return {
        name: {
            tag: (kind, struct.pack(order + " HL"[kind - 2], sizes[name][tag]))
            if tag in sizes.get(name, {})
            else (kind, value)
            for tag, (kind, value) in directory.items()
        }
        for name, directory in directories.items()
    }


def write_exif(order, directories, thumbnail=b"", gap=0):
    """Returns a block; `gap` words of nothing lie between its parts."""
    data = bytearray(8)

    def put(content):
        data.extend(bytes(len(data) % 2 + 2 * gap))
        data.extend(content)
        return len(data) - len(content)

    def put_directory(entries, following=0):
        rows = []
        for tag, (kind, value) in sorted(entries.items()):
            count = len(value) // SIZES[kind]
            field = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack(order + "L", put(value))
            rows.append(struct.pack(order + "HHL", tag, kind, count) + field)
        return put(struct.pack(order + "H", len(rows)) + b"".join(rows) + struct.pack(order + "L", following))

    places = {}
    for name in ("sub", "interop", "gps", "exif"):
        if name in directories:
            pointers = pointers_of(name, places, order)
            places[name] = put_directory({**directories[name], **pointers})
    following = 0
    if thumbnail:
        at = put(thumbnail)
        tags = {0x0103: (3, struct.pack(order + "H", 6)), 0x0201: (4, struct.pack(order + "L", at))}
        following = put_directory({**tags, 0x0202: (4, struct.pack(order + "L", len(thumbnail)))})
    first = put_directory({**directories["first"], **pointers_of("first", places, order)}, following)
    data[:8] = (b"II" if order == "<" else b"MM") + struct.pack(order + "HL", 42, first)
    return bytes(data)


def pointers_of(name, places, order):
    """Returns the tags of a directory that lead to others."""
    inner = POINTERS.get(name, {})
    return {tag: (4, struct.pack(order + "L", places[to])) for tag, to in inner.items() if to in places}


def read_exif(data):
    """Returns the directories of a block or of a TIFF, without the tags that lead to others.

    Beside them: `places`, where each value of more than four bytes lies, by directory and tag; `thumbnail`, the data of
    the second directory of the chain, or of one beside the first.
    """
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    word, field, row, counter = ("Q", 8, 20, "Q") if big else ("L", 4, 12, "H")
    found, places = {}, {}

    def walk(name, at):
        (count,) = struct.unpack_from(order + counter, data, at)
        at += struct.calcsize("=" + counter)
        entries = {}
        tags = []
        for start in range(at, at + row * count, row):
            tag, kind, values = struct.unpack_from(f"{order}HH{word}", data, start)
            tags.append(tag)
            length = values * {**SIZES, 13: 4, 16: 8, 18: 8}[kind]
            place = start + row - field
            if length > field:
                (place,) = struct.unpack_from(order + word, data, place)
                assert place % 2 == 0 or tag == MAKER_NOTE
                assert place + length <= len(data)
                places[name, tag] = place
            value = data[place : place + length]
            to = POINTERS.get(name, {}).get(tag)
            if to:
                offsets = struct.unpack(f"{order}{values}{'Q' if kind in (16, 18) else 'L'}", value)
                targets = [to, "beside"] if tag == SUB else [to]
                for target, offset in zip(targets, offsets, strict=False):
                    walk(target, offset)
            else:
                entries[tag] = (kind, value)
        assert tags == sorted(set(tags)), "a directory's tags ascend"
        found[name] = entries
        (following,) = struct.unpack_from(order + word, data, at + row * count)
        return following

    following = walk("first", struct.unpack_from(order + word, data, 8 if big else 4)[0])
    if following:
        walk("second", following)
    thumbnail = b""
    for name in ("second", "beside", "sub"):
        entries = found.get(name, {})
        if 0x0201 in entries:
            at, length = (
                int.from_bytes(entries[tag][1], "little" if order == "<" else "big") for tag in (0x0201, 0x0202)
            )
            thumbnail = data[at : at + length]
            del found[name]
    return order, found, places, thumbnail
