import keras
import numpy as np
import pytest

from keras_edsr.models import EDSR, MDSR, copy_weights


def edsr(scale=2, seed=0, num_blocks=1, filters=4, **kwargs):
    keras.utils.set_random_seed(seed)
    return EDSR(scale, num_blocks, filters, 1.0, **kwargs)


def mdsr(scales=(2, 3), seed=0, **kwargs):
    keras.utils.set_random_seed(seed)
    return MDSR(scales, 1, 4, **kwargs)


def weights(model):
    return {weight.path: weight.numpy() for weight in model.weights}


def paths(*layers):
    return [f"{layer}/{part}" for layer in layers for part in ("kernel", "bias")]


def copied(source, target):
    """What was copied, by its name in the target, and what `copy_weights` says was not; checks that this is so."""
    before = weights(target)
    missed = copy_weights(source, target)
    after = weights(target)
    for path in missed:
        np.testing.assert_array_equal(after[path], before[path])
    return {path: value for path, value in after.items() if path not in missed}, missed


def test_x3_takes_all_of_x2_but_the_upsampler():
    source = edsr(2)
    taken, missed = copied(source, edsr(3, seed=1))
    assert missed == paths("upsample/conv_1")
    for path, value in taken.items():
        np.testing.assert_array_equal(value, weights(source)[path])


def test_x4_takes_the_upsampler_of_x2_as_its_first_stage():
    source = edsr(2)
    taken, missed = copied(source, edsr(4, seed=1))
    assert missed == paths("upsample/conv_2")
    for path, value in taken.items():
        np.testing.assert_array_equal(value, weights(source)[path])


def test_the_same_architecture_is_taken_whole():
    source, target = edsr(), edsr(seed=1)
    assert copied(source, target)[1] == []
    image = np.random.default_rng(0).uniform(0, 255, (1, 5, 6, 3)).astype(np.float32)
    np.testing.assert_array_equal(target(image), source(image))


def test_the_upsampler_of_an_edsr_becomes_that_of_an_mdsrs_scale():
    source = edsr(3)
    taken, missed = copied(source, mdsr(seed=1))
    assert {path.split("/")[0] for path in missed} == {
        *("pre_x2_0", "pre_x2_1", "upsample_x2"),
        *("pre_x3_0", "pre_x3_1"),
    }
    given = weights(source)
    for path, value in taken.items():
        np.testing.assert_array_equal(value, given[path.replace("upsample_x3", "upsample")])


def test_an_edsr_takes_its_scale_of_an_mdsr():
    source = mdsr()
    taken, missed = copied(source, edsr(3, seed=1))
    assert missed == []
    for path, value in taken.items():
        np.testing.assert_array_equal(value, weights(source)[path.replace("upsample", "upsample_x3")])


def test_the_last_convolution_of_a_scale_is_taken_too():
    source = edsr(2)
    taken, missed = copied(source, mdsr(seed=1, shared_tail=False))
    np.testing.assert_array_equal(taken["tail_x2/kernel"], weights(source)["tail/kernel"])
    assert "tail_x3/kernel" in missed


def test_a_branch_gives_and_takes():
    source = mdsr().branch(2)
    _, missed = copied(source, mdsr((2,), seed=1).branch(2))
    assert missed == []


def test_a_shallower_network_gives_its_blocks_to_the_first_of_a_deeper_one():
    _, missed = copied(edsr(num_blocks=1), edsr(num_blocks=2, seed=1))
    assert missed == paths("body_1/conv_1", "body_1/conv_2")


def test_precision_does_not_matter():
    source = edsr(dtype="mixed_float16")
    taken, missed = copied(source, edsr(seed=1))
    assert missed == []
    np.testing.assert_array_equal(taken["head/kernel"], weights(source)["head/kernel"])


def test_nothing_that_fits_is_an_error_and_changes_nothing():
    # The biases of the last convolutions fit, always, and are nothing to start from.
    target = edsr(filters=8, seed=1)
    before = weights(target)
    with pytest.raises(ValueError, match="it has 4 filters, the other 8"):
        copy_weights(edsr(filters=4), target)
    for path, value in weights(target).items():
        np.testing.assert_array_equal(value, before[path])


def test_another_kind_of_model_is_refused():
    other = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 3, name="head")])
    with pytest.raises(ValueError, match=r"an EDSR or an MDSR\. Received: Sequential"):
        copy_weights(other, edsr())
