"""The loop of `keras-edsr train`, with TensorFlow, on one device or on several."""

import tensorflow as tf

from .loop_base import TrainingLoopBase
from .scales_base import find_scale, image_loss
from .workers import gradients_are_summed, has_workers, split_batches


class TrainingLoop(TrainingLoopBase):
    """Trains by a graph for each scale. Must be made in the scope of the strategy that the model was made in."""

    def __init__(self, model, guard=None, average=None):
        super().__init__(model, guard, average)
        self._strategy = tf.distribute.get_strategy()
        self._steps = {}
        self._logs = {}

    def run(self, batches, after_step):
        strategy = self._strategy
        if has_workers(strategy):
            batches = split_batches("batches", batches)
        for batch in strategy.experimental_distribute_dataset(batches):
            parts = [strategy.experimental_local_results(value)[0] for value in batch]
            scale = find_scale(parts[0], parts[1], self.model.scales, self.model.input.shape[-1])
            self._check_replicas(batch)
            self._check_workers(scale)
            self.step(scale, *batch[:2])
            if after_step():
                break

    def step(self, scale, lr, hr):
        if scale not in self._steps:
            self._steps[scale] = tf.function(self._step, reduce_retracing=True, autograph=False)
        self._logs = self._steps[scale](scale, lr, hr)

    def results(self):
        # The sums lie on the replicas; a step has added them up already.
        if self._strategy.num_replicas_in_sync > 1:
            logs = {name: float(value) for name, value in self._logs.items()}
            return {name: value for name, value in logs.items() if name == "loss" or value != 0}
        return super().results()

    def _step(self, scale, lr, hr):
        strategy = self._strategy
        loss, sr, gradients = strategy.run(self._gradients, args=(scale, lr, hr))

        def update():
            with gradients_are_summed(self.model.optimizer):
                strategy.run(self._update, args=(scale, lr, hr, loss, sr, gradients))

        if self.guard is None:
            update()
        else:
            tf.cond(self.guard.decide(strategy.reduce("SUM", loss, axis=None), scale), update, lambda: None)
        logs = strategy.run(lambda: {metric.name: metric.result() for metric in self._metrics})
        return {name: strategy.reduce("MEAN", value, axis=None) for name, value in logs.items()}

    def _gradients(self, scale, lr, hr):
        with tf.GradientTape() as tape:
            sr = self._run_branch(scale, lr)
            loss = image_loss(self.model.loss, hr, sr)
            scaled_loss = self.model.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled_loss, self._branch_variables(scale))
        context = tf.distribute.get_replica_context()
        if context.num_replicas_in_sync > 1:
            # Here and not in the optimizer, which adds them up too late: it clips each replica's apart, and looks for
            # an overflow of float16 on one replica only. And the guard may skip what the optimizer does.
            gradients = context.all_reduce("SUM", gradients)
        return loss, sr, gradients

    def _update(self, scale, lr, hr, loss, sr, gradients):
        variables = self._branch_variables(scale)
        self.model.optimizer.apply(gradients, variables)
        if self.average is not None:
            self.average.update(variables)
        replicas = self._strategy.num_replicas_in_sync
        self._update_metrics(scale, hr, sr, loss * replicas, tf.shape(lr)[0])

    def _check_replicas(self, batch):
        counts = [len(part) for part in self._strategy.experimental_local_results(batch[0])]
        if 0 in counts:
            raise ValueError(
                f"A batch must have an image for each of the {len(counts)} replicas. "
                f"Received: {sum(counts)}. Batch with drop_remainder=True."
            )

    def _check_workers(self, scale):
        # Workers with different scales would wait for each other's gradients without end.
        if len(self._functions) > 1 and has_workers(self._strategy):
            mean = float(self._strategy.reduce("MEAN", tf.constant(float(scale)), axis=None))
            if mean != scale:
                raise ValueError(
                    f"On several workers a batch must be the same on each. Received: scale {scale} on this one, "
                    f"{mean:g} on average. Draw the scales with one seed, as `ScaleBatchSampler` does."
                )
