"""The three layers of EDSR and MDSR."""

import math

import keras
from keras import layers, ops

from .image_ops import DIV2K_MEAN
from .network.checks import check_positive, check_scale
from .network.graph import stages


def convolution(filters, in_channels, kernel_size=3, **kwargs):
    """Returns a zero-padded convolution, initialized as in the official code.

    Torch7 and PyTorch draw kernel and bias from U(-1/sqrt(fan_in), 1/sqrt(fan_in)). Keras' default, Glorot uniform
    with a zero bias, is 1.7 times as large for equal channels in and out. Without batch normalization that factor
    multiplies through 16 to 80 blocks, and the first steps at learning rate 1e-4 are far from the published ones.

    Args:
        filters: Integer, channels of the output.
        in_channels: Integer, channels of the input; the bias' range needs the fan-in.
        kernel_size: Odd integer. Defaults to 3.
        **kwargs: Passed to `keras.layers.Conv2D`.
    """
    bound = 1 / math.sqrt(in_channels * kernel_size**2)
    return layers.Conv2D(
        filters,
        kernel_size,
        padding="same",
        kernel_initializer=keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform"),
        bias_initializer=keras.initializers.RandomUniform(-bound, bound),
        **kwargs,
    )


@keras.saving.register_keras_serializable(package="keras_edsr")
class MeanShift(layers.Layer):
    """Subtracts or adds a constant per channel.

    `y = x + sign * mean`

    Models have one before the first convolution and one after the last. It is not folded into a bias, because zero
    padding must follow the subtraction: otherwise border pixels would see black instead of the mean color. Its dtype
    is float32 under every global policy, because in bfloat16 the values 128..255 are a whole gray level apart.

    Args:
        mean: Sequence of floats, one per channel, in the units of the image (0..255). Defaults to DIV2K's mean RGB.
        sign: -1 to subtract the mean, 1 to add it. Defaults to -1.

    Input shape: `(batch, height, width, len(mean))`.
    Output shape: the same, float32.

    Raises:
        ValueError: If `sign` is neither -1 nor 1, or the input has other channels than `mean`.

    Examples:
        >>> import numpy as np
        >>> MeanShift(mean=(100, 110, 120))(np.full((1, 1, 1, 3), 128.0)).numpy()
        array([[[[28., 18.,  8.]]]], dtype=float32)

    Reference: [Lim et al., 2017](https://arxiv.org/abs/1707.02921), section 4.2.
    """

    def __init__(self, mean=DIV2K_MEAN, sign=-1, **kwargs):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        if sign not in (-1, 1):
            raise ValueError(f"`sign` must be -1 (subtract) or 1 (add). Received: sign={sign!r}.")
        self.mean = tuple(float(value) for value in mean)
        self.sign = sign

    def build(self, input_shape):
        if input_shape[-1] != len(self.mean):
            raise ValueError(
                f"The input must have one channel per value of `mean`. Received: {input_shape[-1]} channels, "
                f"mean={self.mean}. Pass a `mean` of {input_shape[-1]} values."
            )

    def call(self, inputs):
        # Cast first: Keras does not cast integers, and in uint8 the mean would lose its fraction and wrap.
        pixels = ops.cast(inputs, self.compute_dtype)
        return pixels + self.sign * ops.convert_to_tensor(self.mean, dtype=self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "mean": self.mean, "sign": self.sign}


