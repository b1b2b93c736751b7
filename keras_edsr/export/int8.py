"""EDSR and MDSR in 8 bits: the graph, the ranges of its tensors, and the images that determine them.

TensorFlow's converter can calibrate by itself. It then rounds each sum and each mean once more than necessary, and uses
the smallest and the largest value as the ends of a range. Here the graph contains the ranges as fake quantization,
which the converter uses unchanged:

* The result is 0..255 in steps of 1: one rounding, which also clips.
* The mean is subtracted in steps of 1, too. It is not an integer and differs between channels. An integer is therefore
  subtracted, and the rest comes from an additional input channel, which is white except for the padding.
* A range is the one with the smallest error. It excludes rare values if that makes the steps finer for all others.
Before
  the global skip it excludes none, because a clipped value there reaches the result: a bright sky would become dull.
* One range serves all channels of a tensor, and one channel carries the brightness, ten times as wide as the others.
The
  trunk's channels are therefore equalized before.

With this, edsr_compact_x2 loses 0.11 dB of its 37.59 dB on Set5 (calibrated on Kodak's 24); without the last two steps
it loses 0.38 dB.
"""

import os
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from .._imresize import imresize
from ..image_io import find_images, read_image
from ..image_ops import PEAK
from ..network import Add, Arrays, Convolve, Network, Shift, as_arrays, operations, weights
from ..network.graph import INPUT

IMAGES = 64
CROP_SIZE = 64  # LR pixels
_SAMPLES = 4000  # of each crop's values, for each of the tensors: 0.2 GB for a hundred of them
_LEVELS = 255  # steps in 8 bits

Ranges = dict[str, tuple[float, float]]  # by the name of what is rounded: the least and the largest value
Mark = Callable[[str, tf.Tensor], tf.Tensor]


# === Calibration ===


def find_ranges(network: Network, arrays: Arrays, crops: Iterable[NDArray[np.float32]]) -> dict[int, Ranges]:
    """Runs a network on images and returns the range of each of its results, by scale.

    Args:
        network: The network.
        arrays: Its weights.
        crops: As `calibration_crops` yields.
    """
    crops = list(crops)
    return {scale: _find_ranges(network, arrays, scale, crops) for scale in network.scales}


def calibration_crops(folder: str | os.PathLike, channels: int) -> Iterator[NDArray[np.float32]]:
    """Yields crops of up to `IMAGES` images, evenly picked from the sorted files: float32 `(h, w, channels)`.

    They are the middle of the image, and that of the image at half its size: photographs may be soft or sharp. Of fewer
    images, more places down the diagonal are taken.

    Raises:
        ValueError: If the folder holds no images, or one that cannot be read. The message has one line.
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


def _find_ranges(network, arrays, scale, crops):
    @tf.function(input_signature=[tf.TensorSpec([None, None, network.channels])], autograph=False)
    def run(crop):
        found = {}

        def record(name, x):
            values = tf.reshape(x, [-1])
            step = tf.bitwise.bitwise_or(tf.size(values) // _SAMPLES, 1)  # odd: else it meets the same channels
            found[name] = tf.stack([tf.reduce_min(values), tf.reduce_max(values)]) if _is_skip(name) else values[::step]
            return x

        run_network(network, arrays, scale, crop[None], record)
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


def balanced(network: Network, arrays: Arrays, crops: Iterable[NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Returns weights of the same network with the channels of its trunk closer to one range.

    The trunk is what the head writes, each block adds to and the upsampler reads. There is no activation on it, so a
    channel may be any number of times as large, if what writes it makes it so and what reads it divides by that (Nagel
    et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 4.1). The
    number is the square root of what would make all equal: beyond that the kernels' steps become too large.

    Args:
        network: The network.
        arrays: Its weights, which are left as they are.
        crops: As `calibration_crops` yields.
    """
    largest = _largest_on_trunk(network, arrays, crops)
    largest = np.maximum(largest, largest.max() / 100)  # a channel without values has no range
    factor = np.sqrt(largest.max() / largest)
    result = dict(arrays)
    for scale in network.scales:
        trunk = _trunk(network, scale)
        made = operations(network, scale)
        added = {name for operation in made if isinstance(operation, Add) for name in operation.inputs}
        for operation in made:
            if isinstance(operation, Convolve):
                kernel, bias = (arrays[f"{operation.path}/{name}"] for name in ("kernel", "bias"))
                if trunk.issuperset(operation.inputs):
                    kernel = kernel / factor[:, None]
                if operation.name == "head" or operation.name in added:
                    kernel, bias = kernel * factor, bias * factor
                result[f"{operation.path}/kernel"], result[f"{operation.path}/bias"] = kernel, bias
    return as_arrays(result)


