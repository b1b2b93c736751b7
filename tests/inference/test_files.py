import io
import os
import re
import signal

import keras
import numpy as np
import pytest
from odd_entries import ODD
from PIL import Image, ImageCms
from runs import photo

from keras_edsr.image_io import Picture, read_image, read_picture, write_image, write_picture
from keras_edsr.inference import STDIN, STDOUT, plan_files, upscale, upscale_files
from keras_edsr.models import EDSR, MDSR

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return EDSR(2, 1, 4, 1.0)


@pytest.fixture
def photos(tmp_path):
    """A folder with a folder in it."""
    for i, name in enumerate(("a.png", "b.jpg", "sub/c.png", "sub/deep/a.webp")):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, photo(12, 16 + 4 * i, i))
    return tmp_path / "photos"


# === What becomes what ===


def test_a_file_becomes_a_file(photos, tmp_path):
    assert plan_files([photos / "a.png"], tmp_path / "out.webp") == [(photos / "a.png", tmp_path / "out.webp")]


def test_a_file_keeps_its_name_in_a_folder(photos, tmp_path):
    expected = [(photos / "a.png", tmp_path / "out" / "a.png")]
    assert plan_files([photos / "a.png"], f"{tmp_path / 'out'}{os.sep}") == expected
    (tmp_path / "out").mkdir()
    assert plan_files([photos / "a.png"], tmp_path / "out") == expected


def test_a_folder_may_be_called_like_an_image(photos, tmp_path):
    (tmp_path / "out.png").mkdir()
    assert plan_files([photos / "a.png"], tmp_path / "out.png")[0][1] == tmp_path / "out.png" / "a.png"


def test_a_tree_keeps_its_form(photos, tmp_path):
    pairs = plan_files([photos], tmp_path / "out")
    names = ["a.png", "b.jpg", "sub/c.png", "sub/deep/a.webp"]
    assert pairs == [(photos / name, tmp_path / "out" / name) for name in names]


def test_files_and_folders_may_be_mixed(photos, tmp_path):
    pairs = plan_files([photos / "a.png", photos / "sub"], tmp_path / "out")
    assert [target.name for _, target in pairs] == ["a.png", "c.png", "a.webp"]


def test_an_output_folder_within_the_input_is_no_input(photos):
    (photos / "out").mkdir()
    write_image(photos / "out" / "a.png", photo(12, 16))
    pairs = plan_files([photos], photos / "out", overwrite=True)
    assert [source.relative_to(photos).as_posix() for source, _ in pairs] == [
        *("a.png", "b.jpg", "sub/c.png", "sub/deep/a.webp"),
    ]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.png", ["a.png"]),
        ("*", ["a.png", "b.jpg"]),
        ("**/*.[pw]*", ["a.png", "sub/c.png", "sub/deep/a.webp"]),
        ("s*/**/c.png", ["sub/c.png"]),
    ],
)
def test_a_pattern_keeps_the_tree_below_its_fixed_part(photos, tmp_path, pattern, names):
    (photos / "notes.txt").touch()
    pairs = plan_files([photos / pattern], tmp_path / "out")
    assert pairs == [(photos / name, tmp_path / "out" / name) for name in names]


def test_a_file_may_be_called_like_a_pattern(photos, tmp_path):
    write_image(photos / "a[1].png", photo(12, 16))
    assert plan_files([photos / "a[1].png"], tmp_path / "out.png") == [(photos / "a[1].png", tmp_path / "out.png")]


def test_a_pattern_of_one_image_may_become_a_file(photos, tmp_path):
    assert plan_files([photos / "*.jpg"], tmp_path / "out.png") == [(photos / "b.jpg", tmp_path / "out.png")]
    with pytest.raises(ValueError, match="must be a folder for several images"):
        plan_files([photos / "*"], tmp_path / "out.png")


