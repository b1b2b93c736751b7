"""EDSR and MDSR as files of ncnn: for each scale a .param, a .bin and a small JSON.

The blobs are `data` and `output`, RGB planes in [0, 1]: what Real-ESRGAN-ncnn-vulkan and the programs built on it feed
and expect. The models are trained in 0..255. That needs no factor inside: convolutions and ReLU commute with a positive
factor, so that means and biases divided by 255 give the output divided by 255, and the features stay small enough for
half precision.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from .ncnn_graph import Graph, read_graph

FORMAT = 1  # of these files; raised when the writer changes, so that a cache is made again
PEAK = 255.0

Networks = dict[int, tuple[Graph, dict[str, Any]]]  # by scale: the network and what its JSON says


class NotForNcnnError(ValueError):
    """A model that is no EDSR, MDSR or branch."""


def ncnn_networks(model) -> Networks:
    """Makes the network of each scale of a Keras model.

    Args:
        model: An `EDSR`, an `MDSR` or a branch of one.

    Raises:
        NotForNcnnError: It is something else.
    """
    names = {layer.name for layer in getattr(model, "layers", ())}
    if not hasattr(model, "scales") or not {"sub_mean", "head", "body_0", "body_conv"} <= names:
        raise NotForNcnnError(
            "Only an EDSR, an MDSR or a branch of one becomes a model of ncnn. "
            f"Received: {type(model).__name__} {getattr(model, 'name', '')!r}."
        )
    return {scale: _network(model, scale, names) for scale in model.scales}


def ncnn_files(networks: Networks, name: str, source: str | None = None) -> dict[str, bytes]:
    """Writes networks as files, in memory.

    Args:
        networks: As `ncnn_networks` returns.
        name: String that the files' names begin with; they end in the scale.
        source: String that tells what the model was made from, for the JSON.

    Returns:
        File names to contents: for each scale `{name}-x{scale}.param`, `.bin` and `.json`. The JSON has `format`,
        `family` ("edsr" or "mdsr"), `scale`, `halo` (LR pixels), `channels`, `filters`, `num_blocks` and `source`.
    """
    files = {}
    for scale, (graph, about) in networks.items():
        stem = f"{name}-x{scale}"
        files[f"{stem}.param"] = graph.param()
        files[f"{stem}.bin"] = graph.weights()
        files[f"{stem}.json"] = json.dumps({**about, "source": source}, indent=1).encode()
    return files


def read_ncnn(path: Path) -> Networks:
    """Reads the files that `ncnn_files` wrote.

    Args:
        path: Path of one .param, with its .bin and .json beside it, or of a folder with one model's.

    Raises:
        ValueError: They are missing, damaged, of a newer version, or of several models; one line that names it.
    """
    params = sorted(path.glob("*.param")) if path.is_dir() else [path]
    networks: Networks = {}
    try:
        for param in params:
            about = _check_about(json.loads(param.with_suffix(".json").read_bytes()))
            if about["scale"] in networks:
                raise ValueError(f"it holds several models of scale {about['scale']}; name the .param of one")
            graph = read_graph(param.read_bytes(), param.with_suffix(".bin").read_bytes())
            networks[about["scale"]] = (graph, about)
        if not networks:
            raise ValueError("no .param is in it")
    except (ValueError, OSError, RecursionError) as error:
        raise ValueError(f"{path} is no model of ncnn that keras_edsr can load: {error}.") from None
    return networks


def _check_about(about):
    counts = ("scale", "halo", "channels", "filters")
    if not isinstance(about, dict) or any(not isinstance(about.get(name), int) for name in counts):
        raise ValueError(f"its .json does not tell {', '.join(counts)}")
    if about.get("format") != FORMAT:
        raise ValueError(f"its format is {about.get('format')}, not {FORMAT}: export it again")
    return about


def _network(model, scale, names):
    def layer(name):
        """An MDSR has some of its layers once per scale, under names that end in it."""
        own = f"{name}_x{scale}"
        return model.get_layer(own if own in names else name)

    pre = [f"pre_x{scale}_{i}" for i in range(2) if f"pre_x{scale}_{i}" in names]
    body = [name for i in range(len(names)) if (name := f"body_{i}") in names]
    mean = np.array(layer("sub_mean").mean) / PEAK

    graph = Graph()
    x = graph.input("data")
    x = graph.shift("sub_mean", x, -mean)  # of its own: zero padding comes after it
    x = graph.convolution("head", x, *_weights(layer("head")))
    for name in pre:
        x = _residual_block(graph, name, x, layer(name))
    x, skip = graph.split("skip", x)
    for name in body:
        x = _residual_block(graph, name, x, layer(name))
    x = graph.convolution("body_conv", x, *_weights(layer("body_conv")))
    x = graph.add("features", x, skip)
    upsample = layer("upsample")
    for i, (conv, factor) in enumerate(zip(upsample.convs, upsample.stages, strict=True)):
        kernel, bias = _weights(conv)
        x = graph.convolution(f"upsample_{i}", x, *_pixel_shuffle_order(kernel, bias, factor))
        x = graph.pixel_shuffle(f"shuffle_{i}", x, factor)
    kernel, bias = _weights(layer("tail"))
    graph.convolution("output", x, kernel, bias + mean)  # nothing is padded after it: the bias may have the mean
    return graph, {
        "format": FORMAT,
        "family": "mdsr" if pre else "edsr",
        "scale": scale,
        "halo": model.halo,
        "channels": len(mean),
        "filters": layer("head").filters,
        "num_blocks": len(body),
    }


def _residual_block(graph, name, x, block):
    x, skip = graph.split(f"{name}_in", x)
    x = graph.convolution(f"{name}_conv_1", x, *_weights(block.conv_1), relu=True)
    kernel, bias = (array * block.residual_scaling for array in _weights(block.conv_2))
    x = graph.convolution(f"{name}_conv_2", x, kernel, bias)
    return graph.add(name, x, skip)


def _weights(conv):
    """Kernel (out, in, height, width) and bias for images in [0, 1], in double precision until they are written."""
    kernel, bias = (np.asarray(weight).astype(np.float64) for weight in conv.weights)
    return kernel.transpose(3, 2, 0, 1), bias / PEAK


def _pixel_shuffle_order(kernel, bias, factor):
    """Reorders the outputs: depth_to_space takes them position first, PixelShuffle colour first, or colours mix."""
    order = np.arange(len(bias)).reshape(factor**2, -1).T.ravel()
    return kernel[order], bias[order]
