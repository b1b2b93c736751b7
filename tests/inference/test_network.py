import math

import hypothesis
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st
from PIL import Image
from reference import images

from keras_edsr.inference import tiling, upscale
from keras_edsr.models import EDSR, MDSR

# The same examples each time: a value within a rounding error of one half may differ by a gray
# level between tiles and the whole, about once in a million pixels.
law = hypothesis.settings(max_examples=12, deadline=None, derandomize=True)
sides = st.integers(1, 40)


def tiny(scale=2, **kwargs):
    keras.utils.set_random_seed(0)
    return EDSR(scale, 1, 4, 1.0, **kwargs)


@pytest.fixture(scope="module")
def models():
    keras.utils.set_random_seed(0)
    return {"edsr_2": tiny(2), "edsr_3": tiny(3), "mdsr": MDSR((2, 3, 4), 1, 4)}


@pytest.fixture(scope="module")
def model(models):
    return models["edsr_2"]


def constant(*values):
    """A x2 model that gives these three values everywhere."""
    model = tiny(mean=(0, 0, 0))
    model.get_layer("tail").set_weights([np.zeros((3, 3, 4, 3)), np.array(values)])
    return model


def whole(model, image, scale):
    """The network's values for one image (h, w, c) in 0..255, by predict."""
    sr = model.predict(image[None].astype(np.float32), verbose=0)
    return (sr[f"x{scale}"] if isinstance(sr, dict) else sr)[0]


def eight_bits(sr):
    return np.rint(np.clip(sr, 0, 255)).astype(np.uint8)


# === Tiles ===


@pytest.mark.parametrize(("name", "scale"), [("edsr_2", 2), ("edsr_3", 3), ("mdsr", 2), ("mdsr", 3), ("mdsr", 4)])
@law
@hypothesis.given(height=sides, width=sides, tile_size=st.integers(3, 45))
def test_tiles_equal_the_whole_image(models, name, scale, height, width, tile_size):
    model = models[name]
    image = images(height, width, 3, seed=height).astype(np.uint8)
    tiled = upscale(model, image, scale, tile_size=tile_size)
    np.testing.assert_array_equal(tiled, upscale(model, image, scale, tile_size=None))
    np.testing.assert_array_equal(tiled, eight_bits(whole(model, image, scale)))


@law
@hypothesis.given(height=sides, width=sides, tile_size=st.integers(3, 45))
def test_tiles_of_a_float_image_are_within_a_thousandth_of_a_gray_level(model, height, width, tile_size):
    image = images(height, width, 3, seed=width) / 255
    expected = np.clip(whole(model, image * 255, 2), 0, 255)
    tiled = upscale(model, image, tile_size=tile_size)
    np.testing.assert_allclose(tiled * 255, expected, atol=1e-3)


def test_a_tile_may_be_one_pixel(model):
    image = images(5, 4, 3).astype(np.uint8)
    np.testing.assert_array_equal(upscale(model, image, tile_size=1), upscale(model, image))


def test_tiles_without_the_whole_halo_would_differ(model):
    # So the law above does not hold by chance: one pixel of context less, and it breaks.
    image = images(30, 30, 3)
    core, context = next(tiling.tiles(30, 30, (15, 15), model.halo - 1))
    short = whole(model, image[context], 2)[:30, :30]
    assert not np.allclose(short, whole(model, image, 2)[:30, :30], atol=1e-5)
    assert core == (slice(0, 15), slice(0, 15))


