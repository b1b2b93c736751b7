"""Pixels and what goes with them to the bytes of each format: mostly by Pillow, by others where it would lose some."""

import hashlib
import io
import itertools
import struct
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, cast

import imagecodecs
import numpy as np
from PIL import Image

from .isobmff import with_cicp, with_items
from .picture import Picture
from .png import SIGNATURE, png_chunk
from .sixteen import encode_png
from .storing import Stored
from .tiff_writing import encode_tiff

# Pillow's own defaults (quality 75, halved chroma) throw away what super-resolution has made.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "WEBP": {"quality": 95},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
    # 0.20 s a megapixel; Pillow's own 6 takes 0.50 s for 6 % less (Kodak x2, 24-11-2026).
    "PNG": {"compress_level": 3},
}
OPTIONS = {
    "JPEG": {"quality", "subsampling", "progressive", "optimize"},
    "WEBP": {"quality", "lossless", "method"},
    "AVIF": {"quality", "subsampling", "lossless", "speed"},
    "PNG": {"compress_level"},
}
_MARK = b"Exif\0\0"


def encode(file: BinaryIO, picture: Picture, stored: Stored, name: str, options: dict[str, Any]) -> None:
    """Writes a picture that the format can hold.

    Args:
        file: Where to write.
        picture: The pixels, and the times of an animation.
        stored: What goes into the file beside them.
        name: Pillow's name of the format.
        options: For the format that has them, see `OPTIONS`.
    """
    chosen = _DEFAULTS.get(name, {}) | {k: v for k, v in options.items() if k in OPTIONS.get(name, ())}
    _ENCODERS[name](file, picture, stored, chosen)


def _encode_png(file: BinaryIO, picture: Picture, stored: Stored, chosen: dict[str, Any]) -> None:
    chunks = list(stored.chunks)
    if stored.icc:
        chunks.insert(0, (b"iCCP", b"ICC Profile\0\0" + zlib.compress(stored.icc)))
    if stored.exif:
        chunks.append((b"eXIf", stored.exif.removeprefix(_MARK)))
    behind_header = cast(BinaryIO, _BehindHeader(file, b"".join(png_chunk(*chunk) for chunk in chunks)))
    if picture.bit_depth == 16:
        encode_png(behind_header, picture.image, **chosen)
        return
    images = [_image(frame) for frame in picture.frames]
    images[0].save(behind_header, format="PNG", **chosen, **_animated(picture, images, loop=picture.plays))


class _BehindHeader(io.RawIOBase):
    """Writes a PNG with additional chunks after its header."""

    def __init__(self, file: BinaryIO, chunks: bytes) -> None:
        self._file = file
        self._chunks = chunks
        self._left = len(SIGNATURE) + 25

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        data = bytes(data)
        head, rest = data[: self._left], data[self._left :]
        self._file.write(head)
        self._left -= len(head)
        if not self._left and self._chunks:
            self._file.write(self._chunks)
            self._chunks = b""
        self._file.write(rest)
        return len(data)


def _encode_jpeg(file: BinaryIO, picture: Picture, stored: Stored, chosen: dict[str, Any]) -> None:
    beside = {"exif": stored.exif, "xmp": stored.xmp, "icc_profile": stored.icc, "extra": stored.segments}
    start = file.tell()
    _image(picture.image).save(file, format="JPEG", **chosen, **{k: v for k, v in beside.items() if v})
    if stored.density:  # Pillow knows inches only
        unit = {"inch": 1, "centimeter": 2}.get(stored.density.unit, 0)
        file.seek(start + 13)  # JFIF: behind the marks, the length, the name and the version
        file.write(struct.pack(">BHH", unit, int(stored.density.x), int(stored.density.y)))
        file.seek(0, io.SEEK_END)


def _encode_webp(file: BinaryIO, picture: Picture, stored: Stored, chosen: dict[str, Any]) -> None:
    beside = {"exif": stored.exif, "xmp": stored.xmp, "icc_profile": stored.icc}
    chosen |= {key: value for key, value in beside.items() if value}
    if chosen.get("lossless"):
        chosen["exact"] = True  # the colors of transparent pixels, too
    if picture.is_animated and picture.has_alpha:
        # Whole frames, because from differences libwebp may write a file whose header denies alpha.
        chosen["kmax"] = 1
    images = [_image(frame) for frame in picture.frames]
    images[0].save(file, format="WEBP", **chosen, **_animated(picture, images, loop=picture.plays))


