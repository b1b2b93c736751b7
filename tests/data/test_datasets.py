import numpy as np
import pytest
import tensorflow as tf

from keras_edsr.data import ImagePairs, PatchSampler, image_pairs
from keras_edsr.image_io import write_image


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_EDSR_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "hr").mkdir()
    rng = np.random.default_rng(0)
    for name, size in {"a.png": (50, 61), "b.png": (72, 48)}.items():
        write_image(tmp_path / "hr" / name, rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    return tmp_path / "hr"


def assert_same(dataset, sampler, steps):
    for step, (lr, hr) in zip(steps, dataset, strict=False):
        expected_lr, expected_hr = sampler.batch(step)
        np.testing.assert_array_equal(lr, expected_lr)
        np.testing.assert_array_equal(hr, expected_hr)


def test_a_folder_is_all_it_takes(photos):
    dataset = image_pairs(photos, 2, patch_size=12, batch_size=4)
    lr, hr = next(iter(dataset))
    assert lr.shape == (4, 12, 12, 3)
    assert hr.shape == (4, 24, 24, 3)
    assert lr.dtype == hr.dtype == tf.uint8


def test_every_argument_reaches_the_sampler(photos):
    options = {"patch_size": 7, "batch_size": 3, "augment": False, "seed": 11, "scale_weights": (1, 2)}
    dataset = image_pairs(photos, (2, 3), start_step=4, steps=6, channels=1, **options)
    pairs = ImagePairs.from_folder(photos, (2, 3), channels=1)
    assert dataset.cardinality() == 6
    assert_same(dataset, PatchSampler(pairs, **options), range(4, 10))


def test_the_memory_map_gives_the_same_batches(photos):
    options = {"patch_size": 12, "batch_size": 4}
    mapped = image_pairs(photos, (2, 3), steps=8, max_ram_bytes=0, **options)
    pairs = ImagePairs.from_folder(photos, (2, 3))
    assert_same(mapped, PatchSampler(pairs, **options), range(8))


def test_validation_takes_whole_images(photos):
    dataset = image_pairs(photos, 2, patch_size=None)
    shapes = [(tuple(lr.shape), tuple(hr.shape)) for lr, hr in dataset]
    assert shapes == [((1, 25, 30, 3), (1, 50, 60, 3)), ((1, 36, 24, 3), (1, 72, 48, 3))]


def test_lr_may_lie_in_a_folder(photos, tmp_path):
    (tmp_path / "lr" / "X2").mkdir(parents=True)
    for name, size in {"ax2.png": (25, 30), "bx2.png": (36, 24)}.items():
        write_image(tmp_path / "lr" / "X2" / name, np.full((*size, 3), 7, np.uint8))
    for lr, _ in image_pairs(photos, 2, tmp_path / "lr", patch_size=None):
        assert (lr.numpy() == 7).all()


def test_fit_trains_on_it(photos):
    import keras

    model = keras.Sequential([keras.layers.Conv2D(12, 3, padding="same"), keras.layers.UpSampling2D(2)])
    model.add(keras.layers.Conv2D(3, 1))
    model.compile("adam", "mae")
    train = image_pairs(photos, 2, patch_size=8, batch_size=2)
    history = model.fit(train, steps_per_epoch=3, epochs=2, verbose=0, shuffle=False)
    assert np.isfinite(history.history["loss"]).all()


def test_an_image_smaller_than_a_patch_is_named(photos):
    with pytest.raises(ValueError, match=r"a\.png in .*hr is smaller than a patch: 50x60"):
        image_pairs(photos, 2, patch_size=26)


def test_a_bad_scale_is_refused(photos):
    with pytest.raises(ValueError, match="`scale` must be one or several of"):
        image_pairs(photos, 5)


def test_the_short_function_is_the_two_steps(photos):
    options = {"patch_size": 6, "batch_size": 3, "seed": 5, "start_step": 2, "steps": 2, "augment": False}
    short = list(image_pairs(photos, (2, 3), channels=1, scale_weights=(1, 3), **options).as_numpy_iterator())
    pairs = ImagePairs.from_folder(photos, (2, 3), channels=1)
    assert_same_batches(short, pairs.patches(scale_weights=(1, 3), **options).as_numpy_iterator())
    with pytest.warns(DeprecationWarning, match="use `scale_weights`"):
        old = image_pairs(photos, (2, 3), channels=1, weights=(1, 3), **options)
    assert_same_batches(short, old.as_numpy_iterator())


def assert_same_batches(one, other):
    for (lr, hr), (other_lr, other_hr) in zip(one, other, strict=True):
        np.testing.assert_array_equal(lr, other_lr)
        np.testing.assert_array_equal(hr, other_hr)


def test_an_unknown_option_is_named(photos):
    with pytest.raises(TypeError, match="unexpected keyword argument 'patchsize'"):
        image_pairs(photos, 2, patchsize=6)
