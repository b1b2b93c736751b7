import copy
import inspect
import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf
from reference import images, mdsr
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_edsr.image_ops import DIV2K_MEAN
from keras_edsr.models import MDSR, MDSRBranch

# Every argument, away from its default.
CONFIG = {
    "scales": (3, 2),
    "num_blocks": 2,
    "filters": 5,
    "residual_scaling": 0.2,
    "shared_tail": False,
    "image_shape": (None, None, 2),
    "mean": (10.0, 20.0),
    "dtype": "mixed_bfloat16",
    "name": "mine",
}


def tiny(scales=(2, 3, 4), num_blocks=1, filters=4, **kwargs):
    keras.utils.set_random_seed(0)
    return MDSR(scales, num_blocks, filters, **kwargs)


def batch(scale, side=5, seed=0):
    hr = images(2, side * scale, (side + 1) * scale, 3, seed=seed).astype(np.uint8)
    return hr[:, ::scale, ::scale], hr


def dataset(scales):
    """One batch of each of these scales, each of another size."""
    batches = [batch(scale, 4 + i % 3, seed=i) for i, scale in enumerate(scales)]
    spec = (tf.TensorSpec([None, None, None, 3], tf.uint8),) * 2
    data = tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=spec)
    return data.apply(tf.data.experimental.assert_cardinality(len(batches)))


def scale_of(path):
    """The scale that a variable, or an optimizer's slot for it, belongs to; None for shared ones."""
    return next((scale for scale in (2, 3, 4) if f"_x{scale}" in path), None)


def snapshot(model):
    """Copies of all weights and optimizer slots, as (path, value)."""
    slots = [v for v in model.optimizer.variables if v.shape != ()]
    return [(v.path, v.numpy()) for v in [*model.weights, *slots]]


MIXED = [2, 3, 4, 4, 2, 3, 3, 4] * 3


@pytest.fixture(scope="module")
def traces():
    """What was traced of the model below: (mode, scale)."""
    return []


@pytest.fixture(scope="module")
def snapshots():
    """All weights and optimizer slots of the model below: before the first of its 24 steps, and after each."""
    return []


@pytest.fixture(scope="module")
def trained(traces, snapshots):
    """After 24 steps of all scales: every moment is non-zero. Tests may train it further."""
    model = tiny()
    model.optimizer.build(model.trainable_variables)  # the slots are there before the first step
    snapshots.append(snapshot(model))
    note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: snapshots.append(snapshot(model)))
    for mode in ("train_step", "test_step"):
        setattr(model, mode, _noting(model, getattr(model, mode), mode, traces))
    model.fit(dataset(MIXED), callbacks=[note], verbose=0)
    assert model.optimizer.iterations == len(MIXED)
    return model


def _noting(model, step, mode, traces):
    def noted(data):
        traces.append((mode, model.scale_of(*data[:2])))
        return step(data)

    return noted


# === The network ===


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ({}, 7_953_987),
        ({"shared_tail": False}, 7_957_449),
        ({"num_blocks": 16}, 3_227_203),
    ],
)
def test_the_parameters_are_as_many_as_the_official_models(arguments, count):
    model = MDSR(**arguments)
    assert sum(np.prod(w.shape) for w in model.trainable_weights) == model.count_params() == count


def test_each_branch_of_the_baseline_has_its_path_of_the_parameters():
    model = MDSR(num_blocks=16)
    assert [model.branch(s).count_params() for s in (2, 3, 4)] == [1_779_715, 1_964_355, 1_927_427]


def test_the_defaults_are_the_papers_final_model():
    model = tiny(num_blocks=80)
    defaults = {name: p.default for name, p in inspect.signature(MDSR).parameters.items()}
    assert (defaults["scales"], defaults["num_blocks"], defaults["filters"]) == ((2, 3, 4), 80, 64)
    assert (model.residual_scaling, model.shared_tail) == (1.0, True)


def test_layers_that_hold_weights_have_the_checkpoints_names():
    names = {layer.name for layer in tiny((2, 3)).layers if layer.weights}
    per_scale = {f"{name}_x{s}{i}" for s in (2, 3) for name, i in [("pre", "_0"), ("pre", "_1")]}
    shared = {"head", "body_0", "body_conv", "tail"}
    assert names == {*shared, *per_scale, "upsample_x2", "upsample_x3"}


