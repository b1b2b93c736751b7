import copy
import inspect
import pickle
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from reference import edsr, images

from keras_edsr.image_ops import DIV2K_MEAN
from keras_edsr.models import EDSR

# Every argument, away from its default.
CONFIG = {
    "scale": 3,
    "num_blocks": 2,
    "filters": 5,
    "residual_scaling": 0.2,
    "image_shape": (None, None, 2),
    "mean": (10.0, 20.0),
    "upsampler": "direct",
    "dtype": "mixed_bfloat16",
    "name": "mine",
}


def tiny(scale=2, num_blocks=1, filters=4, residual_scaling=1.0, **kwargs):
    return EDSR(scale, num_blocks, filters, residual_scaling, **kwargs)


def pairs(scale, channels=3, batches=2):
    hr = images(2 * batches, 6 * scale, 5 * scale, channels).astype(np.uint8)
    return tf.data.Dataset.from_tensor_slices((hr[:, ::scale, ::scale], hr)).batch(2)


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(0)
    model = EDSR(**CONFIG)
    model.fit(pairs(3, channels=2), verbose=0)
    return model


# === The network ===


@pytest.mark.parametrize(
    ("arguments", "scale", "count"),
    [
        ((16, 64, 1.0), 2, 1_369_859),
        ((16, 64, 1.0), 3, 1_554_499),
        ((16, 64, 1.0), 4, 1_517_571),
        ((16, 64, 1.0), 8, 1_665_283),
        ((), 2, 40_729_603),
        ((), 3, 43_680_003),
        ((), 4, 43_089_923),
    ],
)
def test_the_parameters_are_as_many_as_the_official_models(arguments, scale, count):
    model = EDSR(scale, *arguments)
    assert sum(np.prod(w.shape) for w in model.trainable_weights) == model.count_params() == count


def test_the_defaults_are_the_papers_final_model():
    model = EDSR(2)
    assert (model.num_blocks, model.filters, model.residual_scaling) == (32, 256, 0.1)


def test_layers_that_hold_weights_have_the_checkpoints_names():
    names = [layer.name for layer in tiny(num_blocks=2).layers if layer.weights]
    assert names == ["head", "body_0", "body_1", "body_conv", "upsample", "tail"]


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_the_output_is_the_papers_formula(scale):
    model = tiny(scale, num_blocks=2, residual_scaling=0.3)
    image = images(5, 7, 3)
    expected = edsr(model, image, DIV2K_MEAN)  # in double precision
    np.testing.assert_allclose(model(image[None])[0], expected, rtol=1e-5, atol=1e-3)


def test_every_initial_weight_is_within_pytorchs_bounds():
    # facts §1.3: kernel and bias from U(-1/sqrt(fan_in), 1/sqrt(fan_in)); Glorot's kernels reach 1.7 times as far.
    weights = EDSR(4, 2, 64, 1.0).weights
    for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
        bound = 1 / np.sqrt(np.prod(kernel.shape[:3]))
        assert 0.95 * bound < np.abs(kernel.numpy()).max() <= bound
        assert 0 < np.abs(bias.numpy()).max() <= bound


def test_an_image_of_the_mean_color_has_no_border():
    # Zero padding after the mean is taken off: without biases nothing is left to convolve,
    # at the border as inside it. Padding before would show black beyond the edge.
    model = tiny()
    for weight in model.weights:
        if weight.name == "bias":
            weight.assign(tf.zeros_like(weight))
    image = np.broadcast_to(np.array(DIV2K_MEAN, np.float32), (1, 4, 5, 3))
    expected = np.broadcast_to(np.array(DIV2K_MEAN, np.float32), (1, 8, 10, 3))
    np.testing.assert_array_equal(model(image), expected)


def test_the_scale_4_network_of_scale_2_features_has_two_stages():
    assert len(tiny(4).get_layer("upsample").convs) == 2


def test_uint8_and_float_images_give_the_same():
    model = tiny()
    image = images(1, 5, 4, 3).astype(np.uint8)
    np.testing.assert_array_equal(model(image), model(image.astype(np.float32)))


def test_predict_gives_what_the_call_gives():
    model = tiny()
    image = images(2, 5, 4, 3)
    np.testing.assert_allclose(model.predict(image, verbose=0), model(image), rtol=1e-6)


