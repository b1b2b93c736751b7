"""The format of the safetensors library, which reads and writes it here; only bounds are added."""

from typing import BinaryIO

import numpy as np

from ..files import reason
from ..network import Arrays
from .pickles import shown
from .tensors import MAX_RANK, MAX_TENSORS, CheckpointError, Storage, Tensor, contiguous

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
        The tensors by name, in the order of their bytes.

    Raises:
        CheckpointError: If the file is damaged, or what it declares is not in it.
    """
    from safetensors import SafetensorError, deserialize

    if int.from_bytes(data[:8], "little") > min(MAX_HEADER_BYTES, len(data) - 8):
        raise CheckpointError("its header is cut off or too long")
    try:
        entries = deserialize(data)
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"it is damaged: {shown(reason(error))}") from error
    if len(entries) > MAX_TENSORS:
        raise CheckpointError(f"it holds more than {MAX_TENSORS} tensors")
    return {name: _tensor(name, **entry) for name, entry in entries}


def write_safetensors(file: BinaryIO, arrays: Arrays) -> None:
    """Writes a .safetensors file; the same arrays give the same bytes.

    Args:
        file: Open for writing.
        arrays: float32 arrays by name.
    """
    from safetensors.numpy import save

    file.write(save({name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}))


def _tensor(name: str, dtype: str, shape: list[int], data: bytearray) -> Tensor:
    if dtype not in _TYPES or len(shape) > MAX_RANK:
        raise CheckpointError(f"{shown(name)} is of type {dtype} and shape {shape}, which no weights have")
    storage = Storage(_TYPES[dtype], int(np.prod(shape, dtype=np.int64)))
    storage.place(memoryview(data))
    return Tensor(storage, 0, tuple(shape), contiguous(tuple(shape)))
