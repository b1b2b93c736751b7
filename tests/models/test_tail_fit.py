"""models/tail_fit.py: the closed-form upsampler."""

import json

import keras
import numpy as np
import pytest
from places import SHARED_DATA

import keras_edsr
from keras_edsr.models import EDSR, MDSR, fit_tail
from keras_edsr.training import TrainConfig, train


def small(scale, filters=16, **options):
    keras.utils.set_random_seed(scale)
    return EDSR(scale, num_blocks=1, filters=filters, residual_scaling=1.0, **options)


def noise(count, size=20, channels=3):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (size, size, channels)).astype(np.float32) for _ in range(count)]


def run(model, lr):
    return keras.ops.convert_to_numpy(model(lr[None]))[0]


@pytest.mark.parametrize(("scale", "filters"), [(2, 16), (3, 16), (4, 16), (8, 48)])
def test_a_map_that_is_linear_in_the_features_is_found_exactly(scale, filters):
    # Targets that some 3x3 convolution of the features gives: what is left must be nothing, and the network its map.
    model = small(scale, filters)
    features = keras.Model(model.input, model.get_layer("skip").output)
    rng = np.random.default_rng(1)
    wanted = keras.layers.Conv2D(3 * scale**2, 3, padding="same")
    pairs = []
    for lr in noise(6):
        channels = wanted(features(lr[None]))
        wanted.bias.assign(rng.normal(size=3 * scale**2) if not pairs else wanted.bias)
        channels = keras.ops.convert_to_numpy(wanted(features(lr[None])))[0]
        h, w = lr.shape[:2]
        blocks = channels.reshape(h, w, scale, scale, 3).transpose(0, 2, 1, 3, 4)
        pairs.append((lr, blocks.reshape(h * scale, w * scale, 3) + 100))
    left = fit_tail(model, pairs, ridge=1e-12)
    assert left < 0.02
    lr, hr = pairs[0]
    inside = slice(2 * scale, -2 * scale)
    np.testing.assert_allclose(run(model, lr)[inside, inside], hr[inside, inside], atol=0.2)


def test_the_error_that_is_returned_is_that_of_the_network():
    model = small(2)
    pairs = [(lr, np.repeat(np.repeat(lr, 2, 0), 2, 1)) for lr in noise(4)]
    left = fit_tail(model, pairs)
    errors = [(run(model, lr) - hr)[2:-2, 2:-2] for lr, hr in pairs]
    assert left == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-3)


def test_an_mdsr_is_fitted_scale_by_scale_and_the_shared_tail_serves_all():
    keras.utils.set_random_seed(0)
    model = MDSR((2, 3), num_blocks=1, filters=12)
    pairs = {s: [(lr, np.repeat(np.repeat(lr, s, 0), s, 1)) for lr in noise(3)] for s in (2, 3)}
    left = {s: fit_tail(model, pairs[s], scale=s) for s in (2, 3)}
    for scale, images in pairs.items():
        errors = [(run(model.branch(scale), lr) - hr)[scale:-scale, scale:-scale] for lr, hr in images]
        assert left[scale] == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-3)


def test_gray_and_its_own_mean():
    model = small(2, image_shape=(None, None, 1), mean=(90.0,))
    pairs = [(lr, np.repeat(np.repeat(lr, 2, 0), 2, 1)) for lr in noise(3, channels=1)]
    before = np.mean([np.abs(run(model, lr) - hr).mean() for lr, hr in pairs])
    fit_tail(model, pairs)
    assert np.mean([np.abs(run(model, lr) - hr).mean() for lr, hr in pairs]) < before / 2


def test_what_does_not_fit_is_an_error():
    model = small(4, filters=8)
    with pytest.raises(ValueError, match="at least 12 filters"):
        fit_tail(model, [(noise(1)[0], np.zeros((80, 80, 3)))])
    with pytest.raises(ValueError, match="at least one pair"):
        fit_tail(small(2), [])
    with pytest.raises(ValueError, match="2 times `lr`"):
        fit_tail(small(2), [(noise(1)[0], np.zeros((41, 40, 3)))])
    with pytest.raises(ValueError, match="one of the model's scales"):
        fit_tail(MDSR((2, 3), num_blocks=1, filters=12), [])


def test_without_a_trained_body_it_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`fit_tail` must come with `init_from`"):
        TrainConfig(output=str(tmp_path / "run"), hr="photos", fit_tail=True)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="needs the images of ../shared/data")
def test_x3_from_x2_begins_above_bicubic(tmp_path):
    config = TrainConfig(
        output=str(tmp_path / "run"),
        hr=str(SHARED_DATA / "train" / "Kodak24"),
        validation=str(SHARED_DATA / "eval" / "Set5"),
        scale=3,
        num_blocks=8,
        filters=32,
        init_from="edsr_compact_x2",
        fit_tail=True,
        steps=1,
        learning_rate=1e-9,
        batch_size=1,
    )
    model = train(config)
    bicubic = keras_edsr.evaluate("bicubic", SHARED_DATA / "eval" / "Set5", 3)["psnr"]
    assert keras_edsr.evaluate(str(model), SHARED_DATA / "eval" / "Set5", 3)["psnr"] > bicubic + 1
    assert json.loads((tmp_path / "run" / "config.json").read_text())["fit_tail"] is True
