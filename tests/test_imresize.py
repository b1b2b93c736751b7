"""Golden files: LR images that MATLAB made with its older edge rule, down-and-up ones with the newer."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from keras_edsr import imresize

EDGES = ("replicate", "symmetric")
INTEGER_SCALES = (1 / 4, 1 / 3, 1 / 2, 1, 2, 3, 4)
SCALES = (*INTEGER_SCALES, 0.15, 0.37, 0.999, 1.3, 2.5)


def read(path):
    return np.asarray(Image.open(path))


def random_image(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 256, shape).astype(dtype)


def matlab_by_hand(image, scale, edge, output_shape=None):
    """MATLAB's imresize of a gray image, written down pixel by pixel as its help page defines it."""
    shape = output_shape or [math.ceil(scale * size) for size in image.shape]
    scales = [a / b for a, b in zip(shape, image.shape, strict=True)] if output_shape else [scale] * 2
    integers = np.issubdtype(image.dtype, np.integer)
    for axis in sorted((0, 1), key=lambda axis: scales[axis]):
        lines = []
        for line in np.moveaxis(image, axis, 1).astype(float):
            values = [by_hand(line, i, scales[axis], edge) for i in range(shape[axis])]
            if integers:
                top = np.iinfo(image.dtype).max
                values = [min(max(math.floor(value + 0.5), 0), top) for value in values]
            lines.append(values)
        image = np.moveaxis(np.array(lines, image.dtype), 1, axis)
    return image


def by_hand(line, i, scale, edge):
    size = len(line)
    stretch = max(1, 1 / scale)
    center = (i + 0.5) / scale - 0.5
    total = weight_sum = 0.0
    for position in range(math.floor(center - 3 * stretch), math.ceil(center + 3 * stretch) + 1):
        weight = keys_cubic(abs(center - position) / stretch)
        if edge == "replicate":
            source = min(max(position, 0), size - 1)
        else:
            source = position % (2 * size)
            source = source if source < size else 2 * size - 1 - source
        total += weight * line[source]
        weight_sum += weight
    return total / weight_sum


def keys_cubic(x):
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


# === MATLAB's own images ===


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", ["bird", "butterfly", "comic"])
def test_the_official_lr_images_are_reproduced_to_the_bit(shared_data, name, scale):
    stem = shared_data / "golden" / name / f"{name}_x{scale}"
    hr, lr = (read(f"{stem}_{kind}.png") for kind in ("HR", "LR"))
    assert np.count_nonzero(imresize(hr, 1 / scale) != lr) == 0


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", ["bird", "butterfly"])
def test_newer_matlab_is_reproduced_to_the_bit_down_and_up(shared_data, name, scale):
    stem = shared_data / "golden" / name / f"{name}_x{scale}"
    hr, expected = (read(f"{stem}_{kind}.png") for kind in ("HR", "DOWNUP_newmatlab"))
    lr = imresize(hr, 1 / scale, edge="symmetric")
    assert np.count_nonzero(imresize(lr, scale, edge="symmetric") != expected) == 0


# === The definition ===


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("scale", SCALES)
def test_any_scale_follows_the_definition(scale, edge):
    image = random_image(11, 14, dtype=np.float64)
    np.testing.assert_allclose(imresize(image, scale, edge), matlab_by_hand(image, scale, edge), rtol=0, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("scale", [1 / 2, 1 / 4, 2])
def test_integers_are_rounded_and_clipped_after_each_pass(scale, dtype):
    # Halves and quarters have weights that are exact in binary, so ties are ties for both.
    image = np.random.default_rng(1).choice([0, 1, np.iinfo(dtype).max], (12, 16)).astype(dtype)
    np.testing.assert_array_equal(imresize(image, scale), matlab_by_hand(image, scale, "replicate"))


@pytest.mark.parametrize("output_shape", [(5, 30), (30, 5), (7, 9), (11, 14), (1, 1), (23, 14)])
def test_an_output_shape_resizes_the_dimension_with_the_smaller_scale_first(output_shape):
    image = np.random.default_rng(2).choice([0, 255], (11, 14)).astype(np.uint8)
    np.testing.assert_array_equal(
        imresize(image, output_shape=output_shape),
        matlab_by_hand(image, None, "replicate", output_shape),
    )


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (1, 40)])
def test_images_smaller_than_the_kernel_are_extended_as_often_as_it_takes(shape, edge):
    image = random_image(*shape, dtype=np.float64)
    for scale in (1 / 8, 3):
        np.testing.assert_allclose(imresize(image, scale, edge), matlab_by_hand(image, scale, edge), rtol=0, atol=1e-10)


# === Laws ===


@given(
    value=st.integers(0, 255),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    scale=st.floats(0.1, 4),
    edge=st.sampled_from(EDGES),
    dtype=st.sampled_from([np.uint8, np.uint16, np.float32]),
)
def test_a_flat_image_stays_flat(value, height, width, scale, edge, dtype):
    result = imresize(np.full((height, width, 2), value, dtype), scale, edge)
    assert result.shape == (math.ceil(scale * height), math.ceil(scale * width), 2)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, value, rtol=1e-6)


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=3, max_side=9)))
def test_scale_one_changes_nothing(image):
    result = imresize(image, 1)
    np.testing.assert_array_equal(result, image)
    assert not np.shares_memory(result, image)


