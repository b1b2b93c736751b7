"""From the samples of a TIFF to the pixels of a picture, by what its tag PhotometricInterpretation says they are."""

import logging

import numpy as np
from PIL import Image

from .pillow import eight_bits, from_pillow
from .tiff import TiffImage
from .tiff_layout import CMYK, PALETTE, WHITE_IS_ZERO, YCBCR, Layout

logger = logging.getLogger("keras_edsr")

_LUMA = (0.299, 0.587, 0.114)  # CCIR 601, the default of YCbCrCoefficients
_BLOCK_PIXELS = 2**20  # as many are made floats at once


def decode_tiff(image: TiffImage, name: str) -> np.ndarray:
    """Decodes the first page of a TIFF, as stored: the orientation is not applied.

    Args:
        image: The TIFF, opened.
        name: What to call it in the log.

    Returns:
        uint8 (up to 8 bits) or uint16 array of (height, width) or (height, width, 2, 3 or 4). Alpha is not
        premultiplied.

    Raises:
        ValueError: If the pixels have a layout or a compression that cannot be read, have values without a known range,
            or are damaged or truncated.
    """
    stored, layout = image.samples()
    if layout.unused:
        logger.warning("%s: skipping %d of its channels, which are neither color nor alpha.", name, layout.unused)
    stored, bits = _in_range(stored, layout)
    pixels = _to_color(stored[..., : layout.colors], layout, bits, image.info.get("icc_profile"), name)
    if layout.alpha is not None:
        alpha = _scaled(stored[..., layout.alpha, None], bits)
        if alpha.dtype != pixels.dtype:  # a palette of 16 bits, or CMYK that is now of 8
            alpha = eight_bits(alpha) if pixels.dtype == np.uint8 else alpha.astype(np.uint16) * np.uint16(257)
        pixels = np.concatenate([pixels, alpha], axis=2)
        if layout.is_premultiplied:
            _divide_by_alpha(pixels)
    return np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _in_range(stored: np.ndarray, layout: Layout) -> tuple[np.ndarray, int]:
    """Makes signed integers and those of 32 bits unsigned and of 16 at most, if all values allow it."""
    if not layout.signed and layout.bits <= 16:
        return stored, layout.bits
    bits = min(layout.bits, 16)
    top = (1 << bits) - 1
    if stored.min() < 0 or stored.max() > top:
        raise ValueError(f"its pixels are integers beyond 0..{top}, which have no known range")
    return stored.astype(np.uint8 if bits == 8 else np.uint16), bits


def _to_color(stored: np.ndarray, layout: Layout, bits: int, icc: bytes | None, name: str) -> np.ndarray:
    if layout.photometric == WHITE_IS_ZERO:
        return _scaled(np.array((1 << bits) - 1, stored.dtype) - stored, bits)
    if layout.photometric == PALETTE:
        return np.take(_palette_colors(layout, name), stored[..., 0], axis=0)
    if layout.photometric == CMYK:
        return _cmyk_to_rgb(_scaled(stored, bits), icc, name)
    if layout.photometric == YCBCR:
        return _ycbcr_to_rgb(stored, layout)
    return _scaled(stored, bits)


def _scaled(values: np.ndarray, bits: int) -> np.ndarray:
    """Scales [0, 2**bits - 1] to all of uint8, or of uint16 if 8 bits are not sufficient."""
    dtype: type = np.uint8 if bits <= 8 else np.uint16
    if bits in (8, 16):
        return values.astype(dtype, copy=False)
    levels: np.ndarray = np.rint(np.linspace(0, np.iinfo(dtype).max, 1 << bits)).astype(dtype)
    return np.take(levels, values)


def _palette_colors(layout: Layout, name: str) -> np.ndarray:
    """Returns (2**bits, 3) colors: of uint8 if the palette has such values, as most have."""
    palette = np.asarray(layout.palette, np.uint16).reshape(3, -1).T
    if palette.max() < 256:
        # Some writers leave the multiplication out; libtiff and others know them by the same sign.
        logger.warning("%s: its palette is taken as one of 8 bits, for it has no value above 255.", name)
        return palette.astype(np.uint8)
    for factor in (257, 256):
        if not (palette % factor).any():
            return (palette // factor).astype(np.uint8)
    return palette


def _cmyk_to_rgb(inks: np.ndarray, icc: bytes | None, name: str) -> np.ndarray:
    if inks.dtype == np.uint16:
        logger.warning("%s: its 16 bits are read as 8.", name)  # Pillow has no more for CMYK
        inks = eight_bits(inks)
    image = Image.frombytes("CMYK", inks.shape[1::-1], np.ascontiguousarray(inks).tobytes())
    if icc:
        image.info["icc_profile"] = icc
    return from_pillow(image, name)


def _ycbcr_to_rgb(stored: np.ndarray, layout: Layout) -> np.ndarray:
    """Converts as TIFF 6.0 does, section 21, with the reference levels of section 20."""
    dtype: type = np.uint8 if layout.bits <= 8 else np.uint16
    code, top = (1 << layout.bits) - 1, np.iinfo(dtype).max
    half = 1 << (layout.bits - 1)
    black_y, white_y, black_b, white_b, black_r, white_r = layout.black_and_white or (0, code, half, code, half, code)
    red, green, blue = layout.luma or _LUMA
    pixels: np.ndarray = np.empty(stored.shape, dtype)
    rows = max(1, _BLOCK_PIXELS // stored.shape[1])
    for start in range(0, len(stored), rows):
        y, cb, cr = np.moveaxis(stored[start : start + rows].astype(np.float64), -1, 0)
        y = (y - black_y) * code / (white_y - black_y)
        # 127 of 255, as the specification has it: the range of a sample on one side of its middle
        cb = (cb - black_b) * (half - 1) / (white_b - black_b)
        cr = (cr - black_r) * (half - 1) / (white_r - black_r)
        r, b = y + cr * (2 - 2 * red), y + cb * (2 - 2 * blue)
        g = (y - blue * b - red * r) / green
        rgb = np.stack([r, g, b], axis=-1) * (top / code)
        pixels[start : start + rows] = np.rint(rgb).clip(0, top)
    return pixels


def _divide_by_alpha(pixels: np.ndarray) -> None:
    top = np.iinfo(pixels.dtype).max
    rows = max(1, _BLOCK_PIXELS // pixels.shape[1])
    for start in range(0, len(pixels), rows):
        block = pixels[start : start + rows]
        factor = top / np.maximum(block[..., -1:], 1).astype(np.float64)
        block[..., :-1] = np.rint(block[..., :-1] * factor).clip(0, top)
