"""write_picture: what comes back when Pillow reads the file, what is refused, what is said."""

import errno
import resource

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageSequence

from keras_edsr.image_io import SUFFIXES, Picture, check_fits, read_picture, write_image, write_picture

rng = np.random.default_rng(0)
RGB = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GRAY = rng.integers(0, 256, (5, 7), dtype=np.uint8)
ALPHA = rng.integers(0, 255, (5, 7), dtype=np.uint8)
OPAQUE = np.full((5, 7), 255, np.uint8)
KINDS = {"L": GRAY, "LA": np.dstack([GRAY, ALPHA]), "RGB": RGB, "RGBA": np.dstack([RGB, ALPHA])}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif(**first):
    block = Image.Exif()
    block[0x0110] = "camera"
    block[0x8769] = {0x829A: 0.005, 0xA002: 3, 0xA003: 2}
    for tag, value in first.items():
        block[int(tag[1:], 16)] = value
    return block.tobytes()


# === Still images ===


@pytest.mark.parametrize("mode", KINDS)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF", ".apng"])
def test_pixels_are_read_back_by_pillow(tmp_path, mode, suffix):
    write_picture(tmp_path / f"a{suffix}", Picture([KINDS[mode]]))
    with Image.open(tmp_path / f"a{suffix}") as stored:
        assert stored.mode == mode
        np.testing.assert_array_equal(np.asarray(stored), KINDS[mode])


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_webp_without_loss_is_read_back_by_pillow(tmp_path, mode):
    write_picture(tmp_path / "a.webp", Picture([KINDS[mode]]), lossless=True)
    with Image.open(tmp_path / "a.webp") as stored:
        np.testing.assert_array_equal(np.asarray(stored), KINDS[mode])


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_exif_tells_the_new_size_and_the_profile_is_kept(tmp_path, suffix):
    write_picture(tmp_path / f"a{suffix}", Picture([RGB], exif=exif(), icc=SRGB))
    with Image.open(tmp_path / f"a{suffix}") as stored:
        stored.load()
        block = stored.getexif()
        details = block.get_ifd(0x8769)
        assert stored.info["icc_profile"] == SRGB
    assert block[0x0110] == "camera"
    assert (details[0xA002], details[0xA003]) == (7, 5)


@pytest.mark.parametrize(("subsampling", "blocks"), [(None, (1, 1)), ("4:2:2", (2, 1)), ("4:2:0", (2, 2))])
def test_subsampling_of_jpeg_is_as_asked(tmp_path, subsampling, blocks):
    write_image(tmp_path / "a.jpg", RGB, **({"subsampling": subsampling} if subsampling else {}))
    with Image.open(tmp_path / "a.jpg") as stored:
        assert tuple(stored.layer[0][1:3]) == blocks


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_quality_is_as_asked(tmp_path, suffix):
    image = np.kron(RGB, np.ones((9, 9, 1), np.uint8))
    sizes = []
    for quality in (30, 60, 95):
        write_image(tmp_path / f"{quality}{suffix}", image, quality=quality)
        sizes.append((tmp_path / f"{quality}{suffix}").stat().st_size)
    write_image(tmp_path / f"default{suffix}", image)
    assert sizes[0] < sizes[1] < sizes[2] == (tmp_path / f"default{suffix}").stat().st_size


def test_options_of_other_formats_are_passed_over(tmp_path):
    for suffix in SUFFIXES:
        write_image(tmp_path / f"a{suffix}", GRAY, quality=90, subsampling="4:2:0", lossless=True)
        assert read_picture(tmp_path / f"a{suffix}").image.shape[:2] == (5, 7)


def test_an_unknown_option_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no format has the option qualty"):
        write_image(tmp_path / "a.jpg", RGB, qualty=90)


# === Animation ===

