from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.color import rgb2ycbcr

from keras_edsr.image_ops import (
    crop_border,
    crop_to_multiple,
    dihedral,
    inverse_dihedral,
    luma,
    quantize,
)

FLOATS = hnp.arrays(np.float64, (7,), elements=st.floats(-1e9, 1e9))


def numbered(*shape):
    return np.arange(np.prod(shape)).reshape(shape)


# === quantize ===


@given(FLOATS, st.sampled_from([np.uint8, np.uint16]))
def test_quantize_moves_no_value_of_the_range_by_more_than_a_half(image, dtype):
    result = quantize(image, dtype)
    assert result.dtype == dtype
    in_range = np.clip(image, 0, np.iinfo(dtype).max)
    assert np.all(np.abs(result - in_range) <= 0.5)


@given(hnp.arrays(np.uint8, (3, 4)), st.sampled_from([np.float16, np.float32, np.float64]))
def test_quantize_returns_the_8_bit_image_that_a_float_image_came_from(image, dtype):
    np.testing.assert_array_equal(quantize(image.astype(dtype)), image)


def test_quantize_rounds_half_to_even():
    image = np.array([0.5, 1.5, 2.5, 253.5, 254.5], np.float32)
    np.testing.assert_array_equal(quantize(image), [0, 2, 2, 254, 254])


def test_quantize_clips_integers_and_infinities():
    np.testing.assert_array_equal(quantize(np.array([-3, 7, 300])), [0, 7, 255])
    np.testing.assert_array_equal(quantize(np.array([-np.inf, np.inf])), [0, 255])
    np.testing.assert_array_equal(quantize(np.array([7, 65535], np.uint16)), [7, 255])


def test_quantize_takes_half_precision_to_16_bits():
    image = np.array([0, 1, 65504, np.inf], np.float16)
    np.testing.assert_array_equal(quantize(image, np.uint16), [0, 1, 65504, 65535])


def test_quantize_leaves_its_input_as_it_was():
    image = np.array([-1.0, 0.4])
    quantize(image)
    np.testing.assert_array_equal(image, [-1.0, 0.4])


def test_quantize_says_that_a_model_which_makes_nan_has_diverged():
    with pytest.raises(ValueError, match=r"NaN.*diverged"):
        quantize(np.array([1.0, np.nan]))


def test_quantize_refuses_a_type_that_no_image_file_has():
    with pytest.raises(ValueError, match=r"`dtype` must be uint8 or uint16. .*float32"):
        quantize(np.zeros(3), np.float32)


# === luma ===


def test_luma_is_that_of_scikit_image():
    image = np.random.default_rng(0).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    np.testing.assert_allclose(luma(image), rgb2ycbcr(image)[..., 0], rtol=0, atol=1e-10)


def test_luma_of_black_is_16_and_of_white_235():
    image = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    np.testing.assert_allclose(luma(image), [[16, 235]], rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1)])
def test_luma_takes_an_image_of_one_channel_as_it_is(shape):
    result = luma(numbered(*shape).astype(np.uint8))
    assert result.dtype == np.float64
    np.testing.assert_array_equal(result, numbered(4, 5))


@pytest.mark.parametrize("shape", [(4,), (4, 5, 2), (4, 5, 4), (1, 4, 5, 3)])
def test_luma_names_a_shape_that_is_no_image(shape):
    with pytest.raises(ValueError, match=r"`image` must be .*Received: shape="):
        luma(np.zeros(shape))


# === crops ===


@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 3)])
def test_crop_border_takes_as_much_off_each_side(shape):
    image = numbered(*shape)
    np.testing.assert_array_equal(crop_border(image, 2), image[2:5, 2:7])
    np.testing.assert_array_equal(crop_border(image, 0), image)


@pytest.mark.parametrize("shape", [(8, 9), (9, 8, 3)])
def test_crop_border_refuses_to_leave_nothing(shape):
    with pytest.raises(ValueError, match="larger than its two borders, 8 pixels"):
        crop_border(np.zeros(shape), 4)


