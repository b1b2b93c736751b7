"""Converts between PyTorch's weights and Keras' files."""

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
    """Converts a PyTorch checkpoint to a .keras file, or a .keras file to a PyTorch checkpoint, by the suffixes.

    Args:
        source: Path of a .pt, .pth or .safetensors file, as `load_torch` takes it; or of a .keras file.
        target: Path of the .keras file, or of the .pt or .pth file, to write.
        layout: Layout of the tensors' names, as in `load_torch` or `save_torch`.
        residual_scaling: As in `load_torch`; a .keras file contains it.
        overwrite: Boolean, whether an existing target may be replaced.

    Raises:
        ValueError: If the suffixes are not such a pair, the source cannot be read, or the target cannot be written or
            cannot store this model. The message has one line.
    """
    source, target = Path(source), Path(target)
    pair = (source.suffix, target.suffix)
    if not (pair[0] in SUFFIXES and pair[1] == ".keras") and not (pair[0] == ".keras" and pair[1] in _WRITTEN):
        raise ValueError(
            f"A {', '.join(SUFFIXES)} file becomes a .keras file, and a .keras file a {' or '.join(_WRITTEN)} file. "
            f"Received: {source} and {target}."
        )
    if pair[0] == ".keras" and residual_scaling is not None:
        raise ValueError("`residual_scaling` is for PyTorch checkpoints. A .keras file contains it: omit it.")
    if target.exists() and not overwrite:  # checked first, because reading takes time
        raise ValueError(f"Cannot write {target}: it exists already; it is replaced only with `overwrite`.")
    if pair[0] == ".keras":
        save_torch(load_keras(source), target, layout=layout or "edsr-pytorch", overwrite=overwrite)
    else:
        save_keras(load_torch(source, layout=layout, residual_scaling=residual_scaling), target, overwrite=overwrite)
