"""Stores arrays on disk: the pack, a file of many uint8 arrays."""

import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..files import atomic_file

# A pack has three parts: the arrays' bytes, one after another; the index, in JSON; and a tail of fixed size with the
# index's position and checksum. The index is last, so that arrays can be written as they come. One file holds a whole
# set, because a map for each of thousands of images would exceed the limit of open files.
_MAGIC = b"edsrpack"
_TAIL_BYTES = 24
_ALIGNMENT = 64


def write_pack(path: Path, arrays: Iterable[tuple[tuple[int, ...], np.ndarray]]) -> None:
    """Writes arrays, each with a key, into one file by an atomic write.

    Two processes may write the same pack at once: the last one replaces the file.

    Args:
        path: Path of the file; the function makes its folder if it is missing.
        arrays: Pairs of a key (a tuple of integers) and a uint8 array. The function takes one at a time, so that
            an iterator need not hold more.

    Raises:
        OSError: If the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    index: list[dict[str, Any]] = []
    with atomic_file(path) as file:
        for key, array in arrays:
            array = np.ascontiguousarray(array, dtype=np.uint8)
            file.write(b"\0" * (-file.tell() % _ALIGNMENT))
            index.append({"key": key, "shape": array.shape, "at": file.tell(), "crc": zlib.crc32(array.data)})
            file.write(array.data)
        at = file.tell()
        text = json.dumps(index).encode()
        file.write(text)
        file.write(_tail(at, text))


def open_pack(path: Path) -> dict[tuple[int, ...], np.ndarray] | None:
    """Maps a pack into memory, after comparing every checksum in it.

    Args:
        path: Path of the file.

    Returns:
        Read-only uint8 arrays by their keys, all views of one memory map; None if the file does not exist or is
        damaged in any way.
    """
    try:
        data = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
        tail = data[-_TAIL_BYTES:].tobytes()
        at = int.from_bytes(tail[8:16], "little")
        text = data[at:-_TAIL_BYTES].tobytes()
        if tail != _tail(at, text):
            return None
        arrays = {}
        for entry in json.loads(text):
            size = int(np.prod(entry["shape"]))
            array = data[entry["at"] : entry["at"] + size].reshape(entry["shape"])
            if zlib.crc32(array.data) != entry["crc"]:
                return None
            arrays[tuple(entry["key"])] = array
        return arrays
    except (OSError, ValueError):  # missing, empty
        return None


def _tail(at: int, text: bytes) -> bytes:
    return _MAGIC + at.to_bytes(8, "little") + zlib.crc32(text).to_bytes(8, "little")