def _trunk(network, scale):
    """The names of the results that are the trunk: what the head makes, and each sum."""
    return {"head", *(operation.name for operation in operations(network, scale) if isinstance(operation, Add))}


def _largest_on_trunk(network, arrays, crops):
    """The largest absolute value of each of the trunk's channels."""
    found: list[tf.Tensor] = []

    @tf.function(input_signature=[tf.TensorSpec([None, None, network.channels])], autograph=False)
    def run(crop):
        found.clear()
        for scale in network.scales:
            trunk = _trunk(network, scale)

            def record(name, x, trunk=trunk):
                if name in trunk:
                    found.append(tf.reduce_max(tf.abs(x), axis=(0, 1, 2)))
                return x

            run_network(network, arrays, scale, crop[None], record)
        return tf.reduce_max(tf.stack(found), axis=0)

    return np.max([run(crop).numpy() for crop in crops], axis=0)


# === The network ===


def rounded_network(network: Network, arrays: Arrays, scale: int, ranges: Ranges) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the function `(1, h, w, c)` to `(1, s*h, s*w, c)` that rounds to the ranges of `find_ranges`."""
    middle = _middle(network)
    last = [one for one in operations(network, scale) if isinstance(one, Convolve)][-1].name
    known = {**ranges, INPUT: (0.0, PEAK), "sub_mean": (-middle, PEAK - middle), last: (0.0, PEAK)}

    def fake(name, x):
        return tf.quantization.fake_quant_with_min_max_args(x, *known[name])

    return lambda lr: run_network(network, arrays, scale, lr, fake, _rounded_kernel)


def run_network(
    network: Network,
    arrays: Arrays,
    scale: int,
    x: tf.Tensor,
    mark: Mark,
    kernel_of: Callable[[NDArray], tf.Tensor] = tf.constant,
) -> tf.Tensor:
    """One scale of a network, on images `(n, h, w, c)` in 0..255.

    Args:
        network: The network.
        arrays: Its weights.
        scale: Integer.
        x: The images.
        mark: Function of a name and a tensor that is in 8 bits between two operations; its result is used instead.
        kernel_of: Function of each kernel; its result is used instead.
    """
    results = {INPUT: mark(INPUT, x)}
    for operation in operations(network, scale):
        x, *others = (results[name] for name in operation.inputs)
        if isinstance(operation, Shift):
            x = tf.pad(x, [[0, 0], [0, 0], [0, 0], [0, 1]], constant_values=PEAK)
            x = mark(operation.name, x - _middle(network))
        elif isinstance(operation, Convolve):
            kernel, bias = weights(operation, arrays)
            if x.shape[-1] > kernel.shape[2]:
                kernel = _with_white(network, kernel)
            x = tf.nn.conv2d(x, kernel_of(kernel.astype(np.float32)), 1, "SAME")
            x = tf.nn.bias_add(x, bias.astype(np.float32))
            x = mark(operation.name, tf.nn.relu(x) if operation.relu else x)
        elif isinstance(operation, Add):
            x = mark(operation.name, x + others[0])
        else:
            x = tf.nn.depth_to_space(x, operation.factor)
        results[operation.name] = x
    return x


def _with_white(network, kernel):
    """The head's kernel for the image less the middle, and the white channel that the rest of the mean comes from."""
    middle = _middle(network)
    rest = np.einsum("hwio,i->hwo", kernel, (middle - np.array(network.shift)) / (PEAK - middle))
    return np.concatenate([kernel, rest[:, :, None]], axis=2)


def _middle(network):
    """The whole number that is subtracted from the image."""
    return float(np.clip(np.rint(np.mean(network.shift)), 0, PEAK - 1))


def _rounded_kernel(kernel):
    """In 8 bits, each filter by its own step."""
    largest = np.maximum(np.abs(kernel).max(axis=(0, 1, 2)), np.float32(1e-6))
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(kernel, -largest, largest, narrow_range=True)
