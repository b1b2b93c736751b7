"""The loop of `keras-edsr train`, with PyTorch."""

import torch
from keras import ops

from .loop_base import TrainingLoopBase
from .scales_base import image_loss


class TrainingLoop(TrainingLoopBase):
    """Trains eagerly."""

    def step(self, scale, lr, hr):
        lr, hr = ops.convert_to_tensor(lr), ops.convert_to_tensor(hr)
        model, variables = self.model, self._branch_variables(scale)
        model.zero_grad()
        sr = self._run_branch(scale, lr)
        loss = image_loss(model.loss, hr, sr)
        with torch.no_grad():
            if self.guard is not None and not bool(self.guard.decide(loss.detach(), scale)):
                return
        model.optimizer.scale_loss(loss).backward()
        gradients = [variable.value.grad for variable in variables]
        with torch.no_grad():
            model.optimizer.apply(gradients, variables)
            if self.average is not None:
                self.average.update(variables)
            self._update_metrics(scale, hr, sr.detach(), loss.detach(), lr.shape[0])
