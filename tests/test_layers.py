import inspect
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from reference import conv2d, images, pixel_shuffle

from keras_edsr.image_ops import DIV2K_MEAN, channel_mean
from keras_edsr.layers import (
    MeanShift,
    ScaledResBlock,
    SubpixelUpsample,
    convolution,
)
from keras_edsr.network.checks import check_image_shape, check_positive, check_scale

# Every argument of each layer, away from its default.
CONFIGS = {
    MeanShift: {"mean": (10.0, 20.0), "sign": 1},
    ScaledResBlock: {"filters": 2, "kernel_size": 5, "residual_scaling": 0.25},
    SubpixelUpsample: {"scale": 3, "filters": 2, "kernel_size": 5},
}


# === MeanShift ===


def test_the_default_mean_is_that_of_the_official_code():
    np.testing.assert_allclose(DIV2K_MEAN, (114.444, 111.4605, 103.02), rtol=1e-12)


def test_mean_shift_subtracts_by_default():
    x = images(1, 4, 5, 3)
    np.testing.assert_allclose(MeanShift()(x), x - np.array(DIV2K_MEAN, np.float32), atol=1e-4)


def test_mean_shift_adds_with_sign_1():
    x = images(1, 4, 5, 2)
    np.testing.assert_allclose(MeanShift((1.5, 2.5), sign=1)(x), x + np.array([1.5, 2.5]), atol=1e-4)


def test_mean_shift_has_no_weights():
    layer = MeanShift()
    layer.build((None, None, None, 3))
    assert layer.weights == []


def test_mean_shift_of_uint8_is_float32_and_does_not_wrap():
    result = MeanShift()(np.full((1, 2, 2, 3), 7, np.uint8))
    np.testing.assert_allclose(result[0, 0, 0], 7 - np.array(DIV2K_MEAN), atol=1e-4)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mean_shift_stays_float32_under_a_global_policy(policy):
    keras.config.set_dtype_policy(policy)
    try:
        result = MeanShift()(images(1, 2, 2, 3))
    finally:
        keras.config.set_dtype_policy("float32")
    assert result.dtype == "float32"


def test_mean_shift_refuses_another_number_of_channels():
    with pytest.raises(ValueError, match=r"one channel per value of `mean`. Received: 4 channels"):
        MeanShift()(images(1, 2, 2, 4))


@pytest.mark.parametrize("sign", [0, 2, "-1"])
def test_mean_shift_refuses_other_signs(sign):
    with pytest.raises(ValueError, match="`sign` must be -1"):
        MeanShift(sign=sign)


def test_the_mean_of_one_channel_is_the_gray_of_div2k():
    red, green, blue = DIV2K_MEAN
    assert channel_mean(1) == (pytest.approx(0.299 * red + 0.587 * green + 0.114 * blue),)


def test_the_mean_of_n_channels_has_n_values():
    assert [len(channel_mean(n)) for n in (1, 2, 3, 4, 7)] == [1, 2, 3, 4, 7]


# === ScaledResBlock ===


@pytest.mark.parametrize("residual_scaling", [1.0, 0.1])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_a_block_is_its_formula(kernel_size, residual_scaling):
    block = ScaledResBlock(4, kernel_size=kernel_size, residual_scaling=residual_scaling)
    x = images(1, 7, 6, 4)
    result = block(x)
    kernel_1, bias_1, kernel_2, bias_2 = (weight.numpy() for weight in block.weights)
    branch = conv2d(np.maximum(conv2d(x[0], kernel_1, bias_1), 0), kernel_2, bias_2)
    np.testing.assert_allclose(result[0], x[0] + residual_scaling * branch, rtol=1e-5, atol=1e-3)


def test_a_block_of_residual_scaling_0_changes_nothing():
    x = images(1, 5, 5, 3)
    np.testing.assert_array_equal(ScaledResBlock(3, residual_scaling=0.0)(x), x)


CONVOLUTIONS = """
import tensorflow as tf
from keras_edsr.layers import ScaledResBlock

blocks = [ScaledResBlock(4), ScaledResBlock(4)]
run = tf.function(lambda x: blocks[1](blocks[0](x)), [tf.TensorSpec([None, None, None, 4])], autograph=False)
run(tf.zeros([1, 8, 8, 4]))
"""


def test_a_block_is_safe_to_run_in_threads():
    """Its sum must stay an operation of its own, for the kernel of convolution and sum is not safe in TensorFlow 2.21.

    The crash itself is rare; `test_tensorflow_s_c_loader_runs_it_without_python` saw it once in twelve runs.
    """
    env = {**os.environ, "ONEDNN_VERBOSE": "1"}
    done = subprocess.run([sys.executable, "-c", CONVOLUTIONS], env=env, capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if "exec" in line and ",convolution," in line]
    if not lines:
        pytest.skip("TensorFlow runs convolutions without oneDNN here")
    assert len(lines) == 4
    assert not [line for line in lines if "sum" in line]


def test_a_block_refuses_other_channels_than_its_filters():
    with pytest.raises(ValueError, match=r"`filters` must equal the input's channels.*filters=4.*3\)"):
        ScaledResBlock(4)(images(1, 5, 5, 3))


# === SubpixelUpsample ===


