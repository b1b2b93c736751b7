import numpy as np
import pytest
from PIL import Image

from keras_edsr.image_io import decode_image, find_images, read_image, read_size, write_image

rng = np.random.default_rng(0)
RGB = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GRAY = rng.integers(0, 256, (5, 7), dtype=np.uint8)


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


# Finding


def test_images_are_found_sorted_in_nested_folders(tmp_path):
    for name in ("b.png", "a.JPG", "nested/deep/c.webp", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    names = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert names == ["a.JPG", "b.png", "nested/deep/c.webp"]


def test_hidden_files_are_no_images(tmp_path):
    for name in ("0801.png", "._0801.png", ".trash/0802.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_images(tmp_path) == [tmp_path / "0801.png"]


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path} has no file"):
        find_images(tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"gone does not exist"):
        find_images(tmp_path / "gone")


def test_a_file_is_no_folder(tmp_path):
    path = save(tmp_path / "a.png", RGB)
    with pytest.raises(ValueError, match=r"a\.png is not a folder"):
        find_images(path)


# Reading


def test_rgb_is_read_as_it_is(tmp_path):
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", RGB)), RGB)


def test_gray_stays_one_channel_unless_asked(tmp_path):
    path = save(tmp_path / "a.png", GRAY)
    np.testing.assert_array_equal(read_image(path), GRAY)
    np.testing.assert_array_equal(read_image(path, channels=1), GRAY)
    np.testing.assert_array_equal(read_image(path, channels=3), np.dstack([GRAY] * 3))


def test_one_channel_of_rgb_is_its_luma(tmp_path):
    image = read_image(save(tmp_path / "a.png", RGB), channels=1)
    luma = RGB @ [0.299, 0.587, 0.114]
    assert image.shape == (5, 7)
    assert np.abs(image - luma).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", RGB, exif=exif)
    turned = {
        1: RGB,
        2: RGB[:, ::-1],
        3: RGB[::-1, ::-1],
        4: RGB[::-1],
        5: RGB.swapaxes(0, 1),
        6: np.rot90(RGB, -1),
        7: RGB[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(RGB),
    }[orientation]
    np.testing.assert_array_equal(read_image(path), turned)


def test_sixteen_bit_gray_is_rounded_to_eight(tmp_path):
    levels = np.array([[0, 128, 129, 257, 385, 386, 65535]], dtype=np.uint16)
    expected = np.array([[0, 0, 1, 1, 1, 2, 255]])
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", levels)), expected)


def test_a_palette_is_resolved(tmp_path):
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.putpixel((1, 0), 1)
    picture.save(tmp_path / "a.png", transparency=b"\x00\xff")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), [[[10, 20, 30], [40, 50, 60]]])


def test_one_bit_is_black_and_white(tmp_path):
    Image.fromarray(GRAY > 127).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.where(GRAY > 127, 255, 0))


def test_alpha_is_dropped(tmp_path):
    path = save(tmp_path / "a.png", np.dstack([RGB, GRAY]))
    np.testing.assert_array_equal(read_image(path), RGB)


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (4, 3), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    image = read_image(tmp_path / "a.jpg")
    assert image.shape == (3, 4, 3)
    assert np.abs(image - np.array([255.0, 0, 0])).max() <= 3


def test_the_content_tells_the_format_not_the_suffix(tmp_path):
    path = save(tmp_path / "a.jpg", RGB, format="PNG")
    np.testing.assert_array_equal(read_image(path), RGB)


def test_bytes_are_decoded_as_a_file_is(tmp_path):
    data = save(tmp_path / "a.png", RGB).read_bytes()
    np.testing.assert_array_equal(decode_image(data, "a.png"), RGB)
    assert read_size(data, "a.png") == (5, 7)


