"""read_picture: what a file holds and what is kept of it; files written by Pillow."""

import io
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from keras_edsr.image_io import Picture, count_pixels, decode_picture, from_pillow, read_image, read_picture, to_pillow

rng = np.random.default_rng(0)
RGB = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GRAY = rng.integers(0, 256, (5, 7), dtype=np.uint8)
ALPHA = rng.integers(0, 256, (5, 7), dtype=np.uint8)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def decoded(image, kind="PNG", **options):
    return decode_picture(encoded(image, kind, **options), f"a.{kind.lower()}")


# === Pixels ===


@pytest.mark.parametrize(
    "image", [GRAY, np.dstack([GRAY, ALPHA]), RGB, np.dstack([RGB, ALPHA])], ids=["L", "LA", "RGB", "RGBA"]
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_channels_are_those_of_the_file(image, kind):
    picture = decoded(image, kind)
    np.testing.assert_array_equal(picture.image, image)
    assert picture.is_gray == (image.ndim == 2 or image.shape[2] == 2)
    assert picture.has_alpha == (image.ndim == 3 and image.shape[2] in (2, 4))
    assert (picture.bit_depth, picture.is_animated, picture.height, picture.width) == (8, False, 5, 7)


def test_one_bit_is_gray():
    np.testing.assert_array_equal(decoded(GRAY > 127).image, np.where(GRAY > 127, 255, 0))


def palette_image():
    picture = Image.new("P", (3, 1))
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    picture.putdata([0, 1, 2])
    return picture


def test_a_palette_is_rgb():
    np.testing.assert_array_equal(decoded(palette_image()).image, [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]])


def test_a_palette_with_transparency_is_rgba():
    picture = decoded(palette_image(), transparency=b"\x00\x80")
    np.testing.assert_array_equal(picture.image, [[[10, 20, 30, 0], [40, 50, 60, 128], [70, 80, 90, 255]]])


def test_a_transparent_color_is_alpha():
    image = decoded(RGB, transparency=tuple(int(v) for v in RGB[2, 3])).image
    assert image.shape == (5, 7, 4)
    assert (image[..., 3] == 0).sum() == 1
    assert image[2, 3, 3] == 0
    gray = decoded(GRAY, transparency=int(GRAY[1, 1])).image
    np.testing.assert_array_equal(gray[..., 1], np.where(GRAY[1, 1] == GRAY, 0, 255))


def test_sixteen_bit_gray_stays_so():
    image = rng.integers(0, 65536, (5, 7), dtype=np.uint16)
    for kind in ("PNG", "TIFF"):
        picture = decoded(image, kind)
        np.testing.assert_array_equal(picture.image, image)
        assert (picture.bit_depth, picture.is_gray) == (16, True)


def test_integers_beyond_sixteen_bits_are_refused():
    with pytest.raises(ValueError, match=r"a\.tiff: its pixels are integers beyond 0\.\.65535"):
        decoded(np.array([[0, 65536]], np.int32), "TIFF")


def test_floats_are_refused():
    with pytest.raises(ValueError, match=r"a\.tiff: its pixels are floating-point numbers"):
        decoded(np.zeros((2, 2), np.float32), "TIFF")


def test_cmyk_is_converted_and_said(caplog):
    picture = decoded(Image.new("CMYK", (4, 3), (0, 255, 255, 0)), "JPEG")
    assert np.abs(picture.image - np.array([255.0, 0, 0])).max() <= 3
    assert caplog.messages == ["a.jpeg: CMYK is converted to RGB."]


def test_a_profile_that_is_no_cmyk_profile_does_not_stop_cmyk():
    picture = decoded(Image.new("CMYK", (4, 3), (0, 255, 255, 0)), "JPEG", icc_profile=SRGB)
    assert np.abs(picture.image - np.array([255.0, 0, 0])).max() <= 3
    assert picture.icc is None


def test_further_pages_are_said(caplog):
    picture = decoded(RGB, "TIFF", save_all=True, append_images=[Image.fromarray(RGB)] * 2)
    assert len(picture.frames) == 1
    assert caplog.messages == ["a.tiff: its first page is taken, and 2 others are left."]


def test_further_images_of_a_phone_are_no_animation():
    picture = decoded(RGB, "MPO", save_all=True, append_images=[Image.fromarray(RGB)])
    assert not picture.is_animated


# === EXIF and profile ===


def exif(**first):
    block = Image.Exif()
    block[0x0110] = "camera"
    block[0x8769] = {0x829A: 0.005, 0xA002: 7}
    block[0x8825] = {1: "N", 2: (48.0, 8.0, 0.0)}
    for tag, value in first.items():
        block[int(tag[1:], 16)] = value
    return block


