"""From a preset's name to where it is, and to the network and the weights in it."""

import difflib
import json
import os
from pathlib import Path
from typing import Any

from .. import checkpoints
from .._version import __version__
from ..checkpoints.reader import naming, read_file
from ..checkpoints.safetensors import write_safetensors
from ..checkpoints.tensors import CheckpointError, read_weights
from ..files import atomic_file, reason
from ..network import Arrays, Network, as_arrays, check_arrays, count_parameters
from .official import OFFICIAL, Official, check_network, fetch, weights_folder

CONFIG = "config.json"
WEIGHTS = "model.safetensors"  # arrays under the paths of the Keras weights, such as body_0/conv_1/kernel

SHIPPED = Path(__file__).resolve().parent.parent / "weights"


def locate(preset: str | os.PathLike) -> Path | Official | None:
    """Returns what a preset stands for: a folder, published weights that need not be here, or None.

    Args:
        preset: A name, or the path of a folder.
    """
    path, folders = Path(preset), [Path(preset)]
    if isinstance(preset, str) and path.name == preset:  # a name: no part of a path leads to it
        folders = [SHIPPED / preset, weights_folder() / preset]
        if preset not in OFFICIAL:
            folders.append(path)
    folder = next((folder for folder in folders if (folder / CONFIG).is_file()), None)
    return folder or OFFICIAL.get(str(preset))


def find_model(model: str | os.PathLike) -> Path:
    """Returns where the model is that a preset or a path names; published weights are downloaded if need be.

    Args:
        model: A preset, or the path of any file; that one need not exist.

    Raises:
        ValueError: If the preset's weights are not available. The message has one line.
        OSError: If they cannot be downloaded. The message has one line.
    """
    found = locate(model)
    if found is None:
        return Path(model)
    return fetch(found) if isinstance(found, Official) else found


def preset_names() -> list[str]:
    """Returns the names of all presets: those of the package, the user's own, and the published ones."""
    configs = [path for place in (SHIPPED, weights_folder()) for path in sorted(place.glob(f"*/{CONFIG}"))]
    return list(dict.fromkeys([*(path.parent.name for path in configs), *OFFICIAL]))


def say_unknown(model: str | os.PathLike) -> str:
    """Returns advice for an unknown preset: the nearest names, and how to list all."""
    nearest = difflib.get_close_matches(os.fspath(model).lower(), preset_names(), n=3, cutoff=0.6)
    meant = f"Did you mean {' or '.join(nearest)}? " if nearest else ""
    return f"{meant}`keras-edsr info` lists all presets."


def read(preset: str | os.PathLike, class_name: str | None = None) -> tuple[Network, Arrays]:
    """Reads the network and the weights of a preset; published ones are downloaded if they are nowhere here.

    Args:
        preset: A name, or the path of a folder.
        class_name: Of the Keras class that it must be of; None for any.

    Raises:
        ValueError: If there is no such preset, or it is of another class, damaged, or not available. The message has
            one line.
        OSError: If it cannot be downloaded. The message has one line.
    """
    network, found = _find(preset, class_name)
    if isinstance(found, Path):
        return network, _read_weights(found, network)
    path = fetch(found)
    network, arrays = checkpoints.read_torch(path)
    check_network(path, network, found)
    return network, arrays


def read_without_weights(preset: str | os.PathLike, class_name: str | None = None) -> tuple[Network, None]:
    """Reads the network of a preset, as `read` does; reads and downloads no weights."""
    return _find(preset, class_name)[0], None


def _find(preset, class_name) -> tuple[Network, Path | Official]:
    shown, found = os.fspath(preset), locate(preset)
    if found is None:
        raise ValueError(f"{shown!r} is neither a preset nor a folder with one ({CONFIG}). {say_unknown(preset)}")
    network = found.network if isinstance(found, Official) else read_network(found)
    own = network.class_name
    if class_name not in (None, own):
        raise ValueError(f"The preset {shown!r} is an {own}, not an {class_name}. Use {own}.from_preset({shown!r}).")
    return network, found


def read_model(model: str | os.PathLike) -> tuple[Network, Arrays]:
    """Reads a network and its weights from whatever names one: a preset, or the path of a file of weights.

    Raises:
        ForeignModelError: If it is a .keras file with a model of another kind. The message has one line.
        ValueError: If `read` raises it.
        OSError: If `read` raises it.
    """
    if locate(model) is not None:
        return read(model)
    path = Path(model)
    if path.suffix not in (".keras", *checkpoints.SUFFIXES):
        raise ValueError(f"A model must be a .keras file or a preset. Received: {path}. {say_unknown(path)}")
    return checkpoints.read(path)


def write(folder: str | os.PathLike, network: Network, arrays: Arrays, *, overwrite: bool = False) -> None:
    """Writes the folder of a preset: config.json and the weights.

    config.json comes last: without it the folder is not a preset.

    Args:
        folder: Path of the folder; made if it is missing.
        network: The network.
        arrays: Its weights.
        overwrite: Whether the preset that is in the folder already may be replaced. Other files stay.

    Raises:
        ValueError: If the folder already has a preset, or cannot be written. The message has one line and names it.
    """
    folder = Path(folder)
    if (folder / CONFIG).exists() and not overwrite:
        raise ValueError(f"Cannot write {folder}: it holds a preset already, which only `overwrite` replaces.")
    about = {
        "class_name": network.class_name,
        "config": network.config(),
        "parameters": count_parameters(network),
        "keras_edsr": __version__,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(folder / WEIGHTS) as file:
            write_safetensors(file, arrays)
        with atomic_file(folder / CONFIG) as file:
            file.write(json.dumps(about, indent=1).encode() + b"\n")
    except OSError as error:
        raise ValueError(f"Cannot write {folder}: {reason(error)}.") from error


def read_config(folder: Path) -> dict[str, Any]:
    """Reads the config.json of a preset's folder.

    It has `class_name`, the name of a Keras class, and `config`, that of the model; `parameters`, how many there are;
    and for `keras-edsr info` may have `source`, `license` and `psnr`, the last as `{"Set5 (Y)": {"x2": 37.7}}`.

    Raises:
        ValueError: If it is missing or not valid. The message has one line and names the folder.
    """
    return _read_config(folder)[0]


def read_network(folder: Path) -> Network:
    """Reads the network that the config.json of a preset's folder describes.

    Raises:
        ValueError: If `read_config` raises it.
    """
    return _read_config(folder)[1]


def _read_config(folder: Path) -> tuple[dict[str, Any], Network]:
    try:
        about = json.loads((folder / CONFIG).read_bytes())
        if not isinstance(about, dict):
            raise ValueError("it is not a JSON object")
        return about, Network.from_config(about.get("class_name", ""), about.get("config", {}))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{folder} is not a preset that keras_edsr can load: {CONFIG}: {reason(error)}.") from error


def _read_weights(folder: Path, network: Network) -> Arrays:
    with naming(folder / WEIGHTS):
        content = read_file(folder / WEIGHTS)
        if content.file_format != "safetensors":
            raise CheckpointError("it is not in the format of safetensors")
        arrays = as_arrays({path: read_weights(path, content.tree) for path in content.tree})
    try:
        check_arrays(network, arrays)
    except ValueError as error:
        raise ValueError(f"{folder} is not a preset that keras_edsr can load: {error}.") from error
    return arrays
