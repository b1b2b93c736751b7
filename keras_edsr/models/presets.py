"""Models of presets."""

import os

import keras

from ..presets import CONFIG, Official, find_model, locate, read_config, say_unknown
from ..presets.official import check_network
from .assign import network_of
from .files import load_file


def load_preset(preset: str | os.PathLike, cls: type | None = None) -> keras.Model:
    """Loads the model of a preset; published weights are downloaded if they are nowhere here.

    Args:
        preset: A name, or the path of a folder.
        cls: The class that it must be of; None for any.

    Raises:
        ValueError: There is no such preset, it is of another class, damaged, or not to be had; one line.
        OSError: It could not be downloaded; one line.
    """
    shown, found = os.fspath(preset), locate(preset)
    if found is None:
        raise ValueError(f"{shown!r} is neither a preset nor a folder with one ({CONFIG}). {say_unknown(preset)}")
    name = found.family if isinstance(found, Official) else read_config(found)["class_name"]
    if cls is not None and cls.__name__ != name:
        raise ValueError(
            f"The preset {shown!r} is an {name}, not an {cls.__name__}. Use {name}.from_preset({shown!r})."
        )
    path = find_model(preset)
    model = load_file(path)
    if isinstance(found, Official):
        check_network(path, network_of(model, found.network.layout), found)
    return model


def load_model(model: str | os.PathLike) -> keras.Model:
    """Loads a model by whatever names one: a preset, or the path of a .keras, .pt, .pth or .safetensors file.

    Raises:
        ValueError: As `load_preset`.
        OSError: As `load_preset`.
    """
    return load_file(model) if locate(model) is None else load_preset(model)
