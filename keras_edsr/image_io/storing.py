"""What each format can store beside pixels: a picture's metadata fitted to it, and the names of what it loses."""

import struct
from dataclasses import dataclass, field
from fractions import Fraction

from .color import Space, icc_of, space_of
from .embedded import text_of, xmp_for_size
from .exif import density_of, exif_for_size, with_density
from .metadata import Color, Density, Metadata, Unit
from .picture import Picture

_EXIF = ("PNG", "JPEG", "WEBP", "TIFF", "AVIF")
_PHOTOSHOP = ("JPEG", "TIFF")
_COMMENTS = ("PNG", "JPEG", "GIF")

_LONGEST_JPEG_EXIF = 65533  # one segment
_LONGEST_JPEG_XMP = 65533 - 29
_LONGEST_COMMENT = 65533
_MOST_DENSITY = {"PNG": 2**32 - 1, "JPEG": 65535, "BMP": 2**31 - 1}
_NAMED_TEXTS = 8  # before "and others"


@dataclass
class Stored:
    """What goes into a file beside the pixels.

    Args:
        exif: EXIF block, its mark before it.
        icc: ICC profile.
        xmp: XMP packet.
        density: Pixels per length, in a unit that the format has.
        comments: JPEG's or GIF's comments.
        cicp: Color, for AVIF, as `Color.cicp`.
        chunks: PNG's chunks that stand before the pixels.
        segments: JPEG's segments that Pillow has no way to write.
        photoshop: Photoshop's image resources, for TIFF.
        convert: Colors from which to convert the pixels, because the format cannot store them.
        lost: Names of what the format cannot store.
        notes: What is stored otherwise than it was.
    """

    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    density: Density | None = None
    comments: list[bytes] = field(default_factory=list)
    cicp: bytes | None = None
    chunks: list[tuple[bytes, bytes]] = field(default_factory=list)
    segments: bytes = b""
    photoshop: bytes | None = None
    convert: Space | None = None
    lost: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def stored_in(name: str, picture: Picture) -> Stored:
    """Fits what a picture has beside pixels to a format.

    Args:
        name: Pillow's name of the format.
        picture: The picture, in its new size.
    """
    stored = Stored()
    _store_exif(stored, name, picture)
    _store_color(stored, name, picture)
    _store_xmp(stored, name, picture)
    _store_density(stored, name, picture.metadata.density)
    _store_texts(stored, name, picture.metadata)
    if picture.metadata.photoshop:
        if name in _PHOTOSHOP:
            stored.photoshop = picture.metadata.photoshop
        else:
            stored.lost.append("IPTC and Photoshop's resources")
    if name == "JPEG":
        stored.segments += _photoshop_segments(stored.photoshop or b"")
    if name == "PNG":
        stored.chunks += _chunks_of(stored, picture)
    elif picture.metadata.chunks:
        stored.lost += [f"PNG's {kind.decode('latin-1')}" for kind in dict(picture.metadata.chunks)]
    if picture.metadata.background and name != "PNG":
        stored.lost.append("the background color")
    stored.lost += picture.metadata.lost
    return stored


def _store_exif(stored: Stored, name: str, picture: Picture) -> None:
    if not picture.exif:
        return
    if name not in _EXIF:
        stored.lost.append("EXIF")
        return
    try:
        stored.exif = exif_for_size(picture.exif, picture.height, picture.width)
    except ValueError as error:
        stored.lost.append(f"EXIF, which is damaged ({error})")
        return
    if name == "JPEG" and len(stored.exif) > _LONGEST_JPEG_EXIF:
        stored.lost.append("EXIF, which is longer than JPEG holds")
        stored.exif = None


def _store_color(stored: Stored, name: str, picture: Picture) -> None:
    color, stored.icc = picture.metadata.color, picture.icc
    if name not in _EXIF and stored.icc:
        stored.lost.append("the ICC profile")
        stored.icc = None
    gray = picture.is_gray and name != "WEBP" and not (name == "AVIF" and picture.has_alpha)  # which store RGB
    if stored.icc and stored.icc[16:20] == b"GRAY" and not gray:
        stored.lost.append("the ICC profile, which is for gray")
        stored.icc = None
    if name == "PNG":
        stored.chunks += _color_chunks(color)
        return
    try:
        space = space_of(color, picture.icc is not None)
    except ValueError as error:
        stored.lost.append(f"the definition of its colors ({error})")
        return
    if name == "AVIF" and color.cicp:
        stored.cicp = color.cicp
    elif space and name in _EXIF:
        stored.icc = icc_of(space, gray)
        stored.notes.append(f"the meaning of its colors ({space.name}) is kept as an ICC profile")
    elif space:
        stored.convert = space
        stored.notes.append(f"its colors ({space.name}) are converted to sRGB")


