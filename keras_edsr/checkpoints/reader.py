"""From a file to the tensors in it, whatever wrote it.

Nothing in the file is run, and nothing is sized by what the file says before it is known to be there.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .safetensors import read_safetensors
from .tensors import CheckpointError
from .torch_files import read_torch_legacy, read_torch_zip

# The largest EDSR has 0.18 GB; with its optimizer's state three times that.
MAX_FILE_BYTES = 2 * 2**30

# What users take for a checkpoint, by the bytes it begins with, and what they should do instead.
_KNOWN_OTHERS = {
    b"\x89HDF\r\n": "it is an HDF5 file, as Keras 2 wrote, not one of PyTorch",
    b"version https://git-lfs": "it is a pointer of Git LFS: fetch the file itself (git lfs pull)",
    b"<!doctype": "it is a web page: the download went wrong",
    b"<html": "it is a web page: the download went wrong",
    b"\x1f\x8b": "it is a gzip archive: unpack it, and read the files in it",
}


@dataclass(frozen=True)
class Content:
    """What a file holds.

    Attributes:
        tree: The object that was saved: dicts, lists, tuples, strings, numbers, `Tensor`.
        file_format: "torch", "torch-legacy" or "safetensors".
        data: The bytes of the file.
    """

    tree: Any
    file_format: str
    data: bytes = field(repr=False)


def read_file(path: str | os.PathLike) -> Content:
    """Reads a checkpoint of any of the three formats, by its content, not by its name.

    Args:
        path: Path of the file, at most 2 GiB.

    Returns:
        Its contents. Tensors are read on request.

    Raises:
        CheckpointError: If there is no such file, or it is not one of the three formats, damaged, or not safe.
            `naming` adds the beginning of the message.
    """
    data = _read_bytes(Path(path))
    file_format, tree = parse(data)
    return Content(tree, file_format, data)


def parse(data: bytes) -> tuple[str, Any]:
    """Returns the format of a file's bytes, and the object that they hold.

    Raises:
        CheckpointError: If `read_file` raises it.
    """
    file_format, read = _format_of(data)
    return file_format, read(data)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Puts the file's name in front of what is wrong with it."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"Cannot read {path}: {error}.") from error


def _read_bytes(path: Path) -> bytes:
    if path.exists() and not path.is_file():  # a pipe or a device has no end
        raise CheckpointError("it is not a file")
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise CheckpointError(reason.lower()) from error
    if len(data) > MAX_FILE_BYTES:
        raise CheckpointError(f"it is larger than {MAX_FILE_BYTES / 2**30:.0f} GiB")
    return data


def _format_of(data: bytes) -> tuple[str, Callable[[bytes], Any]]:
    if not data:
        raise CheckpointError("it is empty")
    start = data[:32]
    # First, because the header's length may have the bytes of another beginning: 0x80 is also that of a pickle.
    if start[8:9] == b"{":
        return "safetensors", read_safetensors
    if start.startswith(b"PK"):
        return "torch", read_torch_zip
    if start.startswith(b"\x80"):
        return "torch-legacy", read_torch_legacy
    for beginning, advice in _KNOWN_OTHERS.items():
        if start.lower().startswith(beginning.lower()):
            raise CheckpointError(advice)
    if data[257:262] == b"ustar":
        raise CheckpointError("it is a tar archive: unpack it, and read the files in it")
    raise CheckpointError("it is not a checkpoint of PyTorch or safetensors, or it is damaged")
