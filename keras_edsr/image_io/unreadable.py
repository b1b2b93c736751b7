"""Why a file cannot be read as an image: what it is instead, and what would help."""

import struct

from .directories import HEADS as TIFF_HEADS

_CONVERT = "convert it to PNG or JPEG"

# Formats that are read: such a file is damaged.
_READ = {
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    **dict.fromkeys(TIFF_HEADS, "TIFF"),
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
}
_OTHERS = {
    b"\xff\x0a": "a JPEG XL image",
    b"\0\0\0\x0cJXL \r\n\x87\n": "a JPEG XL image",
    b"\xff\xd8\xff\xf7": "a JPEG-LS image",
    b"II\xbc": "a JPEG XR image",
    b"8BPS": "a Photoshop file",
    b"gimp xcf": "a GIMP file",
    b"v/1\x01": "an OpenEXR image",
    b"#?RADIANCE": "a Radiance HDR image",
    b"#?RGBE": "a Radiance HDR image",
    b"qoif": "a QOI image",
    b"DDS ": "a DDS texture",
    b"\xabKTX": "a KTX texture",
    b"\0\0\1\0": "an icon (ICO)",
    b"\0\0\2\0": "a cursor (CUR)",
    b"icns": "an icon (ICNS)",
    b"FLIF": "a FLIF image",
    b"BPG\xfb": "a BPG image",
    b"AT&TFORM": "a DjVu document",
    b"SIMPLE  =": "a FITS image",
    b"PF\n": "a PFM image",
    b"Pf\n": "a PFM image",
    b"\x8aMNG": "an MNG animation",
    b"FUJIFILMCCD-RAW": "a camera's raw file",
    b"%PDF": "a PDF document",
    b"%!PS": "a PostScript document",
    b"\xc5\xd0\xd3\xc6": "an EPS document",
    b"<svg": "an SVG drawing",
}
_NOT_IMAGES = {
    b"\x1aE\xdf\xa3": "a video (Matroska or WebM)",
    b"PK\3\4": "a ZIP archive",
    b"\x1f\x8b": "a file compressed by gzip",
    b"7z\xbc\xaf": "a 7z archive",
    b"version https://git-lfs": "a pointer of Git LFS (git lfs pull gets the file)",
    b"<!doctype html": "a page of HTML",
    b"<html": "a page of HTML",
}


def why_unreadable(head: bytes) -> str:
    """Says in one line, without a full stop, why a file is not read as an image.

    Args:
        head: Its first bytes, 64 or more if it has them.
    """
    if not head:
        return "it is empty"
    if head[4:8] == b"ftyp":
        return _why_unreadable_container(brands_of(head))
    if head[:4] == b"RIFF":
        return _damaged("WebP") if head[8:12] == b"WEBP" or len(head) < 12 else "it is a sound or a video, not an image"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<?xml") and b"<svg" in text:
        return f"it is an SVG drawing, which is not supported: {_CONVERT}"
    for start, name in _OTHERS.items():
        if head.startswith(start) or (start == b"<svg" and text.startswith(start)):
            return f"it is {name}, which is not supported: {_CONVERT}"
    for start, name in _READ.items():
        if head.startswith(start):
            return _damaged(name)
    for start, name in _NOT_IMAGES.items():
        if head.startswith(start) or text.startswith(start):
            return f"it is {name}, not an image"
    return "it is not an image that can be read"


def brands_of(head: bytes) -> set[bytes]:
    """Returns the brands of a file in ISO's container (HEIF, AVIF, MP4), the main one among them; none of another."""
    if head[4:8] != b"ftyp":
        return set()
    (length,) = struct.unpack_from(">I", head)
    brands = head[8 : max(12, min(length, 256))]
    return {brands[start : start + 4] for start in range(0, len(brands), 4) if start != 4}  # the second is a version


def _why_unreadable_container(brands: set[bytes]) -> str:
    if brands & {b"avif", b"avis"}:
        return _damaged("AVIF")
    if brands & {b"heic", b"heix", b"mif1"}:
        return _damaged("HEIC")
    if b"jxl " in brands:
        return f"it is a JPEG XL image, which is not supported: {_CONVERT}"
    if b"crx " in brands:
        return f"it is a camera's raw file, which is not supported: {_CONVERT}"
    return "it is a video, not an image"


def _damaged(name: str) -> str:
    return f"it begins as {name} does, and its header is damaged or cut off"