def test_a_tail_for_each_scale_has_its_name():
    names = {layer.name for layer in tiny((2, 3), shared_tail=False).layers if layer.weights}
    assert names & {"tail", "tail_x2", "tail_x3"} == {"tail_x2", "tail_x3"}


def test_the_pre_processing_blocks_are_5x5_and_not_scaled():
    block = tiny(residual_scaling=0.1).get_layer("pre_x3_1")
    assert (block.kernel_size, block.residual_scaling) == (5, 1.0)


@pytest.mark.parametrize("shared_tail", [True, False])
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_each_output_is_the_formula(scale, shared_tail):
    model = tiny((2, 3, 4, 8), shared_tail=shared_tail, residual_scaling=0.3)
    image = images(5, 4, 3)
    expected = mdsr(model, image, scale, DIV2K_MEAN)  # in double precision
    np.testing.assert_allclose(model(image[None])[f"x{scale}"][0], expected, rtol=1e-5, atol=1e-3)


def test_the_outputs_are_named_by_scale():
    outputs = tiny().predict(images(1, 4, 5, 3), verbose=0)
    assert {name: sr.shape[1:3] for name, sr in outputs.items()} == {
        "x2": (8, 10),
        "x3": (12, 15),
        "x4": (16, 20),
    }


def test_the_halo_is_2_a_block_and_12():
    assert [tiny(num_blocks=n).halo for n in (1, 16, 80)] == [14, 44, 172]


@pytest.mark.parametrize("channels", [1, 4])
def test_a_model_of_n_channels_is_trained(channels):
    model = tiny((2,), image_shape=(None, None, channels))
    hr = images(2, 8, 8, channels)
    history = model.fit(hr[:, ::2, ::2], hr, verbose=0).history
    assert np.isfinite(history["loss"][0])


def test_the_means_and_tails_stay_float32_in_mixed_precision():
    model = tiny((2, 3), shared_tail=False, dtype="mixed_bfloat16")
    dtypes = {layer.name: layer.compute_dtype for layer in model.layers if layer.name != "lr"}
    float32 = {name for name, dtype in dtypes.items() if dtype == "float32"}
    assert float32 == {"sub_mean", "tail_x2", "tail_x3", "x2", "x3"}


# === Training, one scale a batch ===


def assert_step_changes_only(model, scale):
    before = snapshot(model)
    model.fit(*batch(scale), verbose=0)
    changed = {True: [], False: []}
    for (path, old), (_, new) in zip(before, snapshot(model), strict=True):
        is_used = scale_of(path) in (scale, None)
        changed[is_used].append(not np.array_equal(old, new))
    assert not any(changed[False])
    assert all(changed[True])
    assert len(changed[True]) + len(changed[False]) == 3 * len(model.weights)  # weight, m and v


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_step_leaves_the_other_branches_as_they_are_to_the_bit(trained, scale):
    assert_step_changes_only(trained, scale)


def test_each_of_24_steps_leaves_the_other_branches_as_they_are_to_the_bit(trained, snapshots):
    assert len(snapshots) - 1 == 24
    for scale, before, after in zip(MIXED, snapshots, snapshots[1:], strict=False):
        for (path, old), (_, new) in zip(before, after, strict=True):
            if scale_of(path) not in (scale, None):
                np.testing.assert_array_equal(new, old, err_msg=path)
    for (path, first), (_, last) in zip(snapshots[0], snapshots[-1], strict=True):
        assert not np.array_equal(first, last), path


def test_a_step_leaves_the_other_tails_as_they_are_to_the_bit():
    model = tiny((2, 3), shared_tail=False)
    model.fit(dataset([2, 3] * 10), verbose=0)
    assert_step_changes_only(model, 2)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_only_the_branch_of_the_batch_is_computed(trained, scale):
    before = trained.get_weights()
    for weight in trained.weights:
        if scale_of(weight.path) not in (scale, None):
            weight.assign(tf.fill(weight.shape, np.nan))
    history = trained.fit(*batch(scale), validation_data=batch(scale), verbose=0).history
    assert np.isfinite([values[0] for values in history.values()]).all()
    trained.set_weights(before)


