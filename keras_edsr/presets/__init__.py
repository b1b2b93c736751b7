"""Presets: names for weights that ship, that the user has, or that were published; and where they are.

A name stands for, in this order: a folder that ships with the package; one in the user's weights folder; the authors'
published weights. Any other preset is the path of a folder that `save_to_preset` wrote. `models` makes the models:
TensorFlow is not imported here, but to download.
"""

from .lookup import CLASSES, CONFIG, WEIGHTS, find_model, locate, preset_names, read_config, read_state, say_unknown
from .official import LICENSE, SOURCE, Official, find_file, how_to_get, weights_folder

__all__ = [
    "CLASSES",
    "CONFIG",
    "LICENSE",
    "SOURCE",
    "WEIGHTS",
    "Official",
    "find_file",
    "find_model",
    "how_to_get",
    "locate",
    "preset_names",
    "read_config",
    "read_state",
    "say_unknown",
    "weights_folder",
]
