"""EDSR and MDSR as files of ncnn: for each scale a .param, a .bin and a small JSON.

The blobs are `data` and `output`, RGB planes in [0, 1]: what Real-ESRGAN-ncnn-vulkan and the programs built on it feed
and expect. The models are trained in 0..255. That needs no factor inside: convolutions and ReLU commute with a positive
factor, so that means and biases divided by 255 give the output divided by 255, and the features stay small enough for
half precision.
"""

import json
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from ..image_ops import PEAK
from ..network import About, Add, Arrays, Convolve, Network, Shift, operations, torch_weights
from ..network.about import FORMAT
from ..network.graph import FEATURES as SKIP
from ..network.graph import INPUT
from .ncnn_graph import Graph, read_graph
from .ncnn_rewrite import FEATURES

Networks = dict[int, tuple[Graph, About]]  # by scale


def is_ncnn(path: Path) -> bool:
    """Whether `path` is an exported model: a .param, or a folder of them that is not a preset's."""
    if path.suffix == ".param":
        return True
    return path.is_dir() and not (path / "config.json").exists() and any(path.glob("*.param"))


def ncnn_networks(network: Network, arrays: Arrays) -> Networks:
    """Makes the network of each scale.

    Args:
        network: The network.
        arrays: Its weights.
    """
    about = About.of(network)
    return {scale: (_graph(network, arrays, scale), about._replace(scales=(scale,))) for scale in network.scales}


def ncnn_files(networks: Networks, name: str) -> dict[str, bytes]:
    """Writes networks as files, in memory.

    Args:
        networks: As `ncnn_networks` returns.
        name: String that the files' names begin with; they end in the scale.

    Returns:
        File names to contents: for each scale `{name}-x{scale}.param`, `.bin` and `.json`. The JSON has `format`,
        `family` ("edsr" or "mdsr"), `scale`, `halo` (LR pixels), `channels`, `filters` and `num_blocks`.
    """
    files = {}
    for scale, (graph, about) in networks.items():
        stem = f"{name}-x{scale}"
        files[f"{stem}.param"] = graph.param()
        files[f"{stem}.bin"] = graph.weights()
        told = {name: getattr(about, name) for name in ("family", "halo", "channels", "filters", "num_blocks")}
        files[f"{stem}.json"] = json.dumps({"format": FORMAT, "scale": scale, **told}, indent=1).encode()
    return files


def read_ncnn(path: Path) -> Networks:
    """Reads the files that `ncnn_files` wrote.

    Args:
        path: Path of one .param, with its .bin and .json beside it, or of a folder with one model's.

    Raises:
        ValueError: If they are missing, damaged, of a newer version, or of several models. The message has one line
            and names it.
    """
    params = sorted(path.glob("*.param")) if path.is_dir() else [path]
    networks: Networks = {}
    try:
        for param in params:
            about = About.from_json(param.with_suffix(".json").read_bytes(), param, "a model of ncnn")
            (scale,) = about.scales
            if scale in networks:
                raise ValueError(f"it holds several models of scale {scale}; name the .param of one")
            graph = read_graph(param.read_bytes(), param.with_suffix(".bin").read_bytes())
            networks[scale] = (graph, about)
        if not networks:
            raise ValueError("no .param is in it")
    except (ValueError, OSError, RecursionError) as error:
        raise ValueError(f"{path} is not an ncnn model that keras_edsr can load: {error}.") from None
    return networks


def _graph(network: Network, arrays: Arrays, scale: int) -> Graph:
    made = operations(network, scale)
    # ncnn wants every blob taken once, and the programs that run it these names.
    uses = Counter(name for operation in made for name in operation.inputs)
    blobs: defaultdict[str, list[str]] = defaultdict(list)
    graph = Graph()

    def keep(name: str, blob: str) -> None:
        count = uses[name]
        blobs[name] += graph.split(f"{blob}_copy", blob, count) if count > 1 else (blob,)

    keep(INPUT, graph.input("data"))
    for operation in made:
        name = "output" if operation is made[-1] else operation.name.replace("/", "_")
        x, *others = [blobs[taken].pop(0) for taken in operation.inputs]
        if isinstance(operation, Shift):
            blob = graph.shift(name, x, np.array(operation.offsets) / PEAK)
        elif isinstance(operation, Convolve):
            kernel, bias = torch_weights(operation, arrays)
            blob = graph.convolution(name, x, kernel, bias / PEAK, relu=operation.relu)
        elif isinstance(operation, Add):
            blob = graph.add(FEATURES if name == SKIP else name, x, *others)
        else:
            blob = graph.pixel_shuffle(name, x, operation.factor)
        keep(operation.name, blob)
    return graph
