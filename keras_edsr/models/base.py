"""What every model of this package has from its `Network`: config, weights by path, presets."""

import dataclasses

import keras
import numpy as np

from .. import presets
from ..network import halo
from ..network.network import CLASSES


class _Presets:
    """The attribute `presets` of a class: its presets by name, each with its metadata, as Keras Hub's classes have."""

    def __get__(self, instance, owner):
        if instance is not None:  # Keras looks at every attribute of a model that it saves
            raise AttributeError("`presets` is an attribute of the class, not of a model.")
        found = {name: presets.read_without_weights(name)[0] for name in presets.preset_names()}
        return {
            name: {"metadata": {"description": str(network), "scales": network.scales}}
            for name, network in found.items()
            if owner._family() in (None, network.class_name)
        }


class NetworkModel(keras.Model):
    """Base of the models: a functional model that is one `Network`.

    A subclass builds its graph, then calls `_set_network`; its constructor takes what `Network.config` gives.

    Attributes:
        network: The `Network`.
        scales: Tuple of integers; `scale` is the integer where the model has a single output.
        halo: Integer, LR pixels of context that a tile needs on each side to give the whole image's values.
    """

    def _set_network(self, network):
        """Takes what the model is."""
        # A branch's config has the name of its MDSR.
        self.network = network if network.is_branch else dataclasses.replace(network, name=self.name)
        own = "upsampler" if network.family == "EDSR" else "shared_tail"
        for name in ("scales", "num_blocks", "filters", "residual_scaling", "image_shape", "mean", own):
            setattr(self, name, getattr(network, name))
        if not isinstance(self.output, dict):
            self.scale = network.scales[0]
        self.halo = halo(network)

    def get_config(self):
        # Files and presets of compiled models, which are most, have no word of it.
        return self.network.config() | ({} if self.compiled else {"compile": False})

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)

    @classmethod
    def from_network(cls, network, arrays=None, **overrides):
        """Returns the model of a network.

        Args:
            network: A `Network` of this class.
            arrays: Its weights by path, as `get_arrays` returns; None to leave them random.
            **overrides: Arguments of the constructor to use in place of the network's.
        """
        if network.class_name != cls._family():
            raise ValueError(f"`network` must be an {cls._family()}. Received: {network.class_name}.")
        model = cls.from_config({**network.config(), **overrides})
        if arrays is not None:
            for weight in model.weights:
                weight.assign(arrays[weight.path])
        return model

    @classmethod
    def _family(cls):
        """The name of the package's class that this is, or is derived from; None for one that has no network."""
        return next((base.__name__ for base in cls.__mro__ if base.__name__ in CLASSES), None)

    def get_arrays(self):
        """Returns the weights by path, such as "body_0/conv_1/kernel", as float32 arrays."""
        return {weight.path: np.asarray(keras.ops.convert_to_numpy(weight), np.float32) for weight in self.weights}

    presets = _Presets()

    @classmethod
    def from_preset(cls, preset, load_weights=True, dtype=None, **overrides):
        """Returns the model of a preset, with its weights.

        `SuperResolutionModel.from_preset` returns an `EDSR` or an `MDSR`, whichever the preset is.

        Args:
            preset: String, a name that `keras-edsr info` lists, such as "edsr_baseline_x2"; or the path of a
                folder that `save_to_preset` wrote. Published weights are looked for in `$KERAS_EDSR_WEIGHTS`, or
                without that in the cache, under every name they are known by, and downloaded there if need be.
            load_weights: Boolean, whether to load the weights; without them the model has random ones.
            dtype: Dtype policy of the convolutions. Defaults to the preset's.
            **overrides: Arguments of the constructor, such as `name` or `compile`, in place of the preset's.

        Raises:
            ValueError: If there is no such preset, or it is of another class, damaged, or not available.
            OSError: If it cannot be downloaded.
        """
        read = presets.read if load_weights else presets.read_without_weights
        network, arrays = read(preset, cls._family())
        if dtype is not None:
            overrides["dtype"] = dtype
        return _class_of(network, cls).from_network(network, arrays, **overrides)

    def save_to_preset(self, folder, overwrite=False):
        """Writes the model to a folder, config.json and weights, for `from_preset`, without the optimizer's state.

        Args:
            folder: Path of the folder; made if it is missing.
            overwrite: Boolean, whether an existing preset in the folder may be replaced.

        Raises:
            ValueError: If the folder already has a preset, or cannot be written.
        """
        presets.write(folder, self.network, self.get_arrays(), overwrite=overwrite)


def _class_of(network, cls):
    """The class itself, or, if it has no network of its own, the one of its subclasses that is made for this."""
    if cls._family() is not None:
        return cls
    below = [cls]
    for each in below:
        below += each.__subclasses__()
    return next(each for each in below if each.__name__ == network.class_name)
