"""What every model of this package has from its `Network`: config, weights by path, presets."""

import dataclasses

import keras
import numpy as np

from .. import presets
from ..network import halo


class NetworkModel(keras.Model):
    """Base of the models: a functional model that is one `Network`.

    A subclass builds its graph, then calls `_set_network`; its constructor takes what `Network.config` gives.

    Attributes:
        network: The `Network`.
        scales: Tuple of integers; `scale` is the integer where the model has a single output.
        halo: Integer, LR pixels of context that a tile needs on each side to give the whole image's values.
    """

    def _set_network(self, network, outputs):
        """Takes what the model is, and its symbolic outputs by scale."""
        # A branch's config has the name of its MDSR.
        self.network = network if network.is_branch else dataclasses.replace(network, name=self.name)
        own = "upsampler" if network.family == "EDSR" else "shared_tail"
        for name in ("scales", "num_blocks", "filters", "residual_scaling", "image_shape", "mean", own):
            setattr(self, name, getattr(network, name))
        if not isinstance(self.output, dict):
            self.scale = network.scales[0]
        self.halo = halo(network)
        self._set_branches(outputs, network.dtype)

    def get_config(self):
        return self.network.config()

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)

    @classmethod
    def from_network(cls, network, arrays):
        """Returns the model of a network.

        Args:
            network: A `Network` of this class.
            arrays: Its weights by path, as `get_arrays` returns.
        """
        if network.class_name != cls.__name__:
            raise ValueError(f"`network` must be an {cls.__name__}. Received: {network.class_name}.")
        model = cls.from_config(network.config())
        for weight in model.weights:
            weight.assign(arrays[weight.path])
        return model

    def get_arrays(self):
        """Returns the weights by path, such as "body_0/conv_1/kernel", as float32 arrays."""
        return {weight.path: np.asarray(keras.ops.convert_to_numpy(weight), np.float32) for weight in self.weights}

    @classmethod
    def from_preset(cls, name_or_folder):
        """Returns the model of a preset, with its weights.

        Args:
            name_or_folder: String, a name that `keras-edsr info` lists, such as "edsr_baseline_x2"; or the path of a
                folder that `save_to_preset` wrote. The method searches `$KERAS_EDSR_WEIGHTS`, or by default the
                cache, for published weights under all their names, and downloads them there if necessary.

        Raises:
            ValueError: If there is no such preset, or it is of another class, damaged, or not available.
            OSError: If it cannot be downloaded.
        """
        return cls.from_network(*presets.read(name_or_folder, cls.__name__))

    def save_to_preset(self, folder, overwrite=False):
        """Writes the model to a folder, config.json and weights, for `from_preset`, without the optimizer's state.

        Args:
            folder: Path of the folder; made if it is missing.
            overwrite: Boolean, whether an existing preset in the folder may be replaced.

        Raises:
            ValueError: If the folder already has a preset, or cannot be written.
        """
        presets.write(folder, self.network, self.get_arrays(), overwrite=overwrite)
