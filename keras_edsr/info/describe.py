"""`describe`: describes a model in any format."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from .. import checkpoints
from ..checkpoints import Network
from ..models import EDSR, MDSR, MDSRBranch, load_keras
from ..models.files import load_folder
from ..presets import Official, how_to_get, locate, say_unknown
from ..runtimes.ncnn_cache import is_ncnn
from .presets import describe_preset
from .readers import Contents, read_ncnn, read_ncnn_folder, read_onnx, read_saved_model, read_tflite
from .recognise import recognise

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
        about = describe_preset(model) | _of_keras(load_folder(preset)) | {"format": "preset"}
    else:
        about = {"path": str(path)} | _of_file(path)
    return dict.fromkeys(("path", "format", *_SIZES, "inputs", "outputs")) | about


def _of_file(path: Path) -> dict[str, Any]:
    if path.is_dir() and is_ncnn(path):
        return _of_contents("ncnn", read_ncnn_folder(path))
    if path.is_dir():
        return _of_contents("saved_model", read_saved_model(_last_version(path)))
    if not path.exists():
        raise ValueError(f"{path} is neither a preset nor a file. {say_unknown(path)}")
    if path.suffix not in _READERS:
        raise ValueError(f"Cannot tell what {path} is: its suffix must be one of {', '.join(_READERS)}.")
    return _READERS[path.suffix](path)


def _last_version(folder: Path) -> Path:
    """Returns the SavedModel in a folder, or the last of its versions in TensorFlow Serving's layout."""
    versions = sorted((path for path in folder.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))
    for path in (folder, *reversed(versions)):
        if (path / "saved_model.pb").is_file():
            return path
    raise ValueError(
        f"{folder} is neither a preset (config.json), nor a SavedModel (saved_model.pb), nor a model of ncnn (.param)."
    )


def _of_torch(path: Path) -> dict[str, Any]:
    found = checkpoints.describe(path)
    about = asdict(found)
    about["format"] = about.pop("file_format")
    shape = [None, found.channels, None, None]
    tensors = [{"name": "x", "shape": shape, "dtype": "float32"}]
    return about | {"inputs": tensors, "outputs": tensors}


def _of_keras(model) -> dict[str, Any]:
    # A model of another kind may lack these, if it was never called on a Keras tensor.
    inputs, outputs = getattr(model, "inputs", None) or (), getattr(model, "outputs", None) or ()
    names = getattr(model, "output_names", None) or [tensor.name for tensor in outputs]
    about = {
        "format": "keras",
        "parameters": model.count_params(),
        "inputs": [_of_tensor(tensor.name, tensor) for tensor in inputs],
        "outputs": list(map(_of_tensor, names, outputs)),
    }
    if not isinstance(model, EDSR | MDSR | MDSRBranch):
        return about
    config = model.get_config()
    config = config.get("mdsr", config)
    return about | {
        "family": "EDSR" if isinstance(model, EDSR) else "MDSR",
        "scales": model.scales,
        "num_blocks": config["num_blocks"],
        "filters": config["filters"],
        "channels": model.image_shape[-1],
        "residual_scaling": config["residual_scaling"],
        "halo": model.halo,
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
        return about | told | {"family": told["family"].upper()}
    used = [kernels for kernels in contents.kernels if kernels]
    network = _join([recognise(kernels) for kernels in used])
    if network is None:
        return about
    sizes = {name: getattr(network, name) for name in ("family", "scales", "num_blocks", "filters", "channels", "halo")}
    parameters = network.parameters
    if len(used) == 1:  # this count is also right for an MDSR with a last convolution for each scale
        parameters = sum(math.prod(kernel) + kernel[-1] for kernel in used[0])
    return about | sizes | {"parameters": parameters}


def _join(networks: Sequence[Network | None]) -> Network | None:
    """Returns the one network of which all of these are parts: an MDSR may be exported scale by scale."""
    found = [network for network in networks if network is not None]
    if not found or len(found) < len(networks):
        return None
    scales = tuple(dict.fromkeys(scale for network in found for scale in network.scales))
    whole = replace(found[0], scales=scales)
    same = all(replace(network, scales=scales) == whole for network in found)
    return whole if same and (whole.family == "MDSR" or len(scales) == 1) else None


_READERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    ".keras": lambda path: _of_keras(load_keras(path)),
    **dict.fromkeys(checkpoints.SUFFIXES, _of_torch),
    ".tflite": lambda path: _of_contents("tflite", read_tflite(path)),
    ".onnx": lambda path: _of_contents("onnx", read_onnx(path)),
    ".param": lambda path: _of_contents("ncnn", read_ncnn(path)),
}
