import numpy as np
import pytest

from keras_edsr.runtimes.ncnn_graph import END, Graph, read_graph


def small():
    rng = np.random.default_rng(0)
    graph = Graph()
    x = graph.shift("shift", graph.input("data"), rng.normal(size=3))
    x, skip = graph.split("in", x)
    x = graph.convolution("conv", x, rng.normal(size=(12, 3, 3, 5)), rng.normal(size=12), relu=True)
    x = graph.convolution("back", x, rng.normal(size=(3, 12, 1, 1)), rng.normal(size=3))
    x = graph.add("sum", x, skip)
    graph.convolution("wide", x, rng.normal(size=(12, 3, 3, 3)), rng.normal(size=12))
    graph.pixel_shuffle("output", "wide", 2)
    return graph


def test_a_graph_is_written_as_ncnn_documents_it():
    lines = small().param().decode().splitlines()
    assert lines[:2] == ["7767517", "8 9"]  # layers, blobs
    assert lines[5].split() == "Convolution conv 1 1 in_0 conv 0=12 1=5 11=3 5=1 6=540 4=2 14=1 9=1".split()  # noqa: SIM905


def test_weights_are_a_tag_the_kernel_and_the_bias_in_little_endian():
    graph = Graph()
    graph.convolution("conv", graph.input("data"), np.arange(18).reshape(2, 1, 3, 3), np.array([7, 8]))
    data = graph.weights()
    assert data[:4] == b"\0\0\0\0"
    np.testing.assert_array_equal(np.frombuffer(data[4:], "<f4"), [*range(18), 7, 8])


def test_what_is_written_is_read():
    graph = small()
    again = read_graph(graph.param(), graph.weights())
    assert again.param() == graph.param()
    assert again.weights() == graph.weights()
    assert [layer.name for layer in again.layers] == [layer.name for layer in graph.layers]


def test_every_layer_of_ours_is_one_of_ncnn():
    ncnn = pytest.importorskip("ncnn", reason="needs ncnn: pip install 'keras-edsr[ncnn]'")
    graph = small()
    x = graph.pad("pad", "output", 1, 2)
    a, b = graph.split("copies", x)
    graph.concat("both", (graph.slice("a", a, (1, -2), (2, END)), graph.slice("b", b, (0, -3), (-4, -2))))
    net = ncnn.Net()
    assert net.load_param_mem(graph.param().decode()) == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda param, weights: (param[:-20], weights),
        lambda param, weights: (b"", weights),
        lambda param, weights: (b"\xff" + param, weights),
        lambda param, weights: (param, weights[:-1]),
        lambda param, weights: (param, weights[:-400]),
        lambda param, weights: (param, weights + b"\0\0\0\0"),
        lambda param, weights: (param, weights[:52] + b"\x47\x6b\x30\x01" + weights[56:]),  # the tag of float16
        lambda param, weights: (param.replace(b"PixelShuffle", b"Interp"), weights),
        lambda param, weights: (param.replace(b"0=12", b"0=0"), weights),
        lambda param, weights: (param.replace(b"0=12", b"0=-12"), weights),
        lambda param, weights: (param.replace(b"6=540", b"7=540"), weights),
        lambda param, weights: (param.replace(b"0=12", b"0=99999999999"), weights),
    ],
)
def test_what_is_damaged_is_refused(damage):
    graph = small()
    with pytest.raises(ValueError, match="not an EDSR or MDSR for ncnn"):
        read_graph(*damage(graph.param(), graph.weights()))