@keras.saving.register_keras_serializable(package="keras_edsr")
class ScaledResBlock(layers.Layer):
    """Residual block without batch normalization, with its branch scaled before the sum.

    `y = x + residual_scaling * conv(relu(conv(x)))`

    Args:
        filters: Integer, channels of both convolutions; must equal the input's.
        kernel_size: Odd integer, 3 in the body and 5 in MDSR's pre-processing blocks. Defaults to 3.
        residual_scaling: Float, 0.1 in the paper's large models. Defaults to 1.

    Input shape: `(batch, height, width, filters)`.
    Output shape: the same.

    Examples:
        >>> import numpy as np
        >>> block = ScaledResBlock(1, residual_scaling=0.1)
        >>> block.build((None, 2, 2, 1))
        >>> block.set_weights([np.ones((3, 3, 1, 1)), np.zeros(1)] * 2)  # each convolution sums 3x3 pixels
        >>> block(np.ones((1, 2, 2, 1))).numpy().round(3)[0, :, :, 0]  # 1 + 0.1 * (4 + 4 + 4 + 4)
        array([[2.6, 2.6],
               [2.6, 2.6]], dtype=float32)

    Reference: [Lim et al., 2017](https://arxiv.org/abs/1707.02921), section 3.2.
    """

    def __init__(self, filters, kernel_size=3, residual_scaling=1.0, **kwargs):
        super().__init__(**kwargs)
        self.filters = check_positive("filters", filters)
        self.kernel_size = kernel_size
        self.residual_scaling = residual_scaling
        self.conv_1 = convolution(
            filters, filters, kernel_size, activation="relu", name="conv_1", dtype=self.dtype_policy
        )
        self.conv_2 = convolution(filters, filters, kernel_size, name="conv_2", dtype=self.dtype_policy)

    def build(self, input_shape):
        if input_shape[-1] != self.filters:
            raise ValueError(
                f"`filters` must equal the input's channels, or the sum is undefined. "
                f"Received: filters={self.filters}, input shape {tuple(input_shape)}."
            )
        self.conv_1.build(input_shape)
        self.conv_2.build(input_shape)

    def call(self, inputs):
        residual = self.conv_2(self.conv_1(inputs))
        if self.residual_scaling != 1:
            residual = residual * self.residual_scaling
        return inputs + _keep_apart(residual, inputs.shape)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "residual_scaling": self.residual_scaling,
        }


def _keep_apart(residual, shape):
    """Keeps TensorFlow from fusing convolution and sum.

    oneDNN's kernel of both keeps pointers between calls (in 2.21), so that parallel requests crash a server, or could
    mix their pixels. The other backends have no such kernel.
    """
    if keras.backend.backend() != "tensorflow":
        return residual
    import tensorflow as tf

    return tf.ensure_shape(residual, shape)


@keras.saving.register_keras_serializable(package="keras_edsr")
class SubpixelUpsample(layers.Layer):
    """Sub-pixel upsampling: a convolution makes the new pixels as channels, and depth_to_space arranges them.

    Scales 2 and 3 have one stage, 4 has two stages of 2, and 8 has three. There is no activation. The channels are in
    TensorFlow's order, with the sub-pixel position first, which differs from that of PyTorch's PixelShuffle.

    Args:
        scale: Integer, 2, 3, 4 or 8.
        filters: Integer, channels of the input and of the output.
        kernel_size: Odd integer. Defaults to 3.

    Input shape: `(batch, height, width, filters)`.
    Output shape: `(batch, scale * height, scale * width, filters)`.

    Raises:
        ValueError: If `scale` is not one of the four.

    Examples:
        >>> import numpy as np
        >>> upsample = SubpixelUpsample(scale=2, filters=1, kernel_size=1)
        >>> upsample.build((None, None, None, 1))
        >>> upsample.set_weights([np.array([[[[1.0, 2.0, 3.0, 4.0]]]]), np.zeros(4)])
        >>> upsample(np.array([[[[1.0], [10.0]]]])).numpy()[0, :, :, 0]
        array([[ 1.,  2., 10., 20.],
               [ 3.,  4., 30., 40.]], dtype=float32)

    Reference: [Shi et al., 2016](https://arxiv.org/abs/1609.05158), section 3;
    [Lim et al., 2017](https://arxiv.org/abs/1707.02921), figure 3.
    """

    def __init__(self, scale, filters, kernel_size=3, **kwargs):
        super().__init__(**kwargs)
        self.scale = check_scale(scale)
        self.filters = check_positive("filters", filters)
        self.kernel_size = kernel_size
        self.stages = stages(self.scale)
        self.convs = [
            convolution(
                self.filters * factor**2,
                self.filters,
                kernel_size,
                name=f"conv_{i}",
                dtype=self.dtype_policy,
            )
            for i, factor in enumerate(self.stages, start=1)
        ]

    def build(self, input_shape):
        if input_shape[-1] != self.filters:
            raise ValueError(
                f"`filters` must equal the input's channels. "
                f"Received: filters={self.filters}, input shape {tuple(input_shape)}."
            )
        for conv in self.convs:
            conv.build(input_shape)

    def call(self, inputs):
        x = inputs
        for conv, factor in zip(self.convs, self.stages, strict=True):
            x = ops.depth_to_space(conv(x), factor)  # (b, factor * h, factor * w, filters)
        return x

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        sizes = (side and side * self.scale for side in (height, width))
        return (batch, *sizes, self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "scale": self.scale,
            "filters": self.filters,
            "kernel_size": self.kernel_size,
        }
