"""Reads an image file's metadata from its bytes: EXIF, density, color, XMP, texts."""

import io
import logging
import os
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import BinaryIO

from .containers import boxes, file_boxes, jpeg_segments, webp_chunks
from .directories import Reader, is_tiff
from .exif import density_of, exif_of_tiff, upright
from .gif import read_gif
from .isobmff import read_beside
from .metadata import Color, Density, Metadata, Unit
from .png import chunks_of, content_of

logger = logging.getLogger("keras_edsr")

_XMP_KEYWORD = b"XML:com.adobe.xmp"
_XMP_SEGMENT = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_EXTENSION_SEGMENT = b"http://ns.adobe.com/xmp/extension/\0"
_PHOTOSHOP_SEGMENT = b"Photoshop 3.0\0"
_TIFF_XMP, _TIFF_PHOTOSHOP = 0x02BC, 0x8649
_XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_EXIF_UUID = b"JpgTiffExif->JP2"
_JFIF_UNITS: dict[int, Unit] = {1: "inch", 2: "centimeter"}
_LONGEST_TEXT = 2**26

_PIXELS = (b"IDAT", b"fdAT")
# PNG's chunks that are read by others, are made anew, or say how the pixels were stored.
_MADE_ANEW = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"iCCP"}
_HINTS = {b"sBIT", b"hIST", b"iDOT"}  # to decoders of these very pixels
_STILL_TRUE = {b"tIME", b"mDCV", b"cLLI"}


@dataclass
class Embedded:
    """Metadata of a file.

    Args:
        exif: EXIF block, its `Exif` mark before it, upright.
        icc: An ICC profile that Pillow does not find.
        metadata: All else.
    """

    exif: bytes | None = None
    icc: bytes | None = None
    metadata: Metadata = field(default_factory=Metadata)


def read_embedded(data: bytes | BinaryIO, name: str | os.PathLike) -> Embedded:
    """Reads the metadata of an image file.

    The pixels do not need it: damaged metadata is skipped with a warning.

    Args:
        data: The bytes of the file, or the file opened in binary mode.
        name: What to call it in the log.
    """
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    found = Embedded()
    file.seek(0)
    head = file.read(16)
    reader = next((reader for fits, reader in _READERS if fits(head)), None)
    if reader is None:
        return found
    try:
        reader(file, found)
    except Exception as error:  # damaged files raise struct.error, IndexError, ...; the pixels are sound
        logger.warning("%s: skipping damaged metadata (%s).", name, error or type(error).__name__)
    if found.exif is not None:
        try:
            found.exif = upright(found.exif)
        except ValueError:
            logger.warning("%s: skipping its damaged EXIF.", name)
            found.exif = None
    if found.metadata.density is None and found.exif:
        found.metadata = replace(found.metadata, density=density_of(found.exif))
    if found.metadata.xmp:
        found.metadata = replace(found.metadata, xmp=upright_xmp(found.metadata.xmp))
    return found


# === XMP ===


def upright_xmp(xmp: bytes) -> bytes:
    """Returns an XMP packet with an upright orientation."""
    return _with_numbers(xmp, {b"tiff:Orientation": 1})


def xmp_for_size(xmp: bytes, height: int, width: int) -> bytes:
    """Returns an XMP packet with other sizes, if it has any."""
    sizes = {b"tiff:ImageWidth": width, b"tiff:ImageLength": height}
    return _with_numbers(xmp, {**sizes, b"exif:PixelXDimension": width, b"exif:PixelYDimension": height})


def _with_numbers(xmp: bytes, numbers: dict[bytes, int]) -> bytes:
    for name, number in numbers.items():  # an element, or an attribute
        new = rb"\g<1>%d" % number
        xmp = re.sub(rb"(<%s[^<>]*>\s*)\d+" % name, new, xmp)
        xmp = re.sub(rb"(\s%s\s*=\s*[\"'])\d+" % name, new, xmp)
    return xmp


# === By format ===


