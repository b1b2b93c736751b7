"""TIFF's directories, which EXIF has, too: read entry by entry, and written.

Reference: TIFF 6.0, section 2; EXIF 2.32, section 4.6.2; the BigTIFF design (libtiff).
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# Bytes of one value by type. 13 (IFD) is of TIFF's Technical Note 1, 129 (UTF-8) of EXIF 3.0, 16 to 18 of BigTIFF.
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8, 129: 1}
SHORT, LONG, RATIONAL, UNDEFINED, SLONG, LONG8, IFD8 = 3, 4, 5, 7, 9, 16, 18
BYTE = 1
EXIF, GPS, INTEROPERABILITY, SUB_DIRECTORIES = 0x8769, 0x8825, 0xA005, 0x014A

_INTEGERS = {SHORT: "H", LONG: "L", SLONG: "l", 13: "L", LONG8: "Q", IFD8: "Q"}
_MOST_BYTES = 2**26  # of one directory's values: more is damage


HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF's


def is_tiff(head: bytes) -> bool:
    """Whether a file with these first bytes, four at least, is a TIFF."""
    return head.startswith(HEADS)


@dataclass(frozen=True)
class Entry:
    """One tag as it stands in a directory.

    Args:
        tag: Number of the tag.
        type: Number of its type.
        count: Number of values.
        field: The value, or where it lies: 4 bytes (BigTIFF: 8).
        at: Where the entry stands.
    """

    tag: int
    type: int
    count: int
    field: bytes
    at: int


class Reader:
    """Reads directories; whatever lies outside the data raises a ValueError.

    Args:
        read: Function `(offset, length)` that returns bytes, fewer where the data end.

    Raises:
        ValueError: If the data do not begin as a TIFF.
    """

    def __init__(self, read: Callable[[int, int], bytes]) -> None:
        self._read = read
        head = self.bytes_at(0, 8)
        if not is_tiff(head):
            raise ValueError("the data do not begin as a TIFF does")
        self.order = "<" if head[:2] == b"II" else ">"
        self.big = b"+" in head[2:4]
        self.first: int = self.unpack("Q", self.bytes_at(8, 8)) if self.big else self.unpack("L", head[4:])

    @classmethod
    def of_bytes(cls, data: bytes) -> "Reader":
        """Returns a reader of a TIFF or EXIF block in memory."""
        return cls(lambda offset, length: bytes(data[offset : offset + length]))

    def bytes_at(self, offset: int, length: int) -> bytes:
        """Returns that many bytes."""
        data = self._read(offset, length) if length <= _MOST_BYTES else b""
        if len(data) != length:
            raise ValueError("a directory leads outside the data")
        return data

    def unpack(self, kind: str, data: bytes) -> int:
        """Returns one integer; `kind` as in `struct`."""
        return struct.unpack(self.order + kind, data)[0]

    def directory(self, offset: int) -> tuple[list[Entry], int]:
        """Returns the entries of a directory, and where the next of its chain begins (0: nowhere)."""
        words, size, width = ("Q", 20, 8) if self.big else ("H", 12, 4)
        start = offset + struct.calcsize(f"={words}")
        count = self.unpack(words, self.bytes_at(offset, start - offset))
        data = self.bytes_at(start, count * size)
        entries = [self._entry(data[at : at + size], start + at) for at in range(0, count * size, size)]
        after = self._read(start + count * size, width)  # EXIF of some writers ends without it
        return entries, self.unpack("Q" if self.big else "L", after) if len(after) == width else 0

    def _entry(self, data: bytes, at: int) -> Entry:
        tag, kind, count = struct.unpack(self.order + ("HHQ" if self.big else "HHL"), data[: 12 if self.big else 8])
        return Entry(tag, kind, count, data[12 if self.big else 8 :], at)

    def value(self, entry: Entry) -> bytes:
        """Returns the bytes of an entry's values, in the byte order of the data."""
        length = SIZES.get(entry.type, 0) * entry.count
        return entry.field[:length] if length <= len(entry.field) else self.bytes_at(self.offset(entry), length)

    def offset(self, entry: Entry) -> int:
        """Returns where the values of an entry lie whose field does not hold them."""
        return self.unpack("Q" if self.big else "L", entry.field)

    def integers(self, entry: Entry) -> tuple[int, ...]:
        """Returns the values of an entry of integers; none, if it is of another type."""
        kind = _INTEGERS.get(entry.type)
        return struct.unpack(f"{self.order}{entry.count}{kind}", self.value(entry)) if kind else ()

    def readable(self, entry: Entry) -> tuple[int, ...]:
        """Returns the values of an entry of integers; none, if they lead outside the data."""
        try:
            return self.integers(entry)
        except ValueError:
            return ()

    def inner(self, entries: list[Entry], tag: int) -> tuple[list[Entry], int] | None:
        """Returns the directory to which a tag leads; None if there is none, or it leads nowhere."""
        for entry in entries:
            if entry.tag == tag:
                try:
                    return self.directory(self.integers(entry)[0])
                except (ValueError, IndexError):
                    return None
        return None


