"""TIFF: opened and decoded with tifffile, for Pillow has no mode for most of what a TIFF can hold."""

import contextlib
import io
import logging
import math
from collections.abc import Iterator
from typing import IO, cast

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageFile

from .exif import ORIENTATION
from .jpeg import jpeg_size
from .tiff_layout import BLACK_IS_ZERO, CMYK, RGB, WHITE_IS_ZERO, YCBCR, Layout

# tifffile logs each damaged tag. A handler keeps that off stderr where no logging is configured.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_PHOTOMETRIC, _INK_SET, _NUMBER_OF_INKS, _EXTRA_SAMPLES, _LUMA, _BLACK_AND_WHITE = 262, 332, 334, 338, 529, 532
_XMP, _ICC = 700, 34675

_CCITT = {2: "CCITT RLE", 3: "CCITT Group 3", 4: "CCITT Group 4"}
_BYTES = {1: "none", 5: "LZW", 8: "Deflate", 32946: "Deflate", 32773: "PackBits", 34925: "LZMA", 50000: "Zstandard"}
_JPEG = {6: "JPEG, old style", 7: "JPEG"}
# Each strip or tile is an image file with its own size.
_IMAGES = _JPEG | {34712: "JPEG 2000", 33005: "JPEG 2000", 34933: "PNG", 50001: "WebP"}
_COMPRESSIONS = _CCITT | _BYTES | _IMAGES

_NOISES = [pattern * 16 for pattern in (b"\xff\xff\xff", b"\x55\x55\x55", b"\xaa\xaa\xaa", b"\x6d\xb6\xdb")]
_JPEG_END = b"\xff\xd9"

_MOST_CHANNELS = 8
_LARGEST_TILE = 2**22  # pixels, in an image that is smaller


class TiffImage(ImageFile.ImageFile):
    """The first page of a TIFF, opened as Pillow opens other files, and not decoded; `samples` decodes it."""

    format = "TIFF"
    format_description = "TIFF, decoded by tifffile"

    def _open(self) -> None:
        file = cast(IO[bytes], self.fp)
        file.seek(0)
        self._tiff = tifffile.TiffFile(file)
        self._page = self._tiff.pages.first
        self._size = self._page.imagewidth, self._page.imagelength
        if not all(self._size):
            raise ValueError("it has no pixels")
        self._mode = "CMYK" if self._page.photometric == CMYK else "RGB"
        for tag, name in {_ICC: "icc_profile", _XMP: "xmp"}.items():
            content = self._page.tags.valueof(tag)
            if isinstance(content, bytes):
                self.info[name] = content

    @property
    def n_frames(self) -> int:
        """The number of pages."""
        return len(self._tiff.pages)

    def getexif(self) -> Image.Exif:
        """Returns the orientation only; `embedded` reads the other metadata of a TIFF."""
        exif = super().getexif()  # with the orientation from XMP
        orientation = self._page.tags.valueof(ORIENTATION)
        if orientation is not None:
            exif[ORIENTATION] = orientation
        return exif

    def samples(self) -> tuple[np.ndarray, Layout]:
        """Decodes the page.

        Returns:
            Integers of (height, width, channels), as stored, and what they are.

        Raises:
            ValueError: If the page has a layout or a compression that cannot be read, or is damaged or truncated.
        """
        layout = _layout(self._page)
        layout.check()
        _check_storage(self._page)
        return _decode_subsampled(self._page) if _is_subsampled(self._page) else _decode(self._page), layout


def _layout(page: tifffile.TiffPage) -> Layout:
    """Returns what the samples of a page mean.

    Raises:
        ValueError: If they are not integers of one depth, or there are too many.
    """
    if page.sampleformat == 3:
        raise ValueError("its pixels are floating-point numbers, which have no known range")
    if page.sampleformat not in (1, 2, 4):  # 4, undefined, is read as unsigned (TIFF 6.0, section 19)
        raise ValueError(f"its pixels are numbers of a kind that cannot be read (SampleFormat {page.sampleformat})")
    if not isinstance(page.bitspersample, int):
        raise ValueError(f"its channels differ in depth ({', '.join(map(str, page.bitspersample))} bits)")
    if page.samplesperpixel > _MOST_CHANNELS:
        raise ValueError(f"it has {page.samplesperpixel} channels; {_MOST_CHANNELS} at most can be read")
    extra = page.tags.valueof(_EXTRA_SAMPLES)
    return Layout(
        photometric=_photometric(page),
        bits=page.bitspersample,
        channels=page.samplesperpixel,
        signed=page.sampleformat == 2,
        extra=tuple(np.atleast_1d(extra).tolist()) if extra is not None else None,
        palette=page.colormap,
        inks=(page.tags.valueof(_INK_SET, 1), page.tags.valueof(_NUMBER_OF_INKS, 4)),
        luma=_rationals(page, _LUMA),
        black_and_white=_rationals(page, _BLACK_AND_WHITE),
    )