@pytest.mark.parametrize(("scale", "stages"), [(2, (2,)), (3, (3,)), (4, (2, 2)), (8, (2, 2, 2))])
def test_upsampling_has_the_stages_of_the_official_code(scale, stages):
    layer = SubpixelUpsample(scale, 2)
    layer.build((None, None, None, 2))
    shapes = [conv.kernel.shape for conv in layer.convs]
    assert (layer.stages, shapes) == (stages, [(3, 3, 2, 2 * factor**2) for factor in stages])


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_upsampling_is_pixel_shuffle_after_reordering_the_channels(scale):
    # depth_to_space takes channels block-first, PixelShuffle channel-first: facts §3.
    filters = 5
    layer = SubpixelUpsample(scale, filters)
    x = images(1, 4, 3, filters)
    result = layer(x)
    expected = x[0]
    for conv, factor in zip(layer.convs, layer.stages, strict=True):
        order = np.arange(filters * factor**2).reshape(filters, factor**2).T.reshape(-1)
        torch_channels = conv2d(expected, *(w.numpy() for w in conv.weights))[..., np.argsort(order)]
        expected = pixel_shuffle(torch_channels, factor)
    np.testing.assert_allclose(result[0], expected, rtol=1e-5, atol=1e-3)


def test_new_pixels_lie_rows_first():
    layer = SubpixelUpsample(2, 1)
    layer.build((None, None, None, 1))
    layer.convs[0].set_weights([np.zeros((3, 3, 1, 4)), np.array([1.0, 2.0, 3.0, 4.0])])
    np.testing.assert_array_equal(layer(np.zeros((1, 1, 1, 1)))[0, ..., 0], [[1, 2], [3, 4]])


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_the_symbolic_shape_is_the_real_one(scale):
    layer = SubpixelUpsample(scale, 2)
    shape = layer(images(1, 5, 3, 2)).shape
    assert layer.compute_output_shape((1, 5, 3, 2)) == tuple(shape) == (1, 5 * scale, 3 * scale, 2)


def test_unknown_sides_stay_unknown():
    assert SubpixelUpsample(3, 2).compute_output_shape((None, None, 4, 2)) == (None, None, 12, 2)


def test_upsampling_takes_a_numpy_integer():
    assert SubpixelUpsample(np.int64(4), 2).stages == (2, 2)


def test_upsampling_refuses_other_channels_than_its_filters():
    with pytest.raises(ValueError, match=r"`filters` must equal the input's channels.*filters=4.*3\)"):
        SubpixelUpsample(2, 4)(images(1, 5, 5, 3))


# === Initial weights ===


@pytest.mark.parametrize(("kernel_size", "in_channels"), [(3, 64), (5, 64), (3, 3)])
def test_initial_kernels_and_biases_are_pytorchs(kernel_size, in_channels):
    # U(-b, b), b = 1/sqrt(fan_in), of standard deviation b/sqrt(3): facts §1.3.
    keras.utils.set_random_seed(0)
    conv = convolution(2048, in_channels, kernel_size)
    conv.build((None, None, None, in_channels))
    bound = 1 / np.sqrt(in_channels * kernel_size**2)
    for weight in conv.kernel.numpy(), conv.bias.numpy():
        assert 0.99 * bound < np.abs(weight).max() <= bound
        assert weight.std() == pytest.approx(bound / np.sqrt(3), rel=0.05)
        assert abs(weight.mean()) < 0.05 * bound


@pytest.mark.parametrize(
    ("layer_class", "config"),
    [(ScaledResBlock, {"filters": 64}), (SubpixelUpsample, {"scale": 4, "filters": 64})],
)
def test_the_layers_know_their_fan_in(layer_class, config):
    keras.utils.set_random_seed(0)
    layer = layer_class(**config, kernel_size=5)
    layer.build((None, None, None, 64))
    bound = 1 / np.sqrt(64 * 5**2)
    for weight in layer.weights:
        assert 0.9 * bound < np.abs(weight.numpy()).max() <= bound


# === Serialization and precision ===


@pytest.mark.parametrize("layer_class", CONFIGS)
def test_get_config_holds_every_argument(layer_class):
    arguments = set(inspect.signature(layer_class).parameters) - {"kwargs"}
    config = layer_class(**CONFIGS[layer_class]).get_config()
    assert {name: config[name] for name in arguments} == CONFIGS[layer_class]


@pytest.mark.parametrize("layer_class", CONFIGS)
def test_a_layer_is_rebuilt_from_its_config(layer_class):
    layer = layer_class(**CONFIGS[layer_class], name="mine", dtype="mixed_bfloat16")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert (type(again), again.get_config()) == (layer_class, layer.get_config())


@pytest.mark.parametrize(
    "layer",
    [ScaledResBlock(2, dtype="mixed_bfloat16"), SubpixelUpsample(4, 2, dtype="mixed_bfloat16")],
)
def test_inner_convolutions_follow_the_dtype_of_the_layer(layer):
    assert layer(images(1, 3, 3, 2)).dtype == "bfloat16"
    assert {weight.dtype for weight in layer.weights} == {"float32"}


# === Arguments ===


@pytest.mark.parametrize("scale", [1, 0, -2, 5, 6, 16, 2.0, "2", None, (2,)])
def test_a_scale_without_an_upsampler_is_refused(scale):
    with pytest.raises(ValueError, match=r"`scale` must be one of \(2, 3, 4, 8\). Received: scale="):
        check_scale(scale)


@pytest.mark.parametrize("value", [0, -1, 64.0, "64", None, True])
def test_a_number_that_is_no_positive_integer_is_refused(value):
    with pytest.raises(ValueError, match=r"`filters` must be a positive integer. Received: filters="):
        check_positive("filters", value)


@pytest.mark.parametrize("shape", [3, (None, None), (None, None, None), (None, None, 0), (1, None, None, 3)])
def test_a_shape_that_is_not_height_width_channels_is_refused(shape):
    with pytest.raises(ValueError, match="image_shape"):
        check_image_shape(shape)
