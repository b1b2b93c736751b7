"""The loop of `keras-edsr train`: what `fit` cannot do for it."""

import keras
from keras import ops

from ..metrics import PSNR
from .scales_base import branch_functions, find_scale, function_variables


class TrainingLoopBase:
    """Trains a model one batch at a time, so that any batch may be the last before a checkpoint.

    Unlike `fit` it can skip a step as if it had not been, averages the weights that a step has trained and no others,
    keeps its metrics where a resumed run takes them up again, and with TensorFlow trains on several machines.

    Args:
        model: A compiled model of this package; its loss and optimizer are used.
        guard: A `LossSpikeGuard`, or None to take every step.
        average: A `WeightAverage` of the model, or None.

    Attributes:
        model, guard, average: As given.
        variables: A dict of lists of variables: all that a checkpoint must hold to continue exactly.
    """

    def __init__(self, model, guard=None, average=None):
        self.model = model
        self.guard = guard
        self.average = average
        self._functions = branch_functions(model)
        self._mean_loss = keras.metrics.Mean(name="loss")
        several = len(model.scales) > 1
        self._psnr = {scale: PSNR(name=f"psnr_x{scale}" if several else "psnr") for scale in model.scales}
        self._metrics = [self._mean_loss, *self._psnr.values()]
        if not model.optimizer.built:  # over the variables of all scales, for a step names only its own
            model.optimizer.build(model.trainable_variables)
        self.variables = {
            "weights": model.weights,
            "optimizer": model.optimizer.variables,
            "metrics": [variable for metric in self._metrics for variable in metric.variables],
            "guard": guard.variables if guard else [],
            "average": average.variables if average else [],
        }

    def run(self, batches, after_step):
        """Trains on batches.

        Args:
            batches: Iterable of (lr, hr), as `PatchSampler.dataset` makes them.
            after_step: Function `() -> bool`, called after each step; true ends the loop. The variables need not hold
                what the step has made of them before `run` returns.
        """
        for batch in batches:
            lr, hr = batch[:2]
            self.step(find_scale(lr, hr, self.model.scales, self.model.input.shape[-1]), lr, hr)
            if after_step():
                break

    def step(self, scale, lr, hr):
        """One update of the variables that a scale uses, or none if the guard says so."""
        raise NotImplementedError

    def results(self):
        """Returns the mean loss, and the PSNR of each scale that a batch had since `reset`, as floats."""
        seen = [metric for metric in self._metrics if metric is self._mean_loss or _number(metric.total) != 0]
        return {metric.name: _number(metric.result()) for metric in seen}

    def reset(self):
        """Begins the metrics anew."""
        for metric in self._metrics:
            metric.reset_state()

    def _run_branch(self, scale, lr):
        return self._functions[scale](ops.cast(lr, "float32"))

    def _branch_variables(self, scale):
        return function_variables(self._functions[scale])

    def _update_metrics(self, scale, hr, sr, loss, count):
        self._mean_loss.update_state(loss, sample_weight=count)
        self._psnr[scale].update_state(hr, sr)


def _number(value):
    return float(ops.convert_to_numpy(value))
