"""Between a state dict and a network's weights: which tensor is which, in which order, of which range."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..network import Arrays, Network, shuffle_order
from .layouts import convolutions
from .tensors import Tensor, read_weights


def to_arrays(
    network: Network, layout: str, state: Mapping[str, Tensor], value_range: float
) -> dict[str, NDArray[np.float32]]:
    """Returns the weights of a state dict that `detect.check` has passed, by their Keras paths.

    A network that was trained on images in 0..1 becomes one for 0..255 here. That is exact in real numbers, for only
    factors move: `conv(x / 255, k) + b = conv(x, k / 255) + b` at the head, and at the tail kernel and bias times 255.
    Zero padding is zero in both units. (What cannot move is an offset, the mean: see `MeanShift`.) The rounding of two
    kernels is all that changes: 16 blocks of 64 filters are 4.8e-4 gray levels from the sum in float64 that way,
    and 5.4e-4 with the division in the graph.

    Args:
        network: What the state dict is.
        layout: The layout of its names.
        state: The tensors by name.
        value_range: 255, or 1 when the tensors are for images in 0..1.

    Raises:
        CheckpointError: If a weight is NaN, infinite, or too large for float32.
    """
    arrays = {}
    for name, convolution in convolutions(network, layout).items():
        kernel, bias = (read_weights(f"{name}.{part}", state) for part in ("weight", "bias"))
        if value_range != 255 and convolution.name == "head":
            kernel = kernel.astype(np.float64) * (value_range / 255)
        elif value_range != 255 and convolution.name == "tail":
            kernel, bias = (values.astype(np.float64) * (255 / value_range) for values in (kernel, bias))
        order = shuffle_order(len(bias), convolution.factor)
        arrays[f"{convolution.path}/kernel"] = kernel[order].transpose(2, 3, 1, 0).astype(np.float32)
        arrays[f"{convolution.path}/bias"] = bias[order].astype(np.float32)
    return arrays


def to_state(network: Network, layout: str, arrays: Arrays) -> dict[str, NDArray[np.float32]]:
    """Returns the state dict of a network, without the mean."""
    state = {}
    for name, convolution in convolutions(network, layout).items():
        kernel, bias = (arrays[f"{convolution.path}/{part}"] for part in ("kernel", "bias"))
        order = np.argsort(shuffle_order(len(bias), convolution.factor))
        state[f"{name}.weight"] = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)[order])
        state[f"{name}.bias"] = bias[order]
    return state