def test_one_scale_alone_trains_as_a_stock_model_of_its_branch():
    model = tiny((2, 3))
    branch = tiny((2, 3)).branch(3)
    stock = keras.Model(branch.input, branch.output)
    stock.compile(keras.optimizers.Adam(1e-3), "mae")
    model.compile(keras.optimizers.Adam(1e-3), "mae")
    lr, hr = batch(3)
    ours = model.fit(lr, hr, epochs=4, verbose=0).history["loss"]
    theirs = stock.fit(lr, hr, epochs=4, verbose=0).history["loss"]
    assert ours == pytest.approx(theirs, rel=1e-6)


def test_fit_learns_every_scale():
    model = tiny((2, 3), filters=8)
    model.compile(keras.optimizers.Adam(1e-2), "mae")
    lr = images(2, 5, 5, 3)
    hr = {s: lr.repeat(s, axis=1).repeat(s, axis=2) for s in (2, 3)}

    def losses():
        return np.array([np.abs(model(lr)[f"x{s}"] - hr[s]).mean() for s in (2, 3)])

    before = losses()
    spec = (tf.TensorSpec([None, None, None, 3]),) * 2
    data = tf.data.Dataset.from_generator(lambda: ((lr, hr[s]) for s in (2, 3)), output_signature=spec)
    model.fit(data.repeat(), steps_per_epoch=50, verbose=0)
    assert (losses() < 0.6 * before).all()


def test_each_scale_is_traced_once_for_all_sizes_and_fits(trained, traces):
    trained.fit(dataset(MIXED[:4]), validation_data=dataset([4, 2, 2, 3]), epochs=2, verbose=0)
    trained.fit(dataset([4, 4, 2]), verbose=0)
    trained.evaluate(dataset([2, 3, 4]), verbose=0)
    assert sorted(traces) == [(mode, s) for mode in ("test_step", "train_step") for s in (2, 3, 4)]


def test_metrics_are_named_by_the_scales_that_were_seen(trained):
    history = trained.fit(dataset([2, 3]), validation_data=dataset([2, 4]), verbose=0).history
    assert set(history) == {
        *("loss", "psnr_x2", "psnr_x3"),
        *("val_loss", "val_psnr_x2", "val_psnr_x4"),
    }


def test_a_scale_of_an_earlier_fit_is_not_shown(trained):
    assert "psnr_x3" in trained.fit(dataset([2, 3]), verbose=0).history
    assert "psnr_x3" not in trained.fit(dataset([2, 2]), verbose=0).history


def test_kerass_own_tensorboard_gets_the_scores_of_each_scale(trained, tmp_path):
    callback = keras.callbacks.TensorBoard(tmp_path, write_graph=False)
    trained.fit(dataset([2, 3]), validation_data=dataset([4]), callbacks=[callback], verbose=0)
    tags = {
        folder: set(EventAccumulator(str(tmp_path / folder)).Reload().Tags()["tensors"])
        for folder in ("train", "validation")
    }
    assert {"epoch_loss", "epoch_psnr_x2", "epoch_psnr_x3", "epoch_learning_rate"} <= tags["train"]
    assert {"epoch_loss", "epoch_psnr_x4"} <= tags["validation"]


def test_the_learning_rate_schedule_counts_every_batch(trained):
    before = int(trained.optimizer.iterations)
    trained.fit(dataset([2, 3, 4, 4]), verbose=0)
    assert trained.optimizer.iterations == before + 4


def test_the_psnr_of_a_scale_is_the_mean_over_its_images(trained):
    model = trained
    batches = [batch(2, 4, seed=1), batch(3), batch(2, 6, seed=2)]
    spec = (tf.TensorSpec([None, None, None, 3], tf.uint8),) * 2
    data = tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=spec)
    data = data.apply(tf.data.experimental.assert_cardinality(3))
    shown = model.evaluate(data, verbose=0, return_dict=True)["psnr_x2"]
    errors = [(model(lr)["x2"].numpy() - hr) ** 2 for lr, hr in (batches[0], batches[2])]
    mse = np.concatenate([error.mean(axis=(1, 2, 3)) for error in errors])
    assert shown == pytest.approx(np.mean(10 * np.log10(255**2 / mse)), rel=1e-5)


