"""Models on disk: a .keras file, a checkpoint of PyTorch, or the folder of a preset."""

import json
import os
import zipfile
from pathlib import Path

import keras

from .. import checkpoints
from .._version import __version__
from ..checkpoints.safetensors import write_safetensors
from ..files import atomic_file, atomic_path, reason
from ..presets import CONFIG, WEIGHTS, read_config, read_state, say_unknown
from .edsr import EDSR
from .mdsr import MDSR, MDSRBranch
from .torch_weights import load_torch

_CLASSES = {cls.__name__: cls for cls in (EDSR, MDSR, MDSRBranch)}


def load_file(path: str | os.PathLike) -> keras.Model:
    """Loads a model from whatever it is in; the suffix tells.

    Args:
        path: Path of a .keras file, of PyTorch's .pt, .pth or .safetensors, or of a preset's folder.

    Raises:
        ValueError: It cannot be read; one line that names it.
    """
    path = Path(path)
    if path.is_dir() and (path / CONFIG).exists():
        return load_folder(path)
    if path.suffix in checkpoints.SUFFIXES:
        return load_torch(path)
    return load_keras(path)


# === .keras ===


def load_keras(path: str | os.PathLike) -> keras.Model:
    """Loads a .keras file, of this package or not.

    Raises:
        ValueError: It cannot be read; one line that names it.
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise ValueError(f"A model must be a .keras file or a preset. Received: {path}. {say_unknown(path)}")
    if path.is_file() and not zipfile.is_zipfile(path):  # of which Keras says that it is not found
        raise ValueError(f"{path} is no model that keras_edsr can load: it is no .keras file, or it is damaged")
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # keras raises many kinds, and zipfile and h5py more
        raise ValueError(f"{path} is no model that keras_edsr can load: {reason(error)}") from error


def save_keras(model: keras.Model, path: str | os.PathLike, *, overwrite: bool = False) -> None:
    """Writes a .keras file, whole or not at all.

    Args:
        model: Any Keras model.
        path: Path of the file, ending in .keras.
        overwrite: Whether a file that is already there may be replaced.

    Raises:
        ValueError: The file is there already or cannot be written; one line that names it.
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise ValueError(f"Cannot write {path}: a Keras file must end in .keras.")
    if path.exists() and not overwrite:
        raise ValueError(f"Cannot write {path}: it exists already; it is replaced only with `overwrite`.")
    try:
        with atomic_path(path) as part:  # Keras writes by name and looks at the suffix
            model.save(part)
    except OSError as error:
        raise ValueError(f"Cannot write {path}: {reason(error)}.") from error


# === The folder of a preset ===


def load_folder(folder: Path) -> EDSR | MDSR | MDSRBranch:
    """Loads the model in a preset's folder.

    Raises:
        ValueError: It is no such folder, or damaged; one line that names it.
    """
    about = read_config(folder)
    try:
        model = _CLASSES[about["class_name"]].from_config(about["config"])
    except Exception as error:  # of keras, as above
        raise ValueError(f"{folder} is no preset that keras_edsr can load: {reason(error)}") from error
    state = read_state(folder)
    expected = {weight.path: tuple(weight.shape) for weight in model.weights}
    found = {path: array.shape for path, array in state.items()}
    if found != expected:
        path = next(path for path in sorted(found | expected) if found.get(path) != expected.get(path))
        raise ValueError(
            f"{folder} is no preset that keras_edsr can load: {CONFIG} tells of a weight {path} of shape "
            f"{expected.get(path)}, {WEIGHTS} of {found.get(path)}."
        )
    for weight in model.weights:
        weight.assign(state[weight.path])
    return model


def save_folder(model: EDSR | MDSR | MDSRBranch, folder: str | os.PathLike, *, overwrite: bool = False) -> None:
    """Writes a model as the folder of a preset: config.json and the weights, without the optimizer's state.

    config.json comes last: without it the folder is no preset.

    Args:
        model: The model.
        folder: Path of the folder; made if it is missing.
        overwrite: Whether the preset that is in the folder already may be replaced. Other files stay.

    Raises:
        ValueError: The folder holds a preset already, or cannot be written; one line that names it.
    """
    folder = Path(folder)
    if (folder / CONFIG).exists() and not overwrite:
        raise ValueError(f"Cannot write {folder}: it holds a preset already, which only `overwrite` replaces.")
    about = {
        "class_name": type(model).__name__,
        "config": model.get_config(),
        "parameters": model.count_params(),
        "keras_edsr": __version__,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(folder / WEIGHTS) as file:
            write_safetensors(file, {weight.path: weight.numpy() for weight in model.weights})
        with atomic_file(folder / CONFIG) as file:
            file.write(json.dumps(about, indent=1).encode() + b"\n")
    except OSError as error:
        raise ValueError(f"Cannot write {folder}: {reason(error)}.") from error
