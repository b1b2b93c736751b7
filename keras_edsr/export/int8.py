"""EDSR and MDSR in 8 bits: the graph, the ranges of what is in it, and the images to find them by.

TensorFlow's converter can calibrate by itself. Then each sum and each mean is rounded once more than it has to be, and
the least and the largest value ever seen are the ends of a range. Here the ranges are in the graph, as fake
quantisation, which the converter takes as it is:

* the result is 0..255 in steps of 1: one rounding, which is the clip as well;
* the mean comes off in steps of 1, too. It is no whole number, and not the same for all channels; so a whole number is
  subtracted, and the rest comes from a further channel of the input, which is white but for the padding;
* a range is that with the least error. It leaves out what is rare where that makes the steps finer for all the rest;
  not before the global skip, for what is cut off there goes straight to the result: a bright sky becomes a dull one;
* one range serves all channels of a tensor, and one channel carries the brightness, ten times as wide as the others. So
  the trunk's channels are brought closer together before.

Of 37.59 dB on Set5, edsr_compact_x2 loses 0.11 dB so (calibrated on Kodak's 24), and without the last two 0.38 dB.
"""

import os
from collections.abc import Callable, Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ..image_io import find_images, read_image
from ..image_ops import PEAK
from ..imresize import imresize
from ..runtimes.about import About

IMAGES = 64
CROP_SIZE = 64  # LR pixels
_SAMPLES = 4000  # of each crop's values, for each of the tensors: 0.2 GB for a hundred of them
_LEVELS = 255  # steps in 8 bits

Ranges = dict[str, tuple[float, float]]  # by the name of what is rounded: the least and the largest value
Mark = Callable[[str, tf.Tensor], tf.Tensor]


# === Calibration ===


def find_ranges(model: keras.Model, about: About, crops: Iterable[NDArray[np.float32]]) -> dict[int, Ranges]:
    """Runs the network on images and returns the range of each of its tensors, by scale.

    Args:
        model: An `EDSR`, an `MDSR` or a branch, of float32.
        about: What `about_model` says of it.
        crops: As `calibration_crops` yields.
    """
    crops = list(crops)
    return {scale: _find_ranges(model, about, scale, crops) for scale in about.scales}


