import numpy as np
import pytest
from runs import photo

from keras_edsr.evaluation.crops import (
    GAINS,
    REGION,
    VIEW,
    Box,
    choose_gain,
    error,
    gradient,
    in_color,
    telling_region,
    view_around,
)
from keras_edsr.image_ops import luma


def changed(image, top, left, size, by=40):
    image = image.copy()
    image[top : top + size, left : left + size] ^= by
    return image


def rectangle(box):
    return box.top, box.left, box.height, box.width


# === The region ===


@pytest.mark.parametrize("protocol", ["benchmark", "div2k"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_region_is_where_the_models_differ_most_from_the_baseline(scale, protocol):
    bicubic = photo(240, 300)
    one, two = changed(bicubic, 150, 30, 20, by=20), changed(bicubic, 60, 180, 20)
    box = telling_region(bicubic, [one, two], bicubic, scale, protocol)
    assert (box.height, box.width) == (REGION, REGION)
    assert all(value % scale == 0 for value in rectangle(box))
    assert box.top <= 60
    assert box.top + REGION >= 80
    assert box.left <= 180
    assert box.left + REGION >= 200


def test_no_other_square_differs_more():
    rng = np.random.default_rng(0)
    bicubic, sr = rng.integers(0, 256, (2, 128, 140, 3)).astype(np.uint8)
    box = telling_region(bicubic, [sr], bicubic, 2, "benchmark")
    difference = (luma(bicubic) - luma(sr)) ** 2
    difference[:2] = difference[-2:] = 0
    difference[:, :2] = difference[:, -2:] = 0
    sums = {
        (top, left): difference[top : top + REGION, left : left + REGION].sum()
        for top in range(0, 128 - REGION + 1, 2)
        for left in range(0, 140 - REGION + 1, 2)
    }
    assert (box.top, box.left) == max(sums, key=sums.get)


def test_without_models_it_is_where_the_baseline_errs_most():
    hr = photo(200, 200)
    box = telling_region(changed(hr, 150, 150, 12), [], hr, 2, "benchmark")
    assert box.top + REGION >= 162
    assert box.left + REGION >= 162


def test_the_border_that_does_not_count_draws_no_region():
    bicubic = photo(200, 200)
    sr = changed(bicubic, 120, 120, 8, by=4)
    sr[:2] ^= 255
    box = telling_region(bicubic, [sr], bicubic, 2, "benchmark")
    assert box.top + REGION >= 128


def test_an_image_smaller_than_the_region_is_shown_whole():
    image = photo(60, 198)
    box = telling_region(image, [changed(image, 20, 150, 10)], image, 3, "benchmark")
    assert rectangle(box)[::2] == (0, 60)
    assert box.width == REGION


def test_equal_images_give_the_first_square():
    image = photo(120, 120)
    assert rectangle(telling_region(image, [image], image, 2, "benchmark")) == (0, 0, REGION, REGION)


def test_the_lr_crop_shows_what_the_hr_crop_shows():
    hr = np.arange(24 * 36).reshape(24, 36)
    box = Box(6, 12, 9, 15)
    assert np.array_equal(box.of_lr(hr[::3, ::3], 3), box.of(hr)[::3, ::3])


# === The slider's view ===


@pytest.mark.parametrize(("height", "width"), [(96, 96), (300, 510), (1200, 1600), (2040, 402)])
@pytest.mark.parametrize(("top", "left"), [(0, 0), (0.5, 0.5), (1, 1)])
def test_the_view_holds_the_region_and_lies_in_the_image(height, width, top, left):
    scale = 3
    region = Box(int(top * (height - 96)) // 3 * 3, int(left * (width - 96)) // 3 * 3, 96, 96)
    view = view_around(region, height, width, scale)
    assert all(value % scale == 0 for value in rectangle(view))
    assert 0 <= view.top <= region.top
    assert 0 <= view.left <= region.left
    assert region.top + 96 <= view.top + view.height <= height
    assert region.left + 96 <= view.left + view.width <= width
    assert (view.height, view.width) == (min(height, VIEW // 3 * 3), min(width, VIEW // 3 * 3))


# === Errors ===


def test_errors_are_of_what_the_protocol_compares():
    sr, hr = photo(40, 40), photo(40, 40, seed=1)
    assert np.allclose(error(sr, hr, "benchmark"), abs(luma(sr) - luma(hr)))
    assert np.allclose(error(sr, hr, "div2k"), abs(sr.astype(float) - hr).mean(-1))
    assert np.array_equal(error(sr[..., 0], hr[..., 0], "div2k"), abs(sr[..., 0].astype(float) - hr[..., 0]))


@pytest.mark.parametrize(("largest", "gain"), [(0, 16), (15.9, 16), (16.1, 8), (60, 4), (100, 2), (200, 1), (255, 1)])
def test_the_gain_is_the_largest_that_keeps_the_errors_in_the_scale(largest, gain):
    assert choose_gain(np.full((10, 10), float(largest))) == gain
    assert gain in GAINS


def test_a_few_outliers_do_not_darken_the_whole_map():
    errors = np.ones((100, 100))
    errors[0, :50] = 255
    assert choose_gain(errors) == 16


def test_a_larger_error_is_a_brighter_color():
    colors = in_color(np.arange(256.0)[None], 1)[0]
    assert np.all(np.diff(luma(colors[None])[0]) >= 0)
    assert luma(colors[None])[0, -1] == pytest.approx(235)


def test_errors_beyond_the_scale_are_white_and_none_is_the_gradients_first_color():
    errors = np.array([[0.0, 31.875, 32, 255]])
    none, *most = in_color(errors, 8)[0]
    assert np.all(np.equal(most, 255))
    assert gradient().startswith(f"rgb({', '.join(map(str, none))})")
    assert gradient().endswith("rgb(255, 255, 255)")
