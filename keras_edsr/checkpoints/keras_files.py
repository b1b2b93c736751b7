"""A .keras file without Keras: its config is JSON, its weights are HDF5, each layer's under its name."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import reason
from ..network import Arrays, Network
from ..network.arrays import check_arrays, weight_shapes
from .reader import MAX_FILE_BYTES

_PACKAGE = "keras_edsr>"  # what Keras puts before the names of this package's classes


class ForeignModelError(ValueError):
    """A .keras file that holds another model than an EDSR, an MDSR or a branch of one."""


def read_keras(path: Path) -> tuple[Network, Arrays]:
    """Reads the config and the weights of a .keras file.

    Raises:
        ForeignModelError: If it holds a model of another kind. The message has one line and names the file.
        ValueError: If it cannot be read. The message has one line and names the file.
    """
    import h5py  # here: presets do without it

    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(_member(archive, "config.json"))
            name = config.get("registered_name") or config["class_name"]
            if not name.startswith(_PACKAGE):
                raise ForeignModelError(f"{path} holds {name}, which is not an EDSR, an MDSR or a branch of one.")
            network = Network.from_config(name.removeprefix(_PACKAGE), config["config"])
            with h5py.File(io.BytesIO(_member(archive, "model.weights.h5"))) as file:
                arrays = _read_layers(file["layers"], weight_shapes(network))
        check_arrays(network, arrays)
    except (ForeignModelError, MemoryError):
        raise
    except Exception as error:  # of zipfile, json, h5py and what a damaged config lacks
        why = "it is damaged, or not a .keras file" if isinstance(error, zipfile.BadZipFile) else reason(error)
        raise ValueError(f"{path} is not a model that keras_edsr can load: {why}.") from error
    return network, arrays


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > MAX_FILE_BYTES:
        raise ValueError(f"{name} is larger than {MAX_FILE_BYTES / 2**30:.0f} GiB")
    return archive.read(name)


def _read_layers(layers: Any, shapes: dict[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    """Returns the weights by path: Keras numbers the groups, and gives each layer's the layer's name."""
    arrays: dict[str, NDArray[np.float32]] = {}

    def visit(name: str, item: Any) -> None:
        if not hasattr(item, "shape"):  # a group
            return
        group, _, number = name.rpartition("/")
        names = [layers[f"{name.split('/')[0]}/vars"].attrs["name"]]
        if group.count("/") > 1:
            names.append(item.parent.attrs["name"])
        path = "/".join([*names, ("kernel", "bias")[int(number)]])
        if item.external is not None or item.is_virtual:
            raise ValueError(f"the weight {path} lies in another file")
        if shapes.get(path) != item.shape:  # before it is read: a shape takes no bytes, the array does
            raise ValueError(f"it has a weight {path} of shape {item.shape}, and must have {shapes.get(path)}")
        arrays[path] = _read(item)

    layers.visititems(visit)
    return arrays


def _read(dataset: Any) -> NDArray[np.float32]:
    values = dataset[()]
    if dataset.attrs.get("dtype") == "bfloat16":
        return (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32)
