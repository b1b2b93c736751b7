"""What a checkpoint is made of: tensors that lie in storages, read when they are asked for. NumPy only."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# Limits for one file. An EDSR of 32 blocks has 142 tensors, MDSR 362; training states have several times as many.
MAX_TENSORS = 10_000
MAX_RANK = 8

# The types of torch, by name. NumPy has no bfloat16: it is read as its 16 bits.
DTYPES: dict[str, np.dtype] = {
    "float64": np.dtype("<f8"),
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
    "int64": np.dtype("<i8"),
    "int32": np.dtype("<i4"),
    "int16": np.dtype("<i2"),
    "int8": np.dtype("i1"),
    "uint8": np.dtype("u1"),
    "bool": np.dtype("u1"),
}


class CheckpointError(ValueError):
    """A checkpoint that is not read, and why: damaged, not to be trusted, or no EDSR."""


@dataclass(eq=False)
class Storage:
    """A run of numbers of one type in the file.

    Attributes:
        dtype: One of `DTYPES`.
        numel: Declared number of values.
        data: Their bytes; None until it is known where they lie.
    """

    dtype: str
    numel: int
    data: memoryview | None = field(default=None, repr=False)

    def place(self, data: memoryview) -> None:
        """Takes the bytes.

        Raises:
            CheckpointError: If they are more or fewer than was declared.
        """
        if len(data) != self.numel * DTYPES[self.dtype].itemsize:
            raise CheckpointError(f"it declares {self.numel} values of {self.dtype} where it holds {len(data)} bytes")
        self.data = data


@dataclass(frozen=True, eq=False)
class Tensor:
    """A view of a storage, as PyTorch has it: offset and strides count values, not bytes.

    Raises:
        CheckpointError: If the view reaches beyond its storage, or repeats values of it.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def __post_init__(self):
        if len(self.shape) != len(self.stride):
            raise CheckpointError("it holds a tensor whose shape and strides are not a pair")
        reach = sum((side - 1) * step for side, step in zip(self.shape, self.stride, strict=True))
        # numel alone would let strides of 0 make gigabytes out of one stored number.
        if self.numel and max(self.offset + reach + 1, self.numel) > self.storage.numel:
            raise CheckpointError("it holds a tensor that reaches beyond its storage")

    @property
    def dtype(self) -> str:
        """The type in the file, one of `DTYPES`."""
        return self.storage.dtype

    @property
    def numel(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size of its values in bytes."""
        return self.numel * DTYPES[self.dtype].itemsize

    def read(self) -> NDArray:
        """Returns a copy of the values; bfloat16 as float32, which holds it exactly."""
        dtype = DTYPES[self.dtype]
        if self.numel == 0:
            values = np.zeros(self.shape, dtype)
        else:
            stored = np.frombuffer(self.storage.data or b"", dtype)[self.offset :]
            strides = [step * dtype.itemsize for step in self.stride]
            view = np.lib.stride_tricks.as_strided(stored, self.shape, strides, writeable=False)
            values = np.array(view, order="C")
        if self.dtype == "bfloat16":
            return (values.astype(np.uint32) << 16).view(np.float32)
        return values != 0 if self.dtype == "bool" else values


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides, in values, of a tensor in row-major order."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def read_weights(name: str, state: Mapping[str, Tensor]) -> NDArray:
    """Reads a tensor that must hold weights.

    Raises:
        CheckpointError: If it holds integers, NaN, infinity or numbers too large for float32.
    """
    values = state[name].read()
    if not np.issubdtype(values.dtype, np.floating):
        raise CheckpointError(f"{name} is of {state[name].dtype}, not of floating-point numbers")
    if not (np.abs(values) <= np.finfo(np.float32).max).all():
        raise CheckpointError(f"{name} holds NaN, infinity or numbers too large for float32: the training diverged?")
    return values
