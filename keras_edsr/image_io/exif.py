"""EXIF that is safe to write into another file of another size."""

from PIL import ExifTags, Image

ORIENTATION = 0x0112

# What describes the picture. The other tags of the first directory describe the bytes of the file that they were in (a
# TIFF keeps its strips' offsets there, a raw converter its compression) and would break the next.
_KEPT = {
    0x010E,  # ImageDescription
    0x010F,  # Make
    0x0110,  # Model
    0x011A,  # XResolution
    0x011B,  # YResolution
    0x0128,  # ResolutionUnit
    0x0131,  # Software
    0x0132,  # DateTime
    0x013B,  # Artist
    0x013C,  # HostComputer
    0x4746,  # Rating
    0x4749,  # RatingPercent
    0x8298,  # Copyright
    *range(0x9C9B, 0x9CA0),  # Windows' XPTitle, XPComment, XPAuthor, XPKeywords, XPSubject
    ExifTags.IFD.Exif,
    ExifTags.IFD.GPSInfo,
}
_PIXEL_X, _PIXEL_Y = 0xA002, 0xA003


def orientation_of(stored: Image.Image) -> int:
    """Returns 1 to 8, as EXIF counts the flips and turns; 1, upright, where it says nothing we understand."""
    try:
        orientation = stored.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged EXIF raises struct.error, TypeError, OSError, ...: the pixels may still be sound
        return 1
    return orientation if orientation in range(1, 9) else 1


def exif_of(stored: Image.Image) -> bytes | None:
    """Returns what is worth keeping of an image's EXIF, without its orientation and thumbnail; None if nothing.

    Raises:
        Exception: Of any kind, if it is damaged.
    """
    exif = stored.getexif()
    for tag in [tag for tag in exif if tag not in _KEPT]:
        del exif[tag]
    return exif.tobytes() if len(exif) else None


def exif_for_size(exif: bytes, height: int, width: int) -> bytes:
    """Returns the EXIF with the size that it tells, if it tells one, replaced."""
    block = Image.Exif()
    block.load(exif)
    details = block.get_ifd(ExifTags.IFD.Exif)
    if _PIXEL_X not in details and _PIXEL_Y not in details:
        return exif
    block[ExifTags.IFD.Exif] = {**details, _PIXEL_X: width, _PIXEL_Y: height}
    return block.tobytes()
