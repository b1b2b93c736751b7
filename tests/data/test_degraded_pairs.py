import numpy as np
import pytest
from photographs import photograph

from keras_edsr.data import Degradation, ImagePairs, PatchSampler, image_pairs
from keras_edsr.data.degradation import Blur, Compress, Downscale, image_seed
from keras_edsr.image_io import write_image
from keras_edsr.image_ops import dihedral

BLUR = Degradation([Blur(sigma=(0.9, 0.9)), Downscale()])  # nothing is drawn, and it sees two pixels around


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "hr").mkdir()
    for index in range(3):
        write_image(tmp_path / "hr" / f"{index}.png", photograph(97 + index, 120, seed=index))
    return tmp_path / "hr"


def test_whole_lr_images_hang_on_seed_and_name_alone(folder):
    pairs = ImagePairs.from_folder(folder, (2, 3), degradation="photo", seed=4)
    lr = pairs.lr(1, 3)
    assert np.array_equal(lr, Degradation.load("photo")(photograph(98, 120, seed=1), 3, image_seed(4, "1.png")))
    assert np.array_equal(pairs.lr(1, 3), lr)
    assert not np.array_equal(ImagePairs.from_folder(folder, 3, degradation="photo", seed=5).lr(1, 3), lr)
    (folder / "0.png").unlink()
    assert np.array_equal(ImagePairs.from_folder(folder, 3, degradation="photo", seed=4).lr(0, 3), lr)
    assert pairs.hr(1, 3).shape == (96, 120, 3)


def test_bicubic_by_name_is_what_comes_without_a_name(folder, tmp_path):
    named = ImagePairs.from_folder(folder, 2, degradation="bicubic", cache_dir=tmp_path / "cache")
    assert list((tmp_path / "cache").rglob("*.pack"))  # the LR images are kept, as ever
    unnamed = ImagePairs.from_folder(folder, 2, cache_dir=tmp_path / "cache")
    assert all(np.array_equal(named.lr(i, 2), unnamed.lr(i, 2)) for i in range(3))


@pytest.mark.parametrize("scale", [2, 3])
def test_a_patch_away_from_the_border_is_a_piece_of_the_whole_degraded_image(folder, scale):
    pairs = ImagePairs.from_folder(folder, scale, degradation=BLUR)
    whole = pairs.lr(0, scale)
    for top, left in ((0, 0), (3, 9), (whole.shape[0] - 16, whole.shape[1] - 16)):
        patch = pairs.patch(0, scale, top, left, 16, seed=1)
        assert np.array_equal(patch, whole[top : top + 16, left : left + 16])


def test_lr_patches_lie_on_their_hr_patches(folder):
    """The HR patch, degraded by itself, is the LR patch but for what lies beyond its border."""
    sampler = PatchSampler(ImagePairs.from_folder(folder, 2, degradation=BLUR), patch_size=16, batch_size=12, seed=2)
    lr, hr = sampler.batch(0)
    for small, large in zip(lr, hr, strict=True):
        assert np.abs(BLUR(large, 2)[4:-4, 4:-4].astype(int) - small[4:-4, 4:-4]).max() <= 1


def test_a_batch_is_a_pure_function_of_seed_and_step(folder):
    def sampler(seed):
        return PatchSampler(
            ImagePairs.from_folder(folder, 2, degradation="photo"), patch_size=16, batch_size=4, seed=seed
        )

    first, second = sampler(0), sampler(0)
    expected = [first.batch(step) for step in range(4)]
    for step in (3, 1, 2, 0):
        for ours, theirs in zip(second.batch(step), expected[step], strict=True):
            assert np.array_equal(ours, theirs)
    assert not np.array_equal(sampler(1).batch(0)[0], expected[0][0])


def test_the_places_of_patches_are_those_of_a_set_without_degradation(folder, tmp_path):
    """So that runs with and without one see the same HR patches."""
    degraded = ImagePairs.from_folder(folder, 2, degradation="photo")
    clean = ImagePairs.from_folder(folder, 2, cache_dir=tmp_path)
    hr = [PatchSampler(pairs, patch_size=16, batch_size=4).batch(5)[1] for pairs in (degraded, clean)]
    assert np.array_equal(*hr)


def test_no_two_patches_are_degraded_alike(tmp_path):
    write_image(tmp_path / "one.png", photograph(64, 64))
    jpeg = Degradation([Downscale(), Compress(quality=(20, 60))])
    sampler = PatchSampler(
        ImagePairs.from_folder(tmp_path, 2, degradation=jpeg), patch_size=32, batch_size=8, augment=False
    )
    patches = np.concatenate([sampler.batch(step)[0] for step in range(3)])  # 24 times the whole image
    assert len({patch.tobytes() for patch in patches}) == 24


def test_selected_images_keep_what_their_names_draw(folder):
    pairs = ImagePairs.from_folder(folder, 2, degradation="photo")
    assert np.array_equal(pairs.head(1).lr(0, 2), pairs.lr(0, 2))
    larger = pairs.at_least(49)
    assert larger.names == ("1.png", "2.png")
    assert np.array_equal(larger.lr(1, 2), pairs.lr(2, 2))


def test_lr_images_that_are_there_are_not_degraded(folder):
    with pytest.raises(ValueError, match="either `lr_folder` or `degradation`"):
        ImagePairs.from_folder(folder, 2, folder, degradation="photo")


def test_an_image_too_small_for_the_scale_is_named(tmp_path):
    write_image(tmp_path / "dot.png", np.zeros((1, 9, 3), np.uint8))
    with pytest.raises(ValueError, match=r"dot.png .*too small for scale 2: 1x9"):
        ImagePairs.from_folder(tmp_path, 2, degradation="photo")


def test_image_pairs_streams_the_samplers_batches(folder):
    dataset = image_pairs(folder, 2, degradation="photo", patch_size=16, batch_size=4, seed=3, start_step=2, steps=3)
    sampler = PatchSampler(ImagePairs.from_folder(folder, 2, degradation="photo"), patch_size=16, batch_size=4, seed=3)
    for step, (lr, hr) in enumerate(dataset.as_numpy_iterator(), start=2):
        expected = sampler.batch(step)
        assert np.array_equal(lr, expected[0])
        assert np.array_equal(hr, expected[1])
    whole = image_pairs(folder, 2, degradation="photo", patch_size=None, seed=3)
    lr, hr = next(whole.as_numpy_iterator())
    assert lr.shape == (1, 48, 60, 3)
    assert hr.shape == (1, 96, 120, 3)


def test_a_flip_flips_a_degraded_patch(folder):
    pairs = ImagePairs.from_folder(folder, 2, degradation=BLUR)
    plain = PatchSampler(pairs, patch_size=16, batch_size=16, augment=False, seed=1).batch(0)[0]
    turned = PatchSampler(pairs, patch_size=16, batch_size=16, augment=True, seed=1).batch(0)[0]
    for before, after in zip(plain, turned, strict=True):
        assert any(np.array_equal(dihedral(before, k), after) for k in range(8))
    assert not np.array_equal(plain, turned)
