"""The linear end of a network as one convolution and one shuffle."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from .arrays import Arrays, torch_weights
from .graph import Convolve, Operation

Stage = tuple[NDArray, NDArray, int]  # kernel (out, in, height, width), bias, the factor of the PixelShuffle after it


def end_stages(end: Iterable[Operation], arrays: Arrays) -> list[Stage]:
    """Returns the convolutions of a linear end, as `graph.cut_end` gives it, for `merge_stages`."""
    convolutions = [operation for operation in end if isinstance(operation, Convolve)]
    return [(*torch_weights(convolution, arrays), convolution.factor) for convolution in convolutions]


def merge_stages(stages: Iterable[Stage]) -> Stage:
    """Returns the one convolution that does what these do one after the other, each with its shuffle.

    From the features on there is no activation: convolutions and shuffles are one linear map, the same at every LR
    pixel. It equals them but at the edge of the image, where each of them pads its own input with zeros, and the merged
    one only the features: what differs is the outermost LR pixel's part of the result.

    Returns:
        The kernel, such as `(channels * scale**2, filters, 5, 5)`, the bias, and the scale, in double precision.
    """
    *others, (last, last_bias, scale) = stages
    kernel, bias = last.astype(np.float64), last_bias.astype(np.float64)
    for first, first_bias, factor in reversed(others):
        kernel, bias = _merge(first, first_bias, factor, kernel, bias, scale)
        scale *= factor
    return kernel, bias, scale


def _merge(first, first_bias, factor, second, second_bias, scale):
    """Merges a convolution, a shuffle by `factor`, and a convolution whose outputs are to be shuffled by `scale`.

    Of the shuffled pixels that the second convolution sees around the one at (y, x) in its LR pixel, each is an output
    of the first at some LR pixel nearby: their products are added up where that one's kernel lies.
    """
    filters, size = first.shape[1], first.shape[-1]
    first = first.astype(np.float64).reshape(-1, factor, factor, filters * size * size)
    first_bias = first_bias.reshape(-1, factor, factor)
    outputs, reach = len(second), second.shape[-1] // 2
    lr_reach = (factor - 1 + reach) // factor  # of a shuffled pixel's neighbors, in LR pixels
    merged = np.zeros((factor, factor, outputs, filters, size + 2 * lr_reach, size + 2 * lr_reach))
    bias = np.zeros((factor, factor, outputs)) + second_bias
    for y, x, i, j in np.ndindex(factor, factor, *second.shape[2:]):
        (top, row), (left, column) = divmod(y + i - reach, factor), divmod(x + j - reach, factor)
        top, left = top + lr_reach, left + lr_reach
        part = second[:, :, i, j] @ first[:, row, column]  # (outputs, filters * size * size)
        merged[y, x, :, :, top : top + size, left : left + size] += part.reshape(outputs, filters, size, size)
        bias[y, x] += second[:, :, i, j] @ first_bias[:, row, column]
    return _interleave(merged, scale), _interleave(bias, scale)


def _interleave(array, scale):
    """`(y, x, (color, y', x'), …)` to `(color, y, y', x, x')` as the first axis: one shuffle by both factors."""
    factor, _, _, *rest = array.shape
    array = array.reshape(factor, factor, -1, scale, scale, *rest)
    order = (2, 0, 3, 1, 4, *range(5, array.ndim))
    return array.transpose(order).reshape(-1, *rest)
