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

from ..network.merge import Stage, merge_stages
from .ncnn_graph import END, NO_SGEMM, Graph

FEATURES = "features"  # the blob where the linear end begins
_REGISTER = 8  # float32 values of AVX's


def merge_linear_end(graph: Graph) -> tuple[Graph, Graph]:
    """Returns the network with its linear end merged, and that end as it was, which takes the blob `features`."""
    cut = 1 + next(i for i, layer in enumerate(graph.layers) if FEATURES in layer.outputs)
    merged, end = Graph(graph.layers[:cut]), Graph()
    end.input(FEATURES)
    end.layers += graph.layers[cut:]
    kernel, bias, scale = merge_stages(_stages(end))
    outputs, rest = len(kernel), -len(kernel) % _REGISTER
    kernel, bias = np.pad(kernel, [(0, rest), (0, 0), (0, 0), (0, 0)]), np.pad(bias, (0, rest))
    x = merged.convolution("merged", FEATURES, kernel, bias)
    # A matrix product is not faster, and needs 25 times the memory of the features.
    merged.layers[-1].settings[31] = NO_SGEMM
    if rest:
        x = merged.first_channels("merged_outputs", x, outputs)
    merged.pixel_shuffle(end.layers[-1].name, x, scale)
    return merged, end


def has_one_convolution(graph: Graph) -> bool:
    """Whether there is nothing to merge: the linear end is a single convolution already."""
    cut = next(i for i, layer in enumerate(graph.layers) if FEATURES in layer.outputs)
    return sum(layer.kind == "Convolution" for layer in graph.layers[cut:]) == 1


def _stages(end: Graph) -> list[Stage]:
    stages: list[Stage] = []
    for layer in end.layers:
        if layer.kind == "Convolution":
            kernel, bias = layer.weights
            stages.append((kernel, bias, 1))
        elif layer.kind == "PixelShuffle":
            kernel, bias, _ = stages[-1]
            stages[-1] = (kernel, bias, layer.settings[0])
    return stages


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