def _read_png(file: BinaryIO, found: Embedded) -> None:
    color, density, xmp = Color(), None, None
    texts: list[tuple[bytes, bytes]] = []
    chunks: list[tuple[bytes, bytes]] = []
    lost: list[str] = []
    header = palette = b""
    photoshop = background = None
    for chunk in chunks_of(file):
        name, content = chunk.kind, b"" if chunk.kind in _PIXELS else content_of(file, chunk)
        if name == b"IHDR":
            header = content
        elif name == b"PLTE":
            palette = content
        elif name == b"bKGD":
            background = _background(content, header, palette)
        elif name == b"eXIf":
            found.exif = content
        elif name == b"pHYs" and len(content) == 9:
            x, y, meter = struct.unpack(">LLB", content)
            density = _density(x, y, "meter" if meter == 1 else "")
        elif name == b"gAMA" and len(content) == 4:
            color = replace(color, gamma=int.from_bytes(content, "big"))
        elif name == b"cHRM" and len(content) == 32:
            color = replace(color, chromaticities=struct.unpack(">8L", content))
        elif name == b"sRGB" and len(content) == 1:
            color = replace(color, srgb=content[0])
        elif name == b"cICP" and len(content) == 4:
            color = replace(color, cicp=content)
        elif name in (b"tEXt", b"zTXt", b"iTXt"):
            keyword = content.partition(b"\0")[0]
            if keyword == _XMP_KEYWORD and name == b"iTXt":
                xmp = xmp or text_of(name, content)
            elif keyword.startswith(b"Raw profile type ") and (profile := _raw_profile(text_of(name, content))):
                # ImageMagick's way before PNG had eXIf; as text it would keep the old size and orientation.
                if profile.startswith(b"Exif\0\0"):
                    found.exif = found.exif or profile
                elif profile.startswith(_XMP_SEGMENT) or keyword.endswith(b" xmp"):
                    xmp = xmp or profile.removeprefix(_XMP_SEGMENT)
                elif keyword.endswith((b" iptc", b" 8bim")):
                    photoshop = profile
                else:
                    texts.append((name, content))
            else:
                texts.append((name, content))
        elif name in _STILL_TRUE or (name not in _MADE_ANEW and name[3:].islower()):
            chunks.append((name, content))  # a small last letter: true whatever the pixels are (PNG, 5.4)
        elif name not in _MADE_ANEW | _HINTS:
            lost.append(f"PNG's {name.decode('latin-1')}")
    found.metadata = Metadata(
        density=density,
        color=color,
        xmp=xmp,
        photoshop=photoshop,
        texts=tuple(texts),
        chunks=tuple(chunks),
        background=background,
        lost=tuple(dict.fromkeys(lost)),
    )


def _background(content: bytes, header: bytes, palette: bytes) -> tuple[float, ...] | None:
    """Reads bKGD, which has the depth of the image, or a number of its palette (PNG, 11.3.4.1)."""
    depth, color_type = header[8:10]
    if color_type == 3:
        number = content[0] if content else 256
        color = palette[3 * number : 3 * number + 3]
        return tuple(value / 255 for value in color) or None
    count = 3 if color_type & 2 else 1
    if len(content) != 2 * count:
        return None
    return tuple(value / (2**depth - 1) for value in struct.unpack(f">{count}H", content))


def _read_jpeg(file: BinaryIO, found: Embedded) -> None:
    density, xmp, extension, photoshop = None, None, [], b""
    comments, lost, exif = [], [], []
    for marker, content in jpeg_segments(file):
        if marker == 0xE0 and content.startswith(b"JFIF\0") and len(content) >= 12:
            unit, x, y = struct.unpack_from(">BHH", content, 7)
            density = _density(x, y, _JFIF_UNITS.get(unit, ""))
        elif marker == 0xE1 and content[:5] == b"Exif\0":
            exif.append(content[6:])
        elif marker == 0xE1 and content.startswith(_XMP_SEGMENT):
            xmp = xmp or content.removeprefix(_XMP_SEGMENT)
        elif marker == 0xE1 and content.startswith(_XMP_EXTENSION_SEGMENT):
            extension.append(content)
        elif marker == 0xED and content.startswith(_PHOTOSHOP_SEGMENT):
            photoshop += content.removeprefix(_PHOTOSHOP_SEGMENT)
        elif marker == 0xFE:
            comments.append(content)
        elif 0xE0 <= marker <= 0xEF and not content.startswith(
            (b"JFXX\0", b"AVI1", b"ICC_PROFILE\0", b"MPF\0", b"Adobe")
        ):
            lost.append(f"JPEG's APP{marker - 0xE0}")
    found.exif = b"".join(exif) or None  # a long block lies in several segments
    found.metadata = Metadata(
        density=density,
        xmp=xmp,
        xmp_extension=tuple(extension),
        photoshop=photoshop or None,
        comments=tuple(comments),
        lost=tuple(dict.fromkeys(lost)),
    )


def _read_webp(file: BinaryIO, found: Embedded) -> None:
    parts = dict(webp_chunks(file, (b"EXIF", b"XMP ")))
    found.exif = parts.get(b"EXIF")
    found.metadata = Metadata(xmp=parts.get(b"XMP "))


def _read_gif(file: BinaryIO, found: Embedded) -> None:
    info = read_gif(file).info
    comments = (info["comment"],) if "comment" in info else ()
    found.metadata = Metadata(xmp=info.get("xmp"), comments=comments)


def _read_bmp(file: BinaryIO, found: Embedded) -> None:
    file.seek(14)
    header = file.read(124)
    size = int.from_bytes(header[:4], "little")
    if size < 40:
        return
    x, y = struct.unpack_from("<ll", header, 24)
    color = Color()
    if size >= 108 and header[56:60] == bytes(4):  # LCS_CALIBRATED_RGB
        color = _calibrated(header)
    elif size >= 124 and header[56:60] == b"DEBM":  # a profile within the file
        begin, length = struct.unpack_from("<LL", header, 112)
        file.seek(14 + begin)
        found.icc = file.read(length)
    found.metadata = Metadata(density=_density(x, y, "meter"), color=color)


