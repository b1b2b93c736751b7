"""EXIF: extracted from files, and changed in place for a new size or orientation.

The bytes of an EXIF block depend on their positions, because maker notes contain offsets. The module therefore does not
rewrite a block: it changes the few values that must change, and nothing else.
"""

import contextlib
import struct
from collections.abc import Mapping
from fractions import Fraction

from PIL import Image

from .directories import (
    EXIF,
    GPS,
    INTEROPERABILITY,
    LONG,
    RATIONAL,
    SHORT,
    SLONG,
    SUB_DIRECTORIES,
    Directory,
    Entry,
    Reader,
    Value,
    Writer,
    copied,
    pack,
)
from .metadata import Density, Unit

ORIENTATION = 0x0112
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
MAKER_NOTE = 0x927C

_MARK = b"Exif\0\0"
_SHORTEST = 14  # a header, and a directory without tags
_UNITS: dict[int, Unit] = {1: "", 2: "inch", 3: "centimeter"}
_THUMBNAIL, _THUMBNAIL_LENGTH = 0x0201, 0x0202
_STRIPS, _STRIP_LENGTHS = 0x0111, 0x0117
_DESCRIPTION = 0x010E
_DESCRIPTIONS_OF_SIZE = {"": b'{"shape":', "ImageJ's description": b"ImageJ=", "OME-XML": b"<OME"}
_FURTHEST_MAKER_NOTE = 2**15  # bytes before it that a block is filled up with, to keep its place
_LONGEST_THUMBNAIL = 2**16
_NAMED_TAGS = 4

# Tags of the first directory that describe how a TIFF stores its pixels, not what they show.
STORAGE = frozenset(
    {
        *(0x00FE, 0x00FF),  # kind of image
        *(0x0100, 0x0101, 0x0102, 0x0103, 0x0106),  # size, bits, compression, photometric interpretation
        *range(0x0107, 0x010B),  # thresholds, cells, fill order
        *(0x0111, 0x0115, 0x0116, 0x0117),  # strips, channels
        *(0x0118, 0x0119, 0x011C),  # least and greatest value, planes
        *range(0x0120, 0x0126),  # free bytes, response curves, options of fax compression
        0x013D,  # predictor
        *range(0x0140, 0x014A),  # palette, halftones, tiles
        *range(0x014C, 0x0158),  # inks, further channels, value formats, JPEG tables
        *range(0x0200, 0x020A),  # JPEG in the manner of 1992
        0x022F,
        *(0x02BC, 0x8649, 0x8773),  # XMP, Photoshop's resources and the ICC profile, which have ways of their own
    }
)
_PHOTOMETRIC, _YCBCR = 0x0106, 6
_OF_YCBCR = (0x0211, 0x0212, 0x0213, 0x0214)  # coefficients, subsampling, ...
_POINTERS = (EXIF, GPS, INTEROPERABILITY)
# Tags that are not valid for pixels of another size, or belong to pixels that are not read.
_OF_OTHER_PIXELS = {
    "raw data (CFA, DNG)": (*range(0x828D, 0x8290), *range(0xC612, 0xC7F0)),
    "georeference (GeoTIFF)": (0x830E, 0x8480, 0x8482, 0x85D8, 0x87AF, 0x87B0, 0x87B1),
    "Photoshop layers": (0x935C,),
}


def orientation_of(stored: Image.Image) -> int:
    """Returns the EXIF orientation, 1 to 8; 1 (upright) if there is none or it is not valid."""
    try:
        orientation = stored.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged EXIF raises struct.error, TypeError, OSError, ...: the pixels may still be sound
        return 1
    return orientation if orientation in range(1, 9) else 1


def upright(exif: bytes) -> bytes:
    """Returns an EXIF block with its `Exif` mark and with an upright orientation.

    Args:
        exif: The block, with or without its mark.

    Raises:
        ValueError: If it is damaged.
    """
    block = _block(exif)
    return _MARK + _changed(block, {ORIENTATION: 1}, {}, {})


def exif_for_size(exif: bytes, height: int, width: int) -> bytes:
    """Returns the EXIF with other sizes, if it has any.

    Raises:
        ValueError: If it is damaged.
    """
    return _MARK + _changed(
        _block(exif),
        {0x0100: width, 0x0101: height},
        {0xA002: width, 0xA003: height},
        {0x1001: width, 0x1002: height},
    )