@pytest.mark.parametrize(
    ("suffix", "names"),
    [
        ("_x2", ["a_x2.png", "b_x2.jpg", "sub/c_x2.png", "sub/deep/a_x2.webp"]),
        (".png", ["a.png", "b.png", "sub/c.png", "sub/deep/a.png"]),
        ("_x2.5.WEBP", ["a_x2.5.WEBP", "b_x2.5.WEBP", "sub/c_x2.5.WEBP", "sub/deep/a_x2.5.WEBP"]),
        ("@2x", ["a@2x.png", "b@2x.jpg", "sub/c@2x.png", "sub/deep/a@2x.webp"]),
    ],
)
def test_a_suffix_is_added_or_replaces_the_format(photos, tmp_path, suffix, names):
    pairs = plan_files([photos], tmp_path / "out", suffix=suffix)
    assert [target.relative_to(tmp_path / "out").as_posix() for _, target in pairs] == names


def test_a_second_run_in_the_same_folder_does_not_take_the_first_ones_results(photos):
    first = plan_files([photos], photos, suffix="_x2")
    for _, target in first:
        write_image(target, photo(24, 32))
    assert plan_files([photos], photos, overwrite=True, suffix="_x2") == first
    assert plan_files([photos], photos, skip_existing=True, suffix="_x2") == []


def test_files_that_exist_are_skipped_if_told(photos, tmp_path, caplog):
    caplog.set_level("INFO", "keras_edsr")
    (tmp_path / "out" / "sub").mkdir(parents=True)
    (tmp_path / "out" / "sub" / "c.png").touch()
    pairs = plan_files([photos], tmp_path / "out", skip_existing=True)
    assert [target.name for _, target in pairs] == ["a.png", "b.jpg", "a.webp"]
    assert caplog.messages == ["Skipping 1 of 4 images, whose outputs exist."]


def test_one_file_named_twice_is_one(photos, tmp_path):
    assert len(plan_files([photos, photos / "a.png"], tmp_path / "out")) == 4


# === What is refused, before anything is done ===


@pytest.mark.parametrize(
    ("inputs", "output", "suffix", "message"),
    [
        (["*.gif"], "out", "", r"no file that matches .*\*\.gif is an image"),
        (["a.png"], "out.png", "_x2", r"`suffix` is for names in a folder, and .*out\.png is one image"),
        (["a.png"], "out/", "/x2", "must not contain a separator"),
        (["a.png"], "out/", ".jp2", r"Cannot write \*\.jp2: its suffix must be one of"),
        (["a.png"], "out", ".png", r"For a folder of that name, write .*out/ with the separator"),
        ([""], "out", ".png", r"Several inputs would become .*sub/deep/a\.png"),
        ([""], "photos", ".png", r"a\.png would overwrite its own source"),
    ],
)
def test_names_that_cannot_be_are_refused(photos, tmp_path, inputs, output, suffix, message):
    write_image(photos / "sub" / "deep" / "a.tif", photo(12, 16))
    if output == "photos":
        (photos / "sub" / "deep" / "a.tif").unlink()
    with pytest.raises(ValueError, match=message):
        plan_files([photos / name for name in inputs], f"{tmp_path}/{output}", overwrite=True, suffix=suffix)


def test_another_input_is_never_overwritten(photos):
    write_image(photos / "a_x2.png", photo(12, 16))
    with pytest.raises(ValueError, match=r"a_x2\.png, made of .*a\.png, would overwrite another input"):
        plan_files([photos / "a.png", photos / "a_x2.png"], photos, overwrite=True, suffix="_x2")


def test_a_folder_in_place_of_a_target_is_refused(photos, tmp_path):
    (tmp_path / "out" / "a.png").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"Cannot write .*out/a\.png: it is a folder"):
        plan_files([photos / "a.png"], tmp_path / "out", overwrite=True)