def _calibrated(header: bytes) -> Color:
    """Reads the primaries (fixed point, 2 bits before it) and gammas (16 bits before it) of a BMP."""
    red, green, blue = (struct.unpack_from("<3l", header, 60 + 12 * index) for index in range(3))
    gammas = struct.unpack_from("<3L", header, 96)
    white = tuple(map(sum, zip(red, green, blue, strict=True)))
    if min(map(sum, (red, green, blue, white))) <= 0 or not all(gammas):
        return Color()
    xy = [round(100_000 * value / sum(xyz)) for xyz in (white, red, green, blue) for value in xyz[:2]]
    return Color(gamma=round(100_000 * 65536 / gammas[0]), chromaticities=tuple(xy))


def _read_tiff(file: BinaryIO, found: Embedded) -> None:
    def read(offset: int, length: int) -> bytes:
        file.seek(offset)
        return file.read(length)

    reader = Reader(read)
    found.exif, lost = exif_of_tiff(reader)
    tags = {entry.tag: entry for entry in reader.directory(reader.first)[0]}
    xmp = reader.value(tags[_TIFF_XMP]) if _TIFF_XMP in tags else None
    photoshop = reader.value(tags[_TIFF_PHOTOSHOP]) if _TIFF_PHOTOSHOP in tags else None
    found.metadata = Metadata(xmp=xmp, photoshop=photoshop, lost=tuple(lost))


def _read_isobmff(file: BinaryIO, found: Embedded) -> None:
    found.exif, xmp, cicp = read_beside(file)
    # Encoders write sRGB or "unspecified" if they know nothing about the colors.
    found.metadata = Metadata(xmp=xmp, color=Color(cicp=None if cicp and cicp[:2] in (b"\2\2", b"\1\x0d") else cicp))


def _read_jpeg2000(file: BinaryIO, found: Embedded) -> None:
    density = None
    for name, content in file_boxes(file, (b"uuid", b"jp2h")):
        if content.startswith(_XMP_UUID):
            found.metadata = replace(found.metadata, xmp=content[16:])
        elif content.startswith(_EXIF_UUID):
            found.exif = content[16:]
        elif name == b"jp2h":
            for kind, begin, end in boxes(content):
                if kind == b"res ":
                    # That of display is there for the rest, and comes second.
                    inner = {kind: content[at:stop] for kind, at, stop in boxes(content, begin, end)}
                    capture = inner.get(b"resc") or inner.get(b"resd") or b""
                    if len(capture) == 10:
                        density = _density_of_jpeg2000(capture)
    found.metadata = replace(found.metadata, density=density)


def _density_of_jpeg2000(capture: bytes) -> Density | None:
    y, y_under, x, x_under, y_power, x_power = struct.unpack(">HHHHbb", capture)
    if not x_under or not y_under:
        return None
    powers = (Fraction(10) ** x_power, Fraction(10) ** y_power)
    return _density(Fraction(x, x_under) * powers[0], Fraction(y, y_under) * powers[1], "meter")


_READERS: list[tuple[Callable[[bytes], bool], Callable[[BinaryIO, Embedded], None]]] = [
    (lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"), _read_png),
    (lambda head: head.startswith(b"\xff\xd8"), _read_jpeg),
    (lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP", _read_webp),
    (lambda head: head.startswith((b"GIF87a", b"GIF89a")), _read_gif),
    (lambda head: head.startswith(b"BM"), _read_bmp),
    (is_tiff, _read_tiff),
    (lambda head: head[4:8] == b"ftyp", _read_isobmff),
    (lambda head: head[4:12] == b"jP  \r\n\x87\n", _read_jpeg2000),
]


def _density(x: Fraction | int, y: Fraction | int, unit: Unit) -> Density | None:
    if x <= 0 or y <= 0 or (not unit and x == y):  # square pixels without a unit, which is the default
        return None
    return Density(Fraction(x), Fraction(y), unit)


# === PNG's texts ===


def text_of(name: bytes, content: bytes) -> bytes:
    """Returns the text of a chunk in its encoding."""
    _, _, rest = content.partition(b"\0")
    if name == b"tEXt":
        return rest
    if name == b"zTXt":
        return _inflated(rest[1:])
    packed, rest = rest[:1] == b"\1", rest[2:]
    text = rest.split(b"\0", 2)[-1]
    return _inflated(text) if packed else text


def _inflated(data: bytes) -> bytes:
    return zlib.decompressobj().decompress(data, _LONGEST_TEXT)


def _raw_profile(text: bytes) -> bytes:
    """Decodes ImageMagick's: a line with its name, one with its length, and hexadecimal digits."""
    lines = text.strip(b"\n").split(b"\n")
    try:
        return bytes.fromhex(b"".join(lines[2:]).decode("ascii"))
    except ValueError:
        return b""
