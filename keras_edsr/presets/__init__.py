"""Presets: names for weights that ship, that the user has, or that were published; and where they are.

A name stands for, in this order: a folder that ships with the package; one in the user's weights folder; the authors'
published weights. Any other preset is the path of a folder that `save_to_preset` wrote.
"""

from .lookup import (
    CONFIG,
    WEIGHTS,
    find_model,
    locate,
    preset_names,
    read,
    read_config,
    read_model,
    read_network,
    read_without_weights,
    say_unknown,
    write,
)
from .official import LICENSE, SOURCE, Official, find_file, how_to_get, weights_folder

__all__ = [
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
    "read",
    "read_config",
    "read_model",
    "read_network",
    "read_without_weights",
    "say_unknown",
    "weights_folder",
    "write",
]
