"""HEIF (HEIC): read by pillow-heif, the extra `heif`."""

from typing import BinaryIO

import numpy as np
from PIL import Image

from .unreadable import brands_of

_HEVC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_OTHERS = {b"mif1", b"msf1"}
_AVIF = {b"avif", b"avis"}


def is_heif(head: bytes) -> bool:
    """Whether a file that begins so is a HEIF that is not an AVIF."""
    brands = brands_of(head)
    return bool(brands & _HEVC or (brands & _OTHERS and not brands & _AVIF))


def open_heif(file: BinaryIO) -> Image.Image:
    """Opens a HEIF as Pillow opens an image: upright, its pixels not decoded.

    Raises:
        ValueError: If pillow-heif is not installed.
        Exception: If the file is damaged; of any kind.
    """
    file.seek(0)
    return _pillow_heif().HeifImageFile(file)


def decode_deep_heif(stored: Image.Image, file: BinaryIO) -> np.ndarray | None:
    """Decodes what has more than 8 bits a channel.

    Returns:
        uint16 (height, width) or (height, width, 3 or 4); None if it has 8 bits, which Pillow decodes.
    """
    bits = stored.info.get("bit_depth", 8)
    if bits <= 8 or stored.mode in ("La", "RGBa"):
        return None
    file.seek(0)
    images = _pillow_heif().open_heif(file, convert_hdr_to_8bit=False)
    values = np.array(images[images.primary_index])
    if values.dtype != np.uint16:
        return None
    return values | values >> np.uint16(bits)  # they come in the high bits: the largest is to be 65535


def _pillow_heif():
    try:
        import pillow_heif
    except ImportError as error:
        raise ValueError(
            "it is a HEIC image, which needs pillow-heif: pip install 'keras-edsr[heif]' (or convert it to PNG or JPEG)"
        ) from error
    return pillow_heif