def _photometric(page: tifffile.TiffPage) -> int:
    if page.photometric == YCBCR and page.compression in _JPEG and page.planarconfig == 1:
        return RGB  # libjpeg converts
    if _PHOTOMETRIC in page.tags or page.compression in _JPEG:
        return int(page.photometric)
    # The tag is required, but not all writers know that; libtiff fills it in as follows.
    return RGB if page.samplesperpixel >= 3 else WHITE_IS_ZERO if page.compression in _CCITT else BLACK_IS_ZERO


def _rationals(page: tifffile.TiffPage, tag: int) -> tuple[float, ...] | None:
    values = page.tags.valueof(tag)
    return None if values is None else tuple(a / b for a, b in zip(values[::2], values[1::2], strict=True))


def _check_storage(page: tifffile.TiffPage) -> None:
    """Checks that the pixels can be decoded in memory that fits the image.

    Raises:
        ValueError: If not.
    """
    compression = _COMPRESSIONS.get(page.compression)
    if compression is None:
        raise ValueError(f"its compression {_named(page.compression)} cannot be read; save it with LZW or Deflate")
    if page.imagedepth != 1 or page.tiledepth != 1:
        raise ValueError("it is a volume, not an image")
    if page.planarconfig not in (1, 2):
        raise ValueError(f"{page.planarconfig} is not a valid PlanarConfiguration")
    if page.compression in _CCITT and (page.bitspersample, page.samplesperpixel) != (1, 1):
        raise ValueError(f"{compression} is for one channel of 1 bit, and it has other pixels")
    if page.predictor not in (1, 2):
        raise ValueError(f"its predictor {_named(page.predictor)} cannot be read")
    if page.predictor == 2 and page.bitspersample not in (8, 16, 32):
        raise ValueError(f"its predictor is for 8, 16 or 32 bits, and it has {page.bitspersample}")
    if not all(_segment_size(page)):
        raise ValueError(f"its {_segment_kind(page)} have no size")
    if page.is_tiled and math.prod(_segment_size(page)) > max(_LARGEST_TILE, 4 * page.imagelength * page.imagewidth):
        raise ValueError(f"its tiles ({page.tilewidth}x{page.tilelength}) are much larger than the image")


def _named(value: int) -> str:
    return (
        f"{int(value)} ({value.name})" if isinstance(value, tifffile.COMPRESSION | tifffile.PREDICTOR) else f"{value}"
    )


def _segment_kind(page: tifffile.TiffPage) -> str:
    return "tiles" if page.is_tiled else "strips"


def _segment_size(page: tifffile.TiffPage) -> tuple[int, int]:
    """Height and width of a tile or strip."""
    return (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)


def _segment_corners(page: tifffile.TiffPage) -> Iterator[tuple[int, int]]:
    """Top and left of each tile or strip of a plane, in the order in which they are stored."""
    height, width = _segment_size(page)
    for top in range(0, page.imagelength, height):
        for left in range(0, page.imagewidth, width):
            yield top, left


def _read_segment(page: tifffile.TiffPage, index: int) -> bytes:
    if index >= min(len(page.dataoffsets), len(page.databytecounts)):
        raise ValueError(f"some of its {_segment_kind(page)} are missing")
    size = page.databytecounts[index]
    if page.compression == 1 and not _is_subsampled(page):
        size = _bytes_of_segment(page, index)  # the file's own number is often wrong, and not needed
    if not size:
        raise ValueError(f"some of its {_segment_kind(page)} are empty")
    file = page.parent.filehandle
    if page.dataoffsets[index] + size > file.size:
        raise ValueError("it is truncated: the file ends before its pixels do")
    file.seek(page.dataoffsets[index])
    return file.read(size)


def _bytes_of_segment(page: tifffile.TiffPage, index: int) -> int:
    """The size of a tile or strip that is not compressed."""
    height, width = _segment_size(page)
    strips = math.ceil(page.imagelength / height)
    rows = height if page.is_tiled else min(height, page.imagelength - index % strips * height)
    channels = page.samplesperpixel if page.planarconfig == 1 else 1
    return rows * math.ceil(width * channels * page.bitspersample / 8)


@contextlib.contextmanager
def _damage(page: tifffile.TiffPage) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # each decoder has an error of its own
        raise ValueError(
            f"its pixels are damaged, or compressed in an unusual way (compression {_COMPRESSIONS[page.compression]})"
        ) from error


