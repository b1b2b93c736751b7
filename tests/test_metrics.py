import keras
import numpy as np
import pytest
from keras import ops
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from keras_edsr.metrics import PSNR, SSIM

METRICS = (PSNR, SSIM)


def pair(*shape, noise=9.0, seed=0):
    """Smooth HR images, which have flat and steep places, and noisy SR images; float32."""
    rng = np.random.default_rng(seed)
    hr = np.cumsum(np.cumsum(rng.normal(0, 6, shape), axis=1), axis=2) % 256
    sr = np.clip(hr + rng.normal(0, noise, shape), 0, 255)
    return hr.astype(np.float32), sr.astype(np.float32)


def skimage_ssim(hr, sr):
    _, image = structural_similarity(
        hr,
        sr,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=-1,
        full=True,
    )
    return image[5:-5, 5:-5].mean()  # where the window lies within the image


def skimage_psnr(hr, sr):
    return peak_signal_noise_ratio(hr, sr, data_range=255)


def expected(metric, hr, sr, crop_border=0, y_channel=False):
    """The mean over images by scikit-image, in double precision."""
    measure = skimage_psnr if metric is PSNR else skimage_ssim
    inside = np.s_[:, crop_border : hr.shape[1] - crop_border, crop_border : hr.shape[2] - crop_border]
    hr, sr = (images[inside].astype(np.float64) for images in (hr, sr))
    if y_channel and hr.shape[-1] == 3:
        hr, sr = (rgb2ycbcr(images / 255)[..., :1] for images in (hr, sr))
    return np.mean([measure(a, b) for a, b in zip(hr, sr, strict=True)])