def test_two_inputs_for_one_name_are_refused(photos, tmp_path):
    write_image(tmp_path / "a.png", photo(12, 16))
    with pytest.raises(
        ValueError, match=r"Several inputs would become .*a\.png: .*photos/a\.png, .*Upscale them separately"
    ):
        plan_files([photos / "a.png", tmp_path / "a.png"], tmp_path / "out")


def test_several_images_for_one_file_are_refused(photos, tmp_path):
    for inputs in ([photos / "a.png", photos / "b.jpg"], [photos]):
        with pytest.raises(ValueError, match=r"must be a folder for several images. Received: .*out\.png"):
            plan_files(inputs, tmp_path / "out.png")


def test_an_output_that_exists_is_refused_unless_told_to_overwrite(photos, tmp_path):
    write_image(tmp_path / "out.png", photo(12, 16))
    with pytest.raises(ValueError, match=r"out\.png already exists.*--overwrite"):
        plan_files([photos / "a.png"], tmp_path / "out.png")
    assert plan_files([photos / "a.png"], tmp_path / "out.png", overwrite=True)


def test_a_source_is_never_overwritten(photos):
    for inputs, output in (([photos / "a.png"], photos / "a.png"), ([photos], photos)):
        with pytest.raises(ValueError, match="would overwrite its own source"):
            plan_files(inputs, output, overwrite=True)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [(["gone.png"], r"gone\.png does not exist"), (["empty"], "empty has no file with a suffix of")],
)
def test_an_input_without_an_image_is_refused(tmp_path, inputs, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=message):
        plan_files([tmp_path / name for name in inputs], f"{tmp_path}/out/")


def test_an_input_that_lies_in_the_output_alone_is_refused(photos):
    (photos / "sub" / "out").mkdir()
    write_image(photos / "sub" / "out" / "a.png", photo(12, 16))
    (photos / "sub" / "c.png").unlink()
    (photos / "sub" / "deep" / "a.webp").unlink()
    with pytest.raises(ValueError, match="all images lie in the output folder"):
        plan_files([photos / "sub"], photos / "sub" / "out")


@pytest.mark.parametrize("name", ["out.psd", "out.jp2", "out.heic", "out.HEIF", "out.mp4", "out.mkv", "out.x2", "out"])
def test_a_format_that_is_not_written_is_refused(photos, tmp_path, name):
    with pytest.raises(ValueError, match=f"Cannot write .*{name}: its suffix must be one of"):
        plan_files([photos / "a.png"], tmp_path / name)


@pytest.mark.parametrize("name", ["out.mp4", "out.heic", "out.jp2"])
def test_a_folder_is_not_given_the_name_of_a_file(photos, tmp_path, name):
    for inputs in ([photos], [photos / "a.png", photos / "b.jpg"], [photos / "*"]):
        with pytest.raises(ValueError, match="must be a folder for several images"):
            plan_files(inputs, tmp_path / name)


def test_several_inputs_make_a_folder_of_any_other_name(photos, tmp_path):
    for name in ("out", "2026.11", "photos.x2"):
        assert plan_files([photos / "*.png"], tmp_path / name)[0][1] == tmp_path / name / "a.png"


def test_a_file_that_would_keep_a_name_that_is_not_written_is_left_with_what_helps(model, photos, tmp_path):
    Image.fromarray(photo(12, 16)).save(photos / "d.ppm")
    [(source, error)] = upscale_files(plan_files([photos], tmp_path / "out"), model)
    assert source == photos / "d.ppm"
    assert re.search(r"Cannot write .*d\.ppm: its suffix must be one of .* --suffix \.png", str(error))
    assert (tmp_path / "out" / "sub" / "deep" / "a.webp").exists()
    pairs = plan_files([photos / "d.ppm"], f"{tmp_path}/other/", suffix=".png")
    assert upscale_files(pairs, model) == []
    np.testing.assert_array_equal(read_image(tmp_path / "other" / "d.png"), upscale(model, photo(12, 16)))


