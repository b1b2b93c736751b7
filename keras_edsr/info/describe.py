"""`describe`: describes a model in any format."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import checkpoints, presets
from ..network import Network, count_parameters
from ..presets import Official, how_to_get, locate, say_unknown
from ..runtimes.ncnn_format import is_ncnn
from ..runtimes.saved_model import find_version
from .presets import describe_preset, facts
from .readers import Contents, read_ncnn, read_ncnn_folder, read_onnx, read_saved_model, read_tflite
from .recognize import recognize

_SIZES = ("family", "scales", "num_blocks", "filters", "channels", "residual_scaling", "parameters", "halo")


def describe(model: str | os.PathLike) -> dict[str, Any]:
    """Describes a model without running it.

    Args:
        model: The name of a preset, or the path of a preset's folder, a .keras, .pt, .pth, .safetensors, .tflite or
            .onnx file, a SavedModel's folder (or a folder of versions, of which the last counts), ncnn's .param, or a
            folder of the .param files of one model.

    Returns:
        A dictionary with at least `path`, `format`, `family` ("EDSR", "MDSR", or None for another network), `scales`,
        `num_blocks`, `filters`, `channels`, `residual_scaling`, `parameters`, `halo`, `inputs` and `outputs`. Unknown
        values are None. It also has the keys of `list_presets` for a preset, and those of `checkpoints.describe` for a
        PyTorch checkpoint.

    Raises:
        ValueError: If the preset or file does not exist, is damaged or of another kind, or needs a package that is not
            installed. The message has one line.
    """
    preset, path = locate(model), Path(model)
    if isinstance(preset, Official):
        about = describe_preset(preset.name) | {"format": "preset"}
        if about["path"] is None:
            about["notes"] = [f"The weights are not on this machine. {how_to_get(preset)}"]
    elif preset is not None:
        network, _ = presets.read(model)  # reads the weights, too, to check that they exist
        about = describe_preset(model) | _of_network(network) | {"format": "preset"}
    else:
        about = {"path": str(path)} | _of_file(path)
    return dict.fromkeys(("path", "format", *_SIZES, "inputs", "outputs")) | about


def _of_file(path: Path) -> dict[str, Any]:
    if path.is_dir() and is_ncnn(path):
        return _of_contents("ncnn", read_ncnn_folder(path))
    if path.is_dir():
        folder = find_version(path)
        if folder is None:
            raise ValueError(
                f"{path} is neither a preset (config.json), nor a SavedModel (saved_model.pb), nor a model of ncnn "
                "(.param)."
            )
        return _of_contents("saved_model", read_saved_model(folder))
    if not path.exists():
        raise ValueError(f"{path} is neither a preset nor a file. {say_unknown(path)}")
    if path.suffix not in _READERS:
        raise ValueError(f"Cannot tell what {path} is: its suffix must be one of {', '.join(_READERS)}.")
    return _READERS[path.suffix](path)


def _of_torch(path: Path) -> dict[str, Any]:
    found = checkpoints.describe(path)
    tensors = [{"name": "x", "shape": [None, found.network.channels, None, None], "dtype": "float32"}]
    return {
        "format": found.file_format,
        "layout": found.layout,
        **facts(found.network),
        "mean": found.network.mean,
        "value_range": found.value_range,
        "dtype": found.dtype,
        "notes": found.notes,
        "warnings": found.warnings,
        "inputs": tensors,
        "outputs": tensors,
    }


def _of_keras(path: Path) -> dict[str, Any]:
    try:
        return _of_network(checkpoints.read_keras(path)[0])
    except checkpoints.ForeignModelError:
        return _of_foreign(path)


def _of_network(network: Network) -> dict[str, Any]:
    """What there is to say of a Keras model of this package; the names of its ends are those that Keras gives."""
    height, width, channels = network.image_shape
    ends = {"add_mean": network.scales[0]}
    if network.family == "MDSR":
        ends = {f"x{scale}": scale for scale in network.scales}
    return {
        "format": "keras",
        **facts(network),
        "inputs": [{"name": "lr", "shape": [None, height, width, channels], "dtype": "float32"}],
        "outputs": [
            {"name": name, "shape": [None, height and scale * height, width and scale * width, channels]}
            | {"dtype": "float32"}
            for name, scale in ends.items()
        ],
    }


def _of_foreign(path: Path) -> dict[str, Any]:
    from ..models import load_keras

    model = load_keras(path)
    # A model of another kind may lack these, if it was never called on a Keras tensor.
    inputs, outputs = getattr(model, "inputs", None) or (), getattr(model, "outputs", None) or ()
    names = getattr(model, "output_names", None) or [tensor.name for tensor in outputs]
    return {
        "format": "keras",
        "parameters": model.count_params(),
        "inputs": [_of_tensor(tensor.name, tensor) for tensor in inputs],
        "outputs": list(map(_of_tensor, names, outputs)),
    }


def _of_tensor(name, tensor):
    return {"name": name, "shape": list(tensor.shape), "dtype": tensor.dtype}


def _of_contents(file_format: str, contents: Contents) -> dict[str, Any]:
    about: dict[str, Any] = {
        "format": file_format,
        "parameters": contents.parameters,
        "inputs": contents.inputs,
        "outputs": contents.outputs,
    }
    if contents.about is not None:
        told = contents.about._asdict()
        return about | told | {"family": told["family"] and told["family"].upper()}
    used = [kernels for kernels in contents.kernels if kernels]
    network = _join([recognize(kernels) for kernels in used])
    if network is None:
        return about
    sizes = facts(network) | {"residual_scaling": None}  # kernels do not tell it
    parameters = count_parameters(network)
    if len(used) == 1:  # this count is also right for an MDSR with a last convolution for each scale
        parameters = sum(math.prod(kernel) + kernel[-1] for kernel in used[0])
    return about | sizes | {"parameters": parameters}


def _join(networks: Sequence[Network | None]) -> Network | None:
    """Returns the one network of which all of these are parts: an MDSR may be exported scale by scale."""
    found = [network for network in networks if network is not None]
    if not found or len(found) < len(networks):
        return None
    scales = tuple(dict.fromkeys(scale for network in found for scale in network.scales))
    if len(scales) > 1 and any(network.family == "EDSR" for network in found):
        return None
    whole = {replace(network, scales=scales) for network in found}
    return whole.pop() if len(whole) == 1 else None


_READERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    ".keras": _of_keras,
    **dict.fromkeys(checkpoints.SUFFIXES, _of_torch),
    ".tflite": lambda path: _of_contents("tflite", read_tflite(path)),
    ".onnx": lambda path: _of_contents("onnx", read_onnx(path)),
    ".param": lambda path: _of_contents("ncnn", read_ncnn(path)),
}
