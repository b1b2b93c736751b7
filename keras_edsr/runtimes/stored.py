"""A preset's model without TensorFlow: as much of a Keras model as `ncnn_networks` asks for."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from ..checkpoints import Network
from ..image_ops import channel_mean
from ..presets import read_config, read_state


class StoredModel:
    """Layers with their weights as arrays, under the names that they have in Keras.

    Args:
        folder: Path of a preset's folder.

    Attributes:
        name: String, the folder's.
        scales: Tuple of integers.
        halo: Integer, LR pixels of context that a tile needs.
        layers: Those that ncnn's network is made of.

    Raises:
        ValueError: The folder cannot be read, or is of another form; one line that names it.
    """

    def __init__(self, folder: Path):
        about = read_config(folder)
        try:
            config = about["config"]
            whole = config.get("mdsr", config)
            scales = (config["scale"],) if "scale" in config else tuple(config["scales"])
            family = "EDSR" if about["class_name"] == "EDSR" else "MDSR"
            network = Network(family, "", scales, whole["num_blocks"], whole["filters"])
            mean = whole["mean"] or channel_mean(whole["image_shape"][-1])
            self.name = folder.name
            self.scales = scales
            self.halo = network.halo
            self.layers = [SimpleNamespace(name="sub_mean", mean=mean), *_layers(read_state(folder), whole)]
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{folder} is no preset that keras_edsr can load: {error!r}.") from error

    def get_layer(self, name):
        """The layer of this name, as a Keras model gives it."""
        return next(layer for layer in self.layers if layer.name == name)


def _layers(state, config):
    """Groups arrays such as `body_0/conv_1/kernel` to layers that have what Keras' have."""
    groups: dict[str, dict[str, np.ndarray]] = {}
    for path, array in state.items():
        name, _, rest = path.partition("/")
        groups.setdefault(name, {})[rest] = array
    for name, arrays in groups.items():
        if "kernel" in arrays:
            yield _convolution(name, arrays, "")
            continue
        convs = [_convolution(name, arrays, f"conv_{i}/") for i in range(1, 1 + len(arrays) // 2)]
        yield SimpleNamespace(
            name=name,
            conv_1=convs[0],
            conv_2=convs[-1],
            residual_scaling=config["residual_scaling"] if name.startswith("body_") else 1.0,
            convs=convs,
            stages=[_factor(conv) for conv in convs],
        )


def _convolution(name, arrays, prefix):
    kernel, bias = arrays[f"{prefix}kernel"], arrays[f"{prefix}bias"]
    return SimpleNamespace(name=name, weights=(kernel, bias), filters=len(bias))


def _factor(conv):
    """Of the shuffle after a convolution: it makes `factor**2` channels of each."""
    kernel, bias = conv.weights
    return round((len(bias) / kernel.shape[2]) ** 0.5)