def test_a_file_in_place_of_the_folder_is_refused(photos, tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(ValueError, match=r"must be a folder for several images, and .*out is a file"):
        plan_files([photos], tmp_path / "out")


# === Upscaling ===


def test_every_file_is_upscaled_as_its_image_is(model, photos, tmp_path):
    pairs = [pair for pair in plan_files([photos], tmp_path / "out") if pair[1].suffix == ".png"]
    assert upscale_files(pairs, model) == []
    for source, target in pairs:
        np.testing.assert_array_equal(read_image(target), upscale(model, read_image(source)))


@pytest.mark.parametrize("name", ["out.png", "out.jpg", "out.webp"])
def test_the_suffix_decides_the_format(model, photos, tmp_path, name):
    upscale_files([(photos / "a.png", tmp_path / name)], model)
    formats = {"out.png": "PNG", "out.jpg": "JPEG", "out.webp": "WEBP"}
    with Image.open(tmp_path / name) as picture:
        assert (picture.format, picture.size) == (formats[name], (32, 24))


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "webp", "JPG"])
def test_quality_is_that_of_jpeg_and_webp(model, photos, tmp_path, suffix):
    sizes = []
    for quality in (10, 95):
        target = tmp_path / f"{quality}.{suffix}"
        upscale_files([(photos / "a.png", target)], model, write_options={"quality": quality})
        sizes.append(target.stat().st_size)
    assert sizes[0] < 0.8 * sizes[1]


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_quality_is_nothing_to_other_formats(model, photos, tmp_path, suffix):
    target = tmp_path / f"out.{suffix}"
    assert upscale_files([(photos / "a.png", target)], model, write_options={"quality": 10}) == []
    np.testing.assert_array_equal(read_image(target), upscale(model, read_image(photos / "a.png")))


def test_one_bad_file_does_not_stop_the_others(model, photos, tmp_path):
    (photos / "a.png").write_bytes(b"no image")
    told = []
    pairs = plan_files([photos], tmp_path / "out")
    failed = upscale_files(pairs, model, report=lambda target, error: told.append((target.name, error)))
    assert [source for source, _ in failed] == [photos / "a.png"]
    assert [name for name, _ in told] == ["a.png", "b.jpg", "c.png", "a.webp"]
    assert [error is None for _, error in told] == [False, True, True, True]
    assert not (tmp_path / "out" / "a.png").exists()


def test_a_file_that_appears_meanwhile_is_not_overwritten(model, photos, tmp_path):
    pairs = plan_files([photos / "a.png"], tmp_path / "out.png")
    (tmp_path / "out.png").write_text("mine")
    [(_, error)] = upscale_files(pairs, model)
    assert isinstance(error, FileExistsError)
    assert (tmp_path / "out.png").read_text() == "mine"


def test_progress_counts_the_pixels_of_each_file(model, photos, tmp_path):
    told = []
    pairs = [(photos / "a.png", tmp_path / "a.png"), (photos / "sub" / "c.png", tmp_path / "c.png")]
    upscale_files(pairs, model, progress=lambda *values: told.append(values), tile_size=8)
    assert told[-1] == (photos / "sub" / "c.png", 12 * 24, 12 * 24)
    first = [done for source, done, _ in told if source == photos / "a.png"]
    assert len(first) == 4
    assert first == sorted(first)
    assert first[-1] == 12 * 16


def test_a_model_that_cannot_be_read_is_one_error_not_one_for_each_file(photos, tmp_path):
    pairs = plan_files([photos], tmp_path / "out")
    with pytest.raises(ValueError, match=r"gone\.keras, which cannot be read"):
        upscale_files(pairs, tmp_path / "gone.keras")


def test_several_scales_must_be_told_which(photos, tmp_path):
    pairs = plan_files([photos / "a.png"], tmp_path / "out.png")
    mdsr = MDSR((2, 3), 1, 4)
    with pytest.raises(ValueError, match=r"`scale` must be one of the model's scales, \(2, 3\)"):
        upscale_files(pairs, mdsr)
    assert upscale_files(pairs, mdsr, 3) == []
    assert read_image(tmp_path / "out.png").shape == (36, 48, 3)


