"""Converts between PyTorch's weights and Keras' files."""

import logging
import os
from pathlib import Path

from .checkpoints import SUFFIXES, read_encoder, read_keras, write_torch

logger = logging.getLogger("keras_edsr")


def convert(
    source: str | os.PathLike,
    target: str | os.PathLike,
    *,
    layout: str | None = None,
    residual_scaling: float | None = None,
    scale: int | None = None,
    fit_tail_on: str | os.PathLike | None = None,
    overwrite: bool = False,
) -> None:
    """Converts a PyTorch checkpoint to a .keras file, or a .keras file to a PyTorch checkpoint, by the suffixes.

    TensorFlow is imported for a .keras file to write, not for one to read.

    Args:
        source: Path of a .pt, .pth or .safetensors file, as `load_torch` takes it; or of a .keras file.
        target: Path of the .keras file, or of the .pt, .pth or .safetensors file, to write.
        layout: Layout of the tensors' names, as in `load_torch` or `save_torch`.
        residual_scaling: As in `load_torch`; a .keras file contains it.
        scale: Integer, the scale of the upsampler that is made for a LIIF checkpoint, whose encoder has none.
        fit_tail_on: Folder of HR images to fit that upsampler to, see `keras_edsr.models.fit_tail`. Without it, the
            upsampler is random and must be trained.
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
        raise ValueError(f"Cannot write {target}: it already exists; pass `overwrite` to replace it.")
    if pair[0] == ".keras":
        write_torch(target, *read_keras(source), layout or "edsr-pytorch", overwrite=overwrite)
        return
    encoder = read_encoder(source) if source.is_file() else None
    if (encoder is None) != (scale is None) or (encoder is None and fit_tail_on is not None):
        raise ValueError(
            "`scale` and `fit_tail_on` are for a checkpoint without an upsampler, which needs a scale. Received: "
            f"scale={scale}, fit_tail_on={fit_tail_on}, and {source} {'has one' if encoder is None else 'has none'}."
        )
    from .models import load_torch, save_keras

    if encoder is None:
        model = load_torch(source, layout=layout, residual_scaling=residual_scaling)
    else:
        model = _with_upsampler(encoder[0], source, scale, fit_tail_on)
    save_keras(model, target, overwrite=overwrite)


def _with_upsampler(network, source, scale, fit_tail_on):
    """The EDSR of an encoder: its upsampler and last convolution are new."""
    from .models import EDSR, FIT_BATCHES, fit_tail, start_from

    model = EDSR(scale, network.num_blocks, network.filters, network.residual_scaling, image_shape=network.image_shape)
    missed = start_from(source, model)
    logger.warning("%s: made new, at random: %s.", source.name, ", ".join(missed))
    if fit_tail_on is not None:
        from .data import ImagePairs, PatchSampler

        pairs = ImagePairs.from_folder(fit_tail_on, (scale,), channels=network.channels).at_least(48)
        left = fit_tail(model, PatchSampler(pairs, scale, augment=False).pairs_of(FIT_BATCHES))
        logger.info("The upsampler is fitted: %.2f gray levels are left (root mean square).", left)
    return model
