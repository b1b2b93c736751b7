"""Several scales in `fit`, with TensorFlow: a graph for each scale, for images of any size."""

import warnings

import keras
import numpy as np
import tensorflow as tf

from .scales_base import ScaleTrainerBase, unpack_pairs
from .workers import has_workers


class ScaleTrainer(ScaleTrainerBase):
    """Trains one scale a batch. Python picks the graph by the shapes of the batch."""

    def train_step(self, data):
        lr, hr, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        scale = self.scale_of(lr, hr)
        variables = self.branch_variables(scale)
        with tf.GradientTape() as tape:
            sr = self.run_branch(scale, lr)
            loss = self.compute_loss(lr, hr, sr, sample_weight)
            scaled_loss = self.optimizer.scale_loss(loss)
        if variables:
            self.optimizer.apply(tape.gradient(scaled_loss, variables), variables)
        else:  # as Keras' own step does
            warnings.warn(f"The model does not have any trainable weights for scale {scale}.", stacklevel=2)
        return self._update(scale, lr, hr, sr, loss)

    def test_step(self, data):
        lr, hr, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        scale = self.scale_of(lr, hr)
        sr = self.run_branch(scale, lr)
        loss = self.compute_loss(lr, hr, sr, sample_weight, training=False)
        return self._update(scale, lr, hr, sr, loss)

    def _update(self, scale, lr, hr, sr, loss):
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        return self.update_metrics(scale, hr, sr, loss * replicas, tf.shape(lr)[0])

    def make_train_function(self, force=False):
        if self.train_function is None or force:
            self.train_function = self._make_scale_function(self.train_step)

    def make_test_function(self, force=False):
        if self.test_function is None or force:
            self.test_function = self._make_scale_function(self.test_step)

    def _make_scale_function(self, step):
        """Returns a function of an iterator: takes a batch, runs `step` for its scale, traced once per scale."""
        strategy = self.distribute_strategy
        if has_workers(strategy):
            raise ValueError(
                "`fit` and `evaluate` do not work on several machines (keras-team/keras#20585). "
                "Use `keras-edsr train` or keras_edsr.training.train."
            )
        functions = {}

        def run(iterator):
            # Before a step, which names only its own scale's variables.
            if not self.optimizer.built:
                with strategy.scope():
                    self.optimizer.build(self.trainable_variables)
            batch = tuple(_as_tensor(value) for value in unpack_pairs(next(iterator)) if value is not None)
            parts = [strategy.experimental_local_results(value)[0] for value in batch]
            scale = self.scale_of(*parts[:2])
            self._seen_scales.add(scale)
            key = (scale, *(part.dtype for part in parts))
            if key not in functions:
                functions[key] = self._trace(step, scale, batch)
            return self.of_seen_scales(functions[key](batch))

        return run

    def _trace(self, step, scale, batch):
        strategy = self.distribute_strategy

        def run_step(batch):
            self._scale_of_graph = scale
            try:
                logs = strategy.run(step, args=(batch,))
            finally:
                self._scale_of_graph = None
            return {name: strategy.reduce("MEAN", value, axis=None) for name, value in logs.items()}

        if self.run_eagerly:
            return run_step
        # The signature is as wide as it can be, so that images of any size share one trace. A PerReplica has none.
        signature = None
        if strategy.num_replicas_in_sync == 1:
            signature = [tuple(_any_size(value) for value in batch)]
        return tf.function(
            run_step,
            input_signature=signature,
            jit_compile=self.jit_compile,
            reduce_retracing=True,
            autograph=False,
        )


def _as_tensor(value):
    return tf.convert_to_tensor(value) if isinstance(value, np.ndarray) else value  # of train_on_batch


def _any_size(value):
    """The signature of images of any size, or of any number of sample weights."""
    channels = value.shape[3:]  # empty for a weight
    return tf.TensorSpec([None] * (value.shape.rank - len(channels)) + list(channels), value.dtype)
