import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_edsr import imresize
from keras_edsr.data import ImagePairs, reader
from keras_edsr.image_io import read_image, write_image


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_EDSR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def photo(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def folder_of(root, *sizes):
    """Writes a photo of each size: 00.png, 01.png, ..."""
    root.mkdir(parents=True)
    for seed, (height, width) in enumerate(sizes):
        write_image(root / f"{seed:02}.png", photo(height, width, seed))
    return root


def assert_equal(a, b):
    assert (a.names, a.scales) == (b.names, b.scales)
    for scale in a.scales:
        for index in range(len(a)):
            np.testing.assert_array_equal(a.lr(index, scale), b.lr(index, scale))
            np.testing.assert_array_equal(a.hr(index, scale), b.hr(index, scale))


def test_names_are_paths_below_the_folder(tmp_path):
    folder_of(tmp_path / "hr", (12, 12))
    folder_of(tmp_path / "hr" / "more", (12, 12))
    made = ImagePairs.from_folder(tmp_path / "hr", 2)
    assert made.names == ("00.png", "more/00.png")
    assert len(made) == 2


def test_lr_is_imresize_of_hr_cropped_to_a_multiple(tmp_path):
    hr = folder_of(tmp_path / "hr", (23, 31))
    made = ImagePairs.from_folder(hr, (2, 3, 4))
    for scale, (height, width) in {2: (11, 15), 3: (7, 10), 4: (5, 7)}.items():
        whole = photo(23, 31)[: height * scale, : width * scale]
        np.testing.assert_array_equal(made.hr(0, scale), whole)
        np.testing.assert_array_equal(made.lr(0, scale), imresize(whole, 1 / scale))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_made_lr_equals_matlabs(shared_data, tmp_path, scale):
    golden = shared_data / "golden"
    (tmp_path / "hr").mkdir()
    for path in golden.rglob(f"*_x{scale}_HR.png"):
        write_image(tmp_path / "hr" / path.name, read_image(path))
    made = ImagePairs.from_folder(tmp_path / "hr", scale)
    read = ImagePairs.from_folder(tmp_path / "hr", scale, lr_folder=golden)
    assert len(made) == 3
    assert_equal(made, read)


def test_every_size_gives_lr_of_its_own_size(tmp_path):
    hr = folder_of(tmp_path / "hr", *[(size, size + 1) for size in range(9, 33)])
    made = ImagePairs.from_folder(hr, (2, 3, 4))
    for index, size in enumerate(range(9, 33)):
        for scale in (2, 3, 4):
            assert made.lr(index, scale).shape == (size // scale, (size + 1) // scale, 3)


def test_lr_is_read_from_a_folder_in_div2k_naming(tmp_path):
    hr = folder_of(tmp_path / "hr", (12, 18), (15, 21))
    for scale in (2, 3):
        (tmp_path / "lr" / f"X{scale}").mkdir(parents=True)
        for index, (height, width) in enumerate([(12, 18), (15, 21)]):
            lr = photo(height // scale, width // scale, seed=100 * scale + index)
            write_image(tmp_path / "lr" / f"X{scale}" / f"{index:02}x{scale}.png", lr)
    read = ImagePairs.from_folder(hr, (2, 3), tmp_path / "lr")
    np.testing.assert_array_equal(read.lr(1, 2), photo(7, 10, seed=201))
    np.testing.assert_array_equal(read.lr(0, 3), photo(4, 6, seed=300))
    assert read.hr(1, 2).shape == (14, 20, 3)
    assert read.hr(1, 3).shape == (15, 21, 3)


def test_gray_images_have_one_channel(tmp_path):
    made = ImagePairs.from_folder(folder_of(tmp_path / "hr", (13, 16)), 2, channels=1)
    assert made.hr(0, 2).shape == (12, 16, 1)
    assert made.lr(0, 2).shape == (6, 8, 1)
    assert made.channels == 1
    gray = np.asarray(Image.fromarray(photo(13, 16)).convert("L"))
    np.testing.assert_array_equal(made.lr(0, 2)[..., 0], imresize(gray[:12], 0.5))


def test_images_of_any_format_and_depth_become_rgb(tmp_path):
    (tmp_path / "hr").mkdir()
    Image.new("L", (8, 8), 7).save(tmp_path / "hr" / "gray.png")
    Image.new("RGBA", (8, 8)).save(tmp_path / "hr" / "alpha.webp")
    Image.new("CMYK", (8, 8)).save(tmp_path / "hr" / "ink.jpg")
    made = ImagePairs.from_folder(tmp_path / "hr", 2)
    assert [made.hr(index, 2).shape for index in range(3)] == [(8, 8, 3)] * 3


# The cache


def refuse(*args, **kwargs):
    raise AssertionError("made again")


def test_lr_is_made_once(tmp_path, monkeypatch):
    hr = folder_of(tmp_path / "hr", (24, 30), (25, 31))
    made = ImagePairs.from_folder(hr, (2, 3))
    monkeypatch.setattr(reader, "imresize", refuse)
    assert_equal(made, ImagePairs.from_folder(hr, (2, 3)))


def test_a_moved_file_finds_its_lr(tmp_path, monkeypatch):
    hr = folder_of(tmp_path / "hr", (24, 30))
    ImagePairs.from_folder(hr, 2)
    hr.rename(tmp_path / "moved")
    monkeypatch.setattr(reader, "imresize", refuse)
    ImagePairs.from_folder(tmp_path / "moved", 2)


def test_changed_content_is_made_anew(tmp_path):
    hr = folder_of(tmp_path / "hr", (24, 30))
    ImagePairs.from_folder(hr, 2)
    write_image(hr / "00.png", photo(24, 30, seed=9), overwrite=True)
    made = ImagePairs.from_folder(hr, 2)
    np.testing.assert_array_equal(made.lr(0, 2), imresize(photo(24, 30, seed=9), 0.5))


def test_gray_and_rgb_do_not_share_an_entry(tmp_path):
    hr = folder_of(tmp_path / "hr", (24, 30))
    ImagePairs.from_folder(hr, 2, channels=3)
    assert ImagePairs.from_folder(hr, 2, channels=1).lr(0, 2).shape == (12, 15, 1)


@pytest.mark.parametrize("max_ram_bytes", [None, 0])
@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied"])
def test_a_corrupt_entry_is_made_again(tmp_path, cache, damage, max_ram_bytes):
    hr = folder_of(tmp_path / "hr", (24, 30), (25, 31))
    made = ImagePairs.from_folder(hr, 2, max_ram_bytes=max_ram_bytes)
    good = {path: path.read_bytes() for path in cache.rglob("*.pack")}
    for path, data in good.items():
        flipped = data[:50] + bytes([data[50] ^ 1]) + data[51:]
        path.unlink()  # the memory map of `made` keeps the old file
        path.write_bytes({"flipped": flipped, "cut": data[:70], "emptied": b""}[damage])
    assert_equal(made, ImagePairs.from_folder(hr, 2, max_ram_bytes=max_ram_bytes))
    assert {path: path.read_bytes() for path in cache.rglob("*.pack")} == good


@pytest.mark.parametrize("max_ram_bytes", [None, 0])
def test_runs_at_the_same_time_share_the_cache(tmp_path, cache, max_ram_bytes):
    hr = folder_of(tmp_path / "hr", *[(24, 30)] * 6)

    def load(_):
        return ImagePairs.from_folder(hr, (2, 3), max_ram_bytes=max_ram_bytes)

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(load, range(4))
    for other in others:
        assert_equal(first, other)
    assert not [path for path in cache.rglob("*") if path.suffix not in ("", ".pack")]


def test_a_cache_that_cannot_be_written_is_no_end(tmp_path):
    hr = folder_of(tmp_path / "hr", (24, 30))
    (tmp_path / "file").touch()
    with pytest.warns(RuntimeWarning, match=r"Cannot write LR images to .*file"):
        made = ImagePairs.from_folder(hr, 2, cache_dir=tmp_path / "file")
    np.testing.assert_array_equal(made.lr(0, 2), imresize(photo(24, 30), 0.5))


# The memory map


def test_the_memory_map_equals_memory(tmp_path):
    hr = folder_of(tmp_path / "hr", (24, 30), (25, 31), (40, 20))
    in_memory = ImagePairs.from_folder(hr, (2, 3))
    mapped = ImagePairs.from_folder(hr, (2, 3), max_ram_bytes=0)
    assert_equal(in_memory, mapped)
    assert_equal(in_memory, ImagePairs.from_folder(hr, (2, 3), max_ram_bytes=0))


def test_a_set_within_the_bound_is_not_mapped(tmp_path, cache):
    hr = folder_of(tmp_path / "hr", (24, 30), (24, 30))
    decoded = 2 * (24 * 30 + 12 * 15) * 3
    ImagePairs.from_folder(hr, 2, max_ram_bytes=decoded)
    assert not (cache / "sets").exists()
    ImagePairs.from_folder(hr, 2, max_ram_bytes=decoded - 1)
    assert len(list((cache / "sets").iterdir())) == 1


def test_a_mapped_set_is_decoded_once(tmp_path, monkeypatch):
    hr = folder_of(tmp_path / "hr", (24, 30))
    made = ImagePairs.from_folder(hr, 2, max_ram_bytes=0)
    monkeypatch.setattr(reader, "decode_image", refuse)
    assert_equal(made, ImagePairs.from_folder(hr, 2, max_ram_bytes=0))


def test_a_mapped_set_with_other_lr_is_another_set(tmp_path):
    hr = folder_of(tmp_path / "hr", (24, 30))
    ImagePairs.from_folder(hr, 2, max_ram_bytes=0)
    (tmp_path / "lr").mkdir()
    for seed in (7, 8):
        write_image(tmp_path / "lr" / "00x2.png", photo(12, 15, seed), overwrite=True)
        read = ImagePairs.from_folder(hr, 2, tmp_path / "lr", max_ram_bytes=0)
        np.testing.assert_array_equal(read.lr(0, 2), photo(12, 15, seed))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files as Linux does")
@pytest.mark.parametrize("max_ram_bytes", [None, 0])
def test_many_images_keep_one_file_open_at_most(tmp_path, max_ram_bytes):
    hr = folder_of(tmp_path / "hr", *[(8, 8)] * 40)
    for _ in range(2):
        before = len(os.listdir("/proc/self/fd"))
        made = ImagePairs.from_folder(hr, 2, max_ram_bytes=max_ram_bytes)
        assert len(os.listdir("/proc/self/fd")) <= before + 1
        del made


def test_no_room_for_the_map_is_told(tmp_path):
    hr = folder_of(tmp_path / "hr", (24, 30))
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r".*file.* cannot be written .*Set `cache_dir`"):
        ImagePairs.from_folder(hr, 2, cache_dir=tmp_path / "file", max_ram_bytes=0)


# Errors


def test_an_empty_folder_is_named(tmp_path):
    (tmp_path / "hr").mkdir()
    with pytest.raises(ValueError, match=f"{tmp_path / 'hr'} has no file"):
        ImagePairs.from_folder(tmp_path / "hr", 2)


@pytest.mark.parametrize("keep", [0, 20, 300])
def test_a_corrupt_file_is_named(tmp_path, keep):
    hr = folder_of(tmp_path / "hr", (24, 30), (24, 30))
    (hr / "01.png").write_bytes((hr / "01.png").read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"Cannot read the image .*hr/01\.png: "):
        ImagePairs.from_folder(hr, 2)


def test_lr_of_another_size_is_named_with_its_hr(tmp_path):
    hr = folder_of(tmp_path / "hr", (24, 30))
    folder_of(tmp_path / "lr", (13, 15))
    message = r"lr/00\.png is 13x15x3, but .*hr/00\.png is 24x30x3, which needs 12x15"
    with pytest.raises(ValueError, match=message):
        ImagePairs.from_folder(hr, 2, tmp_path / "lr")


def test_lr_that_does_not_match_ends_reading_at_once(tmp_path, monkeypatch):
    hr = folder_of(tmp_path / "hr", *[(24, 30)] * 200)
    folder_of(tmp_path / "lr", *[(24, 30)] * 200)
    read = []
    decode = reader.decode_image
    monkeypatch.setattr(reader, "decode_image", lambda *args: read.append(0) or decode(*args))
    with pytest.raises(ValueError, match="do not match"):
        ImagePairs.from_folder(hr, 2, tmp_path / "lr")
    assert len(read) < 40


def test_an_image_smaller_than_the_scale_is_named(tmp_path):
    hr = folder_of(tmp_path / "hr", (3, 30))
    with pytest.raises(ValueError, match=r"hr/00\.png is too small for scale 4: 3x30"):
        ImagePairs.from_folder(hr, 4)


@pytest.mark.parametrize("scales", [0, 5, (2, 2), ()])
def test_bad_scales_are_refused(tmp_path, scales):
    hr = folder_of(tmp_path / "hr", (24, 30))
    with pytest.raises(ValueError, match="`scale"):
        ImagePairs.from_folder(hr, scales)


def test_bad_channels_are_refused(tmp_path):
    hr = folder_of(tmp_path / "hr", (24, 30))
    with pytest.raises(ValueError, match="`channels` must be 1 or 3"):
        ImagePairs.from_folder(hr, 2, channels=4)


def test_arrays_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="do not match at scale 2: its LR for scale 2 is 5x5x3"):
        ImagePairs(["a"], [photo(12, 12)], {2: [photo(5, 5)]})


def test_images_cannot_be_changed(tmp_path):
    made = ImagePairs.from_folder(folder_of(tmp_path / "hr", (24, 30)), 2)
    with pytest.raises(ValueError, match="read-only"):
        made.hr(0, 2)[0] = 0


def test_the_head_is_the_first_pairs(tmp_path):
    made = ImagePairs.from_folder(folder_of(tmp_path / "hr", *[(24, 30)] * 3), (2, 3))
    head = made.head(2)
    assert (head.names, head.scales) == (made.names[:2], (2, 3))
    np.testing.assert_array_equal(head.lr(1, 3), made.lr(1, 3))
    assert len(made.head(9)) == 3


def test_pairs_that_hold_no_patch_can_be_left_out(tmp_path):
    made = ImagePairs.from_folder(folder_of(tmp_path / "hr", (24, 30), (24, 12), (36, 36)), (2, 3))
    fitting = made.at_least(8)  # at scale 3 the second is 4 pixels wide
    assert fitting.names == (made.names[0], made.names[2])
    np.testing.assert_array_equal(fitting.hr(1, 3), made.hr(2, 3))


def test_it_is_said_when_no_pair_holds_a_patch(tmp_path):
    made = ImagePairs.from_folder(folder_of(tmp_path / "hr", (24, 30)), 2)
    with pytest.raises(ValueError, match="no images"):
        made.at_least(48)


def test_data_is_imported_without_tensorflow():
    code = "import keras_edsr.data, sys; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
