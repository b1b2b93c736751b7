import hashlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_edsr.data import ImagePairs, PatchSampler, ScaleBatchSampler, whole_images
from keras_edsr.image_ops import NUM_DIHEDRAL, dihedral

SIZES = ((20, 31), (24, 17), (16, 16))


def located(height, width, scale=1, image=0):
    """An image whose pixels tell which image and which LR pixel they belong to."""
    rows, columns = np.indices((scale * height, scale * width)) // scale
    return np.stack([rows, columns, np.full_like(rows, image)], axis=-1).astype(np.uint8)


def located_pairs(scales=(2,), sizes=SIZES):
    largest = [tuple(max(scales) * side for side in size) for size in sizes]
    lr, hr = {}, [np.zeros((*size, 3), np.uint8) for size in largest]
    for scale in scales:
        lr[scale] = [located(h // scale, w // scale, image=i) for i, (h, w) in enumerate(largest)]
    if len(scales) == 1:
        hr = [located(*size, scales[0], i) for i, size in enumerate(sizes)]
    return ImagePairs([f"{i}.png" for i in range(len(sizes))], hr, lr, origin="photos")


def random_pairs(scales=(2,), channels=3):
    rng = np.random.default_rng(0)
    hr = [rng.integers(0, 256, (96, 120, channels), dtype=np.uint8) for _ in range(3)]
    lr = {
        scale: [rng.integers(0, 256, (96 // scale, 120 // scale, channels), dtype=np.uint8) for _ in hr]
        for scale in scales
    }
    return ImagePairs(["0.png", "1.png", "2.png"], hr, lr)


def sampler_of(pairs, **kwargs):
    return PatchSampler(pairs, **{"patch_size": 8, "batch_size": 4, **kwargs})


def digest(batch):
    return hashlib.sha256(b"".join(np.asarray(part).tobytes() for part in batch)).hexdigest()


# Where patches come from


@pytest.mark.parametrize("augment", [False, True])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_hr_patches_lie_exactly_over_lr_patches(scale, augment):
    sampler = sampler_of(located_pairs((scale,)), augment=augment)
    for step in range(30):
        lr, hr = sampler.batch(step)
        # Each HR pixel tells the LR pixel it lies over: blocks of scale x scale are constant.
        np.testing.assert_array_equal(hr, lr.repeat(scale, axis=1).repeat(scale, axis=2))


def test_patches_are_cut_in_one_piece():
    sampler = sampler_of(located_pairs(), augment=False)
    lr, _ = sampler.batch(0)
    for patch in lr:
        top, left, _ = patch[0, 0]
        np.testing.assert_array_equal(patch[..., :2], located(8, 8)[..., :2] + [top, left])


def test_every_place_of_every_image_is_drawn():
    sizes = ((9, 10), (10, 8))
    sampler = sampler_of(located_pairs(sizes=sizes), batch_size=50, augment=False)
    corners = {tuple(corner) for step in range(4) for corner in sampler.batch(step)[0][:, 0, 0]}
    first = {(row, column, 0) for row in range(2) for column in range(3)}
    second = {(row, 0, 1) for row in range(3)}
    assert corners == first | second


def test_each_image_is_as_likely_as_another():
    sampler = sampler_of(located_pairs(), batch_size=3000)
    counts = np.bincount(sampler.batch(0)[0][:, 0, 0, 2])
    assert np.abs(counts - 1000).max() < 78  # three standard deviations


# Augmentation


@pytest.fixture(scope="module")
def whole_patches():
    """400 patches of a pair that is as large as a patch: only the transform is drawn."""
    pairs = located_pairs(sizes=((8, 8),))
    batch = PatchSampler(pairs, patch_size=8, batch_size=400, seed=1).batch(0)
    return pairs, *batch


def turn_of(patch, image):
    turns = [k for k in range(NUM_DIHEDRAL) if np.array_equal(patch, dihedral(image, k))]
    assert len(turns) == 1
    return turns[0]


def test_all_eight_transforms_occur_in_equal_shares(whole_patches):
    pairs, lr, _ = whole_patches
    counts = np.bincount([turn_of(patch, pairs.lr(0, 2)) for patch in lr], minlength=8)
    assert (np.abs(counts - 50) < 3 * 6.7).all()


def test_lr_and_hr_are_turned_alike(whole_patches):
    pairs, lr, hr = whole_patches
    for lr_patch, hr_patch in zip(lr, hr, strict=True):
        assert turn_of(lr_patch, pairs.lr(0, 2)) == turn_of(hr_patch, pairs.hr(0, 2))


def test_all_eight_transforms_occur_inside_tf_data():
    pairs = located_pairs(sizes=((8, 8),))
    dataset = PatchSampler(pairs, patch_size=8, batch_size=16).dataset(steps=10)
    turns = {
        (turn_of(a, pairs.lr(0, 2)), turn_of(b, pairs.hr(0, 2)))
        for lr, hr in dataset.as_numpy_iterator()
        for a, b in zip(lr, hr, strict=True)
    }
    assert turns == {(k, k) for k in range(NUM_DIHEDRAL)}


def test_without_augment_nothing_is_turned():
    pairs = located_pairs(sizes=((8, 8),))
    lr, hr = PatchSampler(pairs, patch_size=8, batch_size=50, augment=False).batch(0)
    assert (lr == pairs.lr(0, 2)).all()
    assert (hr == pairs.hr(0, 2)).all()


def test_one_channel_is_turned_as_three_are():
    gray = random_pairs(channels=1)
    color = ImagePairs(
        gray.names,
        [gray.hr(i, 2).repeat(3, axis=-1) for i in range(3)],
        {2: [gray.lr(i, 2).repeat(3, axis=-1) for i in range(3)]},
    )
    for one, three in zip(sampler_of(gray).batch(0), sampler_of(color).batch(0), strict=True):
        np.testing.assert_array_equal(one.repeat(3, axis=-1), three)


# A batch is a pure function of (seed, step)


def test_a_step_computed_alone_equals_the_one_reached_by_iterating():
    reached = [digest(batch) for batch in sampler_of(random_pairs()).dataset(steps=12)]
    alone = sampler_of(random_pairs())
    assert [digest(alone.batch(step)) for step in reversed(range(12))] == reached[::-1]


def test_a_dataset_goes_on_at_any_step():
    sampler = sampler_of(random_pairs((2, 3)))
    whole = [digest(batch) for batch in sampler.dataset(steps=12)]
    assert [digest(batch) for batch in sampler.dataset(start_step=7, steps=5)] == whole[7:]
    assert [digest(batch) for batch in sampler.dataset(7).take(5)] == whole[7:]


def test_a_dataset_starts_again_the_same():
    dataset = sampler_of(random_pairs()).dataset()
    first, second = ([digest(batch) for batch in dataset.take(5)] for _ in range(2))
    assert first == second


def test_seeds_and_steps_give_different_batches():
    batches = {digest(sampler_of(random_pairs(), seed=s).batch(k)) for s in range(5) for k in range(5)}
    assert len(batches) == 25


CODE = """
import hashlib, sys
import numpy as np
from keras_edsr.data import ImagePairs, PatchSampler
image = np.arange(48 * 60 * 3).reshape(48, 60, 3).astype(np.uint8)
pairs = ImagePairs(["a"], [image], {2: [image[::2, ::2]], 3: [image[::3, ::3]]})
sampler = PatchSampler(pairs, patch_size=8, batch_size=4, seed=3)
data = b"".join(part.tobytes() for step in (5, 10**12) for part in sampler.batch(step))
"""


def test_another_process_makes_the_same_batches():
    here: dict = {}
    exec(CODE, here)
    printed = subprocess.run(
        [sys.executable, "-c", CODE + "print(hashlib.sha256(data).hexdigest())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.strip() == hashlib.sha256(here["data"]).hexdigest()


def test_batches_do_not_change_between_releases():
    here: dict = {}
    exec(CODE, here)
    assert hashlib.sha256(here["data"]).hexdigest()[:16] == "bbb9d5bc0ee9758e"


# The dataset


def test_shapes_are_static_with_one_scale():
    lr, hr = sampler_of(random_pairs()).dataset().element_spec
    assert (lr.shape, lr.dtype) == ((4, 8, 8, 3), tf.uint8)
    assert (hr.shape, hr.dtype) == ((4, 16, 16, 3), tf.uint8)


def test_each_batch_has_the_scale_that_the_sampler_draws():
    sampler = sampler_of(random_pairs((2, 3, 4)), seed=5)
    assert sampler.dataset().element_spec[1].shape.as_list() == [4, None, None, 3]
    scales = ScaleBatchSampler((2, 3, 4), seed=5)
    for step, (lr, hr) in enumerate(sampler.dataset(steps=20)):
        assert lr.shape == (4, 8, 8, 3)
        assert hr.shape == (4, 8 * scales(step), 8 * scales(step), 3)


def test_weights_reach_the_scale():
    sampler = sampler_of(random_pairs((2, 3)), scale_weights=(0, 1))
    assert {sampler.batch(step)[1].shape[1] for step in range(10)} == {24}


def test_some_of_the_scales_can_be_drawn():
    sampler = sampler_of(random_pairs((2, 3, 4)), scales=4)
    assert sampler.dataset().element_spec[1].shape == (4, 32, 32, 3)


def test_without_steps_it_is_endless():
    dataset = sampler_of(random_pairs()).dataset()
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY
    assert sampler_of(random_pairs()).dataset(3, steps=7).cardinality() == 7


def test_whole_images_come_one_by_one_in_order_scale_by_scale():
    pairs = random_pairs((2, 3))
    dataset = whole_images(pairs)
    assert dataset.cardinality() == 6
    assert dataset.element_spec[0].shape.as_list() == [1, None, None, 3]
    places = [(index, scale) for scale in (2, 3) for index in range(3)]
    for (index, scale), (lr, hr) in zip(places, dataset, strict=True):
        np.testing.assert_array_equal(lr[0], pairs.lr(index, scale))
        np.testing.assert_array_equal(hr[0], pairs.hr(index, scale))


def test_no_patch_size_gives_whole_images():
    assert random_pairs().patches(patch_size=None).cardinality() == 3
    assert random_pairs().patches(patch_size=8, steps=5).cardinality() == 5


# Errors


def test_an_image_smaller_than_a_patch_is_named():
    message = r"1\.png in photos is smaller than a patch: 48x34.*needs 36x36 \(other images that are too small: 1\)"
    with pytest.raises(ValueError, match=message):
        PatchSampler(located_pairs(), patch_size=18)


def test_an_image_as_large_as_a_patch_will_do():
    assert PatchSampler(located_pairs(), patch_size=16, batch_size=2).batch(0)[1].shape[1] == 32


@pytest.mark.parametrize("name", ["patch_size", "batch_size"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "8", True])
def test_sizes_must_be_positive_integers(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be a positive integer"):
        sampler_of(random_pairs(), **{name: value})


def test_a_scale_the_pairs_lack_is_refused():
    with pytest.raises(ValueError, match=r"`scales` must be among the pairs' scales, \(2,\)"):
        sampler_of(random_pairs(), scales=(2, 3))


def test_steps_must_not_be_negative():
    with pytest.raises(ValueError, match="`start_step`"):
        sampler_of(random_pairs()).dataset(-1)
    with pytest.raises(ValueError, match="`steps` must be a positive integer"):
        sampler_of(random_pairs()).dataset(steps=0)
