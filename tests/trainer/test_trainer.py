import inspect
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from places import HELPERS
from reference import images

from keras_edsr.models import EDSR
from keras_edsr.trainer import paper_optimizer


def tiny(scale=2, filters=4, **kwargs):
    keras.utils.set_random_seed(0)
    return EDSR(scale, 1, filters, 1.0, **kwargs)


def arrays(count=4, height=6, width=5, scale=2, dtype=np.uint8, seed=0):
    """(lr, hr): noise of the low resolution, every pixel repeated. It can be learnt."""
    lr = images(count, height, width, 3, seed=seed).astype(dtype)
    return lr, lr.repeat(scale, axis=1).repeat(scale, axis=2)


def dataset(batches):
    """A dataset of these batches, whose sizes may differ, with a known length."""
    batches = list(batches)
    spec = tuple(tf.TensorSpec([None] * min(part.ndim, 3) + list(part.shape[3:]), part.dtype) for part in batches[0])
    data = tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=spec)
    return data.apply(tf.data.experimental.assert_cardinality(len(batches)))


def count_traces(model):
    """Returns a list that gets the mode whenever a step is traced."""
    traces = []
    for mode in ("train_step", "test_step"):
        setattr(model, mode, _noting(getattr(model, mode), mode, traces))
    return traces


def _noting(step, mode, traces):
    def noted(data):
        traces.append(mode)
        return step(data)

    return noted


def losses_of_training(model, learning_rate=1e-2, steps=40):
    """The mean losses of the first and of the last ten steps."""
    model.compile(keras.optimizers.Adam(learning_rate), "mae")
    data = tf.data.Dataset.from_tensors(arrays(4)).repeat()
    epochs = steps // 10
    losses = model.fit(data, steps_per_epoch=10, epochs=epochs, verbose=0).history["loss"]
    return losses[0], losses[-1]


# === The recipe ===


