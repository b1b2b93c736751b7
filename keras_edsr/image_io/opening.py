"""Opening image files: regular files only, since a pipe or a device can keep its reader waiting forever."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def open_file(path: str | os.PathLike) -> BinaryIO:
    """Opens a regular file, or a link to one, for reading.

    Args:
        path: Path of the file.

    Raises:
        ValueError: If `path` is a pipe, a socket, a device or a folder, or a link that leads nowhere or in a circle;
            one line that names it.
        OSError: If the file is missing or may not be read.
    """
    problem = why_not_a_file(path)
    if problem:
        raise ValueError(f"Cannot read {os.fspath(path)}: {problem}.")
    # What was a file a moment ago may be a pipe by now. The flag is nothing to a file.
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))


def why_not_a_file(path: str | os.PathLike) -> str | None:
    """Returns what `path` is instead of a file, or None if it is a file, or nothing is there.

    Links are followed: a link to a file is a file.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return _why_not_followed(path, error)
    if stat.S_ISREG(mode):
        return None
    return f"it is {_KINDS.get(stat.S_IFMT(mode), 'not a file')}, not a file"


def _why_not_followed(path: str | os.PathLike, error: OSError) -> str | None:
    if not os.path.islink(path):
        return None
    if error.errno == errno.ELOOP:
        return "it is a link that leads in a circle"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"it is a link to {os.readlink(os.fspath(path))}, which does not exist"
    return None


def follow_link(path: str | os.PathLike) -> Path:
    """Returns the file that a path to write to stands for: of a link, the one that it leads to.

    Raises:
        ValueError: If it is a link that leads nowhere or in a circle, a pipe, a socket, a device or a folder; one line
            that names it.
    """
    problem = why_not_a_file(path)
    if problem:
        raise ValueError(f"Cannot write {os.fspath(path)}: {problem}.")
    return Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)
