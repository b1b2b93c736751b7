"""Files that are not read tell the true reason; HEIC is read with an extra; a 16-bit BMP loses nothing."""

import io
import struct
import sys

import numpy as np
import pytest
from PIL import Image

from keras_edsr.image_io import count_pixels, decode_image, decode_picture, read_size

y, x = np.mgrid[:64, :80]
RGB = np.stack([x * 3, y * 4, x + y], axis=-1).astype(np.uint8)


def encoded(kind, **options):
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, kind, **options)
    return file.getvalue()


def ftyp(*brands):
    return struct.pack(">I", 12 + 4 * len(brands)) + b"ftyp" + brands[0] + bytes(4) + b"".join(brands[1:]) + bytes(64)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty"),
        (b"hello", "it is not an image that can be read"),
        (bytes(100), "it is not an image that can be read"),
        (b"\xff\x0a" + bytes(60), "it is a JPEG XL image, which is not supported: convert it to PNG or JPEG"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(60), "it is a JPEG XL image, which is not supported"),
        (b"8BPS\0\1" + bytes(60), "it is a Photoshop file, which is not supported: convert it"),
        (b"v/1\x01" + bytes(60), "it is an OpenEXR image"),
        (b"\0\0\1\0\1\0" + bytes(60), r"it is an icon \(ICO\)"),
        (b"%PDF-1.7\n", "it is a PDF document"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "it is an SVG drawing"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "it is an SVG drawing"),
        (b"\n<!DOCTYPE html><html><head>", "it is a page of HTML, not an image"),
        (b"version https://git-lfs.github.com/spec/v1\n", "it is a pointer of Git LFS"),
        (b"PK\3\4" + bytes(60), "it is a ZIP archive, not an image"),
        (ftyp(b"isom", b"mp42"), "it is a video, not an image"),
        (ftyp(b"qt  "), "it is a video, not an image"),
        (ftyp(b"crx "), "it is a camera's raw file, which is not supported"),
        (b"RIFF\0\0\0\0WAVE" + bytes(60), "it is a sound or a video, not an image"),
        (b"RIFF\0\0\0\0WEBP" + bytes(60), "it begins as WebP does, and its header is damaged or cut off"),
        (b"GIF89a\1\0\1\0\0\0\0;", "it has no frame"),
        (b"GIF89a\1\0\1", "it is truncated: its header is not complete"),
        (encoded("PNG")[:20], "its PNG header is damaged or cut off"),
        (encoded("TIFF")[:6], "it begins as TIFF does, and its header is damaged or cut off"),
        (ftyp(b"avif", b"mif1"), "it begins as AVIF does|[Aa]vif|AVIF"),
    ],
)
def test_the_reason_is_told(data, message):
    for read in (decode_picture, decode_image, read_size):
        with pytest.raises(ValueError, match=rf"^Cannot read the image a: ({message})"):
            read(data, "a")


# === HEIC ===


def heic(pixels, **options):
    pillow_heif = pytest.importorskip("pillow_heif")
    mode = "RGB;16" if pixels.dtype == np.uint16 else "RGB"
    file = io.BytesIO()
    image = pillow_heif.from_bytes(mode, pixels.shape[1::-1], pixels.tobytes())
    image.save(file, quality=-1, matrix_coefficients=0, chroma=444, **options)  # lossless
    return file.getvalue()


def test_heic_needs_the_extra(monkeypatch):
    data = heic(RGB)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    message = r"Cannot read the image a\.heic: it is a HEIC image, .*pip install 'keras-edsr\[heif\]'"
    for read in (decode_picture, decode_image, read_size):
        with pytest.raises(ValueError, match=message):
            read(data, "a.heic")


def test_heic_is_read(tmp_path):
    data = heic(RGB)
    picture = decode_picture(data, "a.heic")
    np.testing.assert_array_equal(picture.image, RGB)
    np.testing.assert_array_equal(decode_image(data, "a.heic"), RGB)
    assert read_size(data, "a.heic") == (64, 80)
    (tmp_path / "a.heic").write_bytes(data)
    assert count_pixels(tmp_path / "a.heic") == 64 * 80
    with pytest.raises(ValueError, match="`max_pixels`"):
        decode_picture(data, "a.heic", max_pixels=5000)


def test_heic_of_ten_bits_is_read_as_sixteen():
    levels = np.linspace(0, 1023, 80).astype(np.uint16)
    ramp = np.broadcast_to(levels[None, :, None], (64, 80, 3))
    picture = decode_picture(heic(np.ascontiguousarray(ramp << 6)), "a.heic")
    assert picture.bit_depth == 16
    np.testing.assert_allclose(picture.image / 65535, ramp / 1023, rtol=0, atol=1e-4)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_heic_is_upright_once_and_keeps_its_exif(orientation):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "camera"
    image = pytest.importorskip("pillow_heif").from_pillow(Image.fromarray(RGB))
    file = io.BytesIO()
    image.save(file, quality=-1, matrix_coefficients=0, chroma=444, exif=exif.tobytes())
    turned = {1: RGB, 3: RGB[::-1, ::-1], 6: np.rot90(RGB, -1), 8: np.rot90(RGB)}[orientation]
    picture = decode_picture(file.getvalue(), "a.heic")
    np.testing.assert_array_equal(picture.image, turned)
    assert b"camera" in picture.exif


def test_a_damaged_heic_is_one_line():
    data = heic(RGB)
    for cut in (len(data) // 2, 200, 40):
        with pytest.raises(ValueError, match=r"^Cannot read the image a\.heic: .+\.$"):
            decode_picture(data[:cut], "a.heic")


# === BMP ===


def bmp_565(samples):
    """A BMP of 5, 6 and 5 bits a pixel (BI_BITFIELDS); (height, width, 3) of 0..31, 0..63, 0..31."""
    height, width = samples.shape[:2]
    values = samples[..., 0] << 11 | samples[..., 1] << 5 | samples[..., 2]
    rows = np.zeros((height, (width + 1) // 2 * 2), "<u2")
    rows[:, :width] = values[::-1]
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 16, 3, rows.nbytes, 2835, 2835, 0, 0)
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    return b"BM" + struct.pack("<IHHI", 66 + rows.nbytes, 0, 0, 66) + info + masks + rows.tobytes()


def test_a_bmp_of_sixteen_bits_a_pixel_has_no_bits_to_lose(caplog):
    caplog.set_level("DEBUG", "keras_edsr")
    rng = np.random.default_rng(0)
    samples = np.stack([rng.integers(0, limit, (6, 7)) for limit in (32, 64, 32)], axis=-1)
    picture = decode_picture(bmp_565(samples), "565.bmp")
    np.testing.assert_allclose(picture.image / 255, samples / [31, 63, 31], rtol=0, atol=1 / 255)
    assert not caplog.messages
