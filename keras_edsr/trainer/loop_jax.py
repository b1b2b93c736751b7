"""The loop of `keras-edsr train`, with JAX."""

import functools
from typing import Any

import jax
import keras
from keras import ops

from .loop_base import TrainingLoopBase
from .scales_base import image_loss
from .scales_jax import apply_to_some, places_of


class TrainingLoop(TrainingLoopBase):
    """Trains by a stateless step, compiled once per scale; the variables get their values when `run` ends."""

    def __init__(self, model, guard=None, average=None):
        super().__init__(model, guard, average)
        self._step = functools.cache(lambda scale: jax.jit(functools.partial(self._stateless_step, scale)))
        self._state: Any = None  # of `variables`, while `run` runs

    def run(self, batches, after_step):
        self._state = {group: [v.value for v in variables] for group, variables in self.variables.items()}
        try:
            super().run(batches, after_step)
        finally:
            self._write_state()

    def step(self, scale, lr, hr):
        self._state = self._step(scale)(self._state, ops.convert_to_tensor(lr), ops.convert_to_tensor(hr))
        if self.guard is not None:  # which is asked after each step
            for variable, value in zip(self.guard.variables, self._state["guard"], strict=True):
                variable.assign(value)

    def results(self):
        if self._state is not None:
            self._write("metrics")
        return super().results()

    def _write(self, group):
        for variable, value in zip(self.variables[group], self._state[group], strict=True):
            variable.assign(value)

    def _write_state(self):
        for group in self.variables:
            self._write(group)
        self._state = None

    def _stateless_step(self, scale, state, lr, hr):
        model = self.model
        trainable = [state["weights"][place] for place in places_of(model.trainable_variables, model.weights)]
        branch = self._branch_variables(scale)
        places = places_of(branch, model.trainable_variables)

        def loss_of(values):
            weights = [*zip(model.weights, state["weights"], strict=True), *zip(branch, values, strict=True)]
            with keras.StatelessScope(weights):
                sr = self._run_branch(scale, lr)
                loss = image_loss(model.loss, hr, sr)
            with keras.StatelessScope(self._mapping(state, "optimizer")):
                return model.optimizer.scale_loss(loss), (sr, loss)

        gradients, (sr, loss) = jax.grad(loss_of, has_aux=True)([trainable[place] for place in places])
        trained, optimizer = apply_to_some(model.optimizer, state["optimizer"], places, gradients, trainable)
        new = dict(zip(map(id, model.trainable_variables), trained, strict=True))
        weights = [new.get(id(v), value) for v, value in zip(model.weights, state["weights"], strict=True)]
        mapping = [
            *zip(model.weights, weights, strict=True),
            *(pair for group in ("metrics", "guard", "average") for pair in self._mapping(state, group)),
        ]
        with keras.StatelessScope(mapping) as scope:
            accepted = None if self.guard is None else self.guard.decide(loss, scale)
            if self.average is not None:
                self.average.update(branch)
            self._update_metrics(scale, hr, sr, loss, lr.shape[0])
        after = {"weights": weights, "optimizer": optimizer}
        for group in ("metrics", "guard", "average"):
            after[group] = [scope.get_current_value(variable) for variable in self.variables[group]]
        if accepted is None:
            return after
        # What the guard has noted stays, whether the step is taken or not.
        before = {**state, "guard": after["guard"]}
        return jax.tree.map(lambda new, old: jax.numpy.where(accepted, new, old), after, before)

    def _mapping(self, state, group):
        return list(zip(self.variables[group], state[group], strict=True))
