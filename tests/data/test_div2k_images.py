import io
import logging
import socket
import zipfile
from unittest import mock

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core.download import checksums

from keras_edsr import imresize
from keras_edsr.data import Degradation, PatchSampler, div2k, div2k_pairs, random_patches
from keras_edsr.data.degradation import image_seed
from keras_edsr.image_io import read_image

NUMBERS = {"train": (1, 2, 3, 4, 5), "valid": (801, 802)}
SCALES = (2, 3)


@pytest.fixture(autouse=True, scope="module")
def no_network():
    def refuse(*args, **kwargs):
        raise AssertionError("the network was used")

    with mock.patch.object(socket.socket, "connect", refuse):
        yield


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_EDSR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def photo(number):
    return np.random.default_rng(number).integers(0, 256, (48, 36, 3), dtype=np.uint8)


def degraded(number, scale):
    """Not the bicubic LR, so that one that was made by us is told from one that was read."""
    return photo(number)[::scale, ::scale]


def files():
    """DIV2K in small: the path of each file below the root, and its image."""
    for split, numbers in NUMBERS.items():
        for number in numbers:
            yield f"DIV2K_{split}_HR/{number:04}.png", photo(number)
            for scale in SCALES:
                folder = f"DIV2K_{split}_LR_bicubic/X{scale}"
                yield f"{folder}/{number:04}x{scale}.png", degraded(number, scale)


def zip_of(path):
    folder, sub, *_ = path.split("/")
    return f"{folder}_{sub}.zip" if "_LR_" in folder else f"{folder}.zip"


@pytest.fixture(scope="module")
def zips(tmp_path_factory):
    """A folder of zips such as a user has downloaded, but tiny."""
    root = tmp_path_factory.mktemp("zips")
    for path, image in files():
        data = io.BytesIO()
        Image.fromarray(image).save(data, "PNG")
        with zipfile.ZipFile(root / zip_of(path), "a") as archive:
            archive.writestr(path, data.getvalue())
    return root


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The unpacked folders."""
    root = tmp_path_factory.mktemp("tree")
    for path, image in files():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / path)
    return root


@pytest.fixture(scope="module")
def prepared(zips, tmp_path_factory):
    """TFDS's folder, prepared by the real builder from the zips."""
    data_dir = tmp_path_factory.mktemp("tfds")
    builder = tfds.builder("div2k/bicubic_x2", data_dir=data_dir)
    infos = {
        url: checksums.compute_url_info(zips / info.filename)
        for url, info in builder.url_infos.items()
        if (zips / info.filename).exists()
    }
    # Only the expected checksums are replaced; `register_checksums` would write them into TFDS.
    with mock.patch.object(type(builder), "url_infos", infos):
        div2k_pairs(SCALES, data_dir=data_dir, manual_dir=zips)
    return data_dir


def numbers_of(pairs, scale=2):
    """Which photo each HR image is: TFDS has an order of its own."""
    known = {photo(number).tobytes(): number for split in NUMBERS.values() for number in split}
    return [known[pairs.hr(index, scale).tobytes()] for index in range(len(pairs))]


# Folders


def test_the_folders_are_read_by_name(tree):
    pairs = div2k_pairs(SCALES, data_dir=tree)
    assert pairs.names == tuple(f"DIV2K_train_HR/{n:04}.png" for n in NUMBERS["train"])
    assert numbers_of(pairs) == list(NUMBERS["train"])
    for index, number in enumerate(NUMBERS["train"]):
        for scale in SCALES:
            np.testing.assert_array_equal(pairs.lr(index, scale), degraded(number, scale))


@pytest.mark.parametrize("split", ["validation", "valid"])
def test_validation_is_the_valid_folder(tree, split):
    assert numbers_of(div2k_pairs(2, split, tree)) == list(NUMBERS["valid"])


def test_the_folders_may_lie_in_one_called_div2k(tree, tmp_path):
    (tmp_path / "DIV2K").symlink_to(tree)
    assert len(div2k_pairs(2, data_dir=tmp_path)) == 5


def test_x8_lies_in_a_folder_of_its_own(tmp_path):
    for path, image in {"HR/0001.png": photo(1), "LR_x8/0001x8.png": photo(9)[:6, :4]}.items():
        (tmp_path / f"DIV2K_train_{path}").parent.mkdir()
        Image.fromarray(image).save(tmp_path / f"DIV2K_train_{path}")
    np.testing.assert_array_equal(div2k_pairs(8, data_dir=tmp_path).lr(0, 8), photo(9)[:6, :4])


