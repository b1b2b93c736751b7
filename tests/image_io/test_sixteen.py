"""16 bits in and out, compared with TensorFlow's libpng and with tifffile."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
import tifffile
from PIL import Image

from keras_edsr.image_io import Picture, decode_image, decode_picture, read_picture, write_image, write_picture

rng = np.random.default_rng(0)


def values(channels, height=23, width=31):
    """Smooth in some rows, noise in others: every filter of PNG is the best for some."""
    ramp = np.linspace(0, 60000, height * width * channels).reshape(height, width, channels)
    image = (ramp + rng.integers(0, 5000, ramp.shape) * (np.arange(height) % 3)[:, None, None]).astype(np.uint16)
    return image[..., 0] if channels == 1 else image


def png(image):
    return tf.io.encode_png(image if image.ndim == 3 else image[..., None]).numpy()


def tiff(image, **options):
    file = io.BytesIO()
    alpha = image.ndim == 3 and image.shape[-1] in (2, 4)
    photometric = "rgb" if image.shape[2:] in ((3,), (4,)) else "minisblack"
    extra = {"extrasamples": ["unassalpha"]} if alpha else {}
    tifffile.imwrite(file, image, photometric=photometric, planarconfig="contig", **extra | options)
    return file.getvalue()


# === Reading ===


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_is_read_as_tensorflow_wrote_it(channels):
    image = values(channels)
    picture = decode_picture(png(image), "a.png")
    assert (picture.bit_depth, picture.is_gray, picture.has_alpha) == (16, channels < 3, channels in (2, 4))
    np.testing.assert_array_equal(picture.image, image)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize(
    "options",
    [{}, {"rowsperstrip": 4}, {"tile": (16, 16)}, {"compression": "zlib"}, {"compression": "zlib", "predictor": True}],
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_tiff_is_read_as_tifffile_wrote_it(channels, options, byteorder):
    image = values(channels)
    picture = decode_picture(tiff(image, byteorder=byteorder, **options), "a.tif")
    np.testing.assert_array_equal(picture.image, image)


def test_premultiplied_alpha_is_divided_out():
    image = np.array([[[1000, 20000, 0, 40000], [65535, 65535, 65535, 65535], [0, 0, 0, 0]]], np.uint16)
    picture = decode_picture(tiff(image, extrasamples=["assocalpha"]), "a.tif")
    expected = [[[1638, 32768, 0, 40000], [65535, 65535, 65535, 65535], [0, 0, 0, 0]]]
    np.testing.assert_array_equal(picture.image, expected)


def with_chunk(data, kind, content):
    """A PNG with a chunk put in after its header."""
    chunk = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return data[:33] + chunk + data[33:]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_color_becomes_alpha(channels):
    image = values(channels)
    key = np.atleast_1d(image[4, 5])
    picture = decode_picture(with_chunk(png(image), b"tRNS", key.astype(">u2").tobytes()), "a.png")
    expected = np.where((image.reshape(23, 31, -1) == key).all(axis=-1), 0, 65535)
    assert expected[4, 5] == 0
    np.testing.assert_array_equal(picture.image[..., -1], expected)
    np.testing.assert_array_equal(picture.image[..., :-1].squeeze(), image)


@pytest.mark.parametrize("kind", ["bytes", "file"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_eight_bits_are_the_nearest(channels, kind):
    image = values(channels)
    data = png(image)
    color = {1: image, 2: image[..., 0], 3: image, 4: image[..., :3]}[channels]
    eight = decode_image(data if kind == "bytes" else io.BytesIO(data), "a.png")
    np.testing.assert_array_equal(eight, np.rint(color / 257))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    # Pillow turns 8 bits of the same picture.
    eight = values(3).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(eight).save(tmp_path / "8.png", exif=exif)
    deep = with_chunk(png(eight.astype(np.uint16) * 257), b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    picture = decode_picture(deep, "16.png")
    np.testing.assert_array_equal(picture.image, read_picture(tmp_path / "8.png").image.astype(int) * 257)


def test_truncated_files_are_named():
    for name, data in {"a.png": png(values(3)), "a.tif": tiff(values(3), compression="zlib")}.items():
        with pytest.raises(ValueError, match=f"Cannot read the image {name}: "):
            decode_picture(data[: len(data) // 2], name)


# === Writing ===


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (23, 31), (700, 400)])
def test_a_png_is_read_by_tensorflow_as_it_was(tmp_path, channels, size):
    image = values(channels, *size)
    write_image(tmp_path / "a.png", image)
    decoded = tf.io.decode_png((tmp_path / "a.png").read_bytes(), dtype=tf.uint16).numpy()
    np.testing.assert_array_equal(decoded, image.reshape(*size, channels))


def test_a_png_is_as_small_as_libpng_makes_it(tmp_path):
    image = values(3, 200, 300)
    write_image(tmp_path / "a.png", image, compress_level=6)
    assert (tmp_path / "a.png").stat().st_size < 1.03 * len(png(image))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_tiff_is_read_by_tifffile_as_it_was(tmp_path, channels):
    image = values(channels)
    write_image(tmp_path / "a.tif", image)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), image)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif").image, image)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_exif_and_profile_are_written(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x010E] = "a view"
    exif[0x8769] = {0x829A: 0.01, 0xA002: 5, 0xA003: 5}
    exif[0x8825] = {1: "N", 2: (48.0, 8.0, 0.0)}
    icc = bytes(range(200))
    write_picture(tmp_path / f"a{suffix}", Picture([values(3)], exif=exif.tobytes(), icc=icc))
    with Image.open(tmp_path / f"a{suffix}") as stored:
        stored.load()
        read = stored.getexif()
        details = read.get_ifd(0x8769)
        assert read[0x010E] == "a view"
        assert (float(details[0x829A]), details[0xA002], details[0xA003]) == (0.01, 31, 23)
        assert read.get_ifd(0x8825)[2] == (48, 8, 0)
        assert stored.info["icc_profile"] == icc


@pytest.mark.parametrize(("name", "options"), [("a.jpg", {}), ("a.bmp", {}), ("a.webp", {"lossless": True})])
def test_formats_of_eight_bits_get_the_nearest_and_say_so(tmp_path, name, options, caplog):
    image = np.full((8, 8, 3), 40000, np.uint16)
    write_image(tmp_path / name, image, **options)
    np.testing.assert_array_equal(decode_image((tmp_path / name).read_bytes(), name), np.full((8, 8, 3), 156))
    assert "16 bits are rounded to 8" in caplog.text