def density_of(exif: bytes) -> Density | None:
    """Returns the resolution in an EXIF block; None if there is none, or the block is damaged."""
    try:
        reader = Reader.of_bytes(_block(exif))
        tags = {entry.tag: entry for entry in reader.directory(reader.first)[0]}
        x, y = (
            Fraction(*struct.unpack(f"{reader.order}LL", reader.value(tags[tag])))
            for tag in (X_RESOLUTION, Y_RESOLUTION)
        )
        unit = reader.integers(tags[RESOLUTION_UNIT])[0] if RESOLUTION_UNIT in tags else 2
    except (ValueError, KeyError, IndexError, struct.error, ZeroDivisionError):
        return None
    known = _UNITS.get(unit)
    return Density(x, y, known) if known is not None and x > 0 and y > 0 else None


def with_density(exif: bytes | None, density: Density) -> bytes:
    """Returns an EXIF block with a resolution; an existing one stays.

    The first directory is rewritten at the end, so that all other positions stay.
    """
    block = _block(exif) if exif else Writer("<").finish(0)
    reader = Reader.of_bytes(block)
    entries, following = reader.directory(reader.first) if exif else ([], 0)
    directory = {entry.tag: Value(entry.type, entry.count, entry.field, raw=True) for entry in entries}
    writer = Writer(reader.order, begin=block)
    added = resolution_tags(density, reader.order)
    return _MARK + writer.finish(writer.directory({**added, **directory}, following=following))


def resolution_tags(density: Density, order: str) -> Directory:
    """Returns the tags of TIFF and EXIF for a density."""
    if density.unit == "meter":
        density = Density(*density.per("centimeter"), "centimeter")
    x, y = (value.limit_denominator(10**5) for value in (density.x, density.y))
    unit = next(number for number, name in _UNITS.items() if name == density.unit)
    return {
        X_RESOLUTION: pack(order, RATIONAL, (x.numerator, x.denominator)),
        Y_RESOLUTION: pack(order, RATIONAL, (y.numerator, y.denominator)),
        RESOLUTION_UNIT: pack(order, SHORT, (unit,)),
    }


def tree_of(exif: bytes) -> tuple[str, Directory, Directory | None, int | None]:
    """Splits an EXIF block into directories, for a BigTIFF, which cannot store it in one piece.

    Returns:
        The byte order, the first directory with those within it, the thumbnail's, and the place of the maker note.
    """
    reader = Reader.of_bytes(_block(exif))
    entries, following = reader.directory(reader.first)
    return (
        reader.order,
        _tree(reader, entries)[0],
        _thumbnail_at(reader, following),
        _place_of_maker_note(reader, entries),
    )


def exif_of_tiff(reader: Reader) -> tuple[bytes | None, list[str]]:
    """Makes an EXIF block of a TIFF's first directory.

    Tags that describe the storage of the pixels are omitted. A maker note keeps its position if it is near the start.

    Returns:
        The block, its mark before it, or None if there is nothing to keep; and the names of what is lost.

    Raises:
        ValueError: If the directory is damaged.
    """
    entries, _ = reader.directory(reader.first)
    tags = {entry.tag for entry in entries}
    lost = [name for name, theirs in _OF_OTHER_PIXELS.items() if tags & set(theirs)]
    left = STORAGE.union(*_OF_OTHER_PIXELS.values(), (SUB_DIRECTORIES,))
    if any(entry.tag == _PHOTOMETRIC and reader.integers(entry) == (_YCBCR,) for entry in entries):
        left = left.union(_OF_YCBCR)  # about numbers that are now RGB
    directory, damaged = _tree(reader, [entry for entry in entries if entry.tag not in left])
    if damaged:
        more = ", ..." if len(damaged) > _NAMED_TAGS else ""
        lost.append(f"damaged tags of EXIF ({', '.join(f'{tag:#06x}' for tag in damaged[:_NAMED_TAGS])}{more})")
    lost += _without_description_of_size(directory)
    thumbnail = _thumbnail_within(reader, entries)
    if not directory and not thumbnail:
        return None, lost
    place = _place_of_maker_note(reader, entries)
    writer = Writer(reader.order)
    placed = {}
    if place is not None:
        note = maker_note_of(directory)
        if 8 <= place <= _FURTHEST_MAKER_NOTE:
            placed[MAKER_NOTE] = writer.place(note, place)
        else:
            lost.append("the place of the maker note, on which offsets within it may depend")
    following = writer.directory(thumbnail) if thumbnail else 0
    return _MARK + writer.finish(writer.directory(directory, placed, following)), lost


def maker_note_of(directory: Directory) -> bytes:
    """Returns the maker note of a first directory; nothing if it has none."""
    details = directory[EXIF].content if EXIF in directory else None
    note = details[MAKER_NOTE].content if isinstance(details, dict) and MAKER_NOTE in details else b""
    return note if isinstance(note, bytes) else b""


