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
    """Loads a model from a preset or a .keras, .pt, .pth or .safetensors file.

    Raises:
        ValueError: If there is no such preset or file, or it is damaged or not available. The message has one line.
        OSError: If it cannot be downloaded. The message has one line.
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
    super-image, inside the usual dicts and behind the usual prefixes. The function does not run code in the file. It
    uses every tensor exactly once, or rejects the file, and logs its conclusions to "keras_edsr".

    Args:
        path: Path of the file.
        layout: "edsr-pytorch" (torchSR's too), "basicsr" or "super-image"; detected by default. super-image has the
            names of EDSR-PyTorch but runs on 0..1 without the mean: the file's name (`pytorch_model_2x.pt`) or the
            config.json beside it identifies it. A file of another name needs `layout="super-image"`.
        residual_scaling: Factor on a block's branch, which files do not contain. Defaults to the published value: 0.1
            for EDSR with 256 filters or more, otherwise 1.
        dtype: Dtype policy of the model, as in `EDSR`.

    Returns:
        The model, for images in 0..255.

    Raises:
        CheckpointError: If the file cannot be read or is not safe, is not an EDSR or MDSR, or has too many tensors, too
            few, or wrong shapes. It is a ValueError. The message has one line, with what would match.

    Example:

    ```python
    model = keras_edsr.load_torch("edsr_baseline_x4-6b446fab.pt")
    model.save("edsr_baseline_x4.keras")
    ```
    """
    network, arrays = checkpoints.read_torch(path, layout, residual_scaling)
    return build(dataclasses.replace(network, dtype=dtype), arrays)


def save_torch(model, path: str | os.PathLike, *, layout: str = "edsr-pytorch", overwrite: bool = False) -> None:
    """Writes a model's weights as a PyTorch file, by an atomic write.

    `torch.load(path, weights_only=True)` reads it, or `safetensors.torch.load_file`, and `load_torch` gives the same
    weights to the bit.

    Args:
        model: An `EDSR`, an `MDSR` with a shared tail, or a branch of one.
        path: Path of the file, ending in .pt, .pth or .safetensors.
        layout: "edsr-pytorch", a bare state dict with the mean in it, or "basicsr", under the key `params`, for EDSR
            with the mean of DIV2K.
        overwrite: Boolean, whether an existing file may be replaced.

    Raises:
        CheckpointError: If the layout cannot express this model, or the file exists or cannot be written. It is a
            ValueError. The message has one line.
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
        ValueError: If it cannot be read. The message has one line and names it.
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise ValueError(f"A model must be a .keras file or a preset. Received: {path}. {presets.say_unknown(path)}")
    if path.is_file() and not zipfile.is_zipfile(path):  # for these Keras reports a missing file
        raise ValueError(f"{path} is not a model that keras_edsr can load: it is damaged, or not a .keras file.")
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # keras raises many kinds, and zipfile and h5py more
        raise ValueError(f"{path} is not a model that keras_edsr can load: {reason(error)}.") from error


def save_keras(model: keras.Model, path: str | os.PathLike, *, overwrite: bool = False) -> None:
    """Writes a .keras file, by an atomic write.

    Args:
        model: Any Keras model.
        path: Path of the file, ending in .keras.
        overwrite: Boolean, whether an existing file may be replaced.

    Raises:
        ValueError: If the file exists or cannot be written. The message has one line and names it.
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
