"""Weights as arrays under their Keras paths, such as `body_0/conv_1/kernel`: float32, `(height, width, in, out)`."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .graph import Convolve, convolutions
from .network import Network

Arrays = Mapping[str, NDArray[np.float32]]


def weight_shapes(network: Network) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every weight of a network by its path."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path, convolution in convolutions(network).items():
        shapes[f"{path}/kernel"] = convolution.shape
        shapes[f"{path}/bias"] = convolution.shape[3:]
    return shapes


def count_parameters(network: Network) -> int:
    """Returns how many weights a network has."""
    return sum(math.prod(shape) for shape in weight_shapes(network).values())


def check_arrays(network: Network, arrays: Arrays) -> None:
    """Makes sure that arrays are the weights of a network: each once, of its shape, and no other.

    Raises:
        ValueError: If they are not; half a line.
    """
    expected = weight_shapes(network)
    found = {path: array.shape for path, array in arrays.items()}
    if found != expected:
        path = next(path for path in sorted(found | expected) if found.get(path) != expected.get(path))
        raise ValueError(
            f"{network} must have a weight {path} of shape {expected.get(path)}, and the file has {found.get(path)}"
        )


def as_arrays(weights_by_path: Mapping[str, object]) -> dict[str, NDArray[np.float32]]:
    """Returns weights of any floating type as float32 arrays."""
    return {path: np.asarray(array).astype(np.float32, copy=False) for path, array in weights_by_path.items()}


def weights(convolution: Convolve, arrays: Arrays) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the kernel `(height, width, in, out)` and the bias of an operation, in double precision.

    The factor and the offsets that the operation has are in them.
    """
    kernel, bias = (arrays[f"{convolution.path}/{name}"].astype(np.float64) for name in ("kernel", "bias"))
    kernel, bias = kernel * convolution.gain, bias * convolution.gain
    return kernel, bias + np.array(convolution.offsets) if convolution.offsets else bias


def torch_weights(convolution: Convolve, arrays: Arrays) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """As `weights`, but the kernel `(out, in, height, width)` and the outputs as PixelShuffle takes them."""
    kernel, bias = weights(convolution, arrays)
    order = np.argsort(shuffle_order(len(bias), convolution.factor))
    return kernel.transpose(3, 2, 0, 1)[order], bias[order]


def shuffle_order(out_channels: int, factor: int) -> NDArray[np.intp]:
    """Where each output channel of a convolution before `depth_to_space` lies before PixelShuffle.

    PyTorch counts the feature first, then the place in the block of pixels; TensorFlow the place, then the feature.
    `kernel_of_tensorflow = kernel_of_torch[order]`; without that, colors and pixels mix.

    Args:
        out_channels: Channels of the convolution, a multiple of `factor**2`.
        factor: Of the shuffle; 1 leaves the order as it is.
    """
    return np.arange(out_channels).reshape(-1, factor**2).T.reshape(-1)