def calibration_crops(folder: str | os.PathLike, channels: int) -> Iterator[NDArray[np.float32]]:
    """Yields crops of up to `IMAGES` images, evenly picked from the sorted files: float32 `(h, w, channels)`.

    They are the middle of the image, and that of the image at half its size: photographs may be soft or sharp. Of fewer
    images, more places down the diagonal are taken.

    Raises:
        ValueError: The folder holds no images, or one that cannot be read; one line.
    """
    files = find_images(folder)
    count = min(IMAGES, len(files))
    places = -(-IMAGES // count)
    for i in range(count):
        image = read_image(files[i * len(files) // count], channels=1 if channels == 1 else 3)
        image = image.reshape(*image.shape[:2], -1)
        half = imresize(image, output_shape=(max(1, image.shape[0] // 2), max(1, image.shape[1] // 2)))
        for pixels in (image, half):
            spare = [max(0, side - CROP_SIZE) for side in pixels.shape[:2]]
            corners = {tuple(s * place // (places + 1) for s in spare) for place in range(1, places + 1)}
            for top, left in sorted(corners):
                crop = pixels[top : top + CROP_SIZE, left : left + CROP_SIZE]
                yield crop[..., [c % crop.shape[-1] for c in range(channels)]].astype(np.float32)


def _find_ranges(model, about, scale, crops):
    @tf.function(input_signature=[tf.TensorSpec([None, None, about.channels])], autograph=False)
    def run(crop):
        found = {}

        def record(name, x):
            values = tf.reshape(x, [-1])
            step = tf.bitwise.bitwise_or(tf.size(values) // _SAMPLES, 1)  # odd: else it meets the same channels
            found[name] = tf.stack([tf.reduce_min(values), tf.reduce_max(values)]) if _is_skip(name) else values[::step]
            return x

        network(model, about, scale, crop[None], record)
        return found

    found: dict[str, list] = {}
    for crop in crops:
        for name, values in run(crop).items():
            found.setdefault(name, []).append(values.numpy())
    ranges = {}
    for name, parts in found.items():
        values = np.concatenate(parts)
        ranges[name] = _whole_range(values) if _is_skip(name) else _best_range(values)
    return ranges


def _is_skip(name):
    """Whether the global skip takes this tensor, or, in an MDSR, one that it is added to before."""
    return "/" not in name and name.startswith(("head", "pre_"))


def _whole_range(values):
    least, largest = min(0.0, float(values.min())), max(0.0, float(values.max()))
    return (least, largest) if least < largest else (least, largest + 1.0)  # all zero: any range will do


def _best_range(values):
    """The part of the values' range, about zero, with the least mean squared error of rounding and clipping."""
    least, largest = _whole_range(values)

    def error(part):
        step = (largest - least) * part / _LEVELS
        rounded = np.clip(np.rint(values / step), np.rint(least * part / step), np.rint(largest * part / step))
        return np.square(rounded * step - values).mean()

    part = min(np.linspace(0.3, 1, 36), key=error)
    return least * part, largest * part


# === Channels of like ranges ===


def balanced(model: keras.Model, about: About, crops: Iterable[NDArray[np.float32]]) -> keras.Model:
    """Returns the same network with the channels of its trunk closer to one range.

    The trunk is what the head writes, each block adds to and the upsampler reads. There is no activation on it, so a
    channel may be any number of times as large, if what writes it makes it so and what reads it divides by that (Nagel
    et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 4.1). The
    number is the square root of what would make all equal: beyond that the kernels' steps become too large.

    Args:
        model: An `EDSR`, an `MDSR` or a branch, of float32; it is left as it is.
        about: What `about_model` says of it.
        crops: As `calibration_crops` yields.
    """
    largest = _largest_on_trunk(model, about, crops)
    largest = np.maximum(largest, largest.max() / 100)  # a channel without values has no range
    factor = np.sqrt(largest.max() / largest)
    result = keras.models.clone_model(model)
    result.set_weights(model.get_weights())
    for layer in result.layers:
        if layer.name == "head":
            _scale(layer, writes=factor)
        elif layer.name == "body_conv":
            _scale(layer, reads=factor, writes=factor)
        elif layer.name.startswith(("body_", "pre_")):
            _scale(layer.conv_1, reads=factor)
            _scale(layer.conv_2, writes=factor)
        elif layer.name.startswith("upsample"):
            _scale(layer.convs[0], reads=factor)
    return result


def _largest_on_trunk(model, about, crops):
    """The largest absolute value of each of the trunk's channels."""
    found = []

    def record(name, x):
        if "/" not in name and name.startswith(("head", "pre_", "body_", "skip")) and name != "body_conv":
            found.append(tf.reduce_max(tf.abs(x), axis=(0, 1, 2)))
        return x

    @tf.function(input_signature=[tf.TensorSpec([None, None, about.channels])], autograph=False)
    def run(crop):
        found.clear()
        for scale in about.scales:
            network(model, about, scale, crop[None], record)
        return tf.reduce_max(tf.stack(found), axis=0)

    return np.max([run(crop).numpy() for crop in crops], axis=0)


def _scale(conv, reads=1.0, writes=1.0):
    """Divides what a convolution reads by a factor for each channel, and multiplies what it writes."""
    kernel, bias = _weights(conv)
    conv.kernel.assign(kernel / np.reshape(reads, (-1, 1)) * writes)
    conv.bias.assign(bias * writes)


# === The network ===


def rounded_network(model: keras.Model, about: About, scale: int, ranges: Ranges) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the function `(1, h, w, c)` to `(1, s*h, s*w, c)` that rounds to the ranges of `find_ranges`."""
    middle = _middle(model)
    known = {**ranges, "lr": (0.0, PEAK), "centred": (-middle, PEAK - middle), "sr": (0.0, PEAK)}

    def fake(name, x):
        return tf.quantization.fake_quant_with_min_max_args(x, *known[name])

    return lambda lr: network(model, about, scale, lr, fake, _rounded_kernel)


def network(
    model: keras.Model,
    about: About,
    scale: int,
    x: tf.Tensor,
    mark: Mark,
    kernel_of: Callable[[NDArray], tf.Tensor] = tf.constant,
) -> tf.Tensor:
    """One scale of a model, on images `(n, h, w, c)` in 0..255.

    Args:
        model: The model.
        about: What `about_model` says of it.
        scale: Integer.
        x: The images.
        mark: Function of a name and a tensor that is in 8 bits between two operations; its result is used instead.
        kernel_of: Function of each kernel; its result is used instead.
    """
    names = {layer.name for layer in model.layers}

    def layer(name):
        """An MDSR has some of its layers once per scale, under names that end in it."""
        return model.get_layer(f"{name}_x{scale}" if f"{name}_x{scale}" in names else name)

    def conv(x, kernel, bias):
        return tf.nn.bias_add(tf.nn.conv2d(x, kernel_of(kernel), 1, "SAME"), bias)

    def block(name, x):
        own = model.get_layer(name)
        y = mark(f"{name}/conv_1", tf.nn.relu(conv(x, *_weights(own.conv_1))))
        kernel, bias = (array * np.float32(own.residual_scaling) for array in _weights(own.conv_2))
        y = mark(f"{name}/conv_2", conv(y, kernel, bias))
        return mark(name, x + y)

    middle = _middle(model)
    mean = np.array(model.get_layer("sub_mean").mean, np.float32)
    x = tf.pad(mark("lr", x), [[0, 0], [0, 0], [0, 0], [0, 1]], constant_values=PEAK)
    x = mark("centred", x - middle)
    kernel, bias = _weights(layer("head"))
    rest = np.einsum("hwio,i->hwo", kernel, (middle - mean) / (PEAK - middle))
    kernel = np.concatenate([kernel, rest[:, :, None].astype(np.float32)], axis=2)
    x = mark("head", conv(x, kernel, bias))
    for i in range(2 if about.family == "mdsr" else 0):
        x = block(f"pre_x{scale}_{i}", x)
    skip = x
    for i in range(about.num_blocks):
        x = block(f"body_{i}", x)
    x = mark("body_conv", conv(x, *_weights(layer("body_conv"))))
    x = mark("skip", x + skip)
    upsample = layer("upsample")
    for i, (convolution, factor) in enumerate(zip(upsample.convs, upsample.stages, strict=True)):
        x = mark(f"upsample_{i}", conv(x, *_weights(convolution)))
        x = tf.nn.depth_to_space(x, factor)
    kernel, bias = _weights(layer("tail"))
    return mark("sr", conv(x, kernel, bias + mean))  # nothing is padded after it: the bias may have the mean


def _middle(model):
    """The whole number that is subtracted from the image."""
    mean = np.array(model.get_layer("sub_mean").mean)
    return float(np.clip(np.rint(mean.mean()), 0, PEAK - 1))


def _weights(conv):
    with tf.init_scope():  # as constants, also while a graph is traced
        return [np.asarray(weight, np.float32) for weight in conv.weights]


def _rounded_kernel(kernel):
    """In 8 bits, each filter by its own step."""
    largest = np.maximum(np.abs(kernel).max(axis=(0, 1, 2)), np.float32(1e-6))
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(kernel, -largest, largest, narrow_range=True)
