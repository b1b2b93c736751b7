"""Between PyTorch's weights and Keras' files."""

import os
from pathlib import Path

from .checkpoints import SUFFIXES
from .models import load_keras, load_torch, save_keras, save_torch

_WRITTEN = (".pt", ".pth")


def convert(
    source: str | os.PathLike,
    target: str | os.PathLike,
    *,
    layout: str | None = None,
    residual_scaling: float | None = None,
    overwrite: bool = False,
) -> None:
    """Makes a .keras file of a PyTorch checkpoint, or a PyTorch checkpoint of a .keras file; the suffixes tell.

    Args:
        source: Path of a .pt, .pth or .safetensors file, as `load_torch` takes; or of a .keras file.
        target: Path of the .keras file to write; or of the .pt or .pth file.
        layout: The names of the tensors, as in `load_torch` or `save_torch`.
        residual_scaling: As in `load_torch`; a .keras file has its own.
        overwrite: Whether a target that is already there may be replaced.

    Raises:
        ValueError: The suffixes are no such pair, the source cannot be read, or the target cannot be written or has no
            place for this model; one line.
    """
    source, target = Path(source), Path(target)
    pair = (source.suffix, target.suffix)
    if not (pair[0] in SUFFIXES and pair[1] == ".keras") and not (pair[0] == ".keras" and pair[1] in _WRITTEN):
        raise ValueError(
            f"A {', '.join(SUFFIXES)} file becomes a .keras file, and a .keras file a {' or '.join(_WRITTEN)} file. "
            f"Received: {source} and {target}."
        )
    if pair[0] == ".keras" and residual_scaling is not None:
        raise ValueError("`residual_scaling` is for reading PyTorch's files. A .keras file has its own.")
    if target.exists() and not overwrite:  # now, for reading takes a while
        raise ValueError(f"Cannot write {target}: it exists already; it is replaced only with `overwrite`.")
    if pair[0] == ".keras":
        save_torch(load_keras(source), target, layout=layout or "edsr-pytorch", overwrite=overwrite)
    else:
        save_keras(load_torch(source, layout=layout, residual_scaling=residual_scaling), target, overwrite=overwrite)
