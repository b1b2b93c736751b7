"""How a model of several scales trains in `fit`: one scale a batch, the others left as they are to the bit.

Keras' own step computes every output of a functional model and has no place for that choice, hence this one. Its
signature is the standard one of each backend, so a subclass may override it as it may Keras' own.
"""

from typing import TYPE_CHECKING, Any

import keras

from ..metrics import PSNR

if TYPE_CHECKING:
    from keras import Model
else:
    Model = object  # a mixin: it comes before the model among the bases


class ScaleTrainerBase(Model):
    """What the steps of all backends share. Comes before `keras.Model` among the bases of a model.

    The loss is the one compiled; the metrics are the loss and the PSNR of each scale, of which those are shown that a
    batch had since they were reset: the others would read 0 where there is no value.
    """

    train_function: Any
    test_function: Any

    def set_scales(self, outputs):
        """Takes a dict, scale -> symbolic output; the constructor calls it once the graph is there."""
        # A keras.Function is not a layer, and variables are not kept: else Keras would save every weight twice.
        self._branch_functions = {scale: keras.Function(self.input, output) for scale, output in outputs.items()}
        self._mean_loss = keras.metrics.Mean(name="loss")
        self._scale_metrics = {scale: [PSNR(name=f"psnr_x{scale}")] for scale in outputs}
        self._seen_scales = set()  # since the metrics were reset
        self._scale_of_graph = None  # while a step is traced in which sizes are not known

    # === The choice of the scale ===

    def scale_of(self, lr, hr):
        """Returns the scale of a batch, from its shapes.

        Raises:
            ValueError: If the shapes are not those of images at one of the model's scales.
        """
        if self._scale_of_graph is not None:
            return self._scale_of_graph
        return find_scale(lr, hr, self.scales, self.input.shape[-1])

    def branch_variables(self, scale):
        """Returns the trainable variables that an output depends on, in the order of its layers."""
        return function_variables(self._branch_functions[scale])

    def run_branch(self, scale, lr):
        """Returns one output, without computing the others."""
        return self._branch_functions[scale](keras.ops.cast(lr, "float32"))

    # === The loss and the metrics ===

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        # Not Keras' own, which expects the structure of all outputs.
        if isinstance(y_pred, dict):
            y_pred = y_pred[f"x{self.scale_of(x, y)}"]
        return image_loss(self.loss, y, y_pred, sample_weight)

    @property
    def metrics(self):
        return [self._mean_loss, *(metric for metrics in self._scale_metrics.values() for metric in metrics)]

    def update_metrics(self, scale, hr, sr, loss, count):
        """Adds a batch of `count` images to the metrics of its scale; returns the results of all."""
        self._mean_loss.update_state(loss, sample_weight=count)
        for metric in self._scale_metrics[scale]:
            metric.update_state(hr, sr)
        return {metric.name: metric.result() for metric in self.metrics}

    def reset_metrics(self):
        super().reset_metrics()
        self._seen_scales.clear()

    def get_metrics_result(self):
        return self.of_seen_scales(super().get_metrics_result())

    def of_seen_scales(self, logs):
        """Drops the metrics of scales that no batch had."""
        unseen = {
            metric.name
            for scale, metrics in self._scale_metrics.items()
            if scale not in self._seen_scales
            for metric in metrics
        }
        return {name: value for name, value in logs.items() if name not in unseen}

    # === What is rejected ===

    def compile(self, optimizer="auto", loss="auto", *, metrics="auto", jit_compile="auto", **kwargs):
        """As `SuperResolutionModel.compile`; rejects what cannot be done one scale at a time.

        Raises:
            ValueError: If `steps_per_execution` is not 1, or there are `loss_weights`, metrics, a loss for each output,
                or an optimizer that averages or accumulates over the steps.
        """
        if kwargs.get("steps_per_execution", 1) != 1:
            raise ValueError(
                "`steps_per_execution` must be 1: each batch is one scale, and the step is chosen for it. "
                f"Received: steps_per_execution={kwargs['steps_per_execution']}."
            )
        if isinstance(loss, dict | list | tuple):
            raise ValueError(f"`loss` must be one loss: it serves every scale. Received: {type(loss).__name__}.")
        if kwargs.get("loss_weights") is not None:
            raise ValueError(
                "`loss_weights` must be None: a batch has one image to compare with. "
                "Multiply the loss instead, or give each image a sample weight."
            )
        if metrics not in ("auto", None) or kwargs.get("weighted_metrics") is not None:
            raise ValueError(
                "A model of several scales has its own metrics, one set per scale: psnr_x2, psnr_x3, …. "
                "Received: `metrics` in compile. Leave them out."
            )
        if getattr(optimizer, "use_ema", False) or getattr(optimizer, "gradient_accumulation_steps", None):
            # Both touch the slots of all variables at every step; use_ema the weights, too, when fit ends.
            raise ValueError(
                "`optimizer` must keep no average and accumulate no gradients: it would do so for the scales that a "
                "batch does not train. Received: use_ema or gradient_accumulation_steps. Take a larger batch, or "
                "`keras-edsr train --average`, which averages what each batch has trained."
            )
        super().compile(optimizer, loss, metrics=None, jit_compile=jit_compile, **kwargs)