# === Any size ===


@pytest.mark.parametrize(
    ("size", "expected"),
    [({"scale": 3}, (36, 48)), ({"width": 20}, (15, 20)), ({"fit": (100, 30)}, (30, 40)), ({"width": 16}, (12, 16))],
)
def test_a_size_is_met(model, photos, tmp_path, size, expected):
    assert upscale_files([(photos / "a.png", tmp_path / "out.png")], model, **size) == []
    sr = read_image(tmp_path / "out.png")
    assert sr.shape[:2] == expected
    np.testing.assert_array_equal(sr, upscale(model, read_image(photos / "a.png"), **size))


def test_sizes_that_do_not_fit_together_are_one_error(model, photos, tmp_path):
    pairs = plan_files([photos], tmp_path / "out")
    with pytest.raises(ValueError, match="Received: scale and fit"):
        upscale_files(pairs, model, 2, fit=(100, 100))


# === What a file holds is kept ===


def picture(channels, dtype=np.uint8, frames=1):
    """Frames of different photographs, with EXIF and a profile."""
    depth = 257 if dtype == np.uint16 else 1
    images = [photo(12, 16, seed).astype(dtype) * dtype(depth) for seed in range(frames)]
    alpha = np.linspace(0, np.iinfo(dtype).max, 12 * 16).reshape(12, 16, 1).astype(dtype)
    chosen = {1: lambda i: i[..., 0], 2: lambda i: np.dstack([i[..., 0], alpha]), 3: lambda i: i}
    chosen[4] = lambda i: np.dstack([i, alpha])
    exif = Image.Exif()
    exif[0x0110] = "camera"
    durations = (40.0, 100.0, 250.0)[:frames] if frames > 1 else ()
    return Picture([chosen[channels](image) for image in images], durations, 2, exif.tobytes(), SRGB)


def converted(model, tmp_path, source, target, **options):
    """Writes a picture, upscales the file, reads what came out."""
    write_picture(tmp_path / "in" / source[0], source[1], lossless=True)
    assert upscale_files([(tmp_path / "in" / source[0], tmp_path / target)], model, **options) == []
    return read_picture(tmp_path / target)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_channels_depth_exif_and_profile_are_kept(model, folder, channels, dtype, suffix):
    before = picture(channels, dtype)
    after = converted(model, folder, (f"a.{suffix}", before), f"b.{suffix}")
    assert (after.bit_depth, after.is_gray, after.has_alpha) == (before.bit_depth, before.is_gray, before.has_alpha)
    assert after.icc == SRGB
    exif = Image.Exif()
    exif.load(after.exif)
    assert exif[0x0110] == "camera"
    np.testing.assert_array_equal(after.image, upscale(model, before.image))


@pytest.mark.parametrize(
    ("suffix", "channels"),
    [("webp", 1), ("webp", 3), ("webp", 4), ("png", 1), ("png", 3), ("png", 4), ("gif", 1), ("gif", 3)],
)
def test_animations_are_kept(model, folder, suffix, channels):
    before = picture(channels, frames=3)
    after = converted(model, folder, ("a.png", before), f"b.{suffix}", write_options={"lossless": True})
    assert (list(after.durations), after.plays) == ([40, 100, 250], 2)
    if suffix != "gif":  # which has 256 colors
        for frame, source in zip(after.frames, before.frames, strict=True):
            expected = np.atleast_3d(upscale(model, source))
            if channels < 4:  # WebP has gray as RGB, and may tell of an alpha that is opaque
                np.testing.assert_array_equal(np.atleast_3d(frame)[..., :3] - expected, 0)
            else:
                seen = expected[..., 3] > 0
                np.testing.assert_array_equal(frame[seen], expected[seen])


