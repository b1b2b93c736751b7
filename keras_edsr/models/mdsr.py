"""MDSR, one network for several scales."""

import dataclasses
import types

import keras
from keras import layers

from ..layers import MeanShift, ScaledResBlock, SubpixelUpsample, convolution
from ..network import Network
from ..trainer.scales import ScaleTrainer
from .compiling import SuperResolutionModel, clonable


@keras.saving.register_keras_serializable(package="keras_edsr")
class MDSR(ScaleTrainer, SuperResolutionModel):
    """MDSR: one body shared by all scales; each scale has its own pre-processing and upsampler.

    `fit` takes batches of one scale each (see `keras_edsr.data.ScaleBatchSampler`), computes that scale's branch
    alone and leaves the weights and optimizer slots of the others as they are, to the bit. PSNR is reported per scale:
    `psnr_x2`, `val_psnr_x3`, …. The defaults are the paper's final model; its baseline has `num_blocks=16`.

    Args:
        scales: Tuple of integers out of 2, 3, 4 and 8. Defaults to (2, 3, 4).
        num_blocks: Integer, residual blocks in the shared body. Defaults to 80.
        filters: Integer, channels of the body. Defaults to 64.
        residual_scaling: Float, factor on the branch of each block in the body. Defaults to 1, as published; the
            pre-processing blocks always have 1.
        shared_tail: Boolean, whether one last convolution serves all scales. True, the default, is the official
            PyTorch port's form, which its checkpoints have; False the form of the paper's figure and the Torch7 code.
        image_shape: Tuple `(height, width, channels)`, None for any. Defaults to RGB of any size.
        mean: Sequence of floats in 0..255, one per channel. Defaults to the mean of DIV2K, as in `EDSR`.
        dtype: Dtype policy of the convolutions, as in `EDSR`.
        name: String, the model's name.
        compile: Boolean, whether to compile the model with the paper's recipe. Defaults to True.

    Input shape: `(batch, height, width, channels)`, values in 0..255.
    Output: a dict, `{"x2": …, "x3": …}`, of shapes `(batch, s * height, s * width, channels)`, float32, neither
        clipped nor rounded. `branch(s)` gives one scale alone, without computing the others.

    Attributes:
        halo: Integer, LR pixels of context that a tile needs on each side to give the whole image's values.

    Reference: [Lim et al., 2017](https://arxiv.org/abs/1707.02921), figure 5 and table 1.
    """

    @clonable
    def __init__(
        self,
        scales=(2, 3, 4),
        num_blocks=80,
        filters=64,
        residual_scaling=1.0,
        shared_tail=True,
        *,
        image_shape=(None, None, 3),
        mean=None,
        dtype=None,
        name=None,
        compile=True,
    ):
        dtype = keras.dtype_policies.get(dtype).name  # as in EDSR
        network = Network(
            "MDSR",
            scales,
            num_blocks,
            filters,
            residual_scaling,
            image_shape=image_shape,
            mean=mean,
            shared_tail=shared_tail,
            dtype=dtype,
        )

        # === Functional Model ===
        scales, channels = network.scales, network.channels
        inputs = keras.Input(network.image_shape, name="lr")
        x = MeanShift(network.shift, sign=-1, name="sub_mean")(inputs)
        features = convolution(filters, channels, name="head", dtype=dtype)(x)
        body = [
            ScaledResBlock(filters, residual_scaling=residual_scaling, name=f"body_{i}", dtype=dtype)
            for i in range(num_blocks)
        ]
        body_conv = convolution(filters, filters, name="body_conv", dtype=dtype)
        tails = _tails(scales, channels, filters, shared_tail)
        outputs = {}
        for scale in scales:
            x = features
            for i in range(2):
                x = ScaledResBlock(filters, kernel_size=5, name=f"pre_x{scale}_{i}", dtype=dtype)(x)
            skip = x  # the global skip starts after the pre-processing
            for block in body:
                x = block(x)
            x = layers.Add(name=f"skip_x{scale}", dtype=dtype)([body_conv(x), skip])
            x = SubpixelUpsample(scale, filters, name=f"upsample_x{scale}", dtype=dtype)(x)
            x = tails[scale](x)
            outputs[f"x{scale}"] = MeanShift(network.shift, sign=1, name=f"x{scale}")(x)
        super().__init__(inputs, outputs, name=name)

        # === Config ===
        self._finish(network, compile)

    def _finish(self, network, compile):
        self.set_scales({scale: self.output[f"x{scale}"] for scale in network.scales})
        self._branches = types.SimpleNamespace()  # not a dict, whose layers Keras would count and save once more
        super()._finish(network, compile)

    def _read_network(self):
        return dataclasses.replace(
            super()._read_network(),
            family="MDSR",
            scales=tuple(int(name.removeprefix("x")) for name in self.output),
            shared_tail=any(layer.name == "tail" for layer in self.layers),
        )

    def branch(self, scale):
        """Returns the network of one scale, an `MDSRBranch` that shares this model's weights; always the same one.

        Raises:
            ValueError: If the model does not have the scale.
        """
        super().branch(scale)
        kept = vars(self._branches)
        if scale not in kept:
            kept[scale] = MDSRBranch(self, scale)
        return kept[scale]


@keras.saving.register_keras_serializable(package="keras_edsr")
class MDSRBranch(SuperResolutionModel):
    """One scale of an MDSR as a model with a single output; `MDSR.branch` makes it.

    It shares the layers of the MDSR it came from: training one trains the other. Saved, it holds its own scale's
    weights only.

    Args:
        mdsr: The `MDSR`.
        scale: Integer, one of its scales.
        compile: Boolean, whether to compile the model with the paper's recipe. Defaults to True.

    Input shape: `(batch, height, width, channels)`, values in 0..255.
    Output shape: `(batch, scale * height, scale * width, channels)`, float32.
    """

    @clonable
    def __init__(self, mdsr, scale, compile=True):
        super().__init__(mdsr.input, mdsr.output[f"x{scale}"], name=f"{mdsr.name}_x{scale}")
        self._finish(dataclasses.replace(mdsr.network, scales=(scale,), is_branch=True), compile)

    def _read_network(self):
        scale = next(layer.scale for layer in self.layers if layer.name.startswith("upsample_x"))
        return dataclasses.replace(
            super()._read_network(),
            family="MDSR",
            scales=(scale,),
            shared_tail=any(layer.name == "tail" for layer in self.layers),
            is_branch=True,
            name=self.name.removesuffix(f"_x{scale}"),
        )

    @classmethod
    def from_config(cls, config, custom_objects=None):
        mdsr = MDSR.from_config({**config["mdsr"], "compile": False})
        return cls(mdsr, config["scale"], config.get("compile", True))


def _tails(scales, channels, filters, shared_tail):
    """The last convolution of each scale: one for all, or each its own."""
    if shared_tail:
        return dict.fromkeys(scales, convolution(channels, filters, name="tail", dtype="float32"))
    return {scale: convolution(channels, filters, name=f"tail_x{scale}", dtype="float32") for scale in scales}