# === Within ===


def _without_description_of_size(directory: Directory) -> list[str]:
    """Takes off an ImageDescription by which programs find the shape of the data; returns what is lost with it."""
    description = directory.get(_DESCRIPTION)
    text = description.content if description else b""
    if isinstance(text, bytes):
        for name, mark in _DESCRIPTIONS_OF_SIZE.items():
            if text.startswith(mark) or (mark == b"<OME" and mark in text[:1000]):
                del directory[_DESCRIPTION]
                return [name] if name else []
    return []


def _block(exif: bytes) -> bytes:
    block = exif.removeprefix(_MARK)
    if len(block) < _SHORTEST:
        raise ValueError("it is too short")
    return block


def _changed(
    block: bytes, first: Mapping[int, int], details: Mapping[int, int], interoperability: Mapping[int, int]
) -> bytes:
    """Returns the block with other integers in three of its directories."""
    reader = Reader.of_bytes(block)
    if reader.big:
        raise ValueError("EXIF must not be a BigTIFF")
    changed = bytearray(block)
    entries, _ = reader.directory(reader.first)
    _set_integers(changed, reader, entries, first)
    inner, _ = reader.inner(entries, EXIF) or ([], 0)
    _set_integers(changed, reader, inner, details)
    for outer in (entries, inner):  # it belongs in the second; some programs write it in the first
        deepest, _ = reader.inner(outer, INTEROPERABILITY) or ([], 0)
        _set_integers(changed, reader, deepest, interoperability)
    return bytes(changed)


def _set_integers(block: bytearray, reader: Reader, entries: list[Entry], values: Mapping[int, int]) -> None:
    for entry in entries:
        if entry.tag not in values or entry.type not in (SHORT, LONG, SLONG) or entry.count != 1:
            continue
        value = values[entry.tag]
        if entry.type == SHORT and value < 2**16:
            struct.pack_into(f"{reader.order}H", block, entry.at + 8, value)
        else:
            kind = SLONG if entry.type == SLONG else LONG
            struct.pack_into(f"{reader.order}HLL", block, entry.at + 2, kind, 1, value)


def _tree(reader: Reader, entries: list[Entry], within: tuple[int, ...] = _POINTERS) -> tuple[Directory, list[int]]:
    """Reads a directory with those in it; only what belongs there is followed, for damage may lead in a circle.

    Returns:
        The directory, and the numbers of the tags that are damaged.
    """
    directory, damaged = copied(reader, [entry for entry in entries if entry.tag not in _POINTERS])
    for tag in within:
        if inner := reader.inner(entries, tag):
            content, wrong = _tree(reader, inner[0], (INTEROPERABILITY,) if tag == EXIF else ())
            directory[tag] = Value(LONG, 1, content)
            damaged += wrong
    return directory, damaged


def _place_of_maker_note(reader: Reader, entries: list[Entry]) -> int | None:
    """Returns where a maker note lies; None if there is none, or it is short or cannot be read."""
    for entry in (reader.inner(entries, EXIF) or ([], 0))[0]:
        if entry.tag == MAKER_NOTE:
            with contextlib.suppress(ValueError):
                return reader.offset(entry) if len(reader.value(entry)) > len(entry.field) else None
    return None


def _thumbnail_within(reader: Reader, entries: list[Entry]) -> Directory | None:
    """Returns the directory of an EXIF thumbnail, which `encode_tiff` writes beside the first directory."""
    for entry in entries:
        if entry.tag == SUB_DIRECTORIES:
            for offset in reader.readable(entry)[:16]:
                thumbnail = _thumbnail_at(reader, offset)
                if thumbnail and _THUMBNAIL in thumbnail:
                    return thumbnail
    return None


def _thumbnail_at(reader: Reader, offset: int) -> Directory | None:
    """Reads a thumbnail's directory with its data, which EXIF has as one JPEG or as strips."""
    if not offset:
        return None
    try:
        entries, _ = reader.directory(offset)
        directory, _ = _tree(reader, entries)
        tags = {entry.tag: entry for entry in entries}
        for places, lengths in ((_THUMBNAIL, _THUMBNAIL_LENGTH), (_STRIPS, _STRIP_LENGTHS)):
            if places not in tags:
                continue
            pairs = list(zip(reader.integers(tags[places]), reader.integers(tags[lengths]), strict=True))
            if sum(length for _, length in pairs) > _LONGEST_THUMBNAIL:
                return None
            data = tuple(reader.bytes_at(place, length) for place, length in pairs)
            directory[places] = Value(LONG, len(data), data)
    except (ValueError, KeyError):
        return None
    return directory
