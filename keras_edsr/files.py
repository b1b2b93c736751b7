"""Opening of regular files only, atomic writes, locks, and error messages of one line."""

import contextlib
import errno
import logging
import os
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

logger = logging.getLogger("keras_edsr")

_LOCK = ".lock"
_A_DAY = 24 * 3600

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


# === Regular files: a pipe or a device can block its reader forever ===


def open_file(path: str | os.PathLike) -> BinaryIO:
    """Opens a regular file, or a link to one, for reading.

    Args:
        path: Path of the file.

    Raises:
        ValueError: If `path` is a pipe, a socket, a device or a folder, or a broken or circular link. The message has
            one line and names it.
        OSError: If the file is missing or may not be read.
    """
    problem = why_not_a_file(path)
    if problem:
        raise ValueError(f"Cannot read {os.fspath(path)}: {problem}.")
    # The file may have become a pipe since the check. The flag has no effect on a file.
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))


def why_not_a_file(path: str | os.PathLike) -> str | None:
    """Returns why `path` is not a regular file or cannot be reached; None for a file, or if nothing is there.

    The function follows links: a link to a file counts as a file.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return _why_not_followed(path, error)
    if stat.S_ISREG(mode):
        return None
    return f"it is {_KINDS.get(stat.S_IFMT(mode), 'not a file')}, not a file"


def _why_not_followed(path: str | os.PathLike, error: OSError) -> str | None:
    missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
    if os.path.islink(path) and error.errno == errno.ELOOP:
        return "it is a link that leads in a circle"
    if os.path.islink(path) and missing:
        return f"it is a link to {os.readlink(os.fspath(path))}, which does not exist"
    return None if missing else reason(error)


def follow_link(path: str | os.PathLike) -> Path:
    """Returns the file that a target path stands for: for a link, the file that it leads to.

    Raises:
        ValueError: If it is a broken or circular link, a pipe, a socket, a device or a folder. The message has one line
            and names it.
    """
    problem = why_not_a_file(path)
    if problem:
        raise ValueError(f"Cannot write {os.fspath(path)}: {problem}.")
    return Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)


# === Writing ===


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike, *, sync: bool = False) -> Iterator[Path]:
    """Yields a hidden path beside `path` for a file or a folder, and renames it at the end (atomic write).

    If the block raises, the hidden path is deleted and `path` stays unchanged; otherwise it is replaced. For a link,
    this replaces the file or folder that it leads to.

    Args:
        path: Path of the file or folder; its parent folder must exist.
        sync: Boolean, whether to write a file through to the disk before it gets its name. Some file systems report
            only then that they are full.

    Yields:
        A path with the suffix of `path`, at which nothing exists.
    """
    path = Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)
    part = path.with_name(f".{uuid.uuid4().hex}.part{path.suffix}")
    try:
        yield part
        if part.is_dir() and path.is_dir():
            replace_folder(part, path)
            return
        if sync:
            with part.open("rb+") as file:
                os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike, *, sync: bool = False) -> Iterator[BinaryIO]:
    """Opens a binary file for writing, which appears at `path` when the block ends; see `atomic_path`.

    Args:
        path: As `atomic_path` takes it.
        sync: As `atomic_path` takes it.

    Yields:
        The file to write to.

    Raises:
        ValueError: If `path` is a broken or circular link, or not a regular file.
    """
    with atomic_path(follow_link(path), sync=sync) as part, open(part, "xb") as file:
        yield file


def replace_folder(new: Path, folder: Path) -> None:
    """Replaces a folder by another, and deletes the old one.

    A folder cannot be renamed onto one with contents, so the old one is renamed first, and renamed back on failure.

    Args:
        new: Path of a folder on the same file system.
        folder: Path of the folder to replace.

    Raises:
        OSError: If it cannot be replaced. Both folders are then unchanged.
    """
    old = new.with_name(f"{new.name}.old")
    folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def leftovers(folder: Path) -> list[Path]:
    """Returns the unfinished files of killed processes in a folder; another process may still be writing one."""
    return [*folder.glob(".*.part*")]


def delete_old_leftovers(folder: Path) -> None:
    """Deletes leftovers that are at least a day old."""
    for part in leftovers(folder):
        with contextlib.suppress(OSError):  # another process deleted it, or still writes it
            if time.time() - part.stat().st_mtime > _A_DAY:
                part.unlink()


# === Locks ===


@contextlib.contextmanager
def locked(folder: Path, message: str) -> Iterator[None]:
    """Makes a folder, and keeps other processes from locking it until the block ends.

    On a file system without locks it only makes the folder. The lock is a file in the folder, which stays there.

    Args:
        folder: Path of the folder.
        message: Message of the error if another process holds the lock.

    Raises:
        ValueError: If another process holds the lock.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK, timeout=0)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock)
        except Timeout:
            raise ValueError(message) from None
        except (OSError, NotImplementedError) as error:
            logger.debug("No lock on %s: %s.", folder, error)
        yield


def is_lock(path: Path) -> bool:
    """Whether a file is the lock that `locked` leaves in a folder."""
    return path.name == _LOCK


# === Errors ===


def reason(error: BaseException) -> str:
    """Returns the reason of an error in one line, without a period: the system's text, or the message's first line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")


def one_line(error: BaseException) -> str:
    """Joins the lines of an error's message; returns the name of its class if it has no message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines) or type(error).__name__


@contextlib.contextmanager
def naming(*files: Path) -> Iterator[None]:
    """Adds the files' names before the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        names = " and ".join(str(file) for file in files)
        raise ValueError(f"{names}: {error}") from error


@contextlib.contextmanager
def explaining(
    what: str,
    kinds: type[Exception] | tuple[type[Exception], ...] = Exception,
    reason: Callable[[Exception], str] = reason,
) -> Iterator[None]:
    """Turns errors into one ValueError of one line: `what` failed, and the reason.

    Args:
        what: Beginning of the message, such as "Cannot read a.png".
        kinds: Class or classes of errors. Defaults to all: parsers of damaged files raise many kinds.
        reason: Function that returns the reason of an error in one line, without a period.

    Raises:
        ValueError: If the block raises such an error. A MemoryError stays, because it is not the file's fault.
    """
    try:
        yield
    except MemoryError:
        raise
    except kinds as error:
        raise ValueError(f"{what}: {reason(error)}.") from error