def test_a_turned_photograph_stands_upright(model, folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo(12, 16)).save(folder / "a.png", exif=exif)
    upscale_files([(folder / "a.png", folder / "b.png")], model)
    with Image.open(folder / "b.png") as stored:
        assert stored.size == (24, 32)
        assert stored.getexif()[0x0112] == 1
        np.testing.assert_array_equal(np.asarray(stored), upscale(model, np.rot90(photo(12, 16), -1)))


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (picture(4), "b.jpg", "JPEG cannot store transparency"),
        (picture(3, frames=3), "b.jpg", "JPEG can store one frame"),
        (Picture([np.zeros((1, 8192), np.uint8)]), "b.webp", "WEBP can store 16383 pixels a side"),
    ],
)
def test_what_the_target_cannot_hold_is_refused_before_the_work(model, folder, source, target, message):
    write_picture(folder / "a.png", source)
    told = []
    [(_, error)] = upscale_files(
        [(folder / "a.png", folder / target)], model, progress=lambda *values: told.append(values)
    )
    assert message in str(error)
    assert not told
    assert not (folder / target).exists()


# === Bad files ===


@pytest.fixture
def _alarm():
    """A test that waits for a pipe ends here, not with the whole run."""
    signal.alarm(60)
    yield
    signal.alarm(0)


@pytest.mark.usefixtures("_alarm")
@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("inputs", [[""], ["*"], ["**/*.png"], ["a.png", "m.png", "sub/c.png"]])
def test_a_bad_entry_is_reported_and_the_others_are_done(model, photos, tmp_path, kind, inputs):
    ODD[kind](photos / "m.png")
    for name in ("b.jpg", "sub/deep/a.webp"):
        (photos / name).unlink()
    pairs = plan_files([photos / name for name in inputs], tmp_path / "out")
    [(source, error)] = upscale_files(pairs, model)
    assert source == photos / "m.png"
    assert re.fullmatch(r"Cannot read .*m\.png: it is a (link|named pipe|socket|device).*\.", str(error))
    assert (tmp_path / "out" / "a.png").exists()


@pytest.mark.usefixtures("_alarm")
@pytest.mark.parametrize("kind", ODD)
def test_a_bad_entry_alone_is_refused_before_a_model_is_loaded(photos, tmp_path, kind):
    ODD[kind](photos / "sub" / "m.png")
    for inputs in ([photos / "sub" / "m.png"], [photos / "sub" / "m*"]):
        with pytest.raises(ValueError, match=r"No image to read: .*m\.png: it is a "):
            plan_files(inputs, tmp_path / "out.png")


@pytest.mark.usefixtures("_alarm")
@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_file_is_no_target(model, photos, tmp_path, kind):
    ODD[kind](tmp_path / "o.png")
    pairs = [(photos / "a.png", tmp_path / "o.png"), (photos / "a.png", tmp_path / "z.png")]
    told = []
    [(_, error)] = upscale_files(pairs, model, overwrite=True, progress=lambda source, *_: told.append(source))
    assert re.match(r"Cannot write .*o\.png: it is a ", str(error))
    assert len(told) == 1  # of the other: found out before the work
    assert (tmp_path / "z.png").exists()


def test_overwriting_a_link_replaces_the_file_behind_it(model, photos, tmp_path):
    write_image(tmp_path / "real.png", photo(12, 16, 5))
    (tmp_path / "link.png").symlink_to("real.png")
    pairs = plan_files([photos / "a.png"], tmp_path / "link.png", overwrite=True)
    assert upscale_files(pairs, model, overwrite=True) == []
    assert (tmp_path / "link.png").is_symlink()
    np.testing.assert_array_equal(read_image(tmp_path / "real.png"), upscale(model, photo(12, 16)))