# === Written anew ===


@dataclass(frozen=True)
class Value:
    """A tag to write.

    Args:
        type: Number of its type.
        count: Number of values.
        content: The bytes of the values; or a directory to which the tag leads; or blocks of data whose places are the
            values.
        raw: Whether `content` is an entry's field, which is written unchanged.
    """

    type: int
    count: int
    content: "bytes | Directory | tuple[bytes, ...]"
    raw: bool = False


Directory = dict[int, Value]


class Writer:
    """Lays directories and what they lead to one after another.

    Args:
        order: "<" or ">", as in `struct`.
        big: Whether it becomes a BigTIFF.
        begin: Beginning of the data, whose positions stay. Defaults to a header only.
    """

    def __init__(self, order: str, big: bool = False, begin: bytes = b"") -> None:
        self.order, self.big = order, big
        self.data = bytearray(begin or bytes(16 if big else 8))

    def place(self, content: bytes, at: int | None = None) -> int:
        """Appends data at an even position, or at a given later one, and returns the position."""
        start = len(self.data) + len(self.data) % 2 if at is None else at
        self.data.extend(bytes(start - len(self.data)))
        self.data.extend(content)
        return start

    def directory(self, directory: Directory, placed: dict[int, int] | None = None, following: int = 0) -> int:
        """Appends a directory behind what it leads to, and returns its place.

        Args:
            directory: What to write.
            placed: Places of values that are in the data already, by tag.
            following: Place of the next directory of the chain.
        """
        word = "Q" if self.big else "L"
        width = 8 if self.big else 4
        entries = []
        for tag, value in sorted(directory.items()):
            content, kind = value.content, value.type
            if isinstance(content, dict):
                content = struct.pack(self.order + word, self.directory(content, placed))
                kind = IFD8 if self.big else LONG
            elif isinstance(content, tuple):
                content = struct.pack(f"{self.order}{value.count}L", *(self.place(block) for block in content))
            if len(content) > width and not value.raw:
                place = placed[tag] if placed and tag in placed else self.place(content)
                content = struct.pack(self.order + word, place)
            head = struct.pack(self.order + ("HHQ" if self.big else "HHL"), tag, kind, value.count)
            entries.append(head + content.ljust(width, b"\0"))
        count = struct.pack(self.order + ("Q" if self.big else "H"), len(entries))
        return self.place(count + b"".join(entries) + struct.pack(self.order + word, following))

    def finish(self, first: int) -> bytes:
        """Returns the data, with a header that leads to the first directory."""
        mark = b"II" if self.order == "<" else b"MM"
        if self.big:
            self.data[:16] = mark + struct.pack(f"{self.order}HHHQ", 43, 8, 0, first)
        else:
            self.data[:8] = mark + struct.pack(f"{self.order}HL", 42, first)
        return bytes(self.data)


def pack(order: str, kind: int, values: Sequence[int]) -> Value:
    """Returns a tag of SHORT, LONG, LONG8, or RATIONAL, whose values are numerators and denominators by turns."""
    code = {SHORT: "H", LONG: "L", LONG8: "Q", RATIONAL: "L"}[kind]
    count = len(values) // 2 if kind == RATIONAL else len(values)
    return Value(kind, count, struct.pack(f"{order}{len(values)}{code}", *values))


def copied(reader: Reader, entries: list[Entry]) -> tuple[Directory, list[int]]:
    """Takes tags with values that do not depend on where they lay.

    Returns:
        The tags; and the numbers of those that are damaged: of an unknown type, with values that lead outside the data,
        or with more than any metadata has, together with those before them (they may overlap).
    """
    directory: Directory = {}
    damaged = []
    left = _MOST_BYTES
    for entry in entries:
        left -= SIZES.get(entry.type, 0) * entry.count
        try:
            if entry.type not in SIZES or left < 0:
                raise ValueError("its values cannot be read")
            directory[entry.tag] = _copied(reader, entry)
        except ValueError:
            damaged.append(entry.tag)
    return directory, damaged


def _copied(reader: Reader, entry: Entry) -> Value:
    content, kind = reader.value(entry), entry.type
    if kind not in (16, 17, 18):
        return Value(kind, entry.count, content)
    values = struct.unpack(f"{reader.order}{entry.count}Q", content)  # only BigTIFF has them
    if max(values, default=0) >= 2**32:
        raise ValueError("a number has more than 32 bits")
    return Value(SLONG if kind == 17 else LONG, entry.count, struct.pack(f"{reader.order}{entry.count}L", *values))
