"""Several scales in `fit`, with JAX: stateless steps, traced once per scale and size."""

import warnings

import jax
import keras

from .scales_base import ScaleTrainerBase, unpack_pairs


class ScaleTrainer(ScaleTrainerBase):
    """Trains one scale a batch. The shapes of a batch are known when a step is traced, and so is its scale."""

    def train_step(self, state, data):
        trainable, non_trainable, optimizer_variables, metrics_variables = state
        lr, hr, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        scale = self.scale_of(lr, hr)
        places = places_of(self.branch_variables(scale), self.trainable_variables)

        def loss_of(values):
            given = list(trainable)
            for place, value in zip(places, values, strict=True):
                given[place] = value
            sr, loss = self._run(given, non_trainable, scale, lr, hr, sample_weight)
            with keras.StatelessScope(zip(self.optimizer.variables, optimizer_variables, strict=True)):
                return self.optimizer.scale_loss(loss), (sr, loss)

        gradients_of = jax.grad(loss_of, has_aux=True)
        gradients, (sr, loss) = gradients_of([trainable[place] for place in places])
        if places:
            trainable, optimizer_variables = apply_to_some(
                self.optimizer, optimizer_variables, places, gradients, trainable
            )
        else:  # as Keras' own step does
            warnings.warn(f"The model does not have any trainable weights for scale {scale}.", stacklevel=2)
        logs, metrics_variables = self._update(metrics_variables, scale, lr, hr, sr, loss)
        return logs, (trainable, non_trainable, optimizer_variables, metrics_variables)

    def test_step(self, state, data):
        trainable, non_trainable, metrics_variables = state
        lr, hr, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        scale = self.scale_of(lr, hr)
        sr, loss = self._run(trainable, non_trainable, scale, lr, hr, sample_weight)
        logs, metrics_variables = self._update(metrics_variables, scale, lr, hr, sr, loss)
        return logs, (trainable, non_trainable, metrics_variables)

    def _run(self, trainable, non_trainable, scale, lr, hr, sample_weight):
        mapping = [
            *zip(self.trainable_variables, trainable, strict=True),
            *zip(self.non_trainable_variables, non_trainable, strict=True),
        ]
        with keras.StatelessScope(mapping):
            sr = self.run_branch(scale, lr)
            return sr, self.compute_loss(lr, hr, sr, sample_weight)

    def _update(self, metrics_variables, scale, lr, hr, sr, loss):
        with keras.StatelessScope(zip(self.metrics_variables, metrics_variables, strict=True)) as scope:
            logs = self.update_metrics(scale, hr, sr, loss, lr.shape[0])
        return logs, [scope.get_current_value(variable) for variable in self.metrics_variables]

    def make_train_function(self, force=False):
        if self.train_function is None or force:
            super().make_train_function(force=True)
            self.train_function = self._noting_scales(self.train_function)

    def make_test_function(self, force=False):
        if self.test_function is None or force:
            super().make_test_function(force=True)
            self.test_function = self._noting_scales(self.test_function)

    def _noting_scales(self, function):
        def run(state, iterator):
            lr, hr, sample_weight = unpack_pairs(next(iterator))
            self._seen_scales.add(self.scale_of(lr, hr))
            logs, state = function(state, iter([(lr, hr, sample_weight)]))
            return self.of_seen_scales(logs), state

        return run


def places_of(some, variables):
    """Returns where each of some variables stands among all."""
    place_of = {id(variable): place for place, variable in enumerate(variables)}
    return [place_of[id(variable)] for variable in some]


def apply_to_some(optimizer, optimizer_variables, places, gradients, trainable):
    """Updates some of the variables that an optimizer was built for; the others and their slots stay as they are.

    Args:
        optimizer: The built optimizer.
        optimizer_variables: The values of its variables.
        places: Where the variables to update stand among those that it was built for.
        gradients: Their gradients.
        trainable: The values of all.

    Returns:
        The new values of all, and those of the optimizer's variables.
    """
    all_gradients = [None] * len(trainable)
    for place, gradient in zip(places, gradients, strict=True):
        all_gradients[place] = gradient
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Gradients do not exist")  # which is meant
        return optimizer.stateless_apply(optimizer_variables, all_gradients, trainable)
