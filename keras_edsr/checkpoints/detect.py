"""Recognizes a state dict by the names and shapes of its tensors, and checks every tensor."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..network import Network
from ..network.checks import SCALES
from .layouts import LAYOUTS, MEAN_NAMES, shapes
from .pickles import shown
from .tensors import CheckpointError, Tensor

# === Where the state dict is ===

# The keys that hold it, the better first: BasicSR's moving average is what it evaluates.
_CONTAINERS = ("params_ema", "params", "state_dict", "model_state_dict", "model", "net", "generator", "net_g")
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "generator.", "net_g.", "ema_model.")
_MAX_DEPTH = 4

# What wrappers and trainers count among the weights: torch's AveragedModel and BatchNorm, LitEma, ema-pytorch, and
# counters of trainers. Integers are ignored under any name.
_COUNTERS = re.compile(
    r"(.*\.)?(n_averaged|num_batches_tracked|num_updates|decay|initted|(global_)?(step|epoch|iter(ation)?)s?(_counter)?)"
)


def find_state(tree: Any) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Finds the state dict in what a file holds, and removes what wrappers put before its names.

    The function ignores objects of any type beside a state dict, and counters of wrappers within it.

    Args:
        tree: As `reader.read_file` gives.

    Returns:
        The tensors by name, and the keys and prefixes that they lay under, such as ("params_ema", "module.").

    Raises:
        CheckpointError: If there is none, or several that could be it.
    """
    where: list[str] = []
    for _ in range(_MAX_DEPTH):
        if not isinstance(tree, dict):
            raise CheckpointError("it holds no state dict, but something else")
        key = _container(tree)
        if key is None:
            break
        where.append(key)
        tree = tree[key]
    if isinstance(tree, dict) and any(isinstance(value, Tensor) for value in tree.values()):
        return _strip(tree, where)
    if isinstance(tree, dict) and {"state", "param_groups"} <= set(tree):
        raise CheckpointError("it is the state of an optimizer, not of a network")
    raise CheckpointError("it holds no state dict" + (f"; it holds {listed(tree)}" if tree else ""))


def _container(tree: dict) -> str | None:
    """The key under which the state dict lies: a usual one, or else the only one with kernels under it."""
    for key in _CONTAINERS:
        if _holds_tensors(tree.get(key)):
            return key
    if _has_kernels(tree):
        return None
    others = [key for key, value in tree.items() if isinstance(key, str) and _has_kernels(value)]
    return others[0] if len(others) == 1 else None


def _holds_tensors(tree: Any) -> bool:
    level: list[Any] = [tree]
    seen: set[int] = set()
    for _ in range(_MAX_DEPTH):
        # A pickle may refer to one dict a thousand times, on each level: each is looked at once.
        dicts = {id(one): one for one in level if isinstance(one, dict) and id(one) not in seen}
        seen.update(dicts)
        level = [value for one in dicts.values() for value in one.values()]
        if any(isinstance(value, Tensor) for value in level):
            return True
    return False


def _has_kernels(tree: Any) -> bool:
    return isinstance(tree, dict) and any(isinstance(one, Tensor) and len(one.shape) == 4 for one in tree.values())


