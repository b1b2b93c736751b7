"""Writes state dicts as torch.save does, without torch."""

import pickle
import struct
import zipfile
from collections.abc import Iterable, Mapping
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from .tensors import contiguous

_ROOT = "archive"
_ALIGNMENT = 64  # as torch has it since 2.3, so that a file can be mapped into memory


def write_torch_zip(file: BinaryIO, state: Mapping[str, NDArray[np.float32]], container: str | None = None) -> None:
    """Writes a file that `torch.load(weights_only=True)` reads.

    The same state dict gives the same bytes: there is no time in them.

    Args:
        file: Open for writing, able to seek.
        state: float32 arrays by name.
        container: The key under which the state dict lies in a dict of its own; None for a bare state dict.
    """
    arrays = {name: np.ascontiguousarray(array, "<f4") for name, array in state.items()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, file, "data.pkl", _pickled(arrays, container))
        _add(archive, file, "byteorder", b"little")
        for key, array in enumerate(arrays.values()):
            _add(archive, file, f"data/{key}", array.tobytes())
        _add(archive, file, "version", b"3\n")


def _add(archive: zipfile.ZipFile, file: BinaryIO, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(f"{_ROOT}/{name}", date_time=(1980, 1, 1, 0, 0, 0))
    start = file.tell() + 30 + len(info.filename) + 4
    padding = -start % _ALIGNMENT
    info.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    archive.writestr(info, content)


def _pickled(arrays: Mapping[str, NDArray], container: str | None) -> bytes:
    tensors = ((name, _tensor(key, array)) for key, (name, array) in enumerate(arrays.items()))
    state = _call("collections", "OrderedDict") + _items(tensors)
    if container is not None:
        state = pickle.EMPTY_DICT + _items([(container, state)])
    return pickle.PROTO + b"\x02" + state + pickle.STOP


def _tensor(key: int, array: NDArray) -> bytes:
    kind = _global("torch", "FloatStorage")
    storage = _tuple(_text("storage"), kind, _text(str(key)), _text("cpu"), _integer(array.size))
    shape = _tuple(*map(_integer, array.shape))
    stride = _tuple(*map(_integer, contiguous(array.shape)))
    hooks = _call("collections", "OrderedDict")
    return _call(
        "torch._utils",
        "_rebuild_tensor_v2",
        storage + pickle.BINPERSID,
        _integer(0),
        shape,
        stride,
        pickle.NEWFALSE,
        hooks,
    )


def _items(pairs: Iterable[tuple[str, bytes]]) -> bytes:
    return pickle.MARK + b"".join(_text(key) + value for key, value in pairs) + pickle.SETITEMS


def _call(module: str, name: str, *arguments: bytes) -> bytes:
    return _global(module, name) + _tuple(*arguments) + pickle.REDUCE


def _global(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _tuple(*items: bytes) -> bytes:
    return pickle.MARK + b"".join(items) + pickle.TUPLE


def _text(text: str) -> bytes:
    encoded = text.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded


def _integer(value: int) -> bytes:
    return pickle.BININT + struct.pack("<i", value)
