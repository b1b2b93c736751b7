"""What `fit` and `evaluate` do for EDSR and MDSR: one traced step per scale.

MDSR trains one scale a batch. Only that scale's branch may be computed, and the weights and optimizer slots of the
others must stay as they are to the bit, so the step for each scale is a graph of its own and Python picks it by the
shapes of the batch. Keras' stock trainer computes every output of a functional model and has no place for that
choice; hence this class, the one place in the models that needs TensorFlow. EDSR uses it with one scale.
"""

import functools
import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..metrics import PSNR
from ..trainer import paper_optimizer
from .base import NetworkModel
from .loss_guard import LossSpikeGuard
from .weight_average import WeightAverage
from .workers import gradients_are_summed, has_workers, split_batches


class SuperResolutionModel(NetworkModel):
    """Base of EDSR, MDSR and MDSR's branches: functional models that `fit` on (lr, hr) batches.

    A subclass builds its graph, then calls `_set_network` and `compile`.
    Batches are pairs `(lr, hr)` of shapes `(b, h, w, c)` and `(b, s*h, s*w, c)`, uint8 or float in 0..255, optionally
    with a sample weight of shape `(b,)`; the scale s may differ from batch to batch where the model has several.

    Attributes:
        loss_guard: A `LossSpikeGuard`, or None: whether `fit` may skip a step. Set it before `fit`.
        weight_average: A `WeightAverage`, or None: whether `fit` keeps one. Set it before `fit`.
    """

    loss_guard: LossSpikeGuard | None = None
    weight_average: WeightAverage | None = None
    train_function: Any = None
    test_function: Any = None

    def compile_as_paper(self):
        """Compiles with L1 and the paper's Adam; the constructors call it, and the user may compile again."""
        metrics = None if self._scale_metrics else [PSNR()]
        # XLA gains nothing here and compiles again for every image size.
        self.compile(
            paper_optimizer(),
            keras.losses.MeanAbsoluteError(),
            metrics=metrics,
            jit_compile=False,
        )

    def _set_branches(self, outputs, dtype):
        """Takes a dict, scale -> symbolic output; each becomes a function that computes that output alone."""
        self.body_dtype = dtype
        self.dtype_policy = dtype  # where compile looks when it decides on loss scaling
        # A keras.Function is not a layer, and variables are not kept: else Keras would save every weight twice.
        self._branch_functions = {scale: keras.Function(self.input, output) for scale, output in outputs.items()}
        self._scale_metrics = {}  # of a model with several scales: metrics under names that end in the scale
        self._seen_scales = set()  # since the metrics were reset

    # === One step ===

    def train_step(self, data, scale):
        """One update of the variables that `scale` uses, on all replicas; returns every metric's result on each."""
        strategy = self.distribute_strategy
        loss, sr, gradients = strategy.run(self._gradients, args=(data, scale))

        def update():
            with gradients_are_summed(self.optimizer):
                strategy.run(self._update, args=(data, scale, loss, sr, gradients))

        if self.loss_guard is None:
            update()
        else:
            self.loss_guard.apply(strategy.reduce("SUM", loss, axis=None), update, scale)
        return strategy.run(super().get_metrics_result)

    def _gradients(self, data, scale):
        lr, hr, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            sr = self._branch_functions[scale](tf.cast(lr, tf.float32))
            loss = self._branch_loss(hr, sr, sample_weight)
            scaled_loss = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled_loss, self._branch_variables(scale))
        context = tf.distribute.get_replica_context()
        if context.num_replicas_in_sync > 1:
            # Here and not in the optimizer, which adds them up too late: it clips each replica's apart, and looks for
            # an overflow of float16 on one replica only. And the guard may skip what the optimizer does.
            gradients = context.all_reduce("SUM", gradients)
        return loss, sr, gradients

    def _update(self, data, scale, loss, sr, gradients):
        lr, hr, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        variables = self._branch_variables(scale)
        if variables:
            self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        else:  # as Keras' own step does
            warnings.warn(f"The model does not have any trainable weights for scale {scale}.", stacklevel=2)
        if self.weight_average is not None:
            self.weight_average.update(variables)
        self._update_metrics(scale, lr, hr, sr, loss, sample_weight)

    def test_step(self, data, scale):
        """Adds one batch to the metrics of `scale`, on all replicas; returns every metric's result on each."""
        return self.distribute_strategy.run(self._test_replica, args=(data, scale))

    def _test_replica(self, data, scale):
        lr, hr, sample_weight = keras.utils.unpack_x_y_sample_weight(data)

        def update():
            sr = self._branch_functions[scale](tf.cast(lr, tf.float32))
            loss = self._branch_loss(hr, sr, sample_weight)
            self._update_metrics(scale, lr, hr, sr, loss, sample_weight)

        if tf.distribute.get_strategy().num_replicas_in_sync == 1:
            update()
        else:
            # A whole image is a batch of one: other replicas have none. TensorFlow's convolutions
            # give an empty batch the wrong shape, so that the next one fails.
            tf.cond(tf.shape(lr)[0] > 0, update, lambda: None)
        return super().get_metrics_result()

    def _branch_variables(self, scale):
        operations = self._branch_functions[scale].operations
        layers = [op for op in operations if isinstance(op, keras.layers.Layer)]
        return [variable for layer in layers for variable in layer.trainable_variables]

    def _branch_loss(self, hr, sr, sample_weight):
        # Not compute_loss: it expects the structure of all outputs. The result is divided by the number of replicas.
        loss = keras.losses.get(self.loss)
        if not isinstance(loss, keras.losses.Loss):
            loss = _FunctionLoss(loss)
        if sample_weight is not None and sample_weight.shape.rank == 1:
            sample_weight = sample_weight[:, None, None]  # as the loss of each pixel: (b, h, w)
        return loss(hr, sr, sample_weight)

    def _update_metrics(self, scale, lr, hr, sr, loss, sample_weight):
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self._loss_tracker.update_state(loss * replicas, sample_weight=tf.shape(lr)[0])
        if self._scale_metrics:
            for metric in self._scale_metrics[scale]:
                metric.update_state(hr, sr)
        else:
            self.compute_metrics(lr, hr, sr, sample_weight)

    # === What Keras calls ===

    @functools.wraps(keras.Model.fit)
    def fit(self, x=None, y=None, *args, **kwargs):
        if has_workers(self.distribute_strategy):
            x, y = split_batches("x", x if y is None else (x, y)), None
            if kwargs.get("validation_data") is not None:
                kwargs["validation_data"] = split_batches("validation_data", kwargs["validation_data"])
        # Keras can shuffle arrays and PyDatasets alone; for anything else its default, True, is a warning.
        if y is None and not isinstance(x, keras.utils.PyDataset):
            kwargs.setdefault("shuffle", False)
        return super().fit(x, y, *args, **kwargs)

    def get_compile_config(self):
        config = super().get_compile_config()
        if config and config["optimizer"]:
            # Beside the optimizer's own keys, where Keras' other readers of this config ignore it.
            config["optimizer"]["built"] = self.optimizer.built
        return config

    def compile_from_config(self, config):
        # Every model is compiled, trained or not. Keras builds the optimizer of each that it loads,
        # then warns that the file of one that was never trained has no state for it.
        if config["optimizer"] and config["optimizer"].get("built", True):
            super().compile_from_config(config)
        else:
            self.compile(**keras.saving.deserialize_keras_object(config))

    @functools.wraps(keras.Model.load_weights)
    def load_weights(self, *args, **kwargs):
        with warnings.catch_warnings():
            # The caller asks for weights: an untrained model need not warn that it skips the optimizer's state in
            # the file.
            warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
            super().load_weights(*args, **kwargs)

    def make_train_function(self, force=False):
        if self.train_function is None or force:
            self.train_function = self._make_scale_function(self.train_step, on_every_replica=True)

    def make_test_function(self, force=False):
        if self.test_function is None or force:
            self.test_function = self._make_scale_function(self.test_step)

    def reset_metrics(self):
        super().reset_metrics()
        self._seen_scales.clear()

    def get_metrics_result(self):
        return self._of_seen_scales(super().get_metrics_result())

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # A private method of Keras: setup caps its version. The optimizer is built here, over the variables of all
        # scales, because each step names only its own; metrics, because under tf.distribute a traced step may not.
        self._check_compiled()
        with self.distribute_strategy.scope():
            if not self.optimizer.built:
                self.optimizer.build(self.trainable_variables)
            if self._compile_metrics is not None and not self._compile_metrics.built:
                self._compile_metrics.build(self.output, self.output)

    # === The choice of the scale ===

    def _make_scale_function(self, step, on_every_replica=False):
        """Returns a function of an iterator: takes a batch, runs `step` for its scale, traced once per scale."""
        functions = {}

        def run(iterator):
            batch = _check_batch(next(iterator))
            scale = self._scale_of(batch)
            if on_every_replica:
                self._check_replicas(batch)
                self._check_workers(scale)
            self._seen_scales.add(scale)
            key = (scale, *(self._local(value).dtype for value in batch))
            if key not in functions:
                functions[key] = self._trace(step, scale, batch)
            return self._of_seen_scales(functions[key](batch))

        return run

    def _trace(self, step, scale, batch):
        strategy = self.distribute_strategy

        def run_step(batch):
            logs = step(batch, scale)
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

    def _scale_of(self, batch):
        lr, hr = (self._local(value).shape for value in batch[:2])
        channels = self.input.shape[-1]
        if any(len(shape) != 4 or shape[-1] != channels for shape in (lr, hr)):
            raise ValueError(
                f"`lr` and `hr` must be batches of images, (batch, height, width, {channels}). "
                f"Received: lr {tuple(lr)}, hr {tuple(hr)}. Is the dataset batched?"
            )
        (_, height, width, _), (_, hr_height, hr_width, _) = lr, hr
        scale = hr_height // height
        if scale not in self._branch_functions or (hr_height, hr_width) != (
            scale * height,
            scale * width,
        ):
            scales = ", ".join(map(str, self._branch_functions))
            raise ValueError(
                f"`hr` must be `lr` times the model's scale ({scales}). "
                f"Received: lr {height}x{width}, hr {hr_height}x{hr_width}. "
                "Crop the images to a multiple of the scale, or build the model for theirs."
            )
        return scale

    def _check_replicas(self, batch):
        counts = [len(part) for part in self.distribute_strategy.experimental_local_results(batch[0])]
        if 0 in counts:
            raise ValueError(
                f"A batch must have an image for each of the {len(counts)} replicas. "
                f"Received: {sum(counts)}. Batch with drop_remainder=True."
            )

    def _check_workers(self, scale):
        # Workers with different scales would wait for each other's gradients without end.
        strategy = self.distribute_strategy
        if len(self._branch_functions) > 1 and has_workers(strategy):
            mean = float(strategy.reduce("MEAN", tf.constant(float(scale)), axis=None))
            if mean != scale:
                raise ValueError(
                    f"On several workers a batch must be the same on each. Received: scale {scale} on this one, "
                    f"{mean:g} on average. Draw the scales with one seed, as `ScaleBatchSampler` does."
                )

    def _local(self, value):
        """The first replica's part of a batch; all of it where there is one."""
        return self.distribute_strategy.experimental_local_results(value)[0]

    def _of_seen_scales(self, logs):
        """Drops the metrics of scales that no batch had: they would read 0 where there is no value."""
        unseen = {
            metric.name
            for scale, metrics in self._scale_metrics.items()
            if scale not in self._seen_scales
            for metric in metrics
        }
        return {name: value for name, value in logs.items() if name not in unseen}

    def _check_compiled(self):
        if self.steps_per_execution > 1:
            raise ValueError(
                "`steps_per_execution` must be 1: each batch is one scale, and the step is chosen for it. "
                f"Received: steps_per_execution={self.steps_per_execution}. Compile again without it."
            )
        if isinstance(self.loss, dict | list | tuple):
            raise ValueError(
                "`loss` must be one loss: it serves every scale. "
                f"Received: {type(self.loss).__name__}. Compile again with one."
            )
        if self._compile_config.config["loss_weights"] is not None:
            raise ValueError(
                "`loss_weights` must be None: a batch has one image to compare with. "
                "Multiply the loss instead, or give each image a sample weight."
            )
        if self._scale_metrics and self._compile_metrics is not None:
            raise ValueError(
                "A model of several scales has its own metrics, one set per scale: psnr_x2, psnr_x3, …. "
                "Received: `metrics` in compile. Compile again without them."
            )
        if self._scale_metrics and (self.optimizer.use_ema or self.optimizer.gradient_accumulation_steps):
            # Both touch the slots of all variables at every step; use_ema the weights, too, when fit ends.
            raise ValueError(
                "`optimizer` must keep no average and accumulate no gradients: it would do so for the scales that a "
                "batch does not train. Received: use_ema or gradient_accumulation_steps. Take a "
                "`keras_edsr.models.WeightAverage` instead, or a larger batch."
            )


class _FunctionLoss(keras.losses.Loss):
    """A loss given by name or as a function, with the mean that every `Loss` takes."""

    def __init__(self, function):
        super().__init__(name="loss")
        self.function = function

    def call(self, y_true, y_pred):
        return self.function(y_true, y_pred)


def _check_batch(batch):
    """Drops a sample weight that is None, and makes tensors of arrays (of `train_on_batch`)."""
    is_tuple = isinstance(batch, tuple | list)
    values = [value for value in batch if value is not None] if is_tuple else [batch]
    if len(values) not in (2, 3):
        raise ValueError(
            "A batch must be a tuple (lr, hr), or (lr, hr, sample_weight). "
            f"Received: {type(batch).__name__}{f' of {len(values)}' if is_tuple else ''}. "
            "A dataset of tensorflow_datasets gives tuples with as_supervised=True."
        )
    return tuple(tf.convert_to_tensor(value) if isinstance(value, np.ndarray) else value for value in values)


def _any_size(value):
    """The signature of images of any size, or of any number of sample weights."""
    channels = value.shape[3:]  # empty for a weight
    return tf.TensorSpec([None] * (value.shape.rank - len(channels)) + list(channels), value.dtype)
