import keras
import numpy as np
import pytest

from keras_edsr.models import EDSR
from keras_edsr.trainer import HalvingAdam, paper_optimizer


def at_update(optimizer, update):
    optimizer.iterations.assign(update)
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))


def tiny():
    keras.utils.set_random_seed(0)
    return EDSR(2, 1, 4, 1.0)


def batch(seed=0):
    lr = np.random.default_rng(seed).integers(0, 256, (2, 6, 5, 3)).astype(np.uint8)
    return lr, lr.repeat(2, axis=1).repeat(2, axis=2)


def test_the_default_is_the_papers_adam():
    optimizer = EDSR(2, 1, 4).optimizer
    assert isinstance(optimizer, keras.optimizers.Adam)
    assert (optimizer.beta_1, optimizer.beta_2, optimizer.epsilon) == (0.9, 0.999, 1e-8)


@pytest.mark.parametrize(
    ("update", "expected"),
    [(0, 1e-4), (199_999, 1e-4), (200_000, 5e-5), (399_999, 5e-5), (400_000, 2.5e-5)],
)
def test_the_learning_rate_is_halved_every_200_000_updates(update, expected):
    assert at_update(paper_optimizer(), update) == pytest.approx(expected)


def test_another_schedule_is_used_as_it_is():
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, 10)
    assert at_update(paper_optimizer(schedule), 0) == pytest.approx(1e-3)


def test_an_assigned_rate_is_used_and_halved_later():
    optimizer = HalvingAdam(1e-3, halve_every=10)
    optimizer.iterations.assign(15)
    optimizer.learning_rate = 8e-4
    assert [at_update(optimizer, n) for n in (15, 19, 20, 30)] == pytest.approx([8e-4, 8e-4, 4e-4, 2e-4])


def test_an_assigned_schedule_is_used():
    optimizer = HalvingAdam(1e-3, halve_every=1)
    optimizer.learning_rate = keras.optimizers.schedules.PolynomialDecay(4e-3, 10, 0.0)
    assert at_update(optimizer, 0) == pytest.approx(4e-3)


def test_the_steps_are_those_of_adam_with_kerass_schedule():
    # Keras' own schedule is the reference: halved after 2, 4, ... updates.
    schedule = keras.optimizers.schedules.ExponentialDecay(1e-2, 2, decay_rate=0.5, staircase=True)
    models = []
    for optimizer in (HalvingAdam(1e-2, halve_every=2), keras.optimizers.Adam(schedule, epsilon=1e-8)):
        models.append(tiny())
        models[-1].compile(optimizer, "mae")
        for seed in range(5):
            models[-1].train_on_batch(*batch(seed))
    for ours, theirs in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


def test_the_learning_rate_can_be_scheduled_without_compiling_again():
    callback = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    history = tiny().fit(*batch(), epochs=3, callbacks=[callback], verbose=0).history
    assert history["learning_rate"] == pytest.approx([5e-5, 2.5e-5, 1.25e-5])


def test_the_learning_rate_is_reduced_on_a_plateau_without_compiling_again():
    callback = keras.callbacks.ReduceLROnPlateau("loss", factor=0.1, patience=1, min_delta=1e9)
    history = tiny().fit(*batch(), epochs=3, callbacks=[callback], verbose=0).history
    assert history["learning_rate"] == pytest.approx([1e-4, 1e-4, 1e-5])


def test_an_assigned_rate_is_still_there_after_loading(tmp_path):
    model = tiny()
    model.train_on_batch(*batch())
    model.optimizer.learning_rate = 3e-5
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert type(again.optimizer) is HalvingAdam
    assert float(keras.ops.convert_to_numpy(again.optimizer.learning_rate)) == pytest.approx(3e-5)


@pytest.mark.parametrize("halve_every", [0, 1.5, True])
def test_a_number_of_updates_that_is_not_positive_is_an_error(halve_every):
    with pytest.raises(ValueError, match="`halve_every` must be a positive integer"):
        HalvingAdam(halve_every=halve_every)
