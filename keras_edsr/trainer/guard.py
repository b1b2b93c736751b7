"""A guard against loss spikes: a step that would ruin the weights is not taken."""

import keras
import numpy as np
from keras import ops

from ..network.checks import SCALES

_LARGEST = float(np.finfo(np.float32).max)


class LossSpikeGuard:
    """Decides whether to take a step, whose loss may be not finite or far above the running mean.

    A step is taken when `loss <= factor * mean`, with the mean of the losses of the steps taken so far, the latest
    weighing `1 - momentum`. The official Torch7 code does the same against the mean of the last epoch, with factor 3.
    Each scale of an MDSR has a mean of its own: x4 has a larger loss than x2, and one that is new beside a trained one
    would be skipped for ever.

    A skipped step changes no weight, no optimizer slot and no metric: `TrainingLoop` sees to that.

    Args:
        factor: Float above 1, the multiple of the running mean that is still accepted; inf to skip only losses that
            are not finite.
        momentum: Float in [0, 1), the weight of the past in the running mean. Defaults to 0.99.
        patience: Integer, skipped steps of one scale in a row after which training ends with an error. Defaults to 100.

    Attributes:
        skipped: Variable, the number of steps skipped so far.
        variables: What a checkpoint must hold to continue exactly.
    """

    def __init__(self, factor=3.0, momentum=0.99, patience=100):
        if not factor > 1:
            raise ValueError(f"`factor` must be above 1. Received: factor={factor!r}.")
        self.factor = factor
        self.momentum = momentum
        self.patience = patience
        count = len(SCALES)
        self.mean = keras.Variable(np.zeros(count), trainable=False, dtype="float32", name="loss_mean")
        self.taken = keras.Variable(np.zeros(count), trainable=False, dtype="int", name="steps_taken")
        self.in_a_row = keras.Variable(np.zeros(count), trainable=False, dtype="int", name="skipped_in_a_row")
        self.skipped = keras.Variable(0, trainable=False, dtype="int", name="steps_skipped")
        self.variables = [self.mean, self.taken, self.skipped, self.in_a_row]

    def decide(self, loss, scale):
        """Returns whether to take a step with this loss, a scalar tensor, and takes note of the decision."""
        at = SCALES.index(scale) if scale in SCALES else 0  # a network of scale 1 has no other
        here = np.arange(len(SCALES)) == at
        means, counts, row = self.mean.value, self.taken.value, self.in_a_row.value
        limit = ops.where(counts[at] > 0, self.factor * means[at], _LARGEST)
        accepted = loss <= ops.minimum(limit, _LARGEST)  # false for NaN and inf
        # The first losses count in full, as in an ordinary mean; later ones by the momentum.
        weight = ops.maximum(1 - self.momentum, 1 / (ops.cast(counts[at], "float32") + 1))
        takes, skips = ops.logical_and(accepted, here), ops.logical_and(ops.logical_not(accepted), here)
        self.mean.assign(ops.where(takes, means + weight * (loss - means), means))
        self.taken.assign(counts + ops.cast(takes, self.taken.dtype))
        self.in_a_row.assign(ops.where(takes, ops.zeros_like(row), row + ops.cast(skips, self.in_a_row.dtype)))
        self.skipped.assign(self.skipped.value + ops.cast(ops.any(skips), self.skipped.dtype))
        return accepted

    def check(self):
        """Raises an ArithmeticError when too many steps in a row were skipped."""
        in_a_row = ops.convert_to_numpy(self.in_a_row)
        at = int(in_a_row.argmax())
        if in_a_row[at] >= self.patience:
            raise ArithmeticError(
                f"{in_a_row[at]} steps in a row at scale {SCALES[at]} had a loss that is not finite or above "
                f"{self.factor} times the running mean of {ops.convert_to_numpy(self.mean)[at]:.4g}: training cannot "
                "go on. Lower the learning rate, clip the gradients, or begin again from an earlier checkpoint."
            )
