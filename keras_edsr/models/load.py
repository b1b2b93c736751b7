"""Models from files and into them."""

import dataclasses
import os
import zipfile
from pathlib import Path

import keras

from .. import checkpoints, presets
from ..files import atomic_path, reason
from ..network import Arrays, Network
from .base import NetworkModel
from .edsr import EDSR
from .mdsr import MDSR, MDSRBranch

_CLASSES: dict[str, type[NetworkModel]] = {cls.__name__: cls for cls in (EDSR, MDSR, MDSRBranch)}


def build(network: Network, arrays: Arrays) -> EDSR | MDSR | MDSRBranch:
    """Returns the Keras model of a network, with its weights."""
    return _CLASSES[network.class_name].from_network(network, arrays)


def load_model(model: str | os.PathLike) -> keras.Model:
    """Loads a model by whatever names one: a preset, or the path of a .keras, .pt, .pth or .safetensors file.

    Raises:
        ValueError: There is no such preset or file, it is damaged, or not to be had; one line.
        OSError: It could not be downloaded; one line.
    """
    try:
        return build(*presets.read_model(model))
    except checkpoints.ForeignModelError:
        return load_keras(model)


def load_torch(
    path: str | os.PathLike,
    *,
    layout: str | None = None,
    residual_scaling: float | None = None,
    dtype: str | None = None,
) -> EDSR | MDSR:
    """Makes a Keras model of an EDSR's or MDSR's PyTorch weights.

    Reads zip and older files of torch.save and .safetensors, with the names of EDSR-PyTorch, torchSR, BasicSR and
    super-image, inside the usual dicts and behind the usual prefixes. Nothing in the file is run. Every tensor is used
    exactly once, or the file is refused. What was concluded is logged to "keras_edsr".

    Args:
        path: Path of the file.
        layout: "edsr-pytorch" (torchSR's too), "basicsr" or "super-image"; by default it is found out. super-image has
            the names of EDSR-PyTorch but runs on 0..1 without the mean: it is known by its file's name
            (`pytorch_model_2x.pt`) or the config.json beside it. A file of another name needs `layout="super-image"`.
        residual_scaling: Factor on a block's branch, which no file holds. Defaults to what was published: 0.1 for EDSR
            from 256 filters on, else 1.
        dtype: Dtype policy of the model, as in `EDSR`.

    Returns:
        The model, for images in 0..255.

    Raises:
        CheckpointError: A ValueError: the file cannot be read or is not to be trusted, is no EDSR or MDSR, or has
            tensors too many, too few or of the wrong shape; one line that says which and what would fit.

    Example:

    ```python
    model = keras_edsr.load_torch("edsr_baseline_x4-6b446fab.pt")
    model.save("edsr_baseline_x4.keras")
    ```
    """
    network, arrays = checkpoints.read_torch(path, layout, residual_scaling)
    return build(dataclasses.replace(network, dtype=dtype), arrays)


def save_torch(model, path: str | os.PathLike, *, layout: str = "edsr-pytorch", overwrite: bool = False) -> None:
    """Writes a model's weights as a PyTorch file, whole or not at all.

    `torch.load(path, weights_only=True)` reads it, or `safetensors.torch.load_file`, and `load_torch` gives the same
    weights to the bit.

    Args:
        model: An `EDSR`, an `MDSR` with a shared tail, or a branch of one.
        path: Path of the file, ending in .pt, .pth or .safetensors.
        layout: "edsr-pytorch", a bare state dict with the mean in it, or "basicsr", under the key `params`, for EDSR
            with the mean of DIV2K.
        overwrite: Whether a file that is already there may be replaced.

    Raises:
        CheckpointError: A ValueError: the layout has no place for this model, the file is there already or cannot be
            written; one line.
    """
    if not isinstance(model, NetworkModel):
        raise checkpoints.CheckpointError(
            f"Cannot write {path}: `model` must be an EDSR, an MDSR or a branch of one. "
            f"Received: {type(model).__name__}."
        )
    checkpoints.write_torch(path, model.network, model.get_arrays(), layout, overwrite=overwrite)


# === .keras ===


def load_keras(path: str | os.PathLike) -> keras.Model:
    """Loads a .keras file, of this package or not.

    Raises:
        ValueError: It cannot be read; one line that names it.
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise ValueError(f"A model must be a .keras file or a preset. Received: {path}. {presets.say_unknown(path)}")
    if path.is_file() and not zipfile.is_zipfile(path):  # of which Keras says that it is not found
        raise ValueError(f"{path} is not a model that keras_edsr can load: it is damaged, or not a .keras file.")
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # keras raises many kinds, and zipfile and h5py more
        raise ValueError(f"{path} is not a model that keras_edsr can load: {reason(error)}.") from error


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
        raise ValueError(f"Cannot write {path}: it already exists; pass `overwrite` to replace it.")
    try:
        with atomic_path(path) as part:  # Keras writes by name and looks at the suffix
            model.save(part)
    except OSError as error:
        raise ValueError(f"Cannot write {path}: {reason(error)}.") from error
