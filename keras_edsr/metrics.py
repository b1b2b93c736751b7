"""PSNR and SSIM as Keras metrics, for `compile(metrics=[...])`.

They watch training. The numbers of a paper come from `evaluation`, in double precision and after
the one rounding to 8 bits.
"""

import math

import keras
from keras import ops

from .image_ops import LUMA_OFFSET, LUMA_WEIGHTS, PEAK
from .scores.measures import MAX_PSNR, SSIM_C1, SSIM_C2, SSIM_WINDOW, ssim_window


class _ImageQuality(keras.metrics.Mean):
    """The mean over images of a measure of two images that are cropped alike."""

    smallest = 1  # pixels a side that the measure needs

    def __init__(self, crop_border=0, y_channel=False, name=None, **kwargs):
        if isinstance(crop_border, bool) or not isinstance(crop_border, int) or crop_border < 0:
            raise ValueError(f"`crop_border` must be an integer, 0 or more. Received: crop_border={crop_border!r}.")
        super().__init__(name=name, **kwargs)
        self.crop_border = crop_border
        self.y_channel = y_channel

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch: two tensors `(batch, height, width, channels)` in 0..255, of any type.

        Args:
            y_true: The HR images.
            y_pred: The SR images, of the same shape.
            sample_weight: Optional, `(batch,)`, a weight for each image.

        Raises:
            ValueError: If the shapes differ, are not of four dimensions, or leave fewer pixels than
                the measure needs inside the border. Where a graph does not know the sizes when it
                is traced, the last is an error of TensorFlow when it runs.
        """
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        _check_shapes(y_true.shape, y_pred.shape)
        values = self.measure(self._prepare(y_true), self._prepare(y_pred))  # (batch,)
        super().update_state(values, sample_weight)

    def measure(self, y_true, y_pred):
        """The measure of each image: two float32 tensors `(b, h, w, c)` to `(b,)`."""
        raise NotImplementedError

    def get_config(self):
        config = super().get_config()
        return {**config, "crop_border": self.crop_border, "y_channel": self.y_channel}

    def _prepare(self, images):
        images = ops.cast(images, "float32")  # under every policy, because bfloat16 has 8 bits
        images = _crop(images, self.crop_border, self.smallest)
        return _luma(images) if self.y_channel else images


@keras.saving.register_keras_serializable(package="keras_edsr")
class PSNR(_ImageQuality):
    """Mean over images of the peak signal-to-noise ratio in dB.

    `PSNR = 10 log10(255^2 / MSE)`, with the mean error over all pixels and channels of an image.

    The metric neither clips nor rounds: the score of a float image differs from that of its 8-bit file by some
    hundredths of a dB. Two equal images have 100 dB instead of infinity, which no mean could include.

    Args:
        crop_border: Integer, pixels to exclude along each side: the scale for the benchmarks, scale + 6 for DIV2K.
            Defaults to 0.
        y_channel: Boolean, whether to compare BT.601's luma of RGB images. One-channel images are
            used unchanged. Defaults to `False`.
        name: String. Defaults to `"psnr"`.
        **kwargs: `dtype` of the sums, float32 by default.

    Input shape: two of `(batch, height, width, channels)`, in 0..255.

    Examples:
        >>> import numpy as np
        >>> metric = PSNR()
        >>> metric.update_state(np.zeros((1, 4, 4, 3)), np.ones((1, 4, 4, 3)))  # an error of 1 gray level
        >>> round(float(metric.result()), 2)
        48.13

    Example:

    ```python
    model.compile(loss="mae", metrics=[keras_edsr.metrics.PSNR(crop_border=2, y_channel=True)])
    ```
    """

    def __init__(self, crop_border=0, y_channel=False, name="psnr", **kwargs):
        super().__init__(crop_border, y_channel, name, **kwargs)

    def measure(self, y_true, y_pred):
        """Returns the PSNR of each image: two float32 tensors `(b, h, w, c)` to `(b,)`."""
        error = ops.mean(ops.square(y_true - y_pred), axis=(1, 2, 3))
        error = ops.maximum(error, PEAK**2 / 10 ** (MAX_PSNR / 10))
        return ops.log(PEAK**2 / error) * (10 / math.log(10))


@keras.saving.register_keras_serializable(package="keras_edsr")
class SSIM(_ImageQuality):
    """Mean over images of the structural similarity.

    The definition is that of Wang et al.: a Gaussian window of 11x11 with sigma 1.5, where it lies within the image;
    K1 = 0.01, K2 = 0.03, L = 255. Channels are compared separately and averaged. The paper's DIV2K column differs: its
    MATLAB script passed RGB images to `ssim`, which treated them as volumes.

    The metric neither clips nor rounds.

    Args:
        crop_border: Integer, pixels to exclude along each side: the scale for the benchmarks, scale + 6 for DIV2K.
            Defaults to 0.
        y_channel: Boolean, whether to compare BT.601's luma of RGB images. One-channel images are
            used unchanged. Defaults to `False`.
        name: String. Defaults to `"ssim"`.
        **kwargs: `dtype` of the sums, float32 by default.

    Input shape: two of `(batch, height, width, channels)`, in 0..255, of at least 11 pixels a side
    within the border.

    Reference: [Wang et al., 2004](https://doi.org/10.1109/TIP.2003.819861), section III.
    """

    smallest = SSIM_WINDOW

    def __init__(self, crop_border=0, y_channel=False, name="ssim", **kwargs):
        super().__init__(crop_border, y_channel, name, **kwargs)

    def measure(self, y_true, y_pred):
        """Returns the SSIM of each image: two float32 tensors `(b, h, w, c)` to `(b,)`."""
        # A variance is a difference of squares, and float32 has 24 bits for both: around the middle
        # of the range the squares are four times smaller.
        x, y = y_true - PEAK / 2, y_pred - PEAK / 2
        maps = ops.concatenate([x, y, ops.square(x) + ops.square(y), x * y], axis=-1)
        mean_x, mean_y, squares, product = ops.split(_blur(maps), 4, axis=-1)
        variances = squares - ops.square(mean_x) - ops.square(mean_y)
        covariance = product - mean_x * mean_y
        mean_x, mean_y = mean_x + PEAK / 2, mean_y + PEAK / 2

        luminance = (2 * mean_x * mean_y + SSIM_C1) / (ops.square(mean_x) + ops.square(mean_y) + SSIM_C1)
        structure = (2 * covariance + SSIM_C2) / (variances + SSIM_C2)
        return ops.mean(luminance * structure, axis=(1, 2, 3))


def _blur(x):
    """Gaussian window along height and width, 'valid': `(b, h, w, c)` to `(b, h-10, w-10, c)`."""
    # Slices and sums, not a convolution: on a GPU that would round to TF32, 10 bits of mantissa.
    height, width = _size(x)
    rows, columns = height - SSIM_WINDOW + 1, width - SSIM_WINDOW + 1
    window = ssim_window()
    x = sum(weight * x[:, i : i + rows] for i, weight in enumerate(window))
    return sum(weight * x[:, :, i : i + columns] for i, weight in enumerate(window))


def _luma(images):
    """`image_ops.luma` of a batch: `(b, h, w, 3)` to `(b, h, w, 1)`."""
    channels = images.shape[-1]
    if channels == 1:
        return images
    if channels != 3:
        raise ValueError(f"`y_channel=True` needs images of 3 channels, RGB, or of 1. Received: {channels} channels.")
    # No matrix product: on a GPU that, too, would round to TF32.
    red, green, blue = (weight / 255 * images[..., i : i + 1] for i, weight in enumerate(LUMA_WEIGHTS))
    return red + green + blue + LUMA_OFFSET


def _crop(images, border, smallest):
    height, width = _size(images)
    needed = 2 * border + smallest
    for size in (height, width):
        if isinstance(size, int) and size < needed:
            raise ValueError(
                f"Images must have at least {needed} pixels a side: {smallest} within a border "
                f"of {border}. Received: images of {height}x{width}. Use larger images or a "
                "smaller `crop_border`."
            )
    # Where a size is a tensor, the slice asks for `smallest` pixels at least, and so fails on an
    # image that has fewer. Without it the mean over no pixels would be NaN, and so the epoch's.
    sizes = [
        size - 2 * border if isinstance(size, int) else ops.maximum(size - 2 * border, smallest)
        for size in (height, width)
    ]
    with keras.name_scope(f"images_need_{needed}_pixels_a_side"):  # TensorFlow's error shows it
        images = images[:, : height - border, : width - border]
        start = (0, border, border, 0)
        return ops.slice(images, start, (ops.shape(images)[0], *sizes, images.shape[-1]))


def _size(images):
    """Height and width of `(b, h, w, c)`: integers where the graph knows them, else tensors."""
    return ops.shape(images)[1:3]


def _check_shapes(true, pred):
    same = len(true) == len(pred) and all(a == b or None in (a, b) for a, b in zip(true, pred, strict=True))
    if len(true) != 4 or not same:
        raise ValueError(
            "Both images must be (batch, height, width, channels), of one shape. "
            f"Received: y_true of {tuple(true)}, y_pred of {tuple(pred)}."
        )