def loaded(block):
    result = Image.Exif()
    result.load(block)
    return result


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_and_profile_are_kept_whatever_the_format(kind):
    picture = decoded(RGB, kind, exif=exif().tobytes(), icc_profile=SRGB)
    kept = loaded(picture.exif)
    assert kept[0x0110] == "camera"
    assert float(kept.get_ifd(0x8769)[0x829A]) == 0.005
    assert kept.get_ifd(0x8825)[2] == (48, 8, 0)
    assert picture.icc == SRGB


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP"])
def test_orientation_is_applied_and_told_no_more(kind, orientation):
    image = np.kron(RGB, np.ones((8, 8, 1), np.uint8))  # large areas, for JPEG
    lossless = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(kind, {})
    picture = decoded(image, kind, exif=exif(x0112=orientation).tobytes(), **lossless)
    turned = {
        1: image,
        2: image[:, ::-1],
        3: image[::-1, ::-1],
        4: image[::-1],
        5: image.swapaxes(0, 1),
        6: np.rot90(image, -1),
        7: image[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(image),
    }[orientation]
    assert np.abs(picture.image - turned.astype(int)).max() <= (6 if kind == "JPEG" else 0)
    assert loaded(picture.exif)[0x0112] == 1
    assert loaded(picture.exif)[0x0110] == "camera"


def test_gray_is_turned_too():
    picture = decoded(GRAY, exif=exif(x0112=6))
    np.testing.assert_array_equal(picture.image, np.rot90(GRAY, -1))


def test_what_describes_the_old_file_is_not_kept():
    picture = decoded(RGB, "TIFF", exif=exif(x0131="a program").tobytes())
    kept = loaded(picture.exif)
    assert kept[0x0131] == "a program"
    assert not {0x0100, 0x0101, 0x0102, 0x0103, 0x0111, 0x0117} & set(kept)  # size, compression, strips
    assert decoded(RGB, "TIFF").exif is None


def test_damaged_exif_leaves_the_picture(recwarn):
    block = bytearray(exif(x0112=6).tobytes())
    block[14:] = b"\xff" * (len(block) - 14)
    data = encoded(RGB, "JPEG", exif=bytes(block))
    assert decode_picture(data, "a.jpg").image.shape == (5, 7, 3)
    assert read_image_of(data).shape == (5, 7, 3)
    assert not recwarn


def read_image_of(data):
    from keras_edsr.image_io import decode_image

    return decode_image(data, "a.jpg")


# === Animation ===

FRAMES = [np.full((6, 8, 3), color, np.uint8) for color in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
for index, frame in enumerate(FRAMES):
    frame[index, index] = 255


def animation(kind, frames=FRAMES, **options):
    images = [Image.fromarray(frame) for frame in frames]
    lossless = {"lossless": True} if kind == "WEBP" else {}
    return encoded(images[0], kind, save_all=True, append_images=images[1:], **lossless | options)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_frames_and_durations_are_kept(kind):
    picture = decode_picture(animation(kind, duration=[40, 100, 250], loop=0), "a")
    assert picture.is_animated
    np.testing.assert_array_equal(np.stack([frame[..., :3] for frame in picture.frames]), FRAMES)
    assert list(picture.durations) == [40, 100, 250]
    assert picture.plays == 0


@pytest.mark.parametrize(
    ("kind", "options", "plays"),
    [
        ("GIF", {}, 1),
        ("GIF", {"loop": 0}, 0),
        ("GIF", {"loop": 2}, 3),  # twice more
        ("WEBP", {"loop": 3}, 3),
        ("PNG", {"loop": 3}, 3),
        ("PNG", {"loop": 0}, 0),
    ],
)
def test_plays_are_counted_alike(kind, options, plays):
    assert decode_picture(animation(kind, duration=50, **options), "a").plays == plays


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_transparent_frames_are_composed(kind):
    frames = [np.dstack([frame, np.full((6, 8), 255, np.uint8)]) for frame in FRAMES]
    frames[0][:2, :2] = frames[1][:, :4] = 0
    picture = decode_picture(animation(kind, frames, duration=50, disposal=2 if kind == "GIF" else 0), "a")
    for frame, expected in zip(picture.frames, frames, strict=True):
        np.testing.assert_array_equal(frame[..., 3], expected[..., 3])
        np.testing.assert_array_equal(frame[expected[..., 3] > 0], expected[expected[..., 3] > 0])


def test_frames_of_different_kinds_are_made_alike():
    # The first is gray without alpha, the later ones are RGB with it.
    gray, clear = Image.new("L", (6, 4), 90), Image.new("RGBA", (6, 4), (255, 0, 0, 0))
    data = encoded(gray, "GIF", save_all=True, append_images=[clear], duration=50, disposal=2)
    picture = decode_picture(data, "a.gif")
    assert {frame.shape for frame in picture.frames} == {(4, 6, 4)} or {frame.shape for frame in picture.frames} == {
        (4, 6, 3)
    }
    np.testing.assert_array_equal(picture.image[..., :3], np.full((4, 6, 3), 90))


def test_an_apngs_image_for_other_viewers_is_no_frame():
    images = [Image.fromarray(frame) for frame in FRAMES]
    data = encoded(
        Image.new("RGB", (8, 6)), "PNG", save_all=True, default_image=True, append_images=images, duration=50
    )
    np.testing.assert_array_equal(decode_picture(data, "a.png").frames, FRAMES)


def test_one_frame_is_a_still_image():
    picture = decode_picture(animation("GIF", FRAMES[:1]), "a.gif")
    assert (picture.is_animated, list(picture.durations)) == (False, [])


# === Limits and warnings ===


def bomb(width, height):
    """A PNG of zeros: 10,000 x 10,000 pixels of one bit are 12 kB."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 7) // 8 + 1) * height, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_bomb_is_refused_from_its_header():
    data = bomb(10_000, 10_000)
    assert len(data) < 13_000
    with pytest.raises(ValueError, match=r"a\.png: it has 100000000 pixels \(10000x10000\), and `max_pixels` .* is"):
        decode_picture(data, "a.png")


def test_more_pixels_are_read_when_asked():
    assert Image.MAX_IMAGE_PIXELS is not None
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = decode_picture(bomb(10_000, 10_000), "a.png", max_pixels=10**8).image
    assert image.shape == (10_000, 10_000)
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_huge_bomb_is_refused():
    header = bomb(1, 1)
    data = header[:16] + struct.pack(">II", 60_000, 60_000) + header[24:29]
    data += struct.pack(">I", zlib.crc32(data[12:29])) + header[33:]
    with pytest.raises(ValueError, match=r"a\.png: it has more pixels than `max_pixels`"):
        decode_picture(data, "a.png")


def test_all_frames_count():
    data = animation("GIF", duration=50)
    assert len(decode_picture(data, "a.gif", max_pixels=144).frames) == 3
    with pytest.raises(ValueError, match=r"144 pixels \(8x6 with 3 frames\), and `max_pixels` .* is 143"):
        decode_picture(data, "a.gif", max_pixels=143)


def test_pixels_are_counted_from_the_header(tmp_path):
    (tmp_path / "a.gif").write_bytes(animation("GIF", duration=50))
    (tmp_path / "b.png").write_bytes(bomb(10_000, 10_000))
    (tmp_path / "c.png").write_bytes(b"no image")
    counts = [count_pixels(tmp_path / name) for name in ("a.gif", "b.png", "c.png", "d.png")]
    assert counts == [144, 100_000_000, 0, 0]


def test_formats_that_start_other_programs_are_not_opened():
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
    with pytest.raises(ValueError, match="it is a PostScript document, which is not supported"):
        decode_picture(eps, "a.eps")


def test_threads_do_not_take_the_filters_from_one_another():
    # Each leaves the filters as it found them, and none sees a warning of Pillow's as an error.
    block = bytearray(exif().tobytes())
    block[40:60] = b"\xff" * 20
    data = encoded(RGB, "JPEG", exif=bytes(block))
    failures = []

    def work():
        try:
            for _ in range(30):
                decode_picture(data, "a.jpg")
        except Exception as error:
            failures.append(error)

    filters = list(warnings.filters)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert list(warnings.filters) == filters


# === Pillow images ===


@pytest.mark.parametrize(
    "image",
    [GRAY, np.dstack([GRAY, ALPHA]), RGB, np.dstack([RGB, ALPHA]), GRAY.astype(np.uint16) * 257],
    ids=["L", "LA", "RGB", "RGBA", "I;16"],
)
def test_arrays_become_pillow_images_and_back(image):
    np.testing.assert_array_equal(from_pillow(to_pillow(image)), image)
    np.testing.assert_array_equal(np.asarray(to_pillow(image)), image)


def test_sixteen_bits_of_color_become_eight_in_pillow_and_it_is_said(caplog):
    image = to_pillow(RGB.astype(np.uint16) * 257)
    np.testing.assert_array_equal(np.asarray(image), RGB)
    assert "8 bits are kept" in caplog.text


# === Picture ===


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"frames": []}, "one shape and type. Received: 0 kinds"),
        ({"frames": [RGB, GRAY], "durations": (1, 1)}, "one shape and type. Received: 2 kinds"),
        ({"frames": [RGB, RGB]}, "one number for each frame"),
        ({"frames": [RGB], "durations": (10,)}, "none for a still image"),
        ({"frames": [RGB / 255]}, "uint8 or uint16"),
        ({"frames": [RGB[..., :1]]}, "of shape"),
        ({"frames": [RGB[:0]]}, "not empty"),
    ],
)
def test_a_picture_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Picture(**arguments)


def test_read_image_gives_the_first_frame_of_an_animation(tmp_path):
    (tmp_path / "a.gif").write_bytes(animation("GIF", duration=50))
    np.testing.assert_array_equal(read_image(tmp_path / "a.gif"), FRAMES[0])


def test_a_file_is_read_as_its_bytes_are(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(RGB))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png").image, RGB)