@pytest.mark.parametrize("border", [-1, 1.0, True, None])
def test_crop_border_names_a_border_that_is_none(border):
    with pytest.raises(ValueError, match=f"`border` must be .*border={border!r}"):
        crop_border(np.zeros((8, 8)), border)


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 4))
def test_crop_to_multiple_keeps_the_top_left_corner(height, width, scale):
    image = numbered(scale - 1 + height, scale - 1 + width, 3)
    result = crop_to_multiple(image, scale)
    assert all(size % scale == 0 for size in result.shape[:2])
    assert all(0 <= old - new < scale for old, new in zip(image.shape[:2], result.shape[:2], strict=True))
    np.testing.assert_array_equal(result, image[: result.shape[0], : result.shape[1]])


def test_crop_to_multiple_refuses_an_image_smaller_than_the_scale():
    with pytest.raises(ValueError, match="2x9 and scale=3"):
        crop_to_multiple(np.zeros((2, 9)), 3)


@pytest.mark.parametrize("scale", [0, -2, 2.0, True])
def test_crop_to_multiple_names_a_scale_that_is_none(scale):
    with pytest.raises(ValueError, match=f"`scale` must be .*scale={scale!r}"):
        crop_to_multiple(np.zeros((8, 8)), scale)


def test_crops_take_one_image_and_not_a_batch():
    for crop in (crop_border, crop_to_multiple):
        with pytest.raises(ValueError, match="one image at a time"):
            crop(np.zeros((1, 8, 8, 3)), 2)


# === dihedral ===

IMAGES = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=4, min_side=1, max_side=5))
TURNS = st.integers(0, 7)


@given(IMAGES, TURNS)
def test_the_inverse_of_a_dihedral_transform_undoes_it_from_both_sides(image, k):
    np.testing.assert_array_equal(inverse_dihedral(dihedral(image, k), k), image)
    np.testing.assert_array_equal(dihedral(inverse_dihedral(image, k), k), image)


def test_the_eight_dihedral_transforms_differ():
    image = numbered(3, 3, 1)
    assert len({dihedral(image, k).tobytes() for k in range(8)}) == 8


def test_two_dihedral_transforms_make_a_third():
    image = numbered(3, 3, 1)
    eight = {dihedral(image, k).tobytes() for k in range(8)}
    for first, second in product(range(8), repeat=2):
        assert dihedral(dihedral(image, first), second).tobytes() in eight


def test_the_eight_are_the_quarter_turns_and_their_mirror_images():
    image = numbered(2, 3, 2)
    turns = [np.rot90(side, n) for side in (image, np.fliplr(image)) for n in range(4)]
    assert {(t.shape, t.tobytes()) for t in turns} == {
        (dihedral(image, k).shape, dihedral(image, k).tobytes()) for k in range(8)
    }


def test_dihedral_transforms_come_in_the_order_of_the_official_self_ensemble():
    image = numbered(2, 3, 1)
    np.testing.assert_array_equal(dihedral(image, 0), image)
    np.testing.assert_array_equal(dihedral(image, 1), np.fliplr(image))
    np.testing.assert_array_equal(dihedral(image, 2), np.flipud(image))
    for k in range(4):
        transposed = dihedral(image, k).transpose(1, 0, 2)
        np.testing.assert_array_equal(dihedral(image, k + 4), transposed)


@given(TURNS)
def test_a_batch_is_turned_image_by_image(k):
    batch = numbered(2, 3, 4, 3)
    expected = np.stack([dihedral(image, k) for image in batch])
    np.testing.assert_array_equal(dihedral(batch, k), expected)


@pytest.mark.parametrize("transform", [dihedral, inverse_dihedral])
@pytest.mark.parametrize("k", [-1, 8, 1.0, True])
def test_a_ninth_dihedral_transform_is_refused(transform, k):
    with pytest.raises(ValueError, match=r"`k` must be an integer in 0\.\.7"):
        transform(numbered(2, 3, 1), k)


def test_a_gray_image_needs_an_axis_of_channels_to_be_turned():
    with pytest.raises(ValueError, match=r"image\[\.\.\., None\]"):
        dihedral(numbered(2, 3), 1)
