"""A guard against loss spikes: a step that would ruin the weights is not taken."""

import keras
import tensorflow as tf


class LossSpikeGuard:
    """Skips the update of a step whose loss is not finite or far above the running mean.

    A step is taken when `loss <= factor * mean`, with the mean of the losses of the steps taken so far, the latest
    weighing `1 - momentum`. The official Torch7 code does the same against the mean of the last epoch, with factor 3.
    A skipped step changes no weight, no optimizer slot and no metric.

    Set it before `fit`: `model.loss_guard = LossSpikeGuard(3)`, and pass `guard.callback()` to `fit` to end training
    when too many steps in a row are skipped.

    Args:
        factor: Float above 1, the multiple of the running mean that is still accepted; inf to skip only losses that
            are not finite.
        momentum: Float in [0, 1), the weight of the past in the running mean. Defaults to 0.99.
        patience: Integer, skipped steps in a row after which training ends with an error. Defaults to 100.

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
        self.mean = tf.Variable(0.0, trainable=False, name="loss_mean")
        self.taken = tf.Variable(0, trainable=False, dtype=tf.int64, name="steps_taken")
        self.skipped = tf.Variable(0, trainable=False, dtype=tf.int64, name="steps_skipped")
        self.in_a_row = tf.Variable(0, trainable=False, dtype=tf.int64, name="skipped_in_a_row")
        self.variables = [self.mean, self.taken, self.skipped, self.in_a_row]

    def apply(self, loss, update):
        """Runs `update` in the graph if `loss`, a scalar tensor, is accepted."""
        limit = tf.where(self.taken > 0, self.factor * self.mean, loss.dtype.max)
        tf.cond(
            loss <= tf.minimum(limit, loss.dtype.max),  # false for NaN and inf
            lambda: self._take(loss, update),
            self._skip,
        )

    def _take(self, loss, update):
        update()
        # The first losses count in full, as in an ordinary mean; later ones by the momentum.
        weight = tf.maximum(1 - self.momentum, 1 / (tf.cast(self.taken, tf.float32) + 1))
        self.mean.assign_add(weight * (loss - self.mean))
        self.taken.assign_add(1)
        self.in_a_row.assign(0)

    def _skip(self):
        self.skipped.assign_add(1)
        self.in_a_row.assign_add(1)

    def check(self):
        """Raises an ArithmeticError when too many steps in a row were skipped."""
        if int(self.in_a_row) >= self.patience:
            raise ArithmeticError(
                f"{int(self.in_a_row)} steps in a row had a loss that is not finite or above {self.factor} times "
                f"the running mean of {float(self.mean):.4g}: training cannot go on. Lower the learning rate, clip "
                "the gradients, or begin again from an earlier checkpoint."
            )

    def callback(self):
        """Returns the Keras callback that ends `fit` by `check`."""
        return keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: self.check())