def damaged(kind, whole):
    return {
        "empty": b"",
        "truncated": whole[: len(whole) // 2],
        "no image": b"<html>not found</html>",
        "corrupt": whole[:40] + bytes(40) + whole[80:],
    }[kind]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp"])
@pytest.mark.parametrize("kind", ["empty", "truncated", "no image"])
def test_a_damaged_file_is_named_in_one_line(tmp_path, suffix, kind):
    path = save(tmp_path / f"photo{suffix}", np.tile(RGB, (20, 20, 1)))
    path.write_bytes(damaged(kind, path.read_bytes()))
    with pytest.raises(ValueError, match=f"Cannot read the image .*photo{suffix}: ") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_a_corrupt_png_is_named(tmp_path):
    path = save(tmp_path / "photo.png", RGB)
    path.write_bytes(damaged("corrupt", path.read_bytes()))
    with pytest.raises(ValueError, match=r"photo\.png"):
        read_image(path)


def test_channels_must_be_known(tmp_path):
    with pytest.raises(ValueError, match="`channels` must be None, 1 or 3"):
        read_image(save(tmp_path / "a.png", RGB), channels=4)


# Writing


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".PNG"])
@pytest.mark.parametrize("image", [RGB, GRAY, GRAY[..., None]])
def test_what_is_written_is_read_back(tmp_path, suffix, image):
    write_image(tmp_path / f"a{suffix}", image)
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}"), image.squeeze())


def test_alpha_is_written(tmp_path):
    image = np.dstack([RGB, GRAY])
    write_image(tmp_path / "a.png", image)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), image)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_formats_keep_color_close(tmp_path, suffix):
    image = np.full((32, 32, 3), (200, 30, 60), np.uint8)
    write_image(tmp_path / f"a{suffix}", image)
    assert np.abs(read_image(tmp_path / f"a{suffix}") - image.astype(float)).max() <= 4


def test_options_reach_the_encoder(tmp_path):
    write_image(tmp_path / "a.webp", RGB, lossless=True)
    np.testing.assert_array_equal(read_image(tmp_path / "a.webp"), RGB)


def test_views_are_written_as_they_look(tmp_path):
    write_image(tmp_path / "a.png", RGB[::-1, ::2])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB[::-1, ::2])


def test_an_existing_file_is_kept_unless_told(tmp_path):
    write_image(tmp_path / "a.png", RGB)
    with pytest.raises(FileExistsError, match=r"a\.png already exists"):
        write_image(tmp_path / "a.png", GRAY)
    write_image(tmp_path / "a.png", GRAY, overwrite=True)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), GRAY)


def test_a_failed_write_leaves_nothing_and_keeps_what_was_there(tmp_path, monkeypatch):
    def fill_the_disk(picture, file, **options):
        file.write(b"half an image")
        raise OSError(28, "No space left on device")

    write_image(tmp_path / "a.png", RGB)
    monkeypatch.setattr(Image.Image, "save", fill_the_disk)
    for name in ("a.png", "b.png"):
        with pytest.raises(ValueError, match=f"Cannot write .*{name}: no space left on device"):
            write_image(tmp_path / name, GRAY, overwrite=True)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB)


def test_a_written_file_has_the_usual_permissions(tmp_path):
    write_image(tmp_path / "a.png", RGB)
    (tmp_path / "other").touch()
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_missing_folder_to_write_into_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"Cannot write .*gone/a\.png: no such file or directory"):
        write_image(tmp_path / "gone" / "a.png", RGB)


@pytest.mark.parametrize("name", ["a.psd", "a"])
def test_an_unknown_suffix_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"its suffix must be one of \.png"):
        write_image(tmp_path / name, RGB)


def test_alpha_does_not_fit_into_jpeg(tmp_path):
    with pytest.raises(ValueError, match=r"Cannot write .*a\.jpg"):
        write_image(tmp_path / "a.jpg", np.dstack([RGB, GRAY]))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("image", [RGB / 255, RGB[None], np.dstack([RGB, RGB]), RGB[:0], RGB.astype(int)])
def test_only_eight_and_sixteen_bit_images_are_written(tmp_path, image):
    with pytest.raises(ValueError, match=r"Cannot write .*a\.png: .* uint8 or uint16, of shape"):
        write_image(tmp_path / "a.png", image)