def tolerance(metric):
    return 1e-4 if metric is PSNR else 2e-6  # dB; what float32 leaves of a variance


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("y_channel", [False, True])
@pytest.mark.parametrize("crop_border", [0, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_metrics_agree_with_scikit_image(metric, crop_border, y_channel, channels):
    hr, sr = pair(2, 31, 40, channels)
    result = float(metric(crop_border, y_channel)(hr, sr))
    assert result == pytest.approx(expected(metric, hr, sr, crop_border, y_channel), abs=tolerance(metric))


@pytest.mark.parametrize("metric", METRICS)
def test_8_bit_images_score_as_their_float_copies(metric):
    hr, sr = (images.astype(np.uint8) for images in pair(2, 20, 24, 3))
    result = float(metric()(hr, sr))
    assert result == pytest.approx(expected(metric, hr, sr), abs=tolerance(metric))
    assert result == float(metric()(hr.astype(np.float32), sr.astype(np.float32)))


@pytest.mark.parametrize("level", [0.0, 128.0, 250.0])
def test_ssim_of_almost_flat_images_is_not_lost_in_float32(level):
    # The variance is a ten-millionth of the squares that it is the difference of.
    hr = np.full((1, 24, 24, 3), level, np.float32)
    sr = hr + np.random.default_rng(0).normal(0, 0.5, hr.shape).astype(np.float32)
    assert float(SSIM()(hr, sr)) == pytest.approx(expected(SSIM, hr, sr), abs=1e-4)


@pytest.mark.parametrize("metric", METRICS)
def test_the_result_is_the_mean_over_images_however_they_are_batched(metric):
    batches = [pair(3, 20, 20, 3, noise=5), pair(1, 24, 16, 3, noise=20)]
    measured = metric()
    for hr, sr in batches:
        measured.update_state(hr, sr)
    values = [expected(metric, hr[i : i + 1], sr[i : i + 1]) for hr, sr in batches for i in range(len(hr))]
    assert float(measured.result()) == pytest.approx(np.mean(values), abs=tolerance(metric))


@pytest.mark.parametrize("metric", METRICS)
def test_reset_state_forgets(metric):
    hr, sr = pair(1, 16, 16, 3)
    measured = metric()
    measured.update_state(hr, 255 - hr)
    measured.reset_state()
    measured.update_state(hr, sr)
    assert float(measured.result()) == float(metric()(hr, sr))


@pytest.mark.parametrize("metric", METRICS)
def test_an_image_of_weight_zero_does_not_count(metric):
    hr, sr = pair(2, 16, 16, 3)
    measured = metric()
    measured.update_state(hr, sr, sample_weight=np.array([0.0, 1.0]))
    assert float(measured.result()) == pytest.approx(expected(metric, hr[1:], sr[1:]), abs=1e-4)


def test_equal_images_count_100_db_and_leave_the_mean_finite():
    hr, sr = pair(1, 16, 16, 3)
    measured = PSNR()
    measured.update_state(hr, hr)
    assert float(measured.result()) == pytest.approx(100, abs=1e-4)
    measured.update_state(hr, sr)
    assert float(measured.result()) == pytest.approx((100 + expected(PSNR, hr, sr)) / 2, abs=1e-4)


def test_equal_images_have_an_ssim_of_one():
    hr, _ = pair(2, 16, 16, 3)
    assert float(SSIM()(hr, hr)) == pytest.approx(1, abs=1e-6)


def test_nothing_is_clipped_or_rounded():
    hr = np.full((1, 8, 8, 3), 255, np.float32)
    assert float(PSNR()(hr, hr + 0.4)) == pytest.approx(20 * np.log10(255 / 0.4), abs=1e-3)


@pytest.mark.parametrize("metric", METRICS)
def test_every_argument_survives_serialization(metric):
    measured = metric(crop_border=4, y_channel=True, name="quality", dtype="float64")
    copy = keras.metrics.deserialize(keras.metrics.serialize(measured))
    assert type(copy) is metric
    assert (copy.crop_border, copy.y_channel, copy.name, copy.dtype) == (4, True, "quality", "float64")
    assert copy.get_config() == measured.get_config()


def test_the_default_names_are_those_of_the_logs():
    assert (PSNR().name, SSIM().name) == ("psnr", "ssim")


# === Graphs ===


@pytest.fixture
def mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(before)


class Shift(keras.layers.Layer):
    """Adds one number that is trained."""

    def __init__(self):
        super().__init__()
        self.shift = self.add_weight(shape=(), initializer=keras.initializers.Constant(3))

    def call(self, x):
        return x + self.shift


def test_fit_and_evaluate_measure_in_float32_under_mixed_precision(mixed_precision):
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, Shift()(inputs))  # its output is bfloat16
    model.compile("sgd", "mae", metrics=[PSNR(2), SSIM(2)])
    hr = np.round(pair(4, 20, 24, 3)[0])
    sr = ops.convert_to_numpy(ops.cast(ops.cast(hr, "bfloat16") + 3, "float32"))
    history = model.fit(hr, hr, batch_size=2, epochs=1, verbose=0).history
    assert {"psnr", "ssim"} <= history.keys()

    model.layers[-1].shift.assign(3)
    scores = model.evaluate(hr, hr, batch_size=2, verbose=0, return_dict=True)
    assert scores["psnr"] == pytest.approx(expected(PSNR, hr, sr, 2), abs=1e-3)
    assert scores["ssim"] == pytest.approx(expected(SSIM, hr, sr, 2), abs=1e-5)


def traced(measured, jit_compile=False):
    """`update_state` as a graph that does not know the size of its images."""
    tf = pytest.importorskip("tensorflow")
    return tf.function(
        lambda hr, sr: measured.update_state(hr, sr),
        input_signature=[tf.TensorSpec((None, None, None, 3))] * 2,
        jit_compile=jit_compile,
    )


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_graph_that_does_not_know_the_size_measures_the_same(metric, jit_compile):
    measured = metric(3, y_channel=True)
    update = traced(measured, jit_compile)
    hr, sr = pair(2, 21, 26, 3)
    update(hr, sr)
    assert float(measured.result()) == pytest.approx(expected(metric, hr, sr, 3, True), abs=tolerance(metric))


@pytest.mark.parametrize(("metric", "needed"), [(PSNR, 9), (SSIM, 19)])
def test_an_image_too_small_is_an_error_and_not_nan_when_only_the_graph_sees_it(metric, needed):
    measured = metric(4)
    update = traced(measured)
    hr, sr = pair(1, 30, 30, 3)
    update(hr[:, :needed], sr[:, :needed])
    for height in (needed - 1, 8, 5, 3, 1):
        with pytest.raises(Exception, match=f"images_need_{needed}_pixels_a_side"):
            update(hr[:, :height], sr[:, :height])
    assert np.isfinite(measured.result())


# === Errors ===


@pytest.mark.parametrize(("metric", "needed"), [(PSNR, 9), (SSIM, 19)])
def test_an_image_too_small_for_the_border_is_refused(metric, needed):
    hr, sr = pair(1, needed - 1, 30, 3)
    with pytest.raises(ValueError, match=f"at least {needed} pixels a side.*{needed - 1}x30"):
        metric(4)(hr, sr)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("other", [(1, 20, 20, 1), (2, 20, 20, 3), (1, 20, 18, 3), (20, 20, 3)])
def test_images_of_two_shapes_are_not_broadcast(metric, other):
    with pytest.raises(ValueError, match=r"of one shape. Received: y_true of"):
        metric()(np.zeros((1, 20, 20, 3)), np.zeros(other))


@pytest.mark.parametrize("metric", METRICS)
def test_an_image_without_a_batch_is_refused(metric):
    with pytest.raises(ValueError, match=r"\(batch, height, width, channels\)"):
        metric()(np.zeros((20, 20, 3)), np.zeros((20, 20, 3)))


@pytest.mark.parametrize("metric", METRICS)
def test_the_luma_of_four_channels_is_refused(metric):
    with pytest.raises(ValueError, match=r"`y_channel=True` needs .*Received: 4 channels"):
        metric(y_channel=True)(np.zeros((1, 20, 20, 4)), np.zeros((1, 20, 20, 4)))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("crop_border", [-1, 1.5, True, None])
def test_a_border_that_is_no_count_is_refused(metric, crop_border):
    with pytest.raises(ValueError, match=f"`crop_border` must be .*{crop_border!r}"):
        metric(crop_border)
