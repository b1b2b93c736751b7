import itertools

import keras
import numpy as np
import pytest
from loops import dataset

from keras_edsr.models import EDSR, MDSR
from keras_edsr.trainer import LossSpikeGuard, TrainingLoop, WeightAverage


class Step:
    """Asks a guard."""

    def __init__(self, **kwargs):
        self.guard = LossSpikeGuard(**kwargs)

    def all(self, losses, scales=(2,)):
        """Tells for each loss whether its step was taken; the scales take turns."""
        tensors = [keras.ops.convert_to_tensor(loss, "float32") for loss in losses]
        return [bool(self.guard.decide(loss, scale)) for loss, scale in zip(tensors, itertools.cycle(scales))]


def batch(seed=0, scale=2, factor=1.0):
    lr = np.random.default_rng(seed).uniform(0, 255, (2, 6, 5, 3)).astype(np.float32)
    return lr, factor * lr.repeat(scale, axis=1).repeat(scale, axis=2)


def edsr(**kwargs):
    keras.utils.set_random_seed(0)
    return EDSR(2, 1, 4, 1.0, **kwargs)


def mdsr(**kwargs):
    keras.utils.set_random_seed(0)
    return MDSR((2, 3), 1, 4, **kwargs)


def trained(model, batches, guard=None, average=None):
    """Everything that a training leaves: variables but the guard's, and the results."""
    loop = TrainingLoop(model, guard, average and WeightAverage(model, average))
    loop.run(dataset(batches), lambda: False)
    variables = [v for group in ("weights", "optimizer", "metrics", "average") for v in loop.variables[group]]
    return [keras.ops.convert_to_numpy(variable) for variable in variables], loop.results()


def assert_same(one, two):
    for a, b in zip(one[0], two[0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert one[1] == two[1]


# === The rule ===


def test_a_loss_far_above_the_running_mean_is_skipped():
    assert Step(factor=3).all([10, 12, 8, 31, 9]) == [True, True, True, False, True]


def test_a_loss_at_the_limit_is_taken():
    assert Step(factor=3).all([10, 30]) == [True, True]


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_is_skipped(loss):
    assert Step(factor=3).all([10, loss, 10]) == [True, False, True]


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_even_the_first_loss_must_be_finite(loss):
    assert Step(factor=3).all([loss, 1e6, 10]) == [False, True, True]


def test_an_infinite_factor_skips_only_what_is_not_finite():
    assert Step(factor=np.inf).all([1, 1e30, np.nan, np.inf, 1e30]) == [True, True, False, False, True]


def test_the_mean_is_an_ordinary_one_first_and_a_moving_one_later():
    losses = np.random.default_rng(0).uniform(5, 9, 200)
    step = Step(factor=3, momentum=0.99)
    step.all(losses)
    mean = losses[:100].mean()
    for loss in losses[100:]:
        mean = 0.99 * mean + 0.01 * loss
    assert float(step.guard.mean.value[0]) == pytest.approx(mean, rel=1e-5)


def test_a_skipped_loss_does_not_move_the_mean():
    step = Step(factor=3)
    step.all([10, 14, 1000, np.nan])
    assert float(step.guard.mean.value[0]) == 12


def test_skipped_steps_are_counted_in_all_and_in_a_row():
    step = Step(factor=3)
    step.all([10, np.nan, 10, np.nan, np.nan])
    assert int(step.guard.skipped.value) == 3
    assert int(step.guard.in_a_row.value[0]) == 2


def test_too_many_in_a_row_are_an_error():
    step = Step(factor=3, patience=2)
    step.all([10, np.nan, 10, np.nan])
    step.guard.check()
    step.all([1000])
    with pytest.raises(
        ArithmeticError, match=r"^2 steps in a row at scale 2 had a loss .* 3 times the running mean of 10:"
    ):
        step.guard.check()


def test_a_scale_is_held_against_its_own_mean():
    # As of an MDSR whose x2 is trained and whose x3 and x4 are new.
    losses = [5, 100, 110, 5, 90, 100, 16, 90, 90]
    assert Step(factor=3).all(losses, scales=(2, 3, 4)) == [True] * 6 + [False] + [True] * 2


def test_one_scale_that_is_always_skipped_is_an_error():
    step = Step(factor=3, patience=2)
    step.all([5, 5, 5, np.nan, 5, np.nan], scales=(2, 3))
    with pytest.raises(ArithmeticError, match="2 steps in a row at scale 3 had"):
        step.guard.check()


@pytest.mark.parametrize("factor", [1, 0.5, -3, np.nan])
def test_a_factor_must_be_above_one(factor):
    with pytest.raises(ValueError, match="`factor` must be above 1"):
        LossSpikeGuard(factor)


# === In the loop ===


@pytest.mark.parametrize(("build", "factor"), [(edsr, np.nan), (edsr, 1e6), (mdsr, np.nan)])
def test_a_skipped_step_is_as_if_it_had_not_been(build, factor):
    good = [batch(0), batch(1), batch(2)]
    bad = [batch(0), batch(1), batch(9, factor=factor), batch(2)]
    guard = LossSpikeGuard(3)
    assert_same(trained(build(), bad, guard, average=0.9), trained(build(), good, LossSpikeGuard(3), average=0.9))
    assert int(guard.skipped.value) == 1


@pytest.mark.parametrize("build", [edsr, mdsr])
def test_without_a_spike_training_is_the_same_to_the_bit(build):
    scales = build().scales
    batches = [batch(step, scales[step % len(scales)]) for step in range(6)]
    assert_same(trained(build(), batches, LossSpikeGuard(3)), trained(build(), batches))


def test_without_a_guard_every_step_is_taken():
    before = edsr().get_weights()
    values, _ = trained(edsr(), [batch(0, factor=1e6)])
    assert all(not np.array_equal(old, new) for old, new in zip(before, values, strict=False))


def test_it_works_with_loss_scaling():
    model = edsr(dtype="mixed_float16")
    before = model.get_weights()
    trained(model, [batch(0, factor=np.nan)], guard := LossSpikeGuard(3))
    assert int(guard.skipped.value) == 1
    for weight, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)
