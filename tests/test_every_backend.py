"""What must hold whatever the backend: `.ci/run` runs this with TensorFlow, JAX and PyTorch."""

import importlib.util
import os
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from reference import edsr, images, mdsr
from runs import TINY, write_data

import keras_edsr
from keras_edsr.image_ops import DIV2K_MEAN
from keras_edsr.models import EDSR, MDSR
from keras_edsr.training import Stopped, TrainConfig, train

BACKENDS = [name for name in ("tensorflow", "jax", "torch") if importlib.util.find_spec(name)]


def to_numpy(value):
    return keras.ops.convert_to_numpy(value)


def tiny(**kwargs):
    keras.utils.set_random_seed(0)
    return EDSR(2, 1, 4, 1.0, **kwargs)


def tiny_mdsr(**kwargs):
    keras.utils.set_random_seed(0)
    return MDSR((2, 3), 1, 4, **kwargs)


def batch(scale=2, seed=0):
    lr = images(4, 6, 5, 3, seed=seed).astype(np.uint8)
    return lr, lr.repeat(scale, axis=1).repeat(scale, axis=2)


def snapshot(model):
    return {v.path: to_numpy(v) for v in [*model.weights, *model.optimizer.variables]}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


# === The networks ===


def test_edsr_is_the_formula():
    model = tiny()
    image = images(5, 4, 3)
    np.testing.assert_allclose(to_numpy(model(image[None]))[0], edsr(model, image, DIV2K_MEAN), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("scale", [2, 3])
def test_each_output_of_mdsr_is_the_formula(scale):
    model = tiny_mdsr()
    image = images(5, 4, 3)
    expected = mdsr(model, image, scale, DIV2K_MEAN)
    np.testing.assert_allclose(to_numpy(model(image[None])[f"x{scale}"])[0], expected, rtol=1e-5, atol=1e-3)


def test_tiles_are_the_whole_image():
    image = images(40, 30, 3).astype(np.uint8)
    tiles, whole = (keras_edsr.upscale(tiny(), image, tile_size=size) for size in (16, None))
    np.testing.assert_array_equal(tiles, whole)


def test_upscale_follows_the_weights():
    model, image = tiny(), images(6, 5, 3).astype(np.uint8)
    before = keras_edsr.upscale(model, image)
    model.get_layer("add_mean").mean = DIV2K_MEAN
    model.get_layer("tail").bias.assign(np.full(3, 50, np.float32))
    after = keras_edsr.upscale(model, image)
    assert np.abs(after.astype(int) - before).mean() > 20


# === fit ===


def test_fit_learns():
    model = tiny()
    model.compile(keras.optimizers.Adam(1e-2))
    losses = model.fit(*batch(), epochs=20, verbose=0).history["loss"]
    assert losses[-1] < 0.8 * losses[0]


def test_evaluate_is_numpys_mean_absolute_error_and_psnr():
    model = tiny()
    lr, hr = batch()
    errors = to_numpy(model(lr)) - hr
    result = model.evaluate(lr, hr, verbose=0, return_dict=True)
    assert result["loss"] == pytest.approx(np.abs(errors).mean(), rel=1e-5)
    psnr = 10 * np.log10(255**2 / np.square(errors).mean(axis=(1, 2, 3)))
    assert result["psnr"] == pytest.approx(psnr.mean(), rel=1e-5)


def test_a_weight_is_that_of_an_image():
    model = tiny()
    lr, hr = batch()
    weights = np.array([0, 2, 1, 0.5], np.float32)
    errors = np.abs(to_numpy(model(lr)) - hr).mean(axis=(1, 2, 3))
    loss = model.evaluate(lr, hr, sample_weight=weights, verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx((weights * errors).mean(), rel=1e-5)


def test_image_pairs_feed_fit(data):
    patches = keras_edsr.data.image_pairs(data["hr"], scale=2, patch_size=8, batch_size=4)
    whole = keras_edsr.data.image_pairs(data["validation"], scale=2, patch_size=None)
    history = tiny().fit(patches, validation_data=whole, steps_per_epoch=2, epochs=2, verbose=0).history
    assert all(np.isfinite(values).all() and len(values) == 2 for values in history.values())


def test_image_pairs_are_the_same_batches_in_the_same_order(data):
    sampler = keras_edsr.data.PatchSampler(
        keras_edsr.data.ImagePairs.from_folder(data["hr"], (2, 3)), patch_size=8, batch_size=4
    )
    streamed = list(sampler.stream(3, 4))
    assert len(streamed) == 4
    for step, (lr, hr) in enumerate(streamed, start=3):
        np.testing.assert_array_equal(to_numpy(lr), sampler.batch(step)[0])
        np.testing.assert_array_equal(to_numpy(hr), sampler.batch(step)[1])


@pytest.mark.parametrize("scale", [2, 3])
def test_a_step_of_mdsr_leaves_the_other_scale_as_it_is_to_the_bit(scale):
    model = tiny_mdsr()
    for seed, other in enumerate((2, 3, 2, 3)):  # so that all moments differ from zero
        model.train_on_batch(*batch(other, seed))
    before = snapshot(model)
    model.train_on_batch(*batch(scale))
    after = snapshot(model)
    still = {path for path in before if np.array_equal(before[path], after[path])}
    others = {path for path in before if f"_x{5 - scale}" in path}
    assert {path for path in still if not path.endswith("learning_rate")} == others


def test_mdsr_shows_the_scales_that_it_saw():
    model = tiny_mdsr()
    pairs = (batch(scale) for scale in (2, 3, 2, 2))
    history = model.fit(pairs, steps_per_epoch=2, epochs=2, verbose=0).history
    # The second epoch has no batch at x3.
    assert len(history["psnr_x2"]) == 2
    assert len(history["psnr_x3"]) == 1
    assert set(model.test_on_batch(*batch(3), return_dict=True)) == {"loss", "psnr_x3"}


def test_one_scale_of_mdsr_trains_as_a_stock_model_of_its_branch():
    model, branch = tiny_mdsr(), tiny_mdsr().branch(3)
    stock = keras.Model(branch.input, branch.output)
    for each in (model, stock):
        each.compile(keras.optimizers.Adam(1e-3), "mae")
    ours, theirs = (each.fit(*batch(3), epochs=3, verbose=0, shuffle=False).history for each in (model, stock))
    assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)


@pytest.mark.parametrize("build", [tiny, tiny_mdsr])
def test_a_clone_is_the_same_class(build):
    model = build()
    clone = keras.models.clone_model(model)
    assert (type(clone), clone.get_config()) == (type(model), model.get_config())


@pytest.mark.parametrize("build", [tiny, tiny_mdsr])
def test_a_file_goes_on_as_if_it_had_not_been_saved(build, tmp_path):
    model = build()
    model.train_on_batch(*batch())
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    for each in (model, again):
        each.train_on_batch(*batch(seed=1))
    for ours, theirs in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


# === train ===


@pytest.mark.parametrize("settings", [{"average": 0.9}, {"model": "mdsr", "scale": (2, 3), "schedule": "cosine"}])
def test_a_run_that_is_stopped_goes_on_exactly(settings, data, tmp_path):
    settings = {**data, **TINY, "loss_spike_factor": 3.0, **settings}
    train(TrainConfig(output=tmp_path / "whole", **settings))

    def stop(step, steps, loss):
        if step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    parts = TrainConfig(output=tmp_path / "parts", **settings)
    with pytest.raises(Stopped):
        train(parts, stop)
    train(parts)
    whole, parts = (dict(np.load(tmp_path / name / "checkpoint.npz")) for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(parts[name], value, err_msg=name)


# === Between backends ===

EXCHANGE = """
import sys
import numpy as np, keras, keras_edsr
file, image, output = sys.argv[1:]
model = keras.saving.load_model(file)
outputs = model(np.load(image))
outputs = outputs if isinstance(outputs, dict) else {"sr": outputs}
np.savez(output, **{name: keras.ops.convert_to_numpy(value) for name, value in outputs.items()})
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("build", [tiny, tiny_mdsr])
def test_a_file_gives_the_same_images_with_another_backend(build, backend, tmp_path):
    model = build()
    model.train_on_batch(*batch())
    model.save(tmp_path / "m.keras")
    image = images(1, 9, 7, 3)
    np.save(tmp_path / "image.npy", image)
    command = [sys.executable, "-c", EXCHANGE, tmp_path / "m.keras", tmp_path / "image.npy", tmp_path / "sr.npz"]
    subprocess.run(command, check=True, timeout=300, env={**os.environ, "KERAS_BACKEND": backend})
    ours = model(image)
    ours = ours if isinstance(ours, dict) else {"sr": ours}
    for name, value in np.load(tmp_path / "sr.npz").items():
        np.testing.assert_allclose(value, to_numpy(ours[name]), atol=1e-3)


WITHOUT = """
import sys
sys.modules["tensorflow"] = None
import numpy as np, keras, keras_edsr, keras_edsr.training
lr = np.zeros((2, 6, 5, 3), np.uint8)
keras_edsr.EDSR(2, 1, 4).fit(lr, lr.repeat(2, 1).repeat(2, 2), verbose=0)
keras_edsr.MDSR((2, 3), 1, 4).fit(lr, lr.repeat(3, 1).repeat(3, 2), verbose=0)
assert keras_edsr.upscale("edsr_compact_x2", lr[0]).shape == (12, 10, 3)
try:
    keras_edsr.export_saved_model(keras_edsr.EDSR(2, 1, 4), "nowhere")
except ValueError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", sorted(set(BACKENDS) - {"tensorflow"}))
def test_tensorflow_need_not_be_installed(backend, tmp_path):
    command = [sys.executable, "-c", WITHOUT]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    result = subprocess.run(
        command, check=True, timeout=300, env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert "needs TensorFlow" in result.stdout