FRAMES = [np.full((6, 8, 3), color, np.uint8) for color in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
for index, frame in enumerate(FRAMES):
    frame[index, index] = (9, 8, 7)
CLEAR = [np.dstack([frame, np.full((6, 8), 255, np.uint8)]) for frame in FRAMES]
CLEAR[1][:, :4] = 0


def shown(path):
    """Frames as RGBA and durations, by Pillow."""
    with Image.open(path) as stored:
        frames, durations = [], []
        for frame in ImageSequence.Iterator(stored):
            frames.append(np.asarray(frame.convert("RGBA")).copy())
            durations.append(stored.info["duration"])
        return np.stack(frames), durations, stored.info.get("loop")


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".apng"])
def test_an_animation_is_shown_as_it_was(tmp_path, suffix):
    write_picture(tmp_path / f"a{suffix}", Picture(FRAMES, [40, 100, 250]), lossless=True)
    frames, durations, loop = shown(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(frames[..., :3], FRAMES)
    assert (durations, loop) == ([40, 100, 250], 0)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_transparent_frames_are_shown_as_they_were(tmp_path, suffix):
    write_picture(tmp_path / f"a{suffix}", Picture(CLEAR, [40, 100, 250]), lossless=True)
    frames, _, _ = shown(tmp_path / f"a{suffix}")
    visible = np.stack(CLEAR)[..., 3] > 0
    np.testing.assert_array_equal(frames[..., 3], np.stack(CLEAR)[..., 3])
    np.testing.assert_array_equal(frames[visible], np.stack(CLEAR)[visible])


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
@pytest.mark.parametrize("plays", [0, 1, 2, 5])
def test_plays_are_read_back(tmp_path, suffix, plays):
    write_picture(tmp_path / f"a{suffix}", Picture(FRAMES, [40, 40, 40], plays))
    assert read_picture(tmp_path / f"a{suffix}").plays == plays


def test_durations_of_a_gif_add_up(tmp_path, caplog):
    frames = [np.full((4, 4), value, np.uint8) for value in range(9)]
    write_picture(tmp_path / "a.gif", Picture(frames, [100 / 3] * 9))
    assert shown(tmp_path / "a.gif")[1] == [30, 40, 30] * 3
    assert "durations are rounded" in caplog.text


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_durations_between_milliseconds_add_up(tmp_path, suffix):
    frames = [np.full((4, 4, 3), 20 * value, np.uint8) for value in range(9)]
    write_picture(tmp_path / f"a{suffix}", Picture(frames, [100 / 3] * 9))
    assert shown(tmp_path / f"a{suffix}")[1] == [33, 34, 33] * 3


def test_gray_frames_of_a_gif_keep_all_their_levels(tmp_path, caplog):
    frames = [np.arange(256, dtype=np.uint8).reshape(16, 16), np.arange(256, dtype=np.uint8)[::-1].reshape(16, 16)]
    write_picture(tmp_path / "a.gif", Picture(frames, [50, 50]))
    np.testing.assert_array_equal(shown(tmp_path / "a.gif")[0][..., 0], frames)
    assert not caplog.text


@pytest.mark.parametrize("colors", [255, 256])
def test_a_gif_keeps_as_many_colors_as_it_holds(tmp_path, colors):
    palette = rng.integers(0, 256, (colors, 3), dtype=np.uint8)
    image = palette[rng.integers(0, colors, (64, 64))]
    write_picture(tmp_path / "a.gif", Picture([image]))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.gif").image, image)


def test_a_gif_of_many_colors_is_near(tmp_path, caplog):
    y, x = np.mgrid[:64, :64]
    image = np.dstack([4 * x, 4 * y, 2 * (x + y)]).astype(np.uint8)
    write_picture(tmp_path / "a.gif", Picture([image]))
    error = read_picture(tmp_path / "a.gif").image - image.astype(float)
    assert np.sqrt(np.mean(error**2)) < 8
    assert "GIF can store 256 colors" in caplog.text


# === What a format can't hold ===


@pytest.mark.parametrize(
    ("name", "picture", "message"),
    [
        ("a.jpg", Picture([KINDS["RGBA"]]), "JPEG cannot store transparency"),
        ("a.bmp", Picture([KINDS["LA"]]), "BMP cannot store transparency"),
        ("a.jpg", Picture(FRAMES, [1, 1, 1]), "JPEG can store one frame, and the picture has 3"),
        ("a.tif", Picture(FRAMES, [1, 1, 1]), "TIFF can store one frame"),
        ("a.webp", Picture([np.zeros((1, 16384), np.uint8)]), "WEBP can store 16383 pixels a side"),
        ("a.jpg", Picture([np.zeros((65501, 1), np.uint8)]), ".*the image has 1x65501"),
        ("a.psd", Picture([RGB]), "its suffix must be one of"),
    ],
)
def test_what_would_be_lost_to_the_eye_is_refused(tmp_path, name, picture, message):
    with pytest.raises(ValueError, match=f"Cannot write .*{name}: {message}"):
        write_picture(tmp_path / name, picture)
    with pytest.raises(ValueError, match=f"Cannot write .*{name}: {message}"):
        check_fits(tmp_path / name, picture)
    assert not list(tmp_path.iterdir())


def test_the_size_to_come_is_checked():
    check_fits("a.webp", Picture([RGB]), (16383, 16383))
    with pytest.raises(ValueError, match="has 16384x10"):
        check_fits("a.webp", Picture([RGB]), (10, 16384))


@pytest.mark.parametrize("color", [GRAY, RGB])
def test_an_opaque_alpha_is_no_transparency(tmp_path, color):
    write_picture(tmp_path / "a.bmp", Picture([np.dstack([color, OPAQUE])]))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.bmp").image, color)


@pytest.mark.parametrize(
    ("name", "picture", "messages"),
    [
        (
            "a.gif",
            Picture([GRAY], exif=exif(), icc=SRGB),
            ["GIF cannot store EXIF, the ICC profile."],
        ),
        ("a.bmp", Picture([GRAY], icc=SRGB), ["BMP cannot store the ICC profile."]),
        (
            "a.gif",
            Picture([np.kron(np.arange(1024).reshape(32, 32)[..., None], [1, 2, 4, 1]).astype(np.uint8)]),
            [
                "GIF can store 256 colors a frame (WebP or PNG keep all); "
                "GIF's transparency is all or nothing (WebP or PNG keep it).",
            ],
        ),
        (
            "a.jpg",
            Picture([RGB], exif=exif(x010E="long " * 20000)),
            ["JPEG cannot store EXIF, which is longer than JPEG holds."],
        ),
        ("a.png", Picture(np.uint16(FRAMES) * 257, [1, 1, 1]), ["16 bits are rounded to 8."]),
        ("a.png", Picture([RGB], exif=exif(), icc=SRGB), []),
    ],
)
def test_what_is_left_out_is_said(tmp_path, name, picture, messages, caplog):
    write_picture(tmp_path / name, picture)
    assert caplog.messages == [f"{tmp_path / name}: {message}" for message in messages]
    assert read_picture(tmp_path / name).image.shape[:2] == picture.image.shape[:2]


# === Whole or not at all ===


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_nothing(tmp_path, suffix):
    image = rng.integers(0, 256, (300, 300, 3), dtype=np.uint8)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # no file may grow beyond
    try:
        with pytest.raises(ValueError, match=f"Cannot write .*a{suffix}: ") as caught:
            write_image(tmp_path / f"a{suffix}", image)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno in (errno.EFBIG, None)
    assert not list(tmp_path.iterdir())


def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(picture, file, **options):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_image(tmp_path / "a.png", RGB)
    assert not list(tmp_path.iterdir())