def test_the_loss_is_the_mean_absolute_error():
    model = tiny()
    lr, hr = arrays()
    loss = model.evaluate(lr, hr, verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(np.abs(model(lr) - hr).mean(), rel=1e-5)


# === fit, without compile ===


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_fit_takes_a_dataset_without_compile_or_a_warning(dtype):
    data = tf.data.Dataset.from_tensor_slices(arrays(dtype=dtype)).batch(2)
    history = tiny().fit(data, verbose=0).history
    assert set(history) == {"loss", "psnr"}


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_fit_takes_arrays(dtype):
    lr, hr = arrays(dtype=dtype)
    history = tiny().fit(lr, hr, batch_size=3, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_fit_takes_a_generator_without_a_warning():
    lr, hr = arrays()
    data = ((lr[i : i + 1], hr[i : i + 1]) for i in range(4))
    assert tiny().fit(data, steps_per_epoch=4, verbose=0).history["loss"][0] > 0


def test_uint8_and_float_train_alike():
    weights = []
    for dtype in (np.uint8, np.float32):
        model = tiny()
        lr, hr = arrays()
        model.fit(lr.astype(dtype), hr.astype(dtype), shuffle=False, epochs=3, verbose=0)
        weights.append(model.get_weights())
    for uint8, float32 in zip(*weights, strict=True):
        np.testing.assert_array_equal(uint8, float32)


@pytest.mark.parametrize(
    "name",
    [
        *("fit", "evaluate", "predict", "train_step", "test_step", "predict_step"),
        *("train_on_batch", "test_on_batch", "predict_on_batch", "make_train_function", "make_test_function"),
        *("get_compile_config", "load_weights", "save", "get_metrics_result", "reset_metrics"),
    ],
)
def test_training_is_kerass_own(name):
    assert getattr(EDSR, name) is getattr(keras.Model, name)


def test_the_constructor_shows_its_arguments():
    assert list(inspect.signature(EDSR).parameters)[:3] == ["scale", "num_blocks", "filters"]


class Doubled(EDSR):
    """A user's model: its loss is twice the mean absolute error, and it says so."""

    def train_step(self, data):
        lr, hr = data
        with tf.GradientTape() as tape:
            loss = 2 * keras.ops.mean(keras.ops.abs(self(lr, training=True) - keras.ops.cast(hr, "float32")))
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply(gradients, self.trainable_weights)
        return {"doubled": loss}


def test_a_subclass_may_have_a_step_of_its_own():
    model = Doubled(2, 1, 4, compile=False)
    model.compile(metrics=None)  # which the step would have to update
    lr, hr = arrays()
    expected = 2 * np.abs(model(lr) - hr).mean()
    assert model.fit(lr, hr, verbose=0).history == {"doubled": [pytest.approx(expected, rel=1e-5)]}


def test_several_steps_per_execution_train_alike():
    lr, hr = arrays(8)
    models = []
    for steps in (1, 3):
        models.append(tiny())
        models[-1].compile(steps_per_execution=steps)
        models[-1].fit(lr, hr, batch_size=2, shuffle=False, verbose=0)
    for one, other in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_part_of_the_arrays_can_validate():
    assert "val_psnr" in tiny().fit(*arrays(), validation_split=0.5, verbose=0).history


def test_fit_learns():
    first, last = losses_of_training(tiny(filters=8))
    assert last < 0.5 * first


def test_validation_images_may_have_different_sizes():
    model = tiny()
    whole = [arrays(1, height, width, seed=height) for height, width in [(6, 7), (9, 4), (5, 5)]]
    lr, hr = arrays()
    history = model.fit(lr, hr, validation_data=dataset(whole), verbose=0).history
    expected = np.mean([np.abs(model(lr) - hr).mean() for lr, hr in whole])
    assert history["val_loss"][0] == pytest.approx(expected, rel=1e-5)


def test_the_loss_shown_is_the_mean_over_images_of_uneven_batches():
    model = tiny()
    lr, hr = arrays(5)
    whole = model.evaluate(lr, hr, batch_size=5, verbose=0, return_dict=True)
    uneven = model.evaluate(lr, hr, batch_size=3, verbose=0, return_dict=True)
    assert uneven == {name: pytest.approx(value, rel=1e-5) for name, value in whole.items()}


def test_the_best_model_can_be_kept_by_val_psnr(tmp_path):
    lr, hr = arrays()
    best = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="val_psnr", mode="max", save_best_only=True)
    tiny().fit(lr, hr, validation_data=(lr, hr), callbacks=[best], verbose=0)
    assert (tmp_path / "best.keras").exists()


# === fit, after compile ===


@pytest.mark.parametrize(
    "loss",
    [
        "mse",
        keras.losses.MeanSquaredError(),
        keras.losses.mean_squared_error,
        lambda hr, sr: keras.ops.mean(keras.ops.square(hr - sr), axis=-1),
    ],
)
def test_a_loss_may_be_a_name_an_object_or_a_function(loss):
    model = tiny()
    model.compile("adam", loss)
    lr, hr = arrays()
    shown = model.evaluate(lr, hr, verbose=0, return_dict=True)["loss"]
    assert shown == pytest.approx(np.square(model(lr) - hr).mean(), rel=1e-5)


def test_metrics_may_be_given():
    model = tiny()
    model.compile("adam", "mse", metrics=["mae"], weighted_metrics=[])
    lr, hr = arrays()
    history = model.fit(lr, hr, validation_data=(lr, hr), verbose=0).history
    assert set(history) == {"loss", "mae", "val_loss", "val_mae"}


def test_a_learning_rate_can_be_set_after_compile_by_a_callback():
    model = tiny()
    model.compile(keras.optimizers.Adam(1e-3), "mae")
    lr, hr = arrays()
    callback = keras.callbacks.LearningRateScheduler(lambda epoch: 1e-3 / 2**epoch)
    history = model.fit(lr, hr, epochs=3, callbacks=[callback], verbose=0).history
    assert history["learning_rate"] == pytest.approx([1e-3, 5e-4, 2.5e-4])


def test_run_eagerly_gives_the_same():
    losses = []
    for run_eagerly in (False, True):
        model = tiny()
        model.compile(paper_optimizer(), "mae", run_eagerly=run_eagerly)
        lr, hr = arrays()
        losses += [model.fit(lr, hr, epochs=2, shuffle=False, verbose=0).history["loss"]]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_sample_weights_weigh_the_images_in_batches_of_any_size():
    lr, hr = arrays(5)
    weights = np.array([0, 2, 0, 1, 0.5], np.float32)
    model = tiny()
    data = dataset([(lr[:3], hr[:3], weights[:3]), (lr[3:], hr[3:], weights[3:])])
    shown = model.evaluate(data, verbose=0, return_dict=True)["loss"]
    errors = np.abs(model(lr) - hr).mean(axis=(1, 2, 3))
    assert shown == pytest.approx((weights * errors).mean(), rel=1e-5)


def test_batches_can_be_given_one_by_one():
    model = tiny()
    lr, hr = arrays()
    tested = model.test_on_batch(lr, hr, return_dict=True)
    trained = model.train_on_batch(lr, hr, return_dict=True)
    assert tested == {name: pytest.approx(value, rel=1e-5) for name, value in trained.items()}
    assert model.optimizer.iterations == 1


def test_frozen_layers_stay_as_they_are():
    model = tiny()
    head = model.get_layer("head")
    before = head.get_weights(), model.get_layer("tail").get_weights()
    head.trainable = False
    model.compile("adam", "mae")
    model.fit(*arrays(), verbose=0)
    np.testing.assert_array_equal(head.get_weights()[0], before[0][0])
    assert not np.array_equal(model.get_layer("tail").get_weights()[0], before[1][0])


def test_a_model_that_is_frozen_whole_is_evaluated_but_not_trained():
    model = tiny()
    model.trainable = False
    before = model.get_weights()
    lr, hr = arrays()
    with pytest.warns(UserWarning, match="does not have any trainable weights"):
        history = model.fit(lr, hr, verbose=0).history
    assert history["loss"][0] == pytest.approx(np.abs(model(lr) - hr).mean(), rel=1e-5)
    for weight, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_mixed_float16_scales_the_loss_and_trains():
    model = tiny(filters=8, dtype="mixed_float16")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    first, last = losses_of_training(model)
    assert last < 0.5 * first
    assert model.optimizer.iterations > 30  # the others of 40 lowered the loss scale


def test_mixed_bfloat16_trains():
    model = tiny(filters=8, dtype="mixed_bfloat16")
    assert not isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    first, last = losses_of_training(model)
    assert last < 0.5 * first


# === Tracing ===


def test_sizes_do_not_trace_again():
    model = tiny()
    traces = count_traces(model)
    sizes = [(6, 5), (4, 4), (9, 3), (6, 6)]
    batches = dataset([arrays(count, *size) for count, size in enumerate(sizes, start=1)])
    model.fit(batches, validation_data=batches, epochs=2, verbose=0)
    model.fit(batches, verbose=0)
    model.evaluate(batches, verbose=0)
    assert max(traces.count(mode) for mode in ("train_step", "test_step")) <= 2  # Keras widens the shapes once


# === What is refused ===


@pytest.mark.parametrize(
    ("lr", "hr", "message"),
    [
        ((2, 4, 5, 3), (2, 12, 15, 3), r"`hr` must be `lr` times .* scale \(2\).*4x5, hr 12x15"),
        ((2, 4, 5, 3), (2, 8, 11, 3), "lr 4x5, hr 8x11"),
        ((2, 4, 5, 3), (2, 9, 10, 3), "lr 4x5, hr 9x10"),
        ((2, 4, 5, 3), (2, 4, 5, 3), "lr 4x5, hr 4x5"),
        ((2, 4, 5, 3), (2, 8, 10, 1), r"\(batch, height, width, 3\).*hr \(None, 8, 10, 1\)"),
        ((2, 4, 5, 1), (2, 8, 10, 1), r"lr \(None, 4, 5, 1\)"),
        ((2, 4, 5), (2, 8, 10), "(?s)Invalid input shape.*Expected shape"),
    ],
)
def test_images_that_do_not_fit_are_refused(lr, hr, message):
    with pytest.raises(ValueError, match=message):
        tiny().fit(np.zeros(lr, np.uint8), np.zeros(hr, np.uint8), verbose=0)


def test_a_dataset_without_pairs_is_refused():
    data = tf.data.Dataset.from_tensor_slices(arrays()[0]).batch(2)
    with pytest.raises(ValueError, match=r"must be a tuple \(lr, hr\)"):
        tiny().fit(data, verbose=0)


# === What Keras can edit ===


def test_a_clone_is_the_same_class_with_weights_of_its_own():
    model = tiny()
    clone = keras.models.clone_model(model)
    assert type(clone) is EDSR
    assert clone.get_config() == model.get_config()
    assert (clone.scale, clone.halo, clone.compiled) == (model.scale, model.halo, True)
    assert not np.array_equal(clone.get_weights()[0], model.get_weights()[0])
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone(arrays()[0]), model(arrays()[0]))


