"""What a checkpoint is: detected from its tensors, its name and what lies beside it, and told in sentences."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..network import Network
from .detect import check, detect, find_state
from .layouts import LAYOUTS, MEAN_NAMES
from .means import read_mean
from .reader import Content, naming, read_file
from .tensors import CheckpointError, Tensor

# The files that carry the first digits of their own SHA-256 (facts 5.2 and 5.4). Others' eight digits may be a date.
_HASHED = re.compile(
    r"(?:edsr|mdsr)(?:_baseline)?(?:_x[234])?-([0-9a-f]{8})\.pt"
    r"|EDSR_[ML]x[234]_f\d+b\d+_DIV2K_official-([0-9a-f]{8})\.pth"
)


@dataclass(frozen=True)
class Description:
    """What a checkpoint is, and what was concluded about it.

    Attributes:
        network: The network. No file holds its residual scaling; `notes` says where that is from.
        layout: "edsr-pytorch" (torchSR's too), "basicsr" or "super-image".
        file_format: "torch", "torch-legacy" (before PyTorch 1.6) or "safetensors".
        value_range: 255, or 1 when the file's network takes images in 0..1. The Keras model takes 0..255 in any case.
        dtype: Dtype of the tensors, such as "float32"; several are joined by "+".
        notes: Conclusions, one sentence each.
        warnings: Possible faults, one sentence each.
    """

    network: Network
    layout: str
    file_format: str
    value_range: int
    dtype: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def open_checkpoint(
    path: Path, layout: str | None = None, residual_scaling: float | None = None
) -> tuple[dict[str, Tensor], Description]:
    """Reads a checkpoint, finds out what it is, and makes sure that every tensor has its place.

    Args:
        path: Path of the file.
        layout: One of `LAYOUTS`, or None to detect it.
        residual_scaling: Factor on a block's branch, or None for the published one.

    Returns:
        The tensors by name, and what there is to say about them.

    Raises:
        CheckpointError: If the file is rejected. `reader.naming` adds the beginning of the message.
    """
    if layout is not None and layout not in LAYOUTS:
        raise CheckpointError(f"`layout` must be one of {LAYOUTS}. Received: layout={layout!r}")
    content = read_file(path)
    state, where = find_state(content.tree)
    network, found = detect(state, layout)
    notes = []
    config = _super_image_config(path)
    if layout is None and (network.family, found) == ("EDSR", "edsr-pytorch") and not _official_hash(path):
        if config is not None:
            found = "super-image"
            notes.append("read as super-image's because of its name or the config.json beside it")
        elif MEAN_NAMES[0] in state:
            notes.append("super-image's weights have the same names; for those give layout='super-image'")
    check(state, network, found)
    # Views may share their storage, but a network has no two weights in one place: nothing is larger than its file.
    if sum(tensor.nbytes for tensor in state.values()) > len(content.data):
        raise CheckpointError("its tensors overlap: together they are larger than the file")
    inside = f", under {' '.join(where)}" if where else ""
    scaling, scaling_note = _choose_scaling(network, found, residual_scaling, config or {})
    mean, value_range, mean_note = _choose_mean(network, found, state)
    notes = [f"read as {network} with the names of {found}{inside}", *notes, scaling_note, mean_note]
    description = Description(
        network=replace(network, residual_scaling=scaling, mean=mean),
        layout=found,
        file_format=content.file_format,
        value_range=value_range,
        dtype="+".join(sorted({tensor.dtype for tensor in state.values()})),
        notes=tuple(notes),
        warnings=tuple(_warnings(content, state, path)),
    )
    return state, description


def describe(path: str | os.PathLike, *, layout: str | None = None) -> Description:
    """Describes a PyTorch checkpoint without building a model.

    Args:
        path: Path of the file.
        layout: One of `LAYOUTS`, or None to detect it.

    Raises:
        CheckpointError: If the file is rejected. The message has one line and names it.
    """
    with naming(Path(path)):
        return open_checkpoint(Path(path), layout)[1]


def _choose_scaling(network: Network, layout: str, given: float | None, config: dict[str, Any]) -> tuple[float, str]:
    if given is not None:
        value, source = float(given), "as given"
    elif layout == "super-image" and type(config.get("res_scale")) in (int, float):
        value, source = float(config["res_scale"]), "from the config.json beside the file"
    else:
        value, source = network.residual_scaling, f"as published for {network.family} of {network.filters} filters"
    return value, f"residual_scaling={value}, {source}; the file does not hold it"


def _choose_mean(
    network: Network, layout: str, state: Mapping[str, Tensor]
) -> tuple[tuple[float, ...] | None, int, str]:
    if layout == "super-image":
        return (0.0,) * network.channels, 1, "runs on 0..1 without the mean, so the mean in the file is not used"
    mean = read_mean(state, network)
    if mean is None:
        return None, 255, "the mean is that of DIV2K"
    if 0 < max(map(abs, mean)) <= 1:
        mean = tuple(255 * value for value in mean)
        return mean, 1, f"runs on 0..1 (rgb_range 1), according to its mean; in 0..255 that is {mean}"
    return mean, 255, f"the mean is the file's, {mean}"


def _warnings(content: Content, state: Mapping[str, Tensor], path: Path) -> Iterator[str]:
    expected = _official_hash(path)
    if expected:
        found = hashlib.sha256(content.data).hexdigest()[:8]
        if found != expected:
            yield f"its SHA-256 begins with {found}, its name says {expected}: it is damaged, or not the official file"
    if any(tensor.dtype == "float64" for tensor in state.values()):
        yield "its float64 weights are rounded to float32"


def _official_hash(path: Path) -> str | None:
    match = _HASHED.fullmatch(path.name)
    return match and (match[1] or match[2])


def _super_image_config(path: Path) -> dict[str, Any] | None:
    """Returns the config of super-image beside a file; {} if only the file's name matches; None for other files."""
    try:
        with open(path.parent / "config.json", "rb") as file:
            config = json.loads(file.read(2**16))
    except (OSError, ValueError, RecursionError):
        config = None
    if isinstance(config, dict) and config.get("model_type") == "EDSR" and "n_feats" in config:
        return config
    return {} if re.fullmatch(r"pytorch_model_\d+x\.pt", path.name) else None