def _encode_avif(file: BinaryIO, picture: Picture, stored: Stored, chosen: dict[str, Any]) -> None:
    exif = stored.exif and stored.exif.removeprefix(_MARK)
    if chosen.pop("lossless", False):
        if picture.is_animated:
            raise ValueError("an AVIF animation cannot be written without loss; write WebP or PNG")
        pixels = np.ascontiguousarray(picture.image)
        if picture.is_gray and picture.has_alpha:
            pixels = np.concatenate([np.repeat(pixels[..., :1], 3, axis=2), pixels[..., 1:]], axis=2)
        # Pillow's best quality is off by up to 3 levels: it always converts to YCbCr.
        data = bytes(imagecodecs.avif_encode(pixels, level=100, speed=chosen.get("speed")))
        data = with_items(with_cicp(data, stored.cicp or b"\1\x0d"), exif, stored.xmp, stored.icc)
        file.write(data)
        return
    if picture.is_gray and not picture.has_alpha:
        del chosen["subsampling"]  # there is no color
    # Pillow would rewrite EXIF with an orientation, so it gets another block of the same length.
    stand_in = _stand_in(exif) if exif else None
    beside = {"exif": stand_in, "xmp": stored.xmp, "icc_profile": stored.icc}
    images = [_image(frame) for frame in picture.frames]
    encoded = io.BytesIO()
    chosen |= {key: value for key, value in beside.items() if value}
    images[0].save(encoded, format="AVIF", **chosen, **_animated(picture, images))
    data = encoded.getvalue()
    if exif and stand_in:
        if data.count(stand_in) != 1:
            raise ValueError("EXIF cannot be found in what libavif wrote")
        data = data.replace(stand_in, exif)
    if stored.cicp:
        data = with_cicp(data, stored.cicp)
    file.write(data)


def _stand_in(exif: bytes) -> bytes:
    """An EXIF block without tags, and bytes that are nowhere else."""
    empty = b"II*\0\x08\0\0\0" + bytes(6)
    return empty + hashlib.shake_256(exif).digest(len(exif) - len(empty))


def _encode_tiff(file: BinaryIO, picture: Picture, stored: Stored, chosen: dict[str, Any]) -> None:
    encode_tiff(
        file,
        picture.image,
        exif=stored.exif,
        icc=stored.icc,
        xmp=stored.xmp,
        photoshop=stored.photoshop,
        density=stored.density,
    )


def _encode_bmp(file: BinaryIO, picture: Picture, stored: Stored, chosen: dict[str, Any]) -> None:
    density = stored.density.per("inch") if stored.density else (0, 0)  # else Pillow says 96
    _image(picture.image).save(file, format="BMP", dpi=tuple(map(float, density)))


def _encode_gif(file: BinaryIO, picture: Picture, stored: Stored, chosen: dict[str, Any]) -> None:
    images = [_gif_image(frame) for frame in picture.frames]
    chosen["optimize"] = False  # it would number the transparent color anew
    if picture.has_alpha:
        chosen |= {"transparency": _TRANSPARENT, "disposal": 2}
    if stored.comments:
        chosen["comment"] = b"\n".join(stored.comments)
    # A GIF without a count is shown once; the count is of the times after the first.
    loop = {} if picture.plays == 1 else {"loop": max(0, picture.plays - 1)}
    images[0].save(file, format="GIF", **chosen, **_animated(picture, images, unit=10, **loop))


def _animated(picture: Picture, images: list[Image.Image], unit: int = 1, **options: Any) -> dict[str, Any]:
    """Returns Pillow's options for an animation with times in multiples of milliseconds; none for a still image."""
    if not picture.is_animated:
        return {}
    # The end times of frames are rounded, not each duration, so that errors do not add up.
    ends = [unit * round(end / unit) for end in itertools.accumulate(picture.durations)]
    durations = [end - start for start, end in itertools.pairwise([0, *ends])]
    return {"save_all": True, "append_images": images[1:], "duration": durations, **options}


def _image(frame: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(frame))


_TRANSPARENT = 255  # the last of GIF's colors


def _gif_image(frame: np.ndarray) -> Image.Image:
    """Chooses the colors: all of a frame that has no more than there are, else by median cut."""
    if frame.ndim == 2:
        return _image(frame)
    if frame.shape[2] == 2:
        frame = np.concatenate([np.repeat(frame[..., :1], 3, axis=2), frame[..., 1:]], axis=2)
    if frame.shape[2] == 3:
        return _image(frame).quantize(256, Image.Quantize.MEDIANCUT)
    chosen = _image(frame[..., :3]).quantize(255, Image.Quantize.MEDIANCUT)
    indices = np.where(frame[..., 3] < 128, _TRANSPARENT, np.array(chosen)).astype(np.uint8)
    image = _image(indices)
    palette = (chosen.getpalette() or []) + [0] * 768
    image.putpalette(palette[:768])
    return image


_ENCODERS: dict[str, Callable[[BinaryIO, Picture, Stored, dict[str, Any]], None]] = {
    "PNG": _encode_png,
    "JPEG": _encode_jpeg,
    "WEBP": _encode_webp,
    "AVIF": _encode_avif,
    "TIFF": _encode_tiff,
    "BMP": _encode_bmp,
    "GIF": _encode_gif,
}