@pytest.mark.parametrize("loss", ["mse", keras.losses.MeanSquaredError()])
def test_another_loss_may_be_compiled(loss):
    model = tiny()
    model.compile("adam", loss)
    lr, hr = batch(3)
    shown = model.evaluate(lr, hr, verbose=0, return_dict=True)["loss"]
    assert shown == pytest.approx(np.square(model(lr)["x3"] - hr).mean(), rel=1e-5)


def test_a_scale_that_is_frozen_is_evaluated_and_nothing_moves():
    model = tiny((2, 3))
    for layer in model.layers:
        layer.trainable = "x3" in layer.name
    before = model.get_weights()
    with pytest.warns(UserWarning, match="does not have any trainable weights"):
        history = model.fit(dataset([3, 2]), verbose=0).history
    assert np.isfinite([history["psnr_x2"][0], history["psnr_x3"][0]]).all()
    for weight, after, old in zip(model.weights, model.get_weights(), before, strict=True):
        assert np.array_equal(after, old) == ("x3" not in weight.path), weight.path


def test_mixed_float16_trains():
    model = tiny((2, 3), dtype="mixed_float16")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    history = model.fit(dataset([2, 3] * 10), verbose=0).history
    assert np.isfinite(history["loss"][0])
    assert model.optimizer.iterations > 10  # the others of 20 lowered the loss scale


# === Serialization ===


def test_get_config_holds_every_argument():
    assert set(inspect.signature(MDSR).parameters) == {*CONFIG, "compile"}
    assert MDSR(**CONFIG).get_config() == CONFIG


def test_a_keras_file_keeps_every_argument(tmp_path):
    MDSR(**CONFIG).save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert (type(again), again.get_config()) == (MDSR, CONFIG)


def test_a_saved_model_goes_on_as_if_it_had_not_been_saved(trained, tmp_path):
    trained.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    histories = [m.fit(dataset([2, 3, 3, 2]), verbose=0).history for m in (trained, again)]
    assert histories[0] == histories[1]
    for (path, ours), (_, theirs) in zip(snapshot(again), snapshot(trained), strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=path)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_is_the_same_model(trained, duplicate):
    again = duplicate(trained)
    image = images(1, 4, 5, 3)
    assert type(again) is MDSR
    np.testing.assert_array_equal(again(image)["x3"], trained(image)["x3"])


