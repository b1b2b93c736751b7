"""The format of the safetensors library: a JSON header that says what lies where, then the bytes."""

import json
import math
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .pickles import shown
from .tensors import DTYPES, MAX_RANK, MAX_TENSORS, CheckpointError, Storage, Tensor, contiguous

MAX_HEADER_BYTES = 4 * 2**20

_TYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


def read_safetensors(data: bytes) -> dict[str, Tensor]:
    """Reads a .safetensors file.

    Args:
        data: The bytes of the file.

    Returns:
        The tensors by name, in the order of the header.

    Raises:
        CheckpointError: The file is damaged, or what it declares is not there.
    """
    length = int.from_bytes(data[:8], "little")
    if length > min(MAX_HEADER_BYTES, len(data) - 8):
        raise CheckpointError("its header is cut off or too long")
    header = _parse(data[8 : 8 + length])
    header.pop("__metadata__", None)
    if len(header) > MAX_TENSORS:
        raise CheckpointError(f"it holds more than {MAX_TENSORS} tensors")
    values = memoryview(data)[8 + length :]
    tensors, end = {}, 0
    # The format leaves no gap and no overlap: each tensor begins where the one before it ended.
    for name, entry in sorted(header.items(), key=lambda item: _begin(*item)):
        tensors[name], end = _tensor(name, entry, values, end)
    if end != len(values):
        raise CheckpointError("it holds bytes that are no tensor's")
    return {name: tensors[name] for name in header}


def write_safetensors(file: BinaryIO, arrays: Mapping[str, NDArray[np.float32]]) -> None:
    """Writes a .safetensors file; the same arrays give the same bytes.

    Args:
        file: Open for writing.
        arrays: float32 arrays by name.
    """
    contents = {name: np.ascontiguousarray(array, "<f4") for name, array in arrays.items()}
    header, end = {}, 0
    for name, array in contents.items():
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": (end, end + array.nbytes)}
        end += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # as the library: what follows is aligned
    file.write(len(text).to_bytes(8, "little") + text)
    for array in contents.values():
        file.write(array.tobytes())


def _parse(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text, object_pairs_hook=_without_twins)
    except CheckpointError:
        raise
    except (ValueError, RecursionError) as error:
        raise CheckpointError("its header is not JSON") from error
    if not isinstance(header, dict):
        raise CheckpointError("its header is not a JSON object")
    return header


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise CheckpointError("its header has two entries of one name")
    return dict(pairs)


def _begin(name: str, entry: Any) -> tuple[int, int]:
    match entry:
        case {"data_offsets": [int(begin), int(end)]} if 0 <= begin <= end:
            return begin, end
    raise CheckpointError(f"its header does not say where {shown(name)} lies")


def _tensor(name: str, entry: Any, values: memoryview, begin: int) -> tuple[Tensor, int]:
    start, end = entry["data_offsets"]
    match entry:
        case {"dtype": str(kind), "shape": list(shape)} if kind in _TYPES and len(shape) <= MAX_RANK:
            dtype = _TYPES[kind]
        case _:
            raise CheckpointError(f"it does not say which type or shape {shown(name)} has")
    if not all(type(side) is int and 0 <= side < 2**40 for side in shape):
        raise CheckpointError(f"the shape of {shown(name)} is none")
    size = math.prod(shape) * DTYPES[dtype].itemsize
    if start != begin or end > len(values) or end - start != size:
        raise CheckpointError(f"the bytes of {shown(name)} are not where they must be")
    storage = Storage(dtype, math.prod(shape))
    storage.place(values[start:end])
    return Tensor(storage, 0, tuple(shape), contiguous(tuple(shape))), end