@pytest.mark.parametrize("num_blocks", [1, 16, 32])
def test_the_halo_is_2_a_block_and_4(num_blocks):
    assert tiny(num_blocks=num_blocks).halo == 2 * num_blocks + 4


def test_scale_and_scales_are_attributes():
    model = tiny(4)
    assert (model.scale, model.scales) == (4, (4,))


def test_numpy_integers_are_arguments_like_others(tmp_path):
    model = EDSR(np.int64(2), np.int32(1), np.int64(4))
    model.save(tmp_path / "m.keras")
    assert keras.saving.load_model(tmp_path / "m.keras").filters == 4


# === Channels ===


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_a_model_of_n_channels_is_the_formula_with_the_gray_mean(channels):
    gray = np.dot((0.299, 0.587, 0.114), DIV2K_MEAN)
    model = tiny(image_shape=(None, None, channels))
    image = images(4, 5, channels)
    expected = edsr(model, image, (gray,) * channels)
    np.testing.assert_allclose(model(image[None])[0], expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("channels", [1, 4])
def test_a_model_of_n_channels_is_trained(channels):
    model = tiny(image_shape=(None, None, channels))
    history = model.fit(pairs(2, channels), verbose=0).history
    assert np.isfinite(history["loss"][0])


def test_a_mean_of_ones_own_is_used():
    model = tiny(mean=(1, 2, 3))
    image = images(4, 5, 3)
    expected = edsr(model, image, (1, 2, 3))
    np.testing.assert_allclose(model(image[None])[0], expected, rtol=1e-5, atol=1e-3)


def test_a_mean_may_be_an_array(tmp_path):
    model = tiny(mean=np.array([1, 2, 3]))
    model.save(tmp_path / "m.keras")
    assert keras.saving.load_model(tmp_path / "m.keras").mean == (1.0, 2.0, 3.0)


def test_images_may_have_a_fixed_size():
    assert tiny(3, image_shape=(6, 4, 3)).output_shape == (None, 18, 12, 3)


# === Serialization ===


def test_get_config_holds_every_argument():
    assert set(inspect.signature(EDSR).parameters) == {*CONFIG, "compile"}
    assert EDSR(**CONFIG).get_config() == CONFIG


def test_a_keras_file_keeps_every_argument(trained, tmp_path):
    trained.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert (type(again), again.get_config()) == (EDSR, CONFIG)


def test_a_keras_file_keeps_the_predictions(trained, tmp_path):
    trained.save(tmp_path / "m.keras")
    image = images(1, 4, 5, 2)
    again = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again(image), trained(image))


