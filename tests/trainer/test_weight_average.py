import keras
import numpy as np
import pytest
from loops import dataset

from keras_edsr.models import EDSR, MDSR
from keras_edsr.trainer import TrainingLoop, WeightAverage


def tiny(**kwargs):
    keras.utils.set_random_seed(0)
    return EDSR(2, 1, 4, 1.0, **kwargs)


def batch(scale=2, seed=0):
    lr = np.random.default_rng(seed).uniform(0, 255, (2, 6, 5, 3)).astype(np.float32)
    return lr, lr.repeat(scale, axis=1).repeat(scale, axis=2)


def values(variables):
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def train(model, average, batches):
    loop = TrainingLoop(model, average=average)
    loop.run(dataset(batches), lambda: False)
    return loop


def assert_same(one, two):
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.99])
def test_it_is_the_recurrence(decay):
    model = tiny()
    model.compile(keras.optimizers.Adam(1e-2), "mae")
    loop = TrainingLoop(model, average=WeightAverage(model, decay))
    expected = [keras.ops.convert_to_numpy(weight).astype(np.float64) for weight in model.trainable_variables]
    for n in range(1, 16):
        loop.run(dataset([batch(seed=n)]), lambda: False)
        kept = min(decay, (1 + n) / (10 + n))
        expected = [
            kept * average + (1 - kept) * keras.ops.convert_to_numpy(weight)
            for average, weight in zip(expected, model.trainable_variables, strict=True)
        ]
    for average, value in zip(loop.average.averages, expected, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(average), value, rtol=1e-5, atol=1e-6)


def test_it_begins_with_the_weights():
    model = tiny()
    assert_same(values(WeightAverage(model, 0.9).averages), values(model.trainable_variables))


def test_it_leaves_training_as_it_is():
    with_average, without = tiny(), tiny()
    train(with_average, WeightAverage(with_average, 0.9), [batch(seed=seed) for seed in range(3)])
    train(without, None, [batch(seed=seed) for seed in range(3)])
    assert_same(with_average.get_weights(), without.get_weights())


def test_what_a_batch_does_not_train_keeps_its_average():
    keras.utils.set_random_seed(0)
    model = MDSR((2, 3), 1, 4)
    loop = TrainingLoop(model, average=WeightAverage(model, 0.9))
    loop.run(dataset([batch(2), batch(3)]), lambda: False)  # so that averages differ, and the moments are not zero
    paths = [weight.path for weight in model.trainable_variables]
    before = dict(zip(paths, values(loop.average.averages), strict=True))
    loop.run(dataset([batch(2)]), lambda: False)
    after = dict(zip(paths, values(loop.average.averages), strict=True))
    still = {path for path in paths if np.array_equal(before[path], after[path])}
    assert still == {path for path in before if "_x3" in path}


def test_its_variables_are_all_that_it_needs_to_go_on():
    model = tiny()
    one, two = WeightAverage(model, 0.9), WeightAverage(model, 0.9)
    train(model, one, [batch(seed=seed) for seed in range(3)])
    for variable, value in zip(two.variables, values(one.variables), strict=True):
        variable.assign(value)
    for average in (one, two):
        average.update(model.trainable_variables)
    assert_same(values(one.variables), values(two.variables))


@pytest.mark.parametrize("decay", [1, -0.1, 2, np.nan])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(ValueError, match=r"`decay` must be in \[0, 1\)"):
        WeightAverage(tiny(), decay)