def test_bicubic_lr_that_is_missing_is_made(tree):
    pairs = div2k_pairs((2, 4), data_dir=tree)
    np.testing.assert_array_equal(pairs.lr(0, 2), degraded(1, 2))
    np.testing.assert_array_equal(pairs.lr(0, 4), imresize(photo(1), 1 / 4))


def test_unknown_lr_that_is_missing_is_named(tree):
    with pytest.raises(ValueError, match=r"are missing: .*DIV2K_train_LR_unknown/X2"):
        div2k_pairs(2, data_dir=tree, degradation="unknown")


def test_a_part_of_the_folders_is_refused(tree):
    with pytest.raises(ValueError, match="`split` of the folders"):
        div2k_pairs(2, "train[:2]", tree)


# TensorFlow Datasets


def test_zips_are_prepared_and_read_whole(prepared):
    pairs = div2k_pairs(SCALES, data_dir=prepared)
    numbers = numbers_of(pairs)
    assert sorted(numbers) == list(NUMBERS["train"])
    for index, number in enumerate(numbers):
        for scale in SCALES:  # joined by content: each config has another order
            np.testing.assert_array_equal(pairs.lr(index, scale), degraded(number, scale))


def test_the_memory_map_equals_memory(prepared):
    in_memory = div2k_pairs(SCALES, data_dir=prepared)
    mapped = div2k_pairs(SCALES, data_dir=prepared, max_ram_bytes=0)
    assert numbers_of(in_memory) == numbers_of(mapped)
    for index in range(5):
        np.testing.assert_array_equal(in_memory.lr(index, 3), mapped.lr(index, 3))


def test_validation_is_a_split_of_its_own(prepared):
    for split in ("validation", "valid"):
        assert set(numbers_of(div2k_pairs(3, split, prepared), 3)) == set(NUMBERS["valid"])


def test_a_part_of_a_split_is_the_same_images_at_each_scale(prepared):
    pairs = div2k_pairs((3, 2), "train[:3]", prepared)
    assert len(pairs) == 3
    for index, number in enumerate(numbers_of(pairs)):
        np.testing.assert_array_equal(pairs.lr(index, 2), degraded(number, 2))


def test_the_pipeline_is_that_of_folders(prepared):
    options = {"patch_size": 8, "batch_size": 4, "seed": 2}
    sampler = PatchSampler(div2k_pairs(SCALES, data_dir=prepared), **options)
    dataset = div2k(SCALES, data_dir=prepared, start_step=3, steps=4, **options)
    for step, batch in zip(range(3, 7), dataset, strict=True):
        for part, expected in zip(batch, sampler.batch(step), strict=True):
            np.testing.assert_array_equal(part, expected)


def test_validation_takes_whole_images(prepared):
    shapes = [tuple(lr.shape) for lr, _ in div2k(2, "validation", prepared, patch_size=None)]
    assert shapes == [(1, 24, 18, 3)] * 2


def test_tfds_load_trains_in_two_lines(prepared):
    ds = tfds.load("div2k/bicubic_x2", split="train", as_supervised=True, data_dir=prepared)
    lr, hr = next(iter(random_patches(ds, patch_size=8, augment=False)))
    assert lr.shape == (16, 8, 8, 3)
    np.testing.assert_array_equal(lr, hr[:, ::2, ::2])