def _strip(tree: dict, where: list[str]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    odd = [name for name, value in tree.items() if not isinstance(name, str) and isinstance(value, Tensor)]
    if odd:
        raise CheckpointError(f"some of its tensors have no names, but {listed(odd)}")
    tree = {name: value for name, value in tree.items() if isinstance(value, Tensor) and not _is_counter(name, value)}
    for _ in range(_MAX_DEPTH):
        prefix = next((p for p in _PREFIXES if all(name.startswith(p) for name in tree)), None)
        if prefix is None or not tree:
            break
        where = [*where, prefix]
        tree = {name.removeprefix(prefix): tensor for name, tensor in tree.items()}
    return tree, tuple(where)


def _is_counter(name: str, tensor: Tensor) -> bool:
    if tensor.numel > 1:
        return False
    return not tensor.dtype.startswith(("float", "bfloat")) or bool(_COUNTERS.fullmatch(name))


# === What it is ===

# Networks that share names with EDSR or are often met beside it, by a name that only they have; the first that fits.
_OTHERS = {
    r"(^|\.)conv_du\.|\brcab\b|residual_group": "RCAN",
    r"RRDB_trunk|(?i:\brdb[123]\b)": "an ESRGAN (RRDBNet)",
    r"RDBs\.|SFENet": "RDN",
    r"relative_position_bias_table|\battn\.": "a transformer (SwinIR, HAT, …)",
    r"^pre_process\.\d+\.\d+\.body\.0\.0\.weight$": 'super-image\'s "mdsr", which is another network than MDSR',
    r"^body\.\d+\.attention\.": "super-image's EDSR with attention blocks (BAM)",
    r"\.running_mean$": "a network with batch normalization (SRResNet, …)",
    r"^upconv1\.": "MSRResNet (SRResNet without batch normalization)",
}


def detect(state: Mapping[str, Tensor], layout: str | None = None) -> tuple[Network, str]:
    """Recognizes a state dict by names and shapes.

    Args:
        state: The tensors by name.
        layout: One of `LAYOUTS`, if it is known. "super-image" has the names of "edsr-pytorch" and is never detected.

    Returns:
        The network, with the default residual scaling and mean, and the layout. Whether every tensor fits it, `check`
        tells.

    Raises:
        CheckpointError: If it is not an EDSR or MDSR (the message names known networks), or has another layout.
    """
    for pattern, network in _OTHERS.items():
        if any(re.search(pattern, name) for name in state):
            raise CheckpointError(f"it is {network}, not EDSR or MDSR")
    if "conv_first.weight" in state and "conv_after_body.weight" in state:
        family, found = "EDSR", "basicsr"
    elif "head.0.weight" in state and "tail.0.weight" in state and "upsample.0.0.weight" in state:
        family, found = "MDSR", "edsr-pytorch"
    elif "head.0.weight" in state and not {"tail.0.weight", "tail.1.weight", "tail.0.0.weight"}.isdisjoint(state):
        family, found = "EDSR", "edsr-pytorch"
    else:
        raise CheckpointError(
            f"it is not an EDSR or MDSR of a known layout ({', '.join(LAYOUTS)}); "
            f"it has {len(state)} tensors: {listed(state)}"
        )
    layout = layout or found
    if layout != found and (layout, family, found) != ("super-image", "EDSR", "edsr-pytorch"):
        raise CheckpointError(f"it is {family} with the names of {found}, not of {layout}")
    return _measure(state, family, layout), layout


def _measure(state: Mapping[str, Tensor], family: str, layout: str) -> Network:
    basicsr = layout == "basicsr"
    filters, channels = _shape(state, "conv_first.weight" if basicsr else "head.0.weight")[:2]
    upsampler = "subpixel"
    if basicsr:
        num_blocks = 1 + max(_numbers(state, r"body\.(\d+)\.conv1\.weight"), default=-1)
        scales = [_scale(state, "upsample", filters)]
    else:
        num_blocks = max(_numbers(state, r"body\.(\d+)\.weight"), default=-1)
        if num_blocks < 0:
            raise CheckpointError(f"it is {family} without the last convolution of the body, body.N.weight")
        parts = ["tail.0"]
        if family == "MDSR":
            parts = [f"upsample.{i}" for i in sorted(_numbers(state, r"upsample\.(\d+)\.0\.weight"))]
        if family == "EDSR" and "tail.0.weight" in state:
            upsampler, scales = "direct", [_direct_scale(state, channels)]
        else:
            scales = [_scale(state, part, filters) for part in parts]
    if num_blocks < 1:
        raise CheckpointError(f"it is {family} without residual blocks")
    if len(set(scales)) < len(scales):
        raise CheckpointError(f"it has one scale twice: {scales}")
    return Network(family, tuple(scales), num_blocks, filters, image_shape=(None, None, channels), upsampler=upsampler)


def _numbers(state: Mapping[str, Tensor], pattern: str) -> set[int]:
    matches = (re.fullmatch(pattern, name) for name in state)
    return {int(match[1]) for match in matches if match and len(match[1]) < 5}


def _shape(state: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    shape = state[name].shape
    if len(shape) != 4 or 0 in shape:
        raise CheckpointError(f"{name} is not a convolution: its shape is {shape}")
    return shape


def _scale(state: Mapping[str, Tensor], part: str, filters: int) -> int:
    stages = len(_numbers(state, rf"{re.escape(part)}\.(\d+)\.weight"))
    if not stages and not any(name.startswith(f"{part}.") for name in state):
        return 1  # as both codes build it: an upsampler without layers
    rows = _shape(state, f"{part}.0.weight")[0] if f"{part}.0.weight" in state else 0
    if rows == 9 * filters and stages == 1:
        return 3
    if rows == 4 * filters and stages <= 3:
        return 2**stages
    raise CheckpointError(
        f"the upsampler {part} must be one of x2, x3, x4, x8: {stages} convolutions, the first from {filters} "
        f"to {rows} channels"
    )


def _direct_scale(state: Mapping[str, Tensor], channels: int) -> int:
    rows = _shape(state, "tail.0.weight")[0]
    scale = next((scale for scale in (1, *SCALES) if channels * scale**2 == rows), None)
    if scale is None:
        raise CheckpointError(f"its last convolution, tail.0, makes {rows} channels: of {channels}, no scale has that")
    return scale


def check(state: Mapping[str, Tensor], network: Network, layout: str) -> None:
    """Makes sure that a state dict has each tensor of a network once, and no other.

    The four tensors of the mean are optional.

    Raises:
        CheckpointError: If it has not. The message lists missing and extra tensors, other shapes, and what would match.
    """
    expected = shapes(network, layout)
    count = len(expected)
    if layout != "basicsr" and not set(MEAN_NAMES).isdisjoint(state):
        channels = network.channels
        for name in MEAN_NAMES:
            expected[name] = (channels, channels, 1, 1) if name.endswith("weight") else (channels,)
    missing = [name for name in expected if name not in state]
    extra = [name for name in state if name not in expected]
    odd = {name: state[name].shape for name in expected if name in state and state[name].shape != expected[name]}
    if not (missing or extra or odd):
        return
    complaints = {
        "in the network, not in the file": listed(missing),
        "in the file, not in the network": listed(extra),
        "of another shape": ", ".join(
            f"{name} has {shape} and must have {expected[name]}" for name, shape in list(odd.items())[:5]
        ),
    }
    counts = (len(missing), len(extra), len(odd))
    listing = "; ".join(
        f"{what} ({amount}): {names}"
        for (what, names), amount in zip(complaints.items(), counts, strict=True)
        if amount
    )
    raise CheckpointError(
        f"by its names it is {network} in the layout {layout}, but its tensors do not fit that: {listing}. "
        f"What would fit is exactly the {count} tensors of that network, with or without the "
        f"{len(MEAN_NAMES)} of the mean" + _hint(network, missing, extra)
    )


def _hint(network: Network, missing: list[str], extra: list[str]) -> str:
    if missing and extra:
        return "; the file is of a changed network, or of two"
    if missing:
        return "; the file is not complete"
    if extra:
        return "; take the others out of the file"
    return "; the file is of a changed network"


def listed(names: Iterable[Any]) -> str:
    """Returns some of the names, and the number of the others."""
    names = list(names)
    rest = f", … ({len(names) - 5} more)" if len(names) > 5 else ""
    return ", ".join(shown(str(name)) for name in names[:5]) + rest