def test_a_layer_can_be_added_on_top():
    model = tiny()
    clipped = keras.Model(model.input, keras.layers.ReLU(max_value=255.0)(model.output))
    clipped.compile("adam", "mae")
    assert np.isfinite(clipped.fit(*arrays(), verbose=0).history["loss"][0])


def test_convolutions_can_be_tuned_by_lora():
    model = tiny()
    for layer in (model.get_layer("head"), model.get_layer("body_0").conv_1):
        layer.enable_lora(2)
    model.get_layer("tail").trainable = False
    model.compile()
    before = {weight.path: weight.numpy() for weight in model.weights}
    model.fit(*arrays(), verbose=0)
    moved = {path for path, value in before.items() if not np.array_equal(value, _by_path(model)[path])}
    assert {"head/lora_kernel_b", "body_0/conv_1/lora_kernel_b"} <= moved
    assert not {"head/kernel", "body_0/conv_1/kernel", "tail/kernel", "tail/bias"} & moved


def _by_path(model):
    return {weight.path: weight.numpy() for weight in model.weights}


def test_quantize_is_refused_with_what_does_it():
    with pytest.raises(ValueError, match=r"only convolutions.*export_tflite\(model, path, quantize='int8'\)"):
        tiny().quantize("int8")


def test_it_need_not_be_compiled(tmp_path):
    model = tiny(compile=False)
    assert not model.compiled
    model.save(tmp_path / "m.keras")
    assert not keras.saving.load_model(tmp_path / "m.keras").compiled
    model.compile()
    assert np.isfinite(model.fit(*arrays(), verbose=0).history["psnr"][0])


def test_kerass_own_export_serves_any_size(tmp_path):
    model = tiny()
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    for size in ((6, 5), (4, 9)):
        lr = arrays(1, *size)[0].astype(np.float32)
        np.testing.assert_allclose(served.serve(lr), model(lr), atol=1e-4)


# === Several devices ===


@pytest.mark.parametrize(
    "names", [["edsr", "mdsr", "mdsr in the loop"], pytest.param(["mixed_float16", "clipped"], marks=pytest.mark.slow)]
)
def test_two_devices_train_as_one(tmp_path, names):
    # A process of its own: devices are split before TensorFlow is first used.
    script = HELPERS / "two_devices.py"
    subprocess.run([sys.executable, script, tmp_path / "result.json", *names], check=True, timeout=600)
    results = json.loads((tmp_path / "result.json").read_text())
    assert list(results) == names
    for name, result in results.items():
        one, two = result["one"], result["two"]
        for metric in one["history"]:
            assert two["history"][metric] == pytest.approx(one["history"][metric], rel=1e-5), name
        # Half precision rounds the sums of the two halves of a batch apart.
        tolerance = 1e-5 if name == "mixed_float16" else 1e-6
        assert result["weight_difference"] < tolerance, name
