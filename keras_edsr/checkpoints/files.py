"""From a file to a network and its weights, and back."""

import logging
import os
from pathlib import Path

from ..files import atomic_file, reason
from ..network import Arrays, Network, default_residual_scaling
from .description import open_checkpoint
from .keras_files import read_keras
from .layouts import WRITABLE, check_layout
from .means import mean_tensors
from .reader import naming
from .safetensors import write_safetensors
from .state import to_arrays, to_state
from .tensors import CheckpointError
from .writer import write_torch_zip

SUFFIXES = (".pt", ".pth", ".safetensors")

_log = logging.getLogger("keras_edsr")


def read(path: Path) -> tuple[Network, Arrays]:
    """Reads a checkpoint of PyTorch or a .keras file of this package, by the suffix.

    Raises:
        ForeignModelError: If it is a .keras file with another model.
        ValueError: If it cannot be read. The message has one line and names it.
    """
    return read_torch(path) if path.suffix in SUFFIXES else read_keras(path)


def read_torch(
    path: str | os.PathLike, layout: str | None = None, residual_scaling: float | None = None
) -> tuple[Network, Arrays]:
    """Reads a PyTorch checkpoint, and logs conclusions about it.

    Args:
        path: Path of the file.
        layout: One of `LAYOUTS`, or None to detect it.
        residual_scaling: Factor on a block's branch, or None for the published one.

    Raises:
        CheckpointError: If the file is rejected. The message has one line and names it.
    """
    path = Path(path)
    with naming(path):
        state, found = open_checkpoint(path, layout, residual_scaling)
        for note in found.notes:
            _log.info("%s: %s", path.name, note)
        for warning in found.warnings:
            _log.warning("%s: %s", path.name, warning)
        return found.network, to_arrays(found.network, found.layout, state, found.value_range)


def write_torch(
    path: str | os.PathLike,
    network: Network,
    arrays: Arrays,
    layout: str = "edsr-pytorch",
    *,
    overwrite: bool = False,
) -> None:
    """Writes weights as a PyTorch checkpoint, by an atomic write.

    Args:
        path: Path of the file, ending in .pt, .pth or .safetensors.
        network: The network of the weights.
        arrays: The weights by their Keras paths.
        layout: "edsr-pytorch", with the mean in it, or "basicsr", but for .safetensors under the key `params`.
        overwrite: Boolean, whether an existing file may be replaced.

    Raises:
        CheckpointError: If the layout cannot express the network, or the file exists or cannot be written. The message
            has one line and names it.
    """
    path = Path(path)
    if layout not in WRITABLE:
        raise CheckpointError(f"`layout` must be one of {WRITABLE} to be written. Received: layout={layout!r}.")
    if path.suffix not in SUFFIXES:
        raise CheckpointError(f"Cannot write {path}: a PyTorch file must end in {', '.join(SUFFIXES)}.")
    if path.exists() and not overwrite:
        raise CheckpointError(f"Cannot write {path}: it already exists; pass `overwrite` to replace it.")
    try:
        check_layout(network, layout)
    except CheckpointError as error:
        raise CheckpointError(f"Cannot write {path}: {error}.") from None
    state = to_state(network, layout, arrays)
    if layout == "edsr-pytorch":
        state = mean_tensors(network.mean, network.channels) | state
    try:
        with atomic_file(path) as file:
            if path.suffix == ".safetensors":
                write_safetensors(file, state)
            else:
                write_torch_zip(file, state, "params" if layout == "basicsr" else None)
    except OSError as error:
        raise CheckpointError(f"Cannot write {path}: {reason(error)}.") from error
    if network.residual_scaling != default_residual_scaling(network.family, network.filters):
        _log.warning(
            "%s does not store residual_scaling=%s: pass it when you load the file (res_scale in PyTorch).",
            path.name,
            network.residual_scaling,
        )