def test_weights_alone_are_saved_and_loaded(trained, tmp_path):
    trained.save_weights(tmp_path / "m.weights.h5")
    again = tiny()
    again.load_weights(tmp_path / "m.weights.h5")
    for ours, theirs in zip(again.weights, trained.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_list_of_scales_is_a_tuple_of_scales():
    assert tiny([2, 4]).scales == (2, 4)


# === Branches ===


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_branch_gives_its_output_alone(trained, scale):
    image = images(1, 4, 5, 3)
    branch = trained.branch(scale)
    assert (type(branch), branch.scale, branch.scales) == (MDSRBranch, scale, (scale,))
    np.testing.assert_allclose(branch(image), trained(image)[f"x{scale}"], rtol=1e-6)


def test_a_branch_has_the_halo_of_the_whole(trained):
    assert trained.branch(2).halo == trained.halo


def test_training_a_branch_trains_the_model():
    model = tiny()
    image = images(1, 4, 5, 3)
    before = model(image)["x2"].numpy()
    branch = model.branch(2)
    branch.fit(*batch(2), verbose=0)
    assert not np.array_equal(model(image)["x2"], before)
    np.testing.assert_allclose(model(image)["x2"], branch(image), rtol=1e-6)


def test_a_branch_is_saved_with_its_own_weights_and_goes_on_training(tmp_path):
    branch = tiny((4, 2), shared_tail=False, name="mine").branch(2)
    branch.fit(*batch(2), verbose=0)
    branch.save(tmp_path / "b.keras")
    again = keras.saving.load_model(tmp_path / "b.keras")
    assert (type(again), again.scale, again.name) == (MDSRBranch, 2, "mine_x2")
    assert again.count_params() == branch.count_params()
    losses = [model.fit(*batch(2), epochs=2, verbose=0).history["loss"] for model in (branch, again)]
    assert losses[0] == losses[1]


def test_the_config_of_a_branch_holds_its_arguments(trained):
    assert {*trained.branch(2).get_config(), "compile"} == set(inspect.signature(MDSRBranch).parameters)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_of_a_branch_is_the_same_branch(trained, duplicate):
    branch = trained.branch(3)
    image = images(1, 4, 5, 3)
    np.testing.assert_array_equal(duplicate(branch)(image), branch(image))


@pytest.mark.parametrize("scale", [5, 8, None, 2.5, "x2"])
def test_a_branch_that_the_model_lacks_is_refused(trained, scale):
    with pytest.raises(ValueError, match=r"one of this model's scales, \(2, 3, 4\). Received"):
        trained.branch(scale)


# === What is refused ===


@pytest.mark.parametrize("scales", [(), 2, (2, 2), None, "234"])
def test_scales_that_are_no_tuple_of_different_ones_are_refused(scales):
    with pytest.raises(ValueError, match="`scales` must be a tuple of different scales"):
        tiny(scales)


@pytest.mark.parametrize("scales", [(2, 5), (1,), (2.0, 3)])
def test_a_scale_without_an_upsampler_is_refused(scales):
    with pytest.raises(ValueError, match=r"`scale` must be one of \(2, 3, 4, 8\)"):
        tiny(scales)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_blocks": 0}, "`num_blocks` must be a positive integer"),
        ({"filters": -4}, "`filters` must be a positive integer"),
        ({"image_shape": 3}, "`image_shape` must be"),
        ({"mean": (1.0,)}, "`mean` must have one value for each of the 3 channels"),
    ],
)
def test_a_wrong_argument_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        tiny(**arguments)


def test_a_batch_of_a_scale_that_the_model_lacks_is_refused():
    with pytest.raises(ValueError, match=r"scale \(2, 3\).*lr 5x6, hr 20x24"):
        tiny((2, 3)).fit(*batch(4), verbose=0)


def test_metrics_in_compile_are_refused():
    with pytest.raises(ValueError, match=r"has its own metrics.*Received: `metrics` in compile"):
        tiny().compile("adam", "mae", metrics=["mse"])


def test_several_steps_per_execution_are_refused():
    with pytest.raises(ValueError, match="`steps_per_execution` must be 1"):
        tiny().compile("adam", "mae", steps_per_execution=4)


def test_loss_weights_are_refused():
    with pytest.raises(ValueError, match="`loss_weights`"):
        tiny().compile("adam", "mae", loss_weights=[2.0])


@pytest.mark.parametrize("option", [{"use_ema": True}, {"gradient_accumulation_steps": 2}])
def test_an_optimizer_that_would_touch_the_other_scales_is_refused(option):
    with pytest.raises(ValueError, match="`optimizer` must keep no average"):
        tiny((2, 3)).compile(keras.optimizers.Adam(**option), "mae")


def test_a_loss_for_each_output_is_refused():
    with pytest.raises(ValueError, match="`loss` must be one loss"):
        tiny((2, 3)).compile("adam", {"x2": "mae", "x3": "mse"})


# === What Keras can edit ===


@pytest.mark.parametrize("shared_tail", [True, False])
def test_a_clone_is_the_same_class_with_weights_of_its_own(shared_tail):
    model = tiny((3, 2), shared_tail=shared_tail, residual_scaling=0.2, mean=(1.0, 2.0, 3.0), name="mine")
    for one in (model, model.branch(2)):
        clone = keras.models.clone_model(one)
        assert (type(clone), clone.get_config()) == (type(one), one.get_config())
        assert not np.array_equal(clone.get_weights()[0], one.get_weights()[0])


class Halved(MDSR):
    """A user's model with a step of its own."""

    def train_step(self, data):
        logs = super().train_step(data)
        return {**logs, "half": logs["loss"] / 2}


def test_a_subclass_may_have_a_step_of_its_own():
    history = Halved((2, 3), 1, 4).fit(*batch(2), verbose=0).history
    assert history["half"][0] == pytest.approx(history["loss"][0] / 2)
