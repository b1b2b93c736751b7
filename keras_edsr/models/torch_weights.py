"""Weights of PyTorch to a Keras model, and back; torch is not needed."""

import logging
import os
from pathlib import Path

from ..checkpoints import CheckpointError, open_checkpoint, published_scaling
from ..checkpoints.means import mean_tensors
from ..checkpoints.reader import naming
from ..checkpoints.writer import write_torch_zip
from ..files import atomic_file, reason
from .assign import build_model, get_weights, network_of, set_weights
from .edsr import EDSR
from .mdsr import MDSR

_log = logging.getLogger("keras_edsr")

_WRITABLE = ("edsr-pytorch", "basicsr")


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
            of 256 filters, else 1.
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
    path = Path(path)
    with naming(path):
        network, state, found = open_checkpoint(path, layout, residual_scaling)
        for note in found.notes:
            _log.info("%s: %s", path.name, note)
        for warning in found.warnings:
            _log.warning("%s: %s", path.name, warning)
        model = build_model(network, found.residual_scaling, found.mean, dtype)
        set_weights(model, network, state, found.value_range)
        return model


def save_torch(model, path: str | os.PathLike, *, layout: str = "edsr-pytorch", overwrite: bool = False) -> None:
    """Writes a model's weights as a PyTorch file, whole or not at all.

    `torch.load(path, weights_only=True)` reads it, and `load_torch` gives the same weights to the bit.

    Args:
        model: An `EDSR`, an `MDSR` with a shared tail, or a branch of one.
        path: Path of the file, ending in .pt or .pth.
        layout: "edsr-pytorch", a bare state dict with the mean in it, or "basicsr", under the key `params`, for EDSR
            with the mean of DIV2K.
        overwrite: Whether a file that is already there may be replaced.

    Raises:
        CheckpointError: A ValueError: the layout has no place for this model, the file is there already or cannot be
            written; one line.
    """
    path = Path(path)
    if layout not in _WRITABLE:
        raise CheckpointError(f"`layout` must be one of {_WRITABLE} to be written. Received: layout={layout!r}.")
    if path.suffix not in (".pt", ".pth"):
        raise CheckpointError(f"Cannot write {path}: a PyTorch file must end in .pt or .pth.")
    if path.exists() and not overwrite:
        raise CheckpointError(f"Cannot write {path}: it exists already; it is replaced only with `overwrite`.")
    try:
        network = network_of(model, layout)
    except CheckpointError as error:
        raise CheckpointError(f"Cannot write {path}: {error}.") from None
    config = model.get_config()
    config = config.get("mdsr", config)
    state = get_weights(model, network)
    if layout == "edsr-pytorch":
        state = mean_tensors(config["mean"], network.channels) | state
    try:
        with atomic_file(path) as file:
            write_torch_zip(file, state, "params" if layout == "basicsr" else None)
    except OSError as error:
        raise CheckpointError(f"Cannot write {path}: {reason(error)}.") from error
    if config["residual_scaling"] != published_scaling(network):
        _log.warning(
            "%s does not hold residual_scaling=%s: give it to whatever reads the file (res_scale in PyTorch).",
            path.name,
            config["residual_scaling"],
        )
