import numpy as np
import pytest
import tensorflow as tf

from keras_edsr.data import random_patches
from keras_edsr.image_ops import NUM_DIHEDRAL, dihedral

SIZES = ((20, 31), (24, 17), (16, 16))


def located(height, width, scale=1, image=0):
    """An image whose pixels tell which image and which LR pixel they belong to."""
    rows, columns = np.indices((scale * height, scale * width)) // scale
    return np.stack([rows, columns, np.full_like(rows, image)], axis=-1).astype(np.uint8)


def stream(scale=2, sizes=SIZES, extra=0):
    def images():
        for index, (height, width) in enumerate(sizes):
            hr = located(height, width, scale, index)
            yield located(height, width, image=index), np.pad(hr, [(0, extra), (0, extra), (0, 0)])

    spec = tf.TensorSpec((None, None, 3), tf.uint8)
    return tf.data.Dataset.from_generator(images, output_signature=(spec, spec))


def patches_of(ds, **kwargs):
    return random_patches(ds, **{"patch_size": 8, "batch_size": 4, **kwargs})


@pytest.mark.parametrize("augment", [False, True])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_hr_patches_lie_exactly_over_lr_patches(scale, augment):
    for lr, hr in patches_of(stream(scale), augment=augment).take(20).as_numpy_iterator():
        np.testing.assert_array_equal(hr, lr.repeat(scale, axis=1).repeat(scale, axis=2))


def test_all_eight_transforms_occur():
    image = located(8, 8)
    turns = set()
    for lr, _ in patches_of(stream(sizes=[(8, 8)])).take(20).as_numpy_iterator():
        for patch in lr:
            turns |= {k for k in range(NUM_DIHEDRAL) if np.array_equal(patch, dihedral(image, k))}
    assert turns == set(range(NUM_DIHEDRAL))


def test_without_augment_nothing_is_turned():
    batches = patches_of(stream(sizes=[(8, 8)]), augment=False).take(5)
    assert all((lr == located(8, 8)).all() for lr, _ in batches.as_numpy_iterator())


def test_images_are_mixed_and_repeated():
    batches = patches_of(stream(), batch_size=16).take(12).as_numpy_iterator()
    counts = sum(np.bincount(lr[:, 0, 0, 2], minlength=3) for lr, _ in batches)
    assert (counts > 40).all()


def test_every_pass_cuts_other_patches():
    ds = stream(sizes=[(30, 30)])
    corners = [lr[:, 0, 0, :2] for lr, _ in patches_of(ds).take(50).as_numpy_iterator()]
    assert len(np.unique(np.concatenate(corners), axis=0)) > 100


def test_a_seed_gives_the_same_batches():
    first, second = (
        [lr.tobytes() for lr, _ in patches_of(stream(), seed=3).take(6).as_numpy_iterator()] for _ in range(2)
    )
    assert first == second


def test_seeds_give_different_batches():
    batches = {next(patches_of(stream(), seed=seed).as_numpy_iterator())[0].tobytes() for seed in range(4)}
    assert len(batches) == 4


def test_the_scale_is_seen_in_the_first_pair():
    assert patches_of(stream(3)).element_spec[1].shape == (4, 24, 24, 3)


def test_hr_may_be_a_little_larger():
    lr, hr = next(patches_of(stream(3, extra=2)).as_numpy_iterator())
    np.testing.assert_array_equal(hr, lr.repeat(3, axis=1).repeat(3, axis=2))


def test_batches_have_a_fixed_shape_and_no_end():
    dataset = patches_of(stream(), batch_size=5)
    assert dataset.element_spec[0].shape == (5, 8, 8, 3)
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY


def test_examples_may_be_dictionaries():
    ds = stream().map(lambda lr, hr: {"lr": lr, "hr": hr, "tfds_id": "a"})
    assert patches_of(ds).element_spec[1].shape == (4, 16, 16, 3)


def test_floats_stay_floats():
    ds = stream().map(lambda lr, hr: (tf.cast(lr, tf.float32), tf.cast(hr, tf.float32)))
    assert next(iter(patches_of(ds)))[1].dtype == tf.float32


def test_batched_images_are_refused():
    with pytest.raises(ValueError, match="must have whole images, not batched"):
        random_patches(stream(sizes=[(8, 8)]).batch(1))


def test_an_empty_dataset_is_refused():
    with pytest.raises(ValueError, match="must not be empty"):
        random_patches(stream().take(0))


def test_swapped_images_are_refused():
    with pytest.raises(ValueError, match="`scale` must be one or several of"):
        random_patches(stream().map(lambda lr, hr: (hr, lr)))


def test_an_image_smaller_than_a_patch_ends_it():
    with pytest.raises(tf.errors.InvalidArgumentError, match="smaller than `patch_size` 17"):
        next(iter(patches_of(stream(), patch_size=17)))


def test_lr_and_hr_that_do_not_match_end_it():
    with pytest.raises(tf.errors.InvalidArgumentError, match="LR and HR do not match at scale 3"):
        next(iter(patches_of(stream(2), scale=3)))


@pytest.mark.parametrize("name", ["patch_size", "batch_size", "patches_per_image"])
def test_sizes_must_be_positive_integers(name):
    with pytest.raises(ValueError, match=f"`{name}` must be a positive integer"):
        patches_of(stream(), **{name: 0})