def _store_xmp(stored: Stored, name: str, picture: Picture) -> None:
    metadata = picture.metadata
    if metadata.xmp:
        stored.xmp = xmp_for_size(metadata.xmp, picture.height, picture.width)
        if name not in _EXIF:
            stored.lost.append("XMP")
            stored.xmp = None
        elif name == "JPEG" and len(stored.xmp) > _LONGEST_JPEG_XMP:
            stored.lost.append("XMP, which is longer than JPEG holds")
            stored.xmp = None
    if metadata.xmp_extension:
        if name == "JPEG" and stored.xmp:
            stored.segments += b"".join(_segment(0xE1, content) for content in metadata.xmp_extension)
        else:
            stored.lost.append("the extended part of XMP")


def _store_density(stored: Stored, name: str, density: Density | None) -> None:
    if density is None:
        return
    if name == "TIFF":
        stored.density = density
    elif name in ("WEBP", "AVIF"):  # which have EXIF for it
        if not (stored.exif and density_of(stored.exif)):
            stored.exif = with_density(stored.exif, density)
    elif name == "GIF" or (name == "BMP" and not density.unit):
        stored.lost.append("density")
    else:
        unit: Unit = "meter" if name != "JPEG" else "centimeter" if density.unit == "centimeter" else "inch"
        unit = unit if density.unit else ""
        x, y = density.per(unit) if unit else _whole(density.x, density.y)
        if round(min(x, y)) >= 1 and round(max(x, y)) <= _MOST_DENSITY[name]:
            stored.density = Density(Fraction(round(x)), Fraction(round(y)), unit)
        else:
            stored.lost.append("density")


def _whole(x: Fraction, y: Fraction) -> tuple[Fraction, Fraction]:
    """Returns the same ratio in whole numbers, near it if they would be large."""
    ratio = (x / y).limit_denominator(10_000)
    return Fraction(ratio.numerator), Fraction(ratio.denominator)


def _store_texts(stored: Stored, name: str, metadata: Metadata) -> None:
    comments = list(metadata.comments)
    others = []
    for kind, content in metadata.texts:
        keyword = content.partition(b"\0")[0]
        if name == "PNG":
            stored.chunks.append((kind, content))
        elif keyword == b"Comment" and name in _COMMENTS:
            text = text_of(kind, content)
            comments.append(text if kind == b"iTXt" else text.decode("latin-1").encode())
        else:
            others.append(keyword.decode("latin-1"))
    if others:
        named = list(dict.fromkeys(others))
        more = " and others" if len(named) > _NAMED_TEXTS else ""
        stored.lost.append(f"PNG's text ({', '.join(named[:_NAMED_TEXTS])}{more})")
    if name not in _COMMENTS:
        stored.lost += ["the comment"] * bool(comments)
    elif name == "PNG":
        stored.chunks += [_comment_chunk(comment) for comment in comments]
    elif name == "JPEG":
        short = [comment for comment in comments if len(comment) <= _LONGEST_COMMENT]
        stored.segments += b"".join(_segment(0xFE, comment) for comment in short)
        stored.lost += ["the comment, which is longer than JPEG holds"] * (len(short) < len(comments))
    else:
        stored.comments = comments


# === PNG ===


def _chunks_of(stored: Stored, picture: Picture) -> list[tuple[bytes, bytes]]:
    chunks = list(picture.metadata.chunks)
    if stored.density:
        x, y = int(stored.density.x), int(stored.density.y)
        chunks.append((b"pHYs", struct.pack(">LLB", x, y, 1 if stored.density.unit else 0)))
    if background := picture.metadata.background:
        if picture.is_gray and len(set(background)) > 1:
            stored.lost.append("the background color, which is not gray")
        else:
            most, count = 2**picture.bit_depth - 1, 1 if picture.is_gray else 3
            values = (background * 3)[:count] if len(background) == 1 else background[:count]
            chunks.append((b"bKGD", struct.pack(f">{count}H", *(round(value * most) for value in values))))
    if stored.xmp:
        chunks.append((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + stored.xmp))
    return chunks


def _color_chunks(color: Color) -> list[tuple[bytes, bytes]]:
    chunks = []
    if color.cicp:
        chunks.append((b"cICP", color.cicp))
    if color.srgb is not None:
        chunks.append((b"sRGB", bytes([color.srgb])))
    if color.gamma is not None:
        chunks.append((b"gAMA", struct.pack(">L", color.gamma)))
    if color.chromaticities:
        chunks.append((b"cHRM", struct.pack(">8L", *color.chromaticities)))
    return chunks


def _comment_chunk(comment: bytes) -> tuple[bytes, bytes]:
    """Decodes a comment of unknown encoding: UTF-8 if it is valid, else Latin-1 (PNG, 11.3.3)."""
    if comment.isascii():
        return b"tEXt", b"Comment\0" + comment.replace(b"\0", b"")
    try:
        comment.decode()
    except UnicodeDecodeError:
        return b"tEXt", b"Comment\0" + comment.replace(b"\0", b"")
    return b"iTXt", b"Comment\0\0\0\0\0" + comment


# === JPEG ===


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _photoshop_segments(resources: bytes) -> bytes:
    mark = b"Photoshop 3.0\0"
    most = 65533 - len(mark)
    return b"".join(_segment(0xED, mark + resources[at : at + most]) for at in range(0, len(resources), most))
