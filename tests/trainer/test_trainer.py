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
    """Returns a list that gets (mode, scale) whenever a step is traced."""
    traces = []
    for mode in ("train_step", "test_step"):
        setattr(model, mode, _noting(getattr(model, mode), mode, traces))
    return traces


def _noting(step, mode, traces):
    def noted(data, scale):
        traces.append((mode, scale))
        return step(data, scale)

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


def test_fit_still_has_the_signature_of_keras():
    assert inspect.signature(EDSR.fit) == inspect.signature(keras.Model.fit)


def test_fit_learns():
    first, last = losses_of_training(tiny(filters=8))
    assert last < 0.5 * first


def test_fit_does_what_the_stock_trainer_does():
    lr, hr = arrays(6)
    model = tiny()
    stock = keras.Model(*(lambda twin: (twin.input, twin.output))(tiny()))
    stock.compile(paper_optimizer(), keras.losses.MeanAbsoluteError(), metrics=["mse"])
    model.compile(paper_optimizer(), keras.losses.MeanAbsoluteError(), metrics=["mse"])
    ours = model.fit(lr, hr, batch_size=4, epochs=3, shuffle=False, verbose=0).history
    theirs = stock.fit(lr, hr, batch_size=4, epochs=3, shuffle=False, verbose=0).history
    assert ours == {name: pytest.approx(values, rel=1e-6) for name, values in theirs.items()}
    for weight, expected in zip(model.get_weights(), stock.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-7)


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
    assert sorted(traces) == [("test_step", 2), ("train_step", 2)]


# === What is refused ===


@pytest.mark.parametrize(
    ("lr", "hr", "message"),
    [
        ((2, 4, 5, 3), (2, 12, 15, 3), r"`hr` must be `lr` times .* scale \(2\).*4x5, hr 12x15"),
        ((2, 4, 5, 3), (2, 8, 11, 3), "lr 4x5, hr 8x11"),
        ((2, 4, 5, 3), (2, 9, 10, 3), "lr 4x5, hr 9x10"),
        ((2, 4, 5, 3), (2, 4, 5, 3), "lr 4x5, hr 4x5"),
        ((2, 4, 5, 1), (2, 8, 10, 1), r"\(batch, height, width, 3\).*lr \(2, 4, 5, 1\)"),
        ((2, 4, 5), (2, 8, 10), "must be batches of images"),
    ],
)
def test_images_that_do_not_fit_are_refused(lr, hr, message):
    with pytest.raises(ValueError, match=message):
        tiny().fit(np.zeros(lr, np.uint8), np.zeros(hr, np.uint8), verbose=0)


def test_a_dataset_that_is_not_batched_is_refused():
    data = tf.data.Dataset.from_tensor_slices(arrays())
    with pytest.raises(ValueError, match="Is the dataset batched"):
        tiny().fit(data, verbose=0)


@pytest.mark.parametrize("pick", [lambda lr, hr: lr, lambda lr, hr: {"lr": lr, "hr": hr}])
def test_a_dataset_without_pairs_is_refused(pick):
    data = tf.data.Dataset.from_tensor_slices(arrays()).batch(2).map(pick)
    with pytest.raises(ValueError, match=r"must be a tuple \(lr, hr\)"):
        tiny().fit(data, verbose=0)


def test_arrays_without_targets_are_refused():
    with pytest.raises(ValueError, match=r"must be a tuple \(lr, hr\)"):
        tiny().fit(arrays()[0], verbose=0)


def test_several_steps_per_execution_are_refused():
    model = tiny()
    model.compile("adam", "mae", steps_per_execution=2)
    with pytest.raises(ValueError, match=r"`steps_per_execution` must be 1.*Received: .*=2"):
        model.fit(*arrays(), verbose=0)


def test_loss_weights_are_refused():
    model = tiny()
    model.compile("adam", "mae", loss_weights=[2.0])
    with pytest.raises(ValueError, match="`loss_weights`"):
        model.fit(*arrays(), verbose=0)


# === Several devices ===


@pytest.mark.parametrize(
    "names", [["edsr", "mdsr"], pytest.param(["mixed_float16", "clipped"], marks=pytest.mark.slow)]
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
