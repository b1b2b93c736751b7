import numpy as np
import pytest
from reference import conv2d, pair, pixel_shuffle

from keras_edsr.models import EDSR, MDSR
from keras_edsr.runtimes.ncnn_format import ncnn_networks
from keras_edsr.runtimes.ncnn_graph import END
from keras_edsr.runtimes.ncnn_rewrite import FEATURES, kernels_of_3, merge_linear_end


def run(graph, image):
    """The blobs (h, w, c) of a graph, in NumPy and double precision."""
    blobs = {graph.layers[0].name: image}
    for layer in graph.layers[1:]:
        results = _KINDS[layer.kind](layer, *(blobs[name] for name in layer.inputs))
        blobs |= dict(zip(layer.outputs, results if isinstance(results, list) else [results], strict=True))
    return blobs


def _convolution(layer, x):
    kernel, bias = layer.weights
    x = conv2d(x, kernel.astype(float).transpose(2, 3, 1, 0), bias)
    if 14 not in layer.settings:  # no padding
        x = x[1:-1, 1:-1]
    return np.maximum(x, 0) if 9 in layer.settings else x


def _crop(layer, x):
    if 5 in layer.settings:
        return x[..., : layer.settings[5]]
    starts, ends = ([int(text) for text in layer.settings[key].split(",")[1:]] for key in (-23309, -23310))
    return x[tuple(slice(a, None if b == END else b) for a, b in zip(starts, ends, strict=True))]


_KINDS = {
    "Convolution": _convolution,
    "PixelShuffle": lambda layer, x: pixel_shuffle(x, layer.settings[0]),
    "Crop": _crop,
    "Scale": lambda layer, x: x * layer.weights[0] + layer.weights[1],
    "Split": lambda layer, x: [x] * len(layer.outputs),
    "BinaryOp": lambda layer, x, y: x + y,
    "Padding": lambda layer, x: np.pad(x, [(layer.settings[0], layer.settings[1])] * 2 + [(0, 0)]),
    "Concat": lambda layer, *blobs: np.concatenate(blobs, axis=-1),
}


def image(height, width, channels=3):
    return np.random.default_rng(0).uniform(size=(height, width, channels))


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_the_merged_end_is_the_network_but_for_the_outermost_pixel(scale):
    graph, _ = ncnn_networks(*pair(EDSR(scale, 1, 4, 1.0)))[scale]
    merged, _ = merge_linear_end(graph)
    expected, got = (run(each, image(9, 8))["output"] for each in (graph, merged))
    inside = np.s_[scale:-scale, scale:-scale]
    np.testing.assert_allclose(got[inside], expected[inside], atol=1e-7)
    assert not np.allclose(got, expected, atol=1e-3)  # at the edge the padding is another


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_the_outermost_pixel_needs_three_features(scale):
    graph, _ = ncnn_networks(*pair(EDSR(scale, 1, 4, 1.0)))[scale]
    _, end = merge_linear_end(graph)
    blobs = run(graph, image(9, 8))
    strip = run(end, blobs[FEATURES][:3])["output"]
    np.testing.assert_allclose(strip[:scale], blobs["output"][:scale], atol=1e-12)


def test_the_merged_end_is_one_convolution_and_one_shuffle():
    graph, _ = ncnn_networks(*pair(EDSR(4, 1, 4, 1.0)))[4]
    merged, _ = merge_linear_end(graph)
    *_, convolution, shuffle = merged.layers
    assert convolution.weights[0].shape == (3 * 4**2, 4, 5, 5)
    assert (shuffle.kind, shuffle.settings[0]) == ("PixelShuffle", 4)


@pytest.mark.parametrize(("scale", "outputs"), [(2, 16), (3, 32), (4, 48)])
def test_the_merged_end_fills_whole_registers(scale, outputs):
    graph, _ = ncnn_networks(*pair(EDSR(scale, 1, 4, 1.0)))[scale]
    merged, _ = merge_linear_end(graph)
    [convolution] = [layer for layer in merged.layers if layer.name == "merged"]
    assert len(convolution.weights[0]) == outputs
    assert merged.layers[-1].inputs == (("merged",) if scale == 4 else ("merged_outputs",))


def test_a_gray_network_is_merged():
    graph, _ = ncnn_networks(*pair(EDSR(2, 1, 4, 1.0, image_shape=(None, None, 1))))[2]
    merged, _ = merge_linear_end(graph)
    expected, got = (run(each, image(6, 7, 1))["output"] for each in (graph, merged))
    np.testing.assert_allclose(got[2:-2, 2:-2], expected[2:-2, 2:-2], atol=1e-7)


@pytest.mark.parametrize(("height", "width"), [(9, 8), (1, 1), (2, 5)])
def test_kernels_of_5_are_kernels_of_3(height, width):
    graph, _ = ncnn_networks(*pair(MDSR((2, 3), 1, 4)))[3]
    rewritten = kernels_of_3(graph)
    shapes = {layer.weights[0].shape[2:] for layer in rewritten.layers if layer.kind == "Convolution"}
    assert shapes == {(1, 1), (3, 3)}  # that of 1 subtracts the mean
    expected, got = (run(each, image(height, width))["output"] for each in (graph, rewritten))
    np.testing.assert_allclose(got, expected, atol=1e-12)
