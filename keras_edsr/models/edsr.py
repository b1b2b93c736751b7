"""EDSR, the single-scale network."""

import dataclasses
import math

import keras
from keras import layers, ops

from ..layers import MeanShift, ScaledResBlock, SubpixelUpsample, convolution
from ..network import Network
from .compiling import SuperResolutionModel, clonable


@keras.saving.register_keras_serializable(package="keras_edsr")
class EDSR(SuperResolutionModel):
    """EDSR: residual blocks without batch normalization, a global skip, sub-pixel upsampling.

    The defaults are the paper's final model; its baseline is `num_blocks=16, filters=64, residual_scaling=1.0`.
    The model is compiled on construction with the paper's recipe (L1; Adam 1e-4, halved every 200,000 updates), so
    that `fit` works at once; `compile` again for another.

    Args:
        scale: Integer, 2, 3, 4 or 8; or 1 for restoration at the same size, without an upsampler.
        num_blocks: Integer, residual blocks in the body. Defaults to 32.
        filters: Integer, channels of the body. Defaults to 256.
        residual_scaling: Float, factor on each block's branch. Defaults to 0.1; use 1.0 for 64 filters.
        image_shape: Tuple `(height, width, channels)`, None for any. Defaults to RGB of any size.
        mean: Sequence of floats in 0..255, one per channel, or one number for all, subtracted from the input and added
            to the output. Defaults to the mean of DIV2K: its RGB, or its gray for every channel when there are not
            three. With 0 no export has an operation for it.
        upsampler: String. "subpixel", the default, is the paper's: to `scale` times the size at `filters` channels,
            then the last convolution. "direct" makes `channels * scale**2` channels by the last convolution, and lays
            them out: all convolutions run at the size of the input, as phones and their accelerators want it.
        dtype: Dtype policy of the convolutions, such as "mixed_bfloat16". Defaults to Keras' global policy.
            The mean and the last convolution stay float32.
        name: String, the model's name.
        compile: Boolean, whether to compile the model with the paper's recipe. Defaults to True.

    Input shape: `(batch, height, width, channels)`, values in 0..255.
    Output shape: `(batch, scale * height, scale * width, channels)`, float32, neither clipped nor rounded.

    Attributes:
        halo: Integer, LR pixels of context that a tile needs on each side to give the whole image's values.

    Example:

    ```python
    model = keras_edsr.EDSR(scale=2, num_blocks=16, filters=64, residual_scaling=1.0)
    model.fit(keras_edsr.data.image_pairs("photos", scale=2), steps_per_epoch=1000, epochs=300)
    ```

    Reference: [Lim et al., 2017](https://arxiv.org/abs/1707.02921), figure 3 and table 1.
    """

    @clonable
    def __init__(
        self,
        scale,
        num_blocks=32,
        filters=256,
        residual_scaling=0.1,
        *,
        image_shape=(None, None, 3),
        mean=None,
        upsampler="subpixel",
        dtype=None,
        name=None,
        compile=True,
    ):
        # The name, not None: a model made under a global policy is loaded with it wherever that is done.
        dtype = keras.dtype_policies.get(dtype).name
        network = Network(
            "EDSR",
            (scale,),
            num_blocks,
            filters,
            residual_scaling,
            image_shape=image_shape,
            mean=mean,
            upsampler=upsampler,
            dtype=dtype,
        )

        # === Functional Model ===
        channels = network.channels
        inputs = keras.Input(network.image_shape, name="lr")
        x = MeanShift(network.shift, sign=-1, name="sub_mean")(inputs)
        x = head = convolution(filters, channels, name="head", dtype=dtype)(x)
        for i in range(num_blocks):
            x = ScaledResBlock(filters, residual_scaling=residual_scaling, name=f"body_{i}", dtype=dtype)(x)
        x = convolution(filters, filters, name="body_conv", dtype=dtype)(x)
        x = layers.Add(name="skip", dtype=dtype)([x, head])
        if upsampler == "direct":
            x = convolution(channels * scale**2, filters, name="tail", dtype="float32")(x)
            x = ops.depth_to_space(x, scale) if scale > 1 else x
        else:
            if scale > 1:
                x = SubpixelUpsample(scale, filters, name="upsample", dtype=dtype)(x)
            x = convolution(channels, filters, name="tail", dtype="float32")(x)
        outputs = MeanShift(network.shift, sign=1, name="add_mean")(x)
        super().__init__(inputs, outputs, name=name)

        # === Config ===
        self._finish(network, compile)

    def _read_network(self):
        network, names = super()._read_network(), {layer.name for layer in self.layers}
        filters, channels = self.get_layer("tail").filters, self.input.shape[-1]
        if "upsample" in names:
            return dataclasses.replace(network, scales=(self.get_layer("upsample").scale,))
        upsampler = "direct" if filters > channels else "subpixel"  # at scale 1 they are the same graph
        return dataclasses.replace(network, scales=(math.isqrt(filters // channels),), upsampler=upsampler)