def test_a_keras_file_keeps_the_optimizer(trained, tmp_path):
    trained.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert again.optimizer.iterations == 2
    for ours, theirs in zip(again.optimizer.variables, trained.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_keras_file_holds_every_weight_once(tmp_path):
    model = tiny()
    model.save(tmp_path / "m.keras")
    zipfile.ZipFile(tmp_path / "m.keras").extract("model.weights.h5", tmp_path)
    sizes = []  # (name, number of values)
    with h5py.File(tmp_path / "model.weights.h5") as file:
        file.visititems(lambda name, item: sizes.append((name, getattr(item, "size", 0))))
    sizes = [size for name, size in sizes if not name.startswith("optimizer")]
    assert sum(sizes) == model.count_params()


def test_a_model_that_was_never_trained_is_loaded_without_a_warning(tmp_path):
    model = tiny()
    model.compile("sgd", "mse")
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert (type(again.optimizer), again.loss) == (keras.optimizers.SGD, "mse")


def test_a_loaded_model_goes_on_training(trained, tmp_path):
    trained.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    again.fit(pairs(3, channels=2), verbose=0)
    assert again.optimizer.iterations == 4


def test_weights_alone_are_saved_and_loaded(trained, tmp_path):
    trained.save_weights(tmp_path / "m.weights.h5")
    again = EDSR(**CONFIG)
    again.load_weights(tmp_path / "m.weights.h5")
    for ours, theirs in zip(again.weights, trained.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_is_the_same_model_with_weights_of_its_own(trained, duplicate):
    again = duplicate(trained)
    image = images(1, 4, 5, 2)
    assert (type(again), again.get_config()) == (EDSR, CONFIG)
    np.testing.assert_array_equal(again(image), trained(image))
    again.weights[0].assign_add(tf.ones_like(again.weights[0]))
    assert not np.array_equal(again.weights[0], trained.weights[0])


def test_keras_can_clone_the_model(trained):
    clone = keras.models.clone_model(trained)
    clone.set_weights(trained.get_weights())
    image = images(1, 4, 5, 2)
    np.testing.assert_array_equal(clone(image), trained(image))


def test_from_config_makes_the_model_anew(trained):
    again = type(trained).from_config(trained.get_config())
    again.set_weights(trained.get_weights())
    image = images(1, 4, 5, 2)
    np.testing.assert_array_equal(again(image), trained(image))


def test_json_makes_the_model_anew(trained):
    assert keras.models.model_from_json(trained.to_json()).get_config() == CONFIG


# === Precision ===


@pytest.fixture
def global_policy(request):
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


def computing_in(model):
    return {layer.name: layer.compute_dtype for layer in model.layers}


EXPECTED_DTYPES = {"sub_mean": "float32", "tail": "float32", "add_mean": "float32"}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_mean_and_the_last_convolution_stay_float32_under_a_dtype(dtype):
    dtypes = computing_in(tiny(dtype=f"mixed_{dtype}"))
    body = dict.fromkeys(("head", "body_0", "body_conv", "skip", "upsample"), dtype)
    assert dtypes == {"lr": dtypes["lr"], **EXPECTED_DTYPES, **body}


@pytest.mark.parametrize("global_policy", ["mixed_bfloat16", "mixed_float16"], indirect=True)
def test_the_mean_and_the_last_convolution_stay_float32_under_a_global_policy(global_policy):
    dtypes = computing_in(tiny())
    body = dict.fromkeys(("head", "body_0", "body_conv", "skip", "upsample"), global_policy.removeprefix("mixed_"))
    assert dtypes == {"lr": dtypes["lr"], **EXPECTED_DTYPES, **body}


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_gives_float32_near_the_float32_model(dtype):
    # 76.8 and 59.5 dB were measured (findings §10); 1 gray level is 48 dB.
    model = tiny(num_blocks=2, filters=8)
    mixed = tiny(num_blocks=2, filters=8, dtype=dtype)
    mixed.set_weights(model.get_weights())
    image = images(1, 12, 12, 3)
    assert mixed(image).dtype == "float32"
    np.testing.assert_allclose(mixed(image), model(image), atol=1)


def test_the_last_convolution_is_float32_however_the_model_is_called():
    model = tiny(dtype="mixed_bfloat16")
    image = images(1, 5, 5, 3)
    np.testing.assert_array_equal(model(image), keras.Function(model.input, model.output)(tf.constant(image)))


@pytest.mark.parametrize("global_policy", ["mixed_float16"], indirect=True)
def test_a_global_policy_is_kept_in_the_file(global_policy, tmp_path):
    model = tiny()
    model.fit(pairs(2), verbose=0)
    model.save(tmp_path / "m.keras")
    keras.config.set_dtype_policy("float32")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert computing_in(again)["head"] == "float16"
    for ours, theirs in zip(again.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("global_policy", ["mixed_bfloat16"], indirect=True)
def test_a_dtype_overrides_the_global_policy(global_policy):
    assert computing_in(tiny(dtype="float32"))["head"] == "float32"


# === Arguments ===


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 5}, r"`scale` must be one of \(1, 2, 3, 4, 8\). Received: scale=5"),
        ({"scale": 2.0}, r"`scale` must be one of .* Received: scale=2.0"),
        ({"scale": None}, "`scale` must be one of"),
        ({"num_blocks": 0}, "`num_blocks` must be a positive integer. Received: num_blocks=0"),
        ({"num_blocks": 1.5}, "`num_blocks` must be a positive integer"),
        ({"filters": 0}, "`filters` must be a positive integer. Received: filters=0"),
        ({"filters": "64"}, "`filters` must be a positive integer"),
        ({"image_shape": (None, None)}, "`image_shape` must be"),
        ({"image_shape": (None, None, None)}, "must be a positive integer"),
        ({"mean": (1.0, 2.0)}, r"`mean` must have one value for each of the 3 channels"),
        ({"mean": ()}, "`mean` must have one value for each of the 3 channels"),
    ],
)
def test_a_wrong_argument_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        tiny(**arguments)


def test_an_unknown_argument_is_refused():
    with pytest.raises(TypeError, match="n_feats"):
        EDSR(2, n_feats=64)