def reach(model, output):
    """How many LR pixels away one pixel of the input changes the output, from the impulse response.

    With positive weights, no bias and no mean, nothing cancels out.
    """
    for weight in model.weights:
        weight.assign(tf.fill(weight.shape, 0.0 if weight.name == "bias" else 0.5))
    center = model.halo + 3
    impulse = np.zeros((1, 2 * center + 1, 2 * center + 1, 1), np.float32)
    impulse[0, center, center] = 1
    response = output(model(impulse))[0, ..., 0].numpy()
    scale = response.shape[0] // impulse.shape[1]
    return [int(np.abs(np.nonzero(response)[axis] // scale - center).max()) for axis in (0, 1)]


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("num_blocks", [1, 3])
def test_the_halo_of_edsr_is_its_receptive_field(scale, num_blocks):
    model = EDSR(scale, num_blocks, 1, 1.0, image_shape=(None, None, 1), mean=(0.0,))
    assert reach(model, lambda output: output) == [2 * num_blocks + 4] * 2 == [model.halo] * 2


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_halo_of_mdsr_is_its_receptive_field(scale):
    model = MDSR((2, 3, 4), 2, 1, image_shape=(None, None, 1), mean=(0.0,))
    assert reach(model, lambda outputs: outputs[f"x{scale}"]) == [2 * 2 + 12] * 2 == [model.halo] * 2


def test_auto_cuts_an_image_that_would_not_fit_in_memory(model, monkeypatch):
    monkeypatch.setattr(tiling, "free_memory", lambda: 0)
    image = images(70, 130, 3).astype(np.uint8)
    calls = []
    sr = upscale(model, image, progress=lambda *call: calls.append(call))
    assert len(calls) == math.ceil(70 / (2 * model.halo)) * math.ceil(130 / (2 * model.halo))
    np.testing.assert_array_equal(sr, upscale(model, image, tile_size=None))


def test_auto_takes_a_small_image_whole(model):
    calls = []
    upscale(model, images(20, 30, 3) / 255, progress=lambda *call: calls.append(call))
    assert calls == [(600, 600)]


def test_no_tile_is_traced_again():
    model = tiny()
    head, traces = model.get_layer("head"), []
    call = head.call
    head.call = lambda inputs: traces.append(1) or call(inputs)
    for height, width, tile_size in [(20, 17, 8), (5, 9, 3), (12, 12, None)]:
        upscale(model, images(height, width, 3) / 255, tile_size=tile_size)
    assert len(traces) == 1


# === Self-ensemble ===


def mean_of_eight(model, image, scale):
    """The mean over the flips and quarter turns, each undone, from NumPy's own functions."""
    results = []
    for turns in range(4):
        for flip in (False, True):
            turned = np.rot90(np.fliplr(image) if flip else image, turns)
            sr = np.rot90(whole(model, turned, scale), -turns)
            results.append(np.fliplr(sr) if flip else sr)
    return np.mean(results, axis=0, dtype=np.float64)


@pytest.mark.parametrize("tile_size", [None, 5])
@pytest.mark.parametrize(("name", "scale"), [("edsr_2", 2), ("edsr_3", 3), ("mdsr", 3)])
def test_self_ensemble_is_the_mean_over_eight(models, name, scale, tile_size):
    image = images(9, 7, 3)
    sr = upscale(models[name], image / 255, scale, tile_size, self_ensemble=True)
    expected = np.clip(mean_of_eight(models[name], image, scale), 0, 255)
    np.testing.assert_allclose(sr * 255, expected, atol=1e-3)


def test_self_ensemble_turns_with_the_image(model):
    image = images(8, 6, 3).astype(np.uint8)
    turned = upscale(model, np.rot90(image), self_ensemble=True)
    np.testing.assert_array_equal(np.rot90(turned, -1), upscale(model, image, self_ensemble=True))


# === What an image may be ===


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_float_image_in_0_1_comes_back_as_one(model, dtype):
    image = (images(6, 5, 3) / 255).astype(dtype)
    sr = upscale(model, image)
    expected = np.clip(whole(model, image.astype(np.float32) * 255, 2), 0, 255) / 255
    assert (sr.dtype, sr.shape) == (dtype, (12, 10, 3))
    np.testing.assert_allclose(sr, expected, atol=1e-3 if dtype == np.float16 else 1e-6)


def test_a_uint16_image_comes_back_as_one(model):
    image = (images(6, 5, 3) * 257).astype(np.uint16)
    sr = upscale(model, image)
    expected = np.clip(whole(model, image / 257, 2), 0, 255) * 257
    assert sr.dtype == np.uint16
    np.testing.assert_allclose(sr, expected, atol=0.6)  # half by rounding, and float32's error


def test_a_uint16_image_of_8_bit_values_agrees_with_uint8(model):
    image = images(6, 5, 3).astype(np.uint8)
    sr = upscale(model, image.astype(np.uint16) * 257)
    np.testing.assert_allclose(sr / 257, upscale(model, image), atol=0.501)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_gray_image_comes_back_gray(model, dtype):
    gray = images(6, 5) / 255
    if dtype != np.float32:
        gray = (gray * np.iinfo(dtype).max).astype(dtype)
    sr = upscale(model, gray)
    color = upscale(model, np.stack([gray] * 3, axis=-1))
    assert (sr.dtype, sr.shape) == (dtype, (12, 10))
    expected = color @ np.array([0.299, 0.587, 0.114])  # of values rounded already
    np.testing.assert_allclose(sr, expected, atol=1.01 if dtype != np.float32 else 1e-5)


def test_a_gray_image_with_a_last_axis_keeps_it(model):
    gray = images(6, 5).astype(np.uint8)
    sr = upscale(model, gray[..., None])
    np.testing.assert_array_equal(sr, upscale(model, gray)[..., None])


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_a_model_of_n_channels_takes_images_of_n_channels(channels):
    model = tiny(image_shape=(None, None, channels))
    image = images(6, 5, channels).astype(np.uint8)
    np.testing.assert_array_equal(upscale(model, image), eight_bits(whole(model, image, 2)))


def test_a_model_of_one_channel_takes_a_flat_image():
    model = tiny(image_shape=(None, None, 1))
    image = images(6, 5).astype(np.uint8)
    expected = eight_bits(whole(model, image[..., None], 2))[..., 0]
    np.testing.assert_array_equal(upscale(model, image), expected)


def test_a_pillow_image_is_an_array(model):
    image = images(6, 5, 3).astype(np.uint8)
    np.testing.assert_array_equal(upscale(model, Image.fromarray(image)), upscale(model, image))


def test_the_image_is_left_as_it_was(model):
    image = images(6, 5, 3).astype(np.uint8)
    before = image.copy()
    upscale(model, image, self_ensemble=True)
    np.testing.assert_array_equal(image, before)


def test_rounding_is_once_and_half_to_even():
    sr = upscale(constant(100.5, 101.5, 102.49), np.zeros((2, 2, 3), np.uint8))
    np.testing.assert_array_equal(sr[0, 0], [100, 102, 102])


@pytest.mark.parametrize(("dtype", "highest"), [(np.uint8, 255), (np.uint16, 65535), (float, 1)])
def test_values_out_of_range_are_clipped(dtype, highest):
    sr = upscale(constant(-7, 300, 255), np.zeros((2, 2, 3), dtype))
    np.testing.assert_array_equal(sr[0, 0], [0, highest, highest])


def test_a_model_that_has_diverged_is_no_picture():
    with pytest.raises(ValueError, match="NaN"):
        upscale(constant(np.nan, 0, 0), np.zeros((2, 2, 3), np.uint8))


# === Scale, model, progress ===


def test_mdsr_gives_each_scale(models):
    image = images(6, 5, 3).astype(np.uint8)
    shapes = [upscale(models["mdsr"], image, scale).shape for scale in (2, 3, 4)]
    assert shapes == [(12, 10, 3), (18, 15, 3), (24, 20, 3)]


def test_a_branch_of_mdsr_needs_no_scale(models):
    image = images(6, 5, 3).astype(np.uint8)
    expected = upscale(models["mdsr"], image, 3)
    np.testing.assert_array_equal(upscale(models["mdsr"].branch(3), image), expected)


def test_the_path_of_a_keras_file_is_a_model(model, tmp_path):
    model.save(tmp_path / "m.keras")
    image = images(6, 5, 3).astype(np.uint8)
    np.testing.assert_array_equal(upscale(tmp_path / "m.keras", image), upscale(model, image))


def test_progress_rises_to_the_number_of_pixels(model):
    calls = []
    upscale(model, images(17, 11, 3) / 255, tile_size=4, progress=lambda *c: calls.append(c))
    done, totals = zip(*calls, strict=True)
    assert set(totals) == {17 * 11}
    assert list(done) == sorted(set(done))
    assert done[-1] == 17 * 11
    assert len(done) == math.ceil(17 / 4) * math.ceil(11 / 4)


def test_an_error_in_progress_stops_the_work(model):
    calls = []

    def stop(done, total):
        calls.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upscale(model, images(17, 11, 3) / 255, tile_size=4, progress=stop)
    assert len(calls) == 1


# === What is refused ===


IMAGE = np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 5), np.uint8), r"the model's 3 channels, or one.*\(4, 4, 5\)"),
        (np.zeros((1, 1, 4, 4, 3), np.uint8), r"\(h, w\), .* or \(n, h, w, channels\).*\(1, 1, 4, 4, 3\)"),
        (np.zeros(4, np.uint8), r"\(h, w\), "),
        (np.zeros((0, 4, 4, 3), np.uint8), "not empty"),
        (np.zeros((0, 4, 3), np.uint8), "not empty"),
        (np.zeros((4, 4, 3), np.int32), "uint8, uint16 or float in .* Received: dtype int32"),
        (np.zeros((4, 4, 3), bool), "uint8, uint16 or float"),
        ([[1, 2], [3, 4]], "uint8, uint16 or float"),
    ],
)
def test_an_image_of_another_kind_is_refused(model, image, message):
    with pytest.raises(ValueError, match=message):
        upscale(model, image)


@pytest.mark.parametrize("scale", [1, 0.5, "2", 0, True, math.nan, math.inf])
def test_a_scale_that_enlarges_nothing_is_refused(model, scale):
    with pytest.raises(ValueError, match=r"`scale` must be a number above 1. Received"):
        upscale(model, IMAGE, scale)


def test_mdsr_asks_for_a_scale(models):
    with pytest.raises(ValueError, match=r"one of the model's scales, \(2, 3, 4\). Received: scale=None"):
        upscale(models["mdsr"], IMAGE)


@pytest.mark.parametrize("tile_size", [0, -1, 2.5, "64", True, (64, 64)])
def test_a_tile_size_that_is_no_positive_integer_is_refused(model, tile_size):
    with pytest.raises(ValueError, match="`tile_size` must be a positive integer"):
        upscale(model, IMAGE, tile_size=tile_size)


def test_numpy_integers_are_taken(model):
    sr = upscale(model, IMAGE, np.int64(2), np.int64(3))
    assert sr.shape == (8, 8, 3)


def test_a_missing_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="No such file"):
        upscale(tmp_path / "no.keras", IMAGE)


def test_a_clone_upscales(model):
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(upscale(clone, IMAGE), upscale(model, IMAGE))
