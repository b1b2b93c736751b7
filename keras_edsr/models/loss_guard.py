"""A guard against loss spikes: a step that would ruin the weights is not taken."""

import keras
import tensorflow as tf

from ..network.checks import SCALES


class LossSpikeGuard:
    """Skips the update of a step whose loss is not finite or far above the running mean.

    A step is taken when `loss <= factor * mean`, with the mean of the losses of the steps taken so far, the latest
    weighing `1 - momentum`. The official Torch7 code does the same against the mean of the last epoch, with factor 3.
    Each scale of an MDSR has a mean of its own: x4 has a larger loss than x2, and one that is new beside a trained one
    would be skipped for ever.

    A skipped step changes no weight, no optimizer slot and no metric.

    Set it before `fit`: `model.loss_guard = LossSpikeGuard(3)`, and pass `guard.callback()` to `fit` to end training
    when too many steps in a row are skipped.

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
        counts = tf.zeros(len(SCALES), tf.int64)
        self.mean = tf.Variable(tf.zeros(len(SCALES)), trainable=False, name="loss_mean")
        self.taken = tf.Variable(counts, trainable=False, name="steps_taken")
        self.in_a_row = tf.Variable(counts, trainable=False, name="skipped_in_a_row")
        self.skipped = tf.Variable(0, trainable=False, dtype=tf.int64, name="steps_skipped")
        self.variables = [self.mean, self.taken, self.skipped, self.in_a_row]

    def apply(self, loss, update, scale):
        """Runs `update` in the graph if `loss`, a scalar tensor, is accepted for this scale."""
        at = SCALES.index(scale) if scale in SCALES else 0  # a network of scale 1 has no other
        limit = tf.where(self.taken[at] > 0, self.factor * self.mean[at], loss.dtype.max)
        tf.cond(
            loss <= tf.minimum(limit, loss.dtype.max),  # false for NaN and inf
            lambda: self._take(loss, update, at),
            lambda: self._skip(at),
        )

    def _take(self, loss, update, at):
        update()
        # The first losses count in full, as in an ordinary mean; later ones by the momentum.
        weight = tf.maximum(1 - self.momentum, 1 / (tf.cast(self.taken[at], tf.float32) + 1))
        self.mean.assign_add(_only(at, weight * (loss - self.mean[at])))
        self.taken.assign_add(_only(at, tf.ones([], tf.int64)))
        self.in_a_row.assign_sub(_only(at, self.in_a_row[at]))

    def _skip(self, at):
        self.skipped.assign_add(1)
        self.in_a_row.assign_add(_only(at, tf.ones([], tf.int64)))

    def check(self):
        """Raises an ArithmeticError when too many steps in a row were skipped."""
        in_a_row = self.in_a_row.numpy()
        at = int(in_a_row.argmax())
        if in_a_row[at] >= self.patience:
            raise ArithmeticError(
                f"{in_a_row[at]} steps in a row at scale {SCALES[at]} had a loss that is not finite or above "
                f"{self.factor} times the running mean of {self.mean.numpy()[at]:.4g}: training cannot go on. "
                "Lower the learning rate, clip the gradients, or begin again from an earlier checkpoint."
            )

    def callback(self):
        """Returns the Keras callback that ends `fit` by `check`."""
        return keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: self.check())


def _only(at, value):
    """A vector over the scales with the value at one place and zeros elsewhere."""
    return tf.one_hot(at, len(SCALES), dtype=value.dtype) * value
