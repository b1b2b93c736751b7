import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from keras_edsr import imresize
from keras_edsr.scores import psnr, score, smallest_side, ssim
from keras_edsr.scores.measures import ssim_window


def photo(height=60, width=72, channels=3, seed=0):
    """Smooth 8-bit noise: something that bicubic can guess in part."""
    rng = np.random.default_rng(seed)
    size = (height // 4, width // 4, channels) if channels else (height // 4, width // 4)
    coarse = rng.integers(0, 256, size).astype(np.uint8)
    return imresize(coarse, output_shape=(height, width))


def skimage_ssim(sr, hr, channel_axis):
    _, image = structural_similarity(
        sr.astype(float),
        hr.astype(float),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=channel_axis,
        full=True,
    )
    return image[5:-5, 5:-5].mean()


# === psnr and ssim ===


@pytest.mark.parametrize("shape", [(40, 51), (40, 51, 1), (40, 51, 3), (11, 11, 3), (90, 12, 2)])
def test_psnr_and_ssim_are_those_of_scikit_image(shape):
    rng = np.random.default_rng(0)
    hr = rng.integers(0, 256, shape).astype(np.uint8)
    sr = np.clip(hr + rng.normal(0, 20, shape), 0, 255).astype(np.uint8)
    assert psnr(sr, hr) == pytest.approx(peak_signal_noise_ratio(hr, sr), abs=1e-12)
    axis = -1 if len(shape) == 3 else None
    assert ssim(sr, hr) == pytest.approx(skimage_ssim(sr, hr, axis), abs=1e-12)


def test_psnr_of_an_error_of_one_everywhere_is_48_db():
    hr = np.full((8, 8), 7, np.uint8)
    assert psnr(hr - 1, hr) == pytest.approx(20 * math.log10(255), abs=1e-12)


def test_two_equal_images_have_infinite_psnr_and_an_ssim_of_one():
    image = photo()
    assert psnr(image, image) == math.inf
    assert ssim(image, image) == pytest.approx(1, abs=1e-12)


@given(seed=st.integers(0, 99), height=st.integers(11, 50), width=st.integers(11, 20))
def test_the_order_of_the_two_images_does_not_matter(seed, height, width):
    rng = np.random.default_rng(seed)
    one, two = rng.integers(0, 256, (2, height, width, 3)).astype(np.uint8)
    assert psnr(one, two) == psnr(two, one)
    assert ssim(one, two) == pytest.approx(ssim(two, one), abs=1e-12)
    assert ssim(one.swapaxes(0, 1), two.swapaxes(0, 1)) == pytest.approx(ssim(one, two), abs=1e-12)


@pytest.mark.parametrize("measure", [psnr, ssim, lambda sr, hr: score(sr, hr, 2)])
def test_images_of_two_shapes_are_not_broadcast(measure):
    with pytest.raises(ValueError, match=r"the same shape. Received: sr of \(20, 20, 1\)"):
        measure(np.zeros((20, 20, 1)), np.zeros((20, 20, 3)))


def test_ssim_refuses_an_image_smaller_than_its_window():
    with pytest.raises(ValueError, match=r"11 pixels a side.*10x30"):
        ssim(np.zeros((10, 30)), np.zeros((10, 30)))


def test_the_window_of_ssim_is_a_normal_distribution_of_sigma_one_and_a_half():
    window = np.array(ssim_window())
    offsets = np.arange(-5, 6)
    assert window.sum() == pytest.approx(1, abs=1e-15)
    np.testing.assert_allclose(np.log(window / window[5]), -(offsets**2) / 4.5, atol=1e-12)


# === Protocols ===


def test_the_benchmark_protocol_compares_luma_within_a_border_of_the_scale():
    hr = photo()
    sr = photo(seed=1)
    inside = np.s_[3:-3, 3:-3]
    y_sr, y_hr = (rgb2ycbcr(image)[..., 0][inside] for image in (sr, hr))
    expected = peak_signal_noise_ratio(y_hr, y_sr, data_range=255), skimage_ssim(y_sr, y_hr, None)
    assert score(sr, hr, 3, "benchmark") == pytest.approx(expected, abs=1e-9)


def test_the_div2k_protocol_compares_rgb_within_a_border_of_the_scale_and_six():
    hr = photo()
    sr = photo(seed=1)
    inside = np.s_[9:-9, 9:-9]
    expected = (
        peak_signal_noise_ratio(hr[inside], sr[inside]),
        skimage_ssim(sr[inside], hr[inside], -1),
    )
    assert score(sr, hr, 3, "div2k") == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("protocol", "border"), [("benchmark", 2), ("div2k", 8)])
def test_errors_in_the_border_do_not_count(protocol, border):
    hr = photo()
    sr = 255 - hr
    sr[border:-border, border:-border] = hr[border:-border, border:-border]
    assert score(sr, hr, 2, protocol) == pytest.approx((100, 1))
    sr[border, border] = 255 - hr[border, border]
    assert score(sr, hr, 2, protocol)[0] < 100


@pytest.mark.parametrize("protocol", ["benchmark", "div2k"])
def test_a_gray_image_is_compared_as_it_is(protocol):
    hr, sr = photo(channels=0), photo(channels=0, seed=1)
    border = 2 if protocol == "benchmark" else 8
    inside = np.s_[border:-border, border:-border]
    expected = peak_signal_noise_ratio(hr[inside], sr[inside])
    assert score(sr, hr, 2, protocol)[0] == pytest.approx(expected, abs=1e-9)


def test_two_equal_images_count_100_db():
    assert score(photo(), photo(), 2)[0] == 100


@pytest.mark.parametrize(("protocol", "side"), [("benchmark", 17), ("div2k", 29)])
def test_the_smallest_image_leaves_one_window_within_the_border(protocol, side):
    assert smallest_side(3, protocol) == side
    hr, sr = photo(32, 32)[:side, :side], photo(32, 32, seed=1)[:side, :side]
    assert -1 < score(sr, hr, 3, protocol).ssim < 1
    with pytest.raises(ValueError, match="11 pixels a side"):
        score(sr[1:], hr[1:], 3, protocol)
