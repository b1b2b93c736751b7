"""How all models are compiled and edited. Keras' own trainer trains them."""

import dataclasses
import functools
import inspect
import re

import keras

from ..metrics import PSNR
from ..network import Network
from ..trainer import paper_optimizer
from ..trainer.scales_base import of_each_image, wrong_sizes
from .base import NetworkModel


class SuperResolutionModel(NetworkModel):
    """Base of EDSR, MDSR and MDSR's branches: functional models from LR images to SR images.

    `fit`, `evaluate`, `predict` and the rest are Keras' own. Batches are pairs `(lr, hr)` of shapes `(b, h, w, c)` and
    `(b, s*h, s*w, c)`, uint8 or float in 0..255, optionally with a sample weight of shape `(b,)`.

    A subclass builds its graph in an `__init__` that is `clonable`, calls `super().__init__(inputs, outputs)` and then
    `_finish`; it extends `_read_network`.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if init := cls.__dict__.get("__init__"):  # `help` shows it; that of `clonable` would tell nothing
            parameters = inspect.signature(getattr(init, "original", init)).parameters
            cls.__signature__ = inspect.Signature([p for name, p in parameters.items() if name != "self"])

    # === Compiling ===

    def compile(self, optimizer="auto", loss="auto", *, metrics="auto", jit_compile="auto", **kwargs):
        """Configures the model for training; without arguments, with the paper's recipe.

        Args:
            optimizer: As in `keras.Model.compile`. "auto" is the paper's Adam: 1e-4, (0.9, 0.999), 1e-8, halved every
                200,000 updates.
            loss: As in `keras.Model.compile`. "auto" is the mean absolute error, the paper's L1.
            metrics: As in `keras.Model.compile`. "auto" is PSNR.
            jit_compile: As in `keras.Model.compile`. "auto" is False with TensorFlow: XLA gave no gain there, and
                compiles again for each image size.
            **kwargs: Passed to `keras.Model.compile`.

        Reference: [Lim et al., 2017](https://arxiv.org/abs/1707.02921), section 4.2.
        """
        if isinstance(jit_compile, str) and jit_compile == "auto" and keras.backend.backend() == "tensorflow":
            jit_compile = False
        super().compile(
            optimizer=paper_optimizer() if _is_auto(optimizer) else optimizer,
            loss=keras.losses.MeanAbsoluteError() if _is_auto(loss) else loss,
            metrics=[PSNR()] if _is_auto(metrics) else metrics,
            jit_compile=jit_compile,
            **kwargs,
        )

    def compile_from_config(self, config):
        # Keras asks who overrides `compile` to override this, too, and does nothing by itself.
        config = keras.saving.deserialize_keras_object(config)
        # False is also what "auto" came to, where the file was written; another backend may decide otherwise.
        config["jit_compile"] = config.get("jit_compile") or "auto"
        self.compile(**config)
        if self.built and self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)  # so that the file's state has where to go

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        self._check_images(x, y, y_pred)
        return super().compute_loss(x, y, y_pred, of_each_image(sample_weight), training)

    def _check_images(self, lr, hr, sr):
        channels = self.input.shape[-1]
        if hr is None:
            raise ValueError(
                "A batch must be a tuple (lr, hr), or (lr, hr, sample_weight). Received: no hr. "
                "A dataset of tensorflow_datasets gives tuples with as_supervised=True."
            )
        if len(hr.shape) != 4 or hr.shape[-1] != channels:
            raise ValueError(
                f"`lr` and `hr` must be batches of images, (batch, height, width, {channels}). "
                f"Received: lr {tuple(lr.shape)}, hr {tuple(hr.shape)}. Is the dataset batched?"
            )
        sizes = zip(hr.shape[1:3], sr.shape[1:3], strict=True)
        if any(a != b and None not in (a, b) for a, b in sizes):
            raise ValueError(wrong_sizes(lr.shape, hr.shape, self.scales))

    # === One scale ===

    def branch(self, scale):
        """Returns the network of one scale: of a model with a single output, the model itself.

        Raises:
            ValueError: If the model has no such scale.
        """
        if scale not in self.scales:
            raise ValueError(f"`scale` must be one of this model's scales, {self.scales}. Received: scale={scale!r}.")
        return self

    # === What Keras can edit ===

    def quantize(self, mode=None, **kwargs):
        """Raises a ValueError: Keras quantizes dense layers, and these models have only convolutions."""
        raise ValueError(
            f"`quantize` has nothing to quantize: Keras does it for dense layers and embeddings, and a "
            f"{type(self).__name__} has only convolutions. Received: mode={mode!r}. Use "
            "keras_edsr.export_tflite(model, path, quantize='int8') for a file with int8 weights and activations."
        )

    # === For subclasses ===

    def _finish(self, network, compile):
        """Ends the construction."""
        self._set_network(network)
        self.dtype_policy = network.dtype  # where Keras looks when it decides on loss scaling
        if compile:
            self.compile()

    def _read_network(self):
        """Returns what the model is, as its layers tell; the family's own arguments are the subclass's."""
        shift, head = self.get_layer("sub_mean"), self.get_layer("head")
        blocks = [layer for layer in self.layers if re.fullmatch(r"body_\d+", layer.name)]
        network = Network(
            "EDSR",
            (2,),
            len(blocks),
            head.filters,
            blocks[0].residual_scaling,
            image_shape=tuple(self.input.shape[1:]),
            dtype=head.dtype_policy.name,
            name=self.name,
        )
        return network if network.shift == shift.mean else dataclasses.replace(network, mean=shift.mean)


def clonable(init):
    """Lets `keras.models.clone_model` make the class whose constructor this is, not a `Functional`.

    Keras calls the class with the graph of the cloned layers, `(inputs, outputs, name=name)`, if its constructor takes
    any arguments; those of `init` are then read from the layers.
    """

    @functools.wraps(init)
    def __init__(self, *args, **kwargs):
        if args and isinstance(args[0], keras.KerasTensor):
            super(SuperResolutionModel, self).__init__(*args, **kwargs)
            self._finish(self._read_network(), compile=False)
        else:
            init(self, *args, **kwargs)

    # Keras looks at the signature in two ways, which must agree.
    del __init__.__wrapped__
    __init__.original = init  # type: ignore[attr-defined]
    return __init__


def _is_auto(value):
    return isinstance(value, str) and value == "auto"