@pytest.mark.parametrize("scale", INTEGER_SCALES)
def test_a_mirrored_image_gives_the_mirrored_result(scale):
    image = random_image(24, 12, 3)
    np.testing.assert_array_equal(imresize(image[:, ::-1], scale), imresize(image, scale)[:, ::-1])
    np.testing.assert_array_equal(imresize(image[::-1], scale), imresize(image, scale)[::-1])


def test_upscaling_reproduces_a_parabola_away_from_the_border():
    # What singles out a = -1/2 among the cubics (Keys, 1981): OpenCV's -3/4 does not.
    x = np.arange(16.0)
    image = np.outer(x**2, np.ones(5))
    fine = (np.arange(48) + 0.5) / 3 - 0.5
    np.testing.assert_allclose(imresize(image, 3)[8:-8, 7], fine[8:-8] ** 2, rtol=1e-12)


def test_halves_are_rounded_up():
    stripes = np.zeros((16, 16), np.uint8)
    stripes[1::2] = 1
    result = imresize(stripes, 1 / 2)  # each value is a half, but at the border
    np.testing.assert_array_equal(result[2:-2], 1)


@pytest.mark.parametrize("scale", [1 / 3, 2])
def test_channels_are_resized_one_by_one(scale):
    image = random_image(12, 9, 5)
    result = imresize(image, scale)
    for channel in range(5):
        gray = imresize(image[..., channel], scale)
        assert gray.ndim == 2
        np.testing.assert_array_equal(result[..., channel], gray)
        np.testing.assert_array_equal(imresize(image[..., channel, None], scale)[..., 0], gray)


def test_an_image_wider_than_a_block_of_work_is_the_same_as_its_parts():
    image = random_image(12, 30_000, 3)
    part = imresize(image[:, :200], 1 / 2)
    np.testing.assert_array_equal(imresize(image, 1 / 2)[:, :90], part[:, :90])


def test_a_size_that_is_no_multiple_is_rounded_up():
    assert imresize(random_image(5, 7, 3), 1 / 2).shape == (3, 4, 3)


@pytest.mark.parametrize("scale", [1 / 2, 3])
def test_an_output_shape_of_the_same_ratio_is_the_same(scale):
    image = random_image(12, 18, 3)
    shape = (round(12 * scale), round(18 * scale))
    np.testing.assert_array_equal(imresize(image, output_shape=shape), imresize(image, scale))


def test_float_images_are_neither_clipped_nor_rounded():
    edge = np.repeat([0.0, 255.0], 8)[None] * np.ones((4, 1))
    result = imresize(edge, 2)
    assert result.min() < 0
    assert result.max() > 255


def test_float32_stays_float32_and_is_near_float64():
    image = np.random.default_rng(0).random((20, 22, 3))
    result = imresize(image.astype(np.float32), 1 / 2)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, imresize(image, 1 / 2), rtol=0, atol=3e-7)


def test_any_memory_layout_gives_the_same():
    image = random_image(12, 14, 3)
    expected = imresize(image, 1 / 2)
    image.flags.writeable = False
    for same in (image, np.asfortranarray(image), np.repeat(image, 2, axis=0)[::2]):
        np.testing.assert_array_equal(imresize(same, 1 / 2), expected)


# === Errors ===


@pytest.mark.parametrize("scale", [0, -1, -0.5, math.nan, math.inf, "2", (2, 3), True, 1j], ids=repr)
def test_a_scale_that_is_no_positive_number_is_refused(scale):
    with pytest.raises(ValueError, match=r"`scale` must be a positive number. Received: scale="):
        imresize(random_image(4, 4), scale)


@pytest.mark.parametrize("output_shape", [(0, 3), (3, -1), (3,), (3, 4, 3), (2.0, 3.0), 7, "ab"], ids=repr)
def test_an_output_shape_that_is_not_two_positive_integers_is_refused(output_shape):
    with pytest.raises(ValueError, match="`output_shape` must be two positive integers"):
        imresize(random_image(4, 4), output_shape=output_shape)


def test_one_of_scale_and_output_shape_is_asked_for():
    with pytest.raises(ValueError, match="Pass either `scale` or `output_shape`"):
        imresize(random_image(4, 4))
    with pytest.raises(ValueError, match="Pass either `scale` or `output_shape`"):
        imresize(random_image(4, 4), 2, output_shape=(8, 8))


@pytest.mark.parametrize("shape", [(4,), (1, 4, 4, 3)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(ValueError, match=r"`image` must be \(height, width\)"):
        imresize(random_image(*shape), 2)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0, 3), (4, 4, 0)])
def test_an_image_without_pixels_is_refused(shape):
    with pytest.raises(ValueError, match="`image` must have pixels"):
        imresize(np.zeros(shape, np.uint8), 2)


@pytest.mark.parametrize("dtype", [np.int32, np.float16, bool, np.int8])
def test_another_type_is_refused_and_not_cast_silently(dtype):
    with pytest.raises(ValueError, match=r"`image` must be one of .*dtype="):
        imresize(np.zeros((4, 4), dtype), 2)


def test_an_unknown_edge_rule_is_refused():
    with pytest.raises(ValueError, match=r"`edge` must be one of .*edge='reflect'"):
        imresize(random_image(4, 4), 2, "reflect")
