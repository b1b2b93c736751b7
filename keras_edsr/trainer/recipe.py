"""The paper's recipe: its optimizer and its learning rate."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_edsr")
class HalvingAdam(keras.optimizers.Adam):
    """Adam whose learning rate is halved every so many updates, and can be assigned at any time.

    An assigned rate is used from then on, and halved at the next multiple of `halve_every`. So
    `keras.callbacks.ReduceLROnPlateau` and `LearningRateScheduler` work, which Keras rejects for an optimizer with a
    `LearningRateSchedule`. That is why the halving is in the optimizer: neither a schedule, which cannot be assigned,
    nor a callback, without which `fit` would not follow the paper.

    Args:
        learning_rate: Float, the rate of the first updates. Defaults to 1e-4.
        beta_1: Float, decay of the first moment. Defaults to 0.9.
        beta_2: Float, decay of the second moment. Defaults to 0.999.
        epsilon: Float. Defaults to 1e-8.
        halve_every: Integer, updates. Defaults to 200,000.
        **kwargs: Passed to `keras.optimizers.Adam`, such as `global_clipnorm`.

    Reference: [Lim et al., 2017](https://arxiv.org/abs/1707.02921), section 4.2.
    """

    def __init__(self, learning_rate=1e-4, beta_1=0.9, beta_2=0.999, epsilon=1e-8, halve_every=200_000, **kwargs):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **kwargs)
        if isinstance(halve_every, bool) or not isinstance(halve_every, int) or halve_every < 1:
            raise ValueError(f"`halve_every` must be a positive integer. Received: halve_every={halve_every!r}.")
        self.halve_every = halve_every

    @property
    def learning_rate(self):
        """The rate of the next update."""
        return super().learning_rate * self._factor()

    @learning_rate.setter
    def learning_rate(self, value):
        if not callable(value):  # Keras keeps a schedule unchanged
            value = value / self._factor()  # exact: the factor is a power of two
        keras.optimizers.Adam.learning_rate.fset(self, value)

    def _factor(self):
        halvings = ops.cast(self.iterations // self.halve_every, "float32")
        return ops.power(ops.cast(0.5, "float32"), halvings)

    def load_own_variables(self, store):
        # Every model is compiled when it is built, trained or not. Keras would warn if only one of file and model has a
        # state, although that is normal.
        has_slots = [count > _VARIABLES_OF_THE_UNTRAINED for count in (len(store.keys()), len(self.variables))]
        if has_slots[0] == has_slots[1]:
            super().load_own_variables(store)

    def get_config(self):
        return {**super().get_config(), "halve_every": self.halve_every}


_VARIABLES_OF_THE_UNTRAINED = 2  # the number of updates and the learning rate


def paper_optimizer(learning_rate=1e-4, halve_every=200_000, beta_1=0.9, beta_2=0.999, epsilon=1e-8, **kwargs):
    """Adam as in the paper: (0.9, 0.999, 1e-8), the learning rate halved every 200,000 updates.

    Args:
        learning_rate: Float, or a `keras.optimizers.schedules.LearningRateSchedule` to use unchanged.
        halve_every: Integer, updates.
        beta_1: Float, decay of the first moment.
        beta_2: Float, decay of the second moment.
        epsilon: Float.
        **kwargs: Passed to the optimizer, such as `global_clipnorm`.

    Reference: [Lim et al., 2017](https://arxiv.org/abs/1707.02921), section 4.2.
    """
    if isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule):
        return keras.optimizers.Adam(learning_rate, beta_1, beta_2, epsilon, **kwargs)
    return HalvingAdam(learning_rate, beta_1, beta_2, epsilon, halve_every, **kwargs)