def test_a_link_to_the_source_is_no_target(photos, tmp_path):
    (tmp_path / "link.png").symlink_to(photos / "a.png")
    with pytest.raises(ValueError, match="would overwrite its own source"):
        plan_files([photos / "a.png"], tmp_path / "link.png", overwrite=True)


def test_a_folder_that_cannot_be_listed_is_reported(model, photos, tmp_path, monkeypatch):
    listed = os.scandir

    def scandir(path="."):
        if os.fspath(path).endswith("deep"):  # root may list anything
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    for inputs in (photos, photos / "**" / "*.png"):
        failed = upscale_files(plan_files([inputs], tmp_path / inputs.name[:1]), model)
        assert [source for source, _ in failed] == [photos / "sub" / "deep"]
        assert re.fullmatch(r"Cannot read the folder .*deep: permission denied\.", str(failed[0][1]))
        assert (tmp_path / inputs.name[:1] / "sub" / "c.png").exists()


def test_a_file_that_vanishes_meanwhile_is_reported(model, photos, tmp_path):
    pairs = plan_files([photos], tmp_path / "out")
    (photos / "b.jpg").unlink()
    [(source, error)] = upscale_files(pairs, model)
    assert source == photos / "b.jpg"
    assert isinstance(error, FileNotFoundError)


def test_names_that_are_not_utf_8_are_names(model, photos, tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    (photos / "a.png").rename(photos / name)
    assert upscale_files(plan_files([photos], tmp_path / "out"), model) == []
    assert b"caf\xe9.png" in os.listdir(os.fsencode(tmp_path / "out"))


@pytest.mark.parametrize("suffix", ["avif", "jp2", "j2k", "ppm", "pgm", "pbm", "dib", "jfif", "jpe", "tif", "JFIF"])
def test_every_image_of_a_folder_is_done(model, tmp_path, suffix):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / f"a.{suffix}"
    Image.fromarray(photo(12, 16)).convert({"pgm": "L", "pbm": "1"}.get(suffix, "RGB")).save(path)
    for inputs in (tmp_path / "in", tmp_path / "in" / "*", tmp_path / "in" / f"*.{suffix}"):
        pairs = plan_files([inputs], tmp_path / "out", overwrite=True, suffix=".png")
        assert upscale_files(pairs, model, overwrite=True) == []
        np.testing.assert_array_equal(read_image(tmp_path / "out" / "a.png"), upscale(model, read_image(path)))


# === Streams ===


class Stdin:
    """Standard input as a pipe: it cannot be rewound."""

    def __init__(self, data):
        self.buffer = io.BytesIO(data)
        self.buffer.seek = None


@pytest.mark.parametrize(
    ("source", "suffix", "kind"),
    [("a.png", "", "PNG"), ("b.jpg", "", "JPEG"), ("b.jpg", ".png", "PNG"), ("sub/deep/a.webp", "", "WEBP")],
)
def test_standard_input_becomes_standard_output(model, photos, monkeypatch, source, suffix, kind):
    monkeypatch.setattr("sys.stdin", Stdin((photos / source).read_bytes()))
    stdout = io.BytesIO()
    pairs = plan_files([STDIN], STDOUT, suffix=suffix)
    assert upscale_files(pairs, model, stdout=stdout, write_options={"lossless": True}) == []
    with Image.open(stdout) as image:
        assert image.format == kind
        if kind != "JPEG":
            np.testing.assert_array_equal(np.asarray(image), upscale(model, read_image(photos / source)))


def test_standard_input_in_a_folder_takes_its_formats_suffix(model, photos, tmp_path, monkeypatch):
    told = []
    for suffix, name in (
        ("", "stdin.png"),
        ("_x2", "stdin_x2.png"),
        ("_v1.5", "stdin_v1.5.png"),
        (".bmp", "stdin.bmp"),
    ):
        monkeypatch.setattr("sys.stdin", Stdin((photos / "a.png").read_bytes()))
        pairs = plan_files([STDIN], f"{tmp_path}/out/", suffix=suffix)
        assert upscale_files(pairs, model, report=lambda target, error: told.append(target.name)) == []
        assert told[-1] == name
        assert (tmp_path / "out" / name).exists()


def test_an_open_pipe_is_read_to_its_end(model, photos, tmp_path):
    end, start = os.pipe()
    os.write(start, (photos / "a.png").read_bytes())
    os.close(start)
    assert upscale_files(plan_files([f"/dev/fd/{end}"], tmp_path / "b.png"), model) == []
    os.close(end)
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), upscale(model, photo(12, 16)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"/dev/stdin: it is empty"),
        (b"text", r"/dev/stdin: it is not an image"),
        (bytes(2**26 + 16 * 5 + 1), r"/dev/stdin: it has more than 67108944 bytes"),
        (None, r"PPM is read and not written; name a suffix to write, such as \.png"),
    ],
)
def test_bad_standard_input_is_one_bad_file(model, monkeypatch, data, message):
    if data is None:
        file = io.BytesIO()
        Image.fromarray(photo(12, 16)).save(file, "PPM")
        data = file.getvalue()
    monkeypatch.setattr("sys.stdin", Stdin(data))
    stdout = io.BytesIO()
    [(_, error)] = upscale_files(plan_files([STDIN], STDOUT), model, stdout=stdout, max_pixels=5)
    assert re.search(message, str(error))
    assert not stdout.getvalue()


