"""The same network in fewer operations, for the CPU.

Two rewritings, both equal to the network but for float rounding. Times are of the whole network in ncnn, one thread of
an AMD EPYC (Zen 4), 256x256 LR.

`merge_linear_end`: from the features on there is no activation: the upsampler's convolutions, the shuffles and the last
convolution are one linear map, the same at every LR pixel. As one 5x5 convolution with `channels * scale**2` outputs
and one shuffle it needs a tenth of the work at x4, and no features at the size of the result. EDSR-baseline: 0.92 of
the time at x2, 0.63 at x4. Its outputs are filled up with zeros to whole registers: 12 and 27 channels are slow ones
(that takes 9 % off the compact networks' time at x2, 21 % at x3; two threads of a Zen 5). At the edge of the image the
two differ, because each convolution pads its own input with zeros, and the merged one only the features. For every
scale what differs is the outermost LR pixel's part of the result; that is computed by the layers as they were, from a
strip of the features.

`kernels_of_3`: ncnn has Winograd for 3x3 kernels only. A 5x5 kernel with a row and a column of zeros is four of 3x3,
each 3 pixels further; on four shifted copies of the input they are one 3x3 convolution. It takes 0.7 of the time of the
5x5 convolutions of MDSR, and half the memory.
"""

import numpy as np

from .ncnn_graph import END, NO_SGEMM, Graph

FEATURES = "features"  # the blob where the linear end begins
_REGISTER = 8  # float32 values of AVX's


def merge_linear_end(graph: Graph) -> tuple[Graph, Graph]:
    """Returns the network with its linear end merged, and that end as it was, which takes the blob `features`."""
    cut = 1 + next(i for i, layer in enumerate(graph.layers) if FEATURES in layer.outputs)
    merged, end = Graph(graph.layers[:cut]), Graph()
    end.input(FEATURES)
    end.layers += graph.layers[cut:]
    kernel, bias, scale = _merge_all(end)
    outputs, rest = len(kernel), -len(kernel) % _REGISTER
    kernel, bias = np.pad(kernel, [(0, rest), (0, 0), (0, 0), (0, 0)]), np.pad(bias, (0, rest))
    x = merged.convolution("merged", FEATURES, kernel, bias)
    # As a matrix product it is no faster, and takes 25 times the memory of the features.
    merged.layers[-1].settings[31] = NO_SGEMM
    if rest:
        x = merged.first_channels("merged_outputs", x, outputs)
    merged.pixel_shuffle(end.layers[-1].name, x, scale)
    return merged, end


def kernels_of_3(graph: Graph) -> Graph:
    """Returns the network with each 5x5 convolution as a 3x3 one."""
    result = Graph()
    for layer in graph.layers:
        if layer.kind == "Convolution" and layer.weights[0].shape[2:] == (5, 5):
            _append_of_3(result, layer)
        else:
            result.layers.append(layer)
    return result


def _append_of_3(graph, layer):
    kernel, bias = layer.weights
    kernel = np.pad(kernel, [(0, 0), (0, 0), (0, 1), (0, 1)])
    quarters = [(i, j) for i in (0, 3) for j in (0, 3)]
    kernel = np.concatenate([kernel[:, :, i : i + 3, j : j + 3] for i, j in quarters], axis=1)
    copies = graph.split(f"{layer.name}_copy", graph.pad(f"{layer.name}_pad", layer.inputs[0], 2, 3), 4)
    to = {0: -3, 3: END}
    shifted = tuple(
        graph.slice(f"{copy}_shift", copy, (i, to[i]), (j, to[j]))
        for copy, (i, j) in zip(copies, quarters, strict=True)
    )
    x = graph.concat(f"{layer.name}_shifts", shifted)
    graph.convolution(layer.name, x, kernel, bias, relu=9 in layer.settings, pad=False)


def _merge_all(end):
    """Returns the kernel `(channels * scale**2, filters, 5, 5)`, the bias and the scale of the linear end."""
    *stages, tail = [layer for layer in end.layers if layer.kind == "Convolution"]
    factors = [layer.settings[0] for layer in end.layers if layer.kind == "PixelShuffle"]
    kernel, bias = (array.astype(np.float64) for array in tail.weights)
    scale = 1
    for stage, factor in reversed(list(zip(stages, factors, strict=True))):
        first, first_bias = stage.weights
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
    lr_reach = (factor - 1 + reach) // factor  # of a shuffled pixel's neighbours, in LR pixels
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
    """`(y, x, (colour, y', x'), …)` to `(colour, y, y', x, x')` as the first axis: one shuffle by both factors."""
    factor, _, _, *rest = array.shape
    array = array.reshape(factor, factor, -1, scale, scale, *rest)
    order = (2, 0, 3, 1, 4, *range(5, array.ndim))
    return array.transpose(order).reshape(-1, *rest)
