"""Several scales in `fit`, with PyTorch, eagerly."""

import warnings

import keras
import torch

from .scales_base import ScaleTrainerBase, unpack_pairs


class ScaleTrainer(ScaleTrainerBase):
    """Trains one scale a batch."""

    def train_step(self, data):
        lr, hr, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        scale = self.scale_of(lr, hr)
        variables = self.branch_variables(scale)
        self.zero_grad()
        sr = self.run_branch(scale, lr)
        loss = self.compute_loss(lr, hr, sr, sample_weight)
        if variables:
            self.optimizer.scale_loss(loss).backward()
            gradients = [variable.value.grad for variable in variables]
            with torch.no_grad():
                self.optimizer.apply(gradients, variables)
        else:  # as Keras' own step does
            warnings.warn(f"The model does not have any trainable weights for scale {scale}.", stacklevel=2)
        return self.update_metrics(scale, hr, sr, loss, lr.shape[0])

    def test_step(self, data):
        lr, hr, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        scale = self.scale_of(lr, hr)
        sr = self.run_branch(scale, lr)
        loss = self.compute_loss(lr, hr, sr, sample_weight, training=False)
        return self.update_metrics(scale, hr, sr, loss, lr.shape[0])

    def make_train_function(self, force=False):
        if self.train_function is None or force:
            super().make_train_function(force=True)
            self.train_function = self._noting_scales(self.train_function)

    def make_test_function(self, force=False):
        if self.test_function is None or force:
            super().make_test_function(force=True)
            self.test_function = self._noting_scales(self.test_function)

    def _noting_scales(self, function):
        def run(data):
            lr, hr, sample_weight = unpack_pairs(data[0])
            self._seen_scales.add(self.scale_of(lr, hr))
            return self.of_seen_scales(function([(lr, hr, sample_weight)]))

        return run
