"""Transparency: what is hidden has no say in what is seen."""

import keras
import numpy as np
import pytest
from reference import images
from scipy import ndimage

from keras_edsr.inference import upscale
from keras_edsr.inference.alpha import fill_hidden, keep_extremes
from keras_edsr.models import EDSR

rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return EDSR(2, 1, 4, 1.0)


def cutout(height=30, width=34, dtype=np.uint8):
    """An RGBA image with a soft-edged disc of noise; black beneath what is clear."""
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - height / 2, x - width / 2)
    alpha = np.clip((height / 4 - distance) / 3 + 0.5, 0, 1)
    image = np.dstack([images(height, width, 3) / 255 * (alpha > 0)[..., None], alpha])
    return image if dtype is float else np.rint(image * np.iinfo(dtype).max).astype(dtype)


def with_hidden(image, colors):
    hidden = image[..., 3:] == 0
    return np.concatenate([np.where(hidden, colors, image[..., :3]), image[..., 3:]], axis=-1)


# === The result ===


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, float])
@pytest.mark.parametrize("scale", [2, 3])
def test_hidden_colors_do_not_bleed(model, dtype, scale):
    black = cutout(dtype=dtype)
    highest = 1 if dtype is float else np.iinfo(dtype).max
    noise = (rng.random(black[..., :3].shape) * highest).astype(dtype)
    results = [upscale(model, with_hidden(black, colors), scale) for colors in (black[..., :3] * 0, noise)]
    seen = results[0][..., 3] > 0
    assert 0.1 < seen.mean() < 0.9
    np.testing.assert_array_equal(results[0][seen], results[1][seen])


def test_they_would_bleed_if_they_were_not_filled(model):
    black = cutout()
    white = with_hidden(black, np.uint8(255))
    seen = upscale(model, black)[..., 3] > 0
    assert (upscale(model, black[..., :3])[seen] != upscale(model, white[..., :3])[seen]).any()


def test_colors_far_from_an_edge_are_those_without_alpha(model):
    image = cutout(80, 80)
    inside = ndimage.binary_erosion(image[..., 3] > 0, iterations=model.halo, structure=np.ones((3, 3)))
    inside = np.kron(inside, np.ones((2, 2), bool))
    assert inside.any()
    np.testing.assert_array_equal(upscale(model, image)[inside][..., :3], upscale(model, image[..., :3])[inside])


def test_an_opaque_image_is_as_without_alpha(model):
    image = images(9, 7, 3).astype(np.uint8)
    sr = upscale(model, np.dstack([image, np.full((9, 7), 255, np.uint8)]))
    np.testing.assert_array_equal(sr[..., :3], upscale(model, image))
    np.testing.assert_array_equal(sr[..., 3], np.full((18, 14), 255))


def test_alpha_is_upscaled_as_gray_but_where_it_is_plane(model):
    image = cutout()
    sr = upscale(model, image)[..., 3]
    gray = upscale(model, image[..., 3])
    window = np.ones((5, 5))
    opaque = ndimage.minimum_filter(image[..., 3], footprint=window, mode="nearest") == 255
    clear = ndimage.maximum_filter(image[..., 3], footprint=window, mode="nearest") == 0
    opaque, clear = (np.kron(plane, np.ones((2, 2), bool)) for plane in (opaque, clear))
    assert (sr[opaque] == 255).all()
    assert (sr[clear] == 0).all()
    np.testing.assert_array_equal(sr[~opaque & ~clear], gray[~opaque & ~clear])


def test_gray_with_alpha_is_gray_and_alpha(model):
    image = cutout()
    sr = upscale(model, image[..., 2:])
    assert sr.shape == (60, 68, 2)
    np.testing.assert_array_equal(sr[..., 1], upscale(model, image)[..., 3])


def test_tiles_equal_the_whole_image(model):
    image = cutout()
    np.testing.assert_array_equal(upscale(model, image, tile_size=7), upscale(model, image, tile_size=None))


def test_alpha_may_follow_any_number_of_channels():
    keras.utils.set_random_seed(0)
    model = EDSR(2, 1, 4, 1.0, image_shape=(None, None, 1))
    image = cutout()[..., 2:]
    assert upscale(model, image).shape == (60, 68, 2)
    four = EDSR(2, 1, 4, 1.0, image_shape=(None, None, 4))
    np.testing.assert_array_equal(upscale(four, cutout())[..., :3].shape, (60, 68, 3))  # four channels: no alpha
    assert upscale(four, np.dstack([cutout(), cutout()[..., :1]])).shape == (60, 68, 5)


# === Filling ===


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_ring_is_the_mean_of_its_neighbors_with_a_color(dtype):
    color = (images(20, 21, 3) * (257 if dtype == np.uint16 else 1)).astype(dtype)
    alpha = (rng.random((20, 21)) < 0.2).astype(np.uint8)
    known = alpha > 0
    filled = fill_hidden(color, alpha, 1)
    kernel = np.ones((3, 3))
    count = ndimage.convolve(known.astype(float), kernel, mode="constant")
    for channel in range(3):
        total = ndimage.convolve(np.where(known, color[..., channel], 0).astype(float), kernel, mode="constant")
        expected = np.where(known | (count == 0), color[..., channel], total / np.maximum(count, 1))
        np.testing.assert_allclose(filled[..., channel], expected, atol=0.501 if dtype != np.float32 else 1e-4)


def test_rings_go_as_far_as_asked():
    color = np.zeros((11, 11, 1), np.uint8)
    color[5, 5] = 90
    alpha = (color[..., 0] > 0).astype(np.uint8)
    for reach in range(7):
        expected = np.zeros((11, 11))
        expected[max(0, 5 - reach) : 6 + reach, max(0, 5 - reach) : 6 + reach] = 90
        np.testing.assert_array_equal(fill_hidden(color, alpha, reach)[..., 0], expected)


@pytest.mark.parametrize("value", [0, 255])
def test_nothing_is_filled_where_all_or_nothing_is_seen(value):
    color = images(5, 6, 3).astype(np.uint8)
    assert fill_hidden(color, np.full((5, 6), value, np.uint8), 9) is color


def test_the_image_given_is_left_as_it_was(model):
    image = cutout()
    before = image.copy()
    upscale(model, image)
    np.testing.assert_array_equal(image, before)


def test_a_sheet_of_many_pieces_is_filled():
    color = np.zeros((400, 480, 3), np.uint8)
    alpha = np.zeros((400, 480), np.uint8)
    alpha[20::40, 20::40] = 255
    color[alpha > 0] = 77
    assert (fill_hidden(color, alpha, 20) == 77).all()


# === Extremes ===


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(1, 1), (3, 20), (15, 16)])
def test_planes_of_alpha_are_exact_and_the_rest_is_left(dtype, shape):
    highest = 1 if dtype == np.float32 else np.iinfo(dtype).max
    lr = (ndimage.zoom(rng.random((3, 4)), 8, order=0)[: shape[0], : shape[1]] > 0.4).astype(dtype) * dtype(highest)
    before = np.full([3 * side for side in shape], highest / 2).astype(dtype)
    sr = keep_extremes(lr, before.copy(), 3)
    window = np.ones((5, 5))
    for value, plane in (
        (highest, ndimage.minimum_filter(lr, footprint=window, mode="nearest") == highest),
        (0, ndimage.maximum_filter(lr, footprint=window, mode="nearest") == 0),
    ):
        plane = np.kron(plane, np.ones((3, 3), bool))
        assert (sr[plane] == value).all()
        before[plane] = value
    np.testing.assert_array_equal(sr, before)