def _decode(page: tifffile.TiffPage) -> np.ndarray:
    """Decodes to (height, width, channels)."""
    planes, _, height, width, channels = page.shaped
    stored = np.empty((planes, height, width, channels), np.uint8 if page.dtype == np.bool_ else page.dtype)
    corners = list(_segment_corners(page))
    for index in range(planes * len(corners)):
        data = _read_segment(page, index)
        with _damage(page):
            segment = _decode_segment(page, index, data)
        if segment.dtype != stored.dtype or segment.shape[-1] != channels:
            raise ValueError("its compressed data differ from its tags in depth or channels")
        plane, (top, left) = index // len(corners), corners[index % len(corners)]
        place = stored[plane, top : top + segment.shape[0], left : left + segment.shape[1]]
        place[:] = segment[: place.shape[0], : place.shape[1]]
    return stored[0] if planes == 1 else np.moveaxis(stored[..., 0], 0, -1)


def _decode_segment(page: tifffile.TiffPage, index: int, data: bytes) -> np.ndarray:
    """Decodes one tile or strip to (height, width, channels)."""
    _check_embedded(page, data)
    segment = _decompress(page, index, data)
    # The decoder makes up what is missing. If nothing is, what follows the data makes no difference.
    noises = _NOISES if page.compression in _CCITT else ()
    if any(not np.array_equal(segment, _decompress(page, index, data + noise)) for noise in noises):
        raise ValueError("it is truncated")
    return segment


def _decompress(page: tifffile.TiffPage, index: int, data: bytes) -> np.ndarray:
    tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if page.compression in _JPEG else {}
    try:
        segment = page.decode(data, index, **tables)[0]
    except Exception:
        if page.is_tiled or page.compression not in _BYTES:
            raise
        segment = page.decode(data, 0)[0]  # some writers fill the last strip up to the height of the others
    if segment is None:
        raise ValueError("it has no pixels")
    return segment[0].view(np.uint8) if segment.dtype == np.bool_ else segment[0]


def _check_embedded(page: tifffile.TiffPage, data: bytes) -> None:
    """Checks the size in an embedded image's header, before memory is allocated for it.

    Raises:
        ValueError: If it is larger than a strip or tile, or a JPEG is truncated.
    """
    if page.compression in _IMAGES:
        if page.compression in _JPEG:  # Pillow opens none of 12 bits
            height, width = jpeg_size(data)
            if _JPEG_END not in data:  # libjpeg would make up what is missing
                raise ValueError("it is truncated")
        else:
            with Image.open(io.BytesIO(data), formats=("JPEG2000", "PNG", "WEBP")) as embedded:
                width, height = embedded.size
        segment_height, segment_width = _segment_size(page)
        if height > segment_height or width > segment_width:
            raise ValueError(f"a strip or tile of {segment_width}x{segment_height} holds {width}x{height}")


def _is_subsampled(page: tifffile.TiffPage) -> bool:
    return page.photometric == YCBCR and page.is_subsampled and page.compression not in _IMAGES


def _decode_subsampled(page: tifffile.TiffPage) -> np.ndarray:
    """Decodes YCbCr with fewer samples of color, to (height, width, 3); libjpeg does so for JPEG (section 21)."""
    across, down = page.subsampling or (2, 2)
    if {across, down} - {1, 2, 4} or (page.planarconfig, page.samplesperpixel, page.predictor) != (1, 3, 1):
        raise ValueError("its YCbCr has a layout that cannot be read; convert it to RGB")
    if page.bitspersample not in (8, 16):
        raise ValueError(f"its YCbCr has {page.bitspersample} bits; 8 or 16 can be read")
    dtype = np.dtype(f"{page.parent.byteorder}u{page.bitspersample // 8}")
    stored = np.empty((page.imagelength, page.imagewidth, 3), page.dtype)
    height, width = _segment_size(page)
    for index, (top, left) in enumerate(_segment_corners(page)):
        rows = height if page.is_tiled else min(height, page.imagelength - top)
        # Units of `down` rows of `across` samples of Y, one of Cb and one of Cr.
        shape = (math.ceil(rows / down), math.ceil(width / across), down * across + 2)
        data = _read_segment(page, index)
        with _damage(page):
            if page.fillorder == 2:
                data = bytes(imagecodecs.bitorder_decode(data))
            if page.compression != 1:
                data = tifffile.TIFF.DECOMPRESSORS[page.compression](data, out=math.prod(shape) * dtype.itemsize)
            units = np.frombuffer(data, dtype, math.prod(shape)).reshape(shape)
        blocks = units[..., :-2].reshape(*shape[:2], down, across).swapaxes(1, 2)
        luma = blocks.reshape(shape[0] * down, shape[1] * across, 1)
        color = units[..., -2:].repeat(down, axis=0).repeat(across, axis=1)
        place = stored[top : top + rows, left : left + width]
        place[:] = np.concatenate([luma, color], axis=2)[: place.shape[0], : place.shape[1]]
    return stored