def find_scale(lr, hr, scales, channels):
    """Returns the scale of a batch of images, one of `scales`.

    Raises:
        ValueError: If they are not images of that many channels, or not at one of these scales.
    """
    if any(len(images.shape) != 4 or images.shape[-1] != channels for images in (lr, hr)):
        raise ValueError(
            f"`lr` and `hr` must be batches of images, (batch, height, width, {channels}). "
            f"Received: lr {tuple(lr.shape)}, hr {tuple(hr.shape)}. Is the dataset batched?"
        )
    (height, width), (hr_height, hr_width) = lr.shape[1:3], hr.shape[1:3]
    scale = hr_height // height if height and hr_height else None
    if scale not in scales or (hr_height, hr_width) != (scale * height, scale * width):
        raise ValueError(wrong_sizes(lr.shape, hr.shape, scales))
    return scale


def wrong_sizes(lr, hr, scales):
    """Returns the text of the error that two shapes `(b, h, w, c)` do not fit together at any of the scales."""
    return (
        f"`hr` must be `lr` times the model's scale ({', '.join(map(str, scales))}). "
        f"Received: lr {lr[1]}x{lr[2]}, hr {hr[1]}x{hr[2]}. "
        "Crop the images to a multiple of the scale, or build the model for theirs."
    )


def unpack_pairs(batch):
    """Returns (lr, hr, sample weight or None) of a batch.

    Raises:
        ValueError: If it is not such a tuple.
    """
    is_tuple = isinstance(batch, tuple | list)
    values = [value for value in batch if value is not None] if is_tuple else [batch]
    if len(values) not in (2, 3):
        raise ValueError(
            "A batch must be a tuple (lr, hr), or (lr, hr, sample_weight). "
            f"Received: {type(batch).__name__}{f' of {len(values)}' if is_tuple else ''}. "
            "A dataset of tensorflow_datasets gives tuples with as_supervised=True."
        )
    return (*values, None)[:3]


def branch_functions(model: keras.Model) -> dict[int, keras.Function]:
    """Returns the function of each scale of an `EDSR`, an `MDSR` or a branch, which computes no other scale."""
    outputs = model.output if isinstance(model.output, dict) else {f"x{model.scale}": model.output}
    return {scale: keras.Function(model.input, outputs[f"x{scale}"]) for scale in model.scales}


def function_variables(function):
    """Returns the trainable variables of the layers of a `keras.Function`, in their order."""
    layers = [operation for operation in function.operations if isinstance(operation, keras.layers.Layer)]
    return [variable for layer in layers for variable in layer.trainable_variables]


def image_loss(loss, hr, sr, sample_weight=None):
    """Returns the mean of a loss over images, divided by the number of replicas where TensorFlow has several.

    Args:
        loss: What `compile` takes for one output.
        hr: Images `(b, h, w, c)`.
        sr: Images of the same shape.
        sample_weight: Optional, `(b,)` or what broadcasts to the loss of each pixel, `(b, h, w)`.
    """
    loss = keras.losses.get(loss)
    if not isinstance(loss, keras.losses.Loss):
        loss = _FunctionLoss(loss)
    return loss(hr, sr, of_each_image(sample_weight))


def of_each_image(sample_weight):
    """Shapes weights of images, `(b,)`, so that they multiply the loss of each pixel; Keras would weigh the columns."""
    if sample_weight is None or len(sample_weight.shape) != 1:
        return sample_weight
    return keras.ops.reshape(sample_weight, (-1, 1, 1))


class _FunctionLoss(keras.losses.Loss):
    """A loss given by name or as a function, with the mean that every `Loss` takes."""

    def __init__(self, function):
        super().__init__(name="loss")
        self.function = function

    def call(self, y_true, y_pred):
        return self.function(y_true, y_pred)