def test_what_is_not_there_is_not_downloaded(tmp_path, caplog):
    with caplog.at_level(logging.WARNING), pytest.raises(ValueError) as caught:
        div2k_pairs(2, data_dir=tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert f"{tmp_path}/div2k/bicubic_x2/2.0.0 does not exist" in message
    for advice in ("download=True", "DIV2K_train_HR", "`manual_dir`", "DIV2K_valid_HR.zip"):
        assert advice in message
    assert not caplog.records


def test_a_missing_zip_is_named_and_not_downloaded(zips, tmp_path):
    some = tmp_path / "some"
    some.mkdir()
    (some / "DIV2K_train_HR.zip").symlink_to(zips / "DIV2K_train_HR.zip")
    with pytest.raises(ValueError, match=r"some lacks .*DIV2K_valid_HR\.zip") as caught:
        div2k_pairs(2, data_dir=tmp_path, manual_dir=some)
    assert "DIV2K_train_HR.zip" not in str(caught.value)


def test_a_zip_that_is_not_the_published_one_is_named(zips, tmp_path, capsys):
    with pytest.raises(ValueError, match=r"differs from the published one: .*zips.*/DIV2K_") as caught:
        div2k_pairs(2, data_dir=tmp_path, manual_dir=zips)
    assert "\n" not in str(caught.value)
    assert not capsys.readouterr().out


# Arguments


def test_degradations_are_known(tree):
    with pytest.raises(ValueError, match=r"one of DIV2K's, .*'wild'.*'photo'.*Received: 'rain'"):
        div2k_pairs(2, data_dir=tree, degradation="rain")


def test_unknown_has_no_x8(tree):
    with pytest.raises(ValueError, match=r"'unknown' at scales \(2, 3, 4\)"):
        div2k_pairs(8, data_dir=tree, degradation="unknown")


def test_one_channel_is_read_as_gray(tree):
    pairs = div2k_pairs(2, data_dir=tree, channels=1)
    expected = read_image(tree / "DIV2K_train_HR" / "0001.png", channels=1)
    np.testing.assert_array_equal(pairs.hr(0, 2)[..., 0], expected)


def test_a_degradation_makes_lr_of_the_folders_hr_alone(tree):
    pairs = div2k_pairs((2, 3), data_dir=tree, degradation="photo", seed=1)
    made = Degradation.load("photo")(photo(2), 3, image_seed(1, "0002.png"))
    assert np.array_equal(pairs.lr(1, 3), made)


def test_a_degradation_makes_lr_of_prepared_hr_alone(prepared):
    pairs = div2k_pairs(2, data_dir=prepared, degradation="jpeg-40", split="validation")
    number = numbers_of_hr(pairs)[0]
    assert np.array_equal(pairs.lr(0, 2), Degradation.load("jpeg-40")(photo(number), 2))


def numbers_of_hr(pairs):
    by_pixels = {photo(number).tobytes(): number for numbers in NUMBERS.values() for number in numbers}
    return [by_pixels[pairs.hr(index, pairs.scales[0]).tobytes()] for index in range(len(pairs))]


@pytest.fixture
def realistic(tree, tmp_path):
    """The three tracks of NTIRE 2018, whose files have a letter behind the scale, beside the HR images."""
    for split, numbers in NUMBERS.items():
        (tmp_path / f"DIV2K_{split}_HR").symlink_to(tree / f"DIV2K_{split}_HR")
        for track, letter in (("mild", "m"), ("difficult", "d"), ("wild", "w")):
            folder = tmp_path / f"DIV2K_{split}_LR_{track}"
            folder.mkdir()
            for number in numbers:
                for variant in range(1, 5) if (track, split) == ("wild", "train") else [""]:
                    image = degraded(number, 4) // 2 + ord(letter) + (variant or 0)
                    Image.fromarray(image).save(folder / f"{number:04}x4{letter}{variant}.png")
    return tmp_path


@pytest.mark.parametrize(("track", "letter"), [("mild", "m"), ("difficult", "d"), ("wild", "w")])
def test_the_realistic_tracks_are_read(realistic, track, letter):
    pairs = div2k_pairs(4, "validation", realistic, degradation=track)
    assert pairs.names == ("DIV2K_valid_HR/0801.png", "DIV2K_valid_HR/0802.png")
    assert np.array_equal(pairs.lr(1, 4), degraded(802, 4) // 2 + ord(letter))
    assert np.array_equal(pairs.hr(1, 4), photo(802)[:48, :36])


def test_wild_has_four_lr_images_of_each_hr_image(realistic):
    pairs = div2k_pairs(4, "train", realistic, degradation="wild")
    assert len(pairs) == 4 * len(NUMBERS["train"])
    assert numbers_of_hr(pairs) == [number for number in NUMBERS["train"] for _ in range(4)]
    assert [int(pairs.lr(index, 4)[0, 0, 0]) - int(pairs.lr(0, 4)[0, 0, 0]) for index in range(4)] == [0, 1, 2, 3]


def test_a_realistic_track_has_but_scale_4_and_a_missing_image_is_named(realistic):
    with pytest.raises(ValueError, match=r"'mild' at scales \(4,\)"):
        div2k_pairs(2, data_dir=realistic, degradation="mild")
    (realistic / "DIV2K_train_LR_mild" / "0002x4m.png").unlink()
    with pytest.raises(ValueError, match=r"belongs to .*0002.png. Expected 0002x4m"):
        div2k_pairs(4, data_dir=realistic, degradation="mild")
