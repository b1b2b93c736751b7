"""Standard input and output as sources and targets of images, with the paths that name them."""

import io
import os
import sys
from pathlib import Path
from typing import BinaryIO

STDIN = Path("/dev/stdin")
STDOUT = Path("/dev/stdout")  # a suffix selects the format: /dev/stdout.png

_OPENED = ("/dev/fd/", "/proc/self/fd/")  # streams that are open already, such as a shell's `<(command)`
_CHUNK = 2**20


def is_input_stream(path: Path) -> bool:
    """Whether a path names a stream that this process inherited, which may be a pipe and is read to its end."""
    return path == STDIN or path.as_posix().startswith(_OPENED)


def is_stdout(path: Path) -> bool:
    """Whether a path names standard output, with or without a suffix."""
    return path.parent == STDOUT.parent and path.stem == STDOUT.name


def read_stream(path: Path, max_bytes: int) -> BinaryIO:
    """Reads a stream to its end.

    Args:
        path: `STDIN`, or a path such as `/dev/fd/63`.
        max_bytes: The largest number of bytes to read, since a stream may have no end.

    Returns:
        The bytes, as a file that can be rewound.

    Raises:
        ValueError: If there are more bytes, or standard input is closed. The message has one line and names the stream.
        OSError: If the stream cannot be read.
    """
    if path != STDIN:
        with open(path, "rb") as stream:
            return _read(stream, path, max_bytes)
    if sys.stdin is None:
        raise ValueError(f"Cannot read {path}: standard input is closed.")
    return _read(sys.stdin.buffer, path, max_bytes)


def _read(stream: BinaryIO, path: Path, max_bytes: int) -> BinaryIO:
    data = io.BytesIO()
    while chunk := stream.read(_CHUNK):
        data.write(chunk)
        if data.tell() > max_bytes:
            raise ValueError(f"Cannot read {os.fspath(path)}: it has more than {max_bytes} bytes.")
    data.seek(0)
    return data
