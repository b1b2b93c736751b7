"""From a preset's name to where it is."""

import difflib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checkpoints.reader import naming, read_file
from ..checkpoints.tensors import CheckpointError, read_weights
from .official import OFFICIAL, Official, fetch, weights_folder

CONFIG = "config.json"
WEIGHTS = "model.safetensors"  # arrays under the paths of the Keras weights, such as body_0/conv_1/kernel
CLASSES = ("EDSR", "MDSR", "MDSRBranch")

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
        ValueError: The preset's weights are not to be had; one line.
        OSError: They could not be downloaded; one line.
    """
    found = locate(model)
    if found is None:
        return Path(model)
    return fetch(found) if isinstance(found, Official) else found


def preset_names() -> list[str]:
    """The names of all presets: those that ship, the user's own, the published ones."""
    configs = [path for place in (SHIPPED, weights_folder()) for path in sorted(place.glob(f"*/{CONFIG}"))]
    return list(dict.fromkeys([*(path.parent.name for path in configs), *OFFICIAL]))


def say_unknown(model: str | os.PathLike) -> str:
    """Returns what helps who named a preset that there is not: the nearest names, and how to list all."""
    nearest = difflib.get_close_matches(os.fspath(model).lower(), preset_names(), n=3, cutoff=0.6)
    meant = f"Did you mean {' or '.join(nearest)}? " if nearest else ""
    return f"{meant}`keras-edsr info` lists all presets."


def read_config(folder: Path) -> dict[str, Any]:
    """Reads what the config.json of a preset's folder says.

    It has `class_name`, one of `CLASSES`, and `config`, that of the model; `parameters`, how many there are; and for
    `keras-edsr info` may have `source`, `license` and `psnr`, the last as `{"Set5 (Y)": {"x2": 37.7}}`.

    Raises:
        ValueError: It is missing or is not that; one line that names the folder.
    """
    try:
        about = json.loads((folder / CONFIG).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{folder} is no preset: its {CONFIG} cannot be read ({error}).") from error
    match about:
        case {"class_name": str(name), "config": dict()} if name in CLASSES:
            return about
    raise ValueError(f"{folder} is no preset: its {CONFIG} names no class of {', '.join(CLASSES)}, or has no config.")


def read_state(folder: Path) -> dict[str, NDArray[np.floating]]:
    """Reads the weights of a preset's folder.

    Returns:
        Arrays by the paths of the Keras weights, such as `body_0/conv_1/kernel`.

    Raises:
        ValueError: They are missing, damaged, or not in the format of safetensors; one line that names the file.
    """
    with naming(folder / WEIGHTS):
        content = read_file(folder / WEIGHTS)
        if content.file_format != "safetensors":
            raise CheckpointError("it is not in the format of safetensors")
        return {path: read_weights(path, content.tree) for path in content.tree}
