"""Converts between PyTorch's weights and Keras' files."""

import os
from pathlib import Path

from .checkpoints import SUFFIXES, read_keras, write_torch


def convert(
    source: str | os.PathLike,
    target: str | os.PathLike,
    *,
    layout: str | None = None,
    residual_scaling: float | None = None,
    overwrite: bool = False,
) -> None:
    """Converts a PyTorch checkpoint to a .keras file, or a .keras file to a PyTorch checkpoint, by the suffixes.

    TensorFlow is imported for a .keras file to write, not for one to read.

    Args:
        source: Path of a .pt, .pth or .safetensors file, as `load_torch` takes it; or of a .keras file.
        target: Path of the .keras file, or of the .pt, .pth or .safetensors file, to write.
        layout: Layout of the tensors' names, as in `load_torch` or `save_torch`.
        residual_scaling: As in `load_torch`; a .keras file contains it.
        overwrite: Boolean, whether an existing target may be replaced.

    Raises:
        ValueError: If the suffixes are not such a pair, the source cannot be read, or the target cannot be written or
            cannot store this model. The message has one line.
    """
    source, target = Path(source), Path(target)
    pair = (source.suffix, target.suffix)
    if not (pair[0] in SUFFIXES and pair[1] == ".keras") and not (pair[0] == ".keras" and pair[1] in SUFFIXES):
        raise ValueError(
            f"A {', '.join(SUFFIXES)} file becomes a .keras file, and a .keras file one of them. "
            f"Received: {source} and {target}."
        )
    if pair[0] == ".keras" and residual_scaling is not None:
        raise ValueError("`residual_scaling` is for PyTorch checkpoints. A .keras file contains it: omit it.")
    if target.exists() and not overwrite:  # checked first, because reading takes time
        raise ValueError(f"Cannot write {target}: it exists already; it is replaced only with `overwrite`.")
    if pair[0] == ".keras":
        write_torch(target, *read_keras(source), layout or "edsr-pytorch", overwrite=overwrite)
        return
    from .models import load_torch, save_keras

    save_keras(load_torch(source, layout=layout, residual_scaling=residual_scaling), target, overwrite=overwrite)