@pytest.mark.parametrize(
    ("inputs", "suffix", "message"),
    [
        (["a.png", "b.jpg"], "", "must be a folder for several images. Received: standard output"),
        ([""], "", "must be a folder for several images. Received: standard output"),
        (["a.png"], "_x2", "must be a format for standard output"),
        (["a.png"], ".jp2", "must be a format for standard output"),
    ],
)
def test_standard_output_takes_one_image_of_a_format_that_is_written(photos, inputs, suffix, message):
    with pytest.raises(ValueError, match=message):
        plan_files([photos / name for name in inputs], STDOUT, suffix=suffix)


# === Too large, or without a place ===


def test_a_file_of_too_many_pixels_is_refused(model, photos, tmp_path):
    [(_, error)] = upscale_files([(photos / "a.png", tmp_path / "b.png")], model, max_pixels=12 * 16 - 1)
    assert "192 pixels (16x12), and `max_pixels` (--max-pixels) is 191" in str(error)


def test_a_folder_that_cannot_be_made_is_refused_before_the_work(model, photos, tmp_path):
    (tmp_path / "file").touch()
    told = []
    pairs = [(photos / "a.png", tmp_path / "file" / "sub" / "a.png")]
    [(_, error)] = upscale_files(pairs, model, progress=lambda *values: told.append(values))
    assert re.fullmatch(r"Cannot write .*a\.png: (not a directory|file exists)\.", str(error))
    assert not told


def test_a_folder_that_may_not_be_written_is_refused_before_the_work(model, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write anywhere
    told = []
    [(_, error)] = upscale_files(
        [(photos / "a.png", tmp_path / "a.png")], model, progress=lambda *values: told.append(values)
    )
    assert "its folder is not writable" in str(error)
    assert not told


def test_too_little_memory_is_one_bad_file(model, photos, tmp_path, monkeypatch):
    def exhausted(*_, **__):
        raise MemoryError

    pairs = plan_files([photos], tmp_path / "out")
    monkeypatch.setattr("keras_edsr.inference.files.read_picture", exhausted)
    failed = upscale_files(pairs, model)
    assert [str(error) for _, error in failed] == ["memory is not sufficient for it"] * 4


def test_an_interrupt_leaves_no_half_file(model, photos, tmp_path):
    pairs = plan_files([photos], tmp_path / "out")

    def interrupt(source, done, total):
        if source.name == "b.jpg":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upscale_files(pairs, model, progress=interrupt)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]
