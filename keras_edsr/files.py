"""Regular files alone are opened; files and folders appear whole or not at all; locks; errors that fit in one line."""

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


# === Regular files: a pipe or a device can keep its reader waiting forever ===


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
    """Returns what `path` is instead of a file, or why it cannot be reached; None if it is a file, or nothing is there.

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
    missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
    if os.path.islink(path) and error.errno == errno.ELOOP:
        return "it is a link that leads in a circle"
    if os.path.islink(path) and missing:
        return f"it is a link to {os.readlink(os.fspath(path))}, which does not exist"
    return None if missing else reason(error)


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


# === Writing ===


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike, *, sync: bool = False) -> Iterator[Path]:
    """Gives a hidden path beside `path`, at which a file or a folder can be written, and renames it in the end.

    If the block raises, nothing is left, and what was at `path` before stays; else it is replaced. Of a link, the file
    or folder that it leads to is.

    Args:
        path: Path of the file or folder; the folder that it is in must exist.
        sync: Whether a file is written through to the disk before it gets its name. Some file systems report only then
            that they are full.

    Yields:
        A path with the suffix of `path`, at which there is nothing.
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
    """Opens a binary file for writing that appears at `path` when the block ends; otherwise as `atomic_path`.

    Args:
        path: As `atomic_path` takes it.
        sync: As `atomic_path` takes it.

    Yields:
        The file, to write into.

    Raises:
        ValueError: `path` is a link that leads nowhere or in a circle, or something else than a file.
    """
    with atomic_path(follow_link(path), sync=sync) as part, open(part, "xb") as file:
        yield file


def replace_folder(new: Path, folder: Path) -> None:
    """Replaces a folder by another, and deletes the one that was there.

    A folder cannot be renamed onto one that holds something, so the old one is renamed first, and back if that fails.

    Args:
        new: Path of a folder on the same file system.
        folder: Path of the folder to replace.

    Raises:
        OSError: It cannot be replaced; both folders are as they were.
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
    """Returns what killed processes left half written in a folder; another process may still be writing it."""
    return [*folder.glob(".*.part*")]


def delete_old_leftovers(folder: Path) -> None:
    """Deletes the leftovers that are a day old or older."""
    for part in leftovers(folder):
        with contextlib.suppress(OSError):  # another process was faster, or still writes it
            if time.time() - part.stat().st_mtime > _A_DAY:
                part.unlink()


# === Locks ===


@contextlib.contextmanager
def locked(folder: Path, message: str) -> Iterator[None]:
    """Makes a folder, and keeps other processes from locking it until the block ends.

    On a file system without locks it only makes the folder. The lock is a file in the folder, which stays there.

    Args:
        folder: Path of the folder.
        message: What to say if another process holds the lock.

    Raises:
        ValueError: Another process holds the lock.
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
    """Whether a file is what `locked` leaves in a folder."""
    return path.name == _LOCK


# === Errors ===


def reason(error: BaseException) -> str:
    """Says in one line, without a full stop, what went wrong: the system's words, or the first line of the message."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")


def one_line(error: BaseException) -> str:
    """Joins the lines of an error's message; the name of its class where it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines) or type(error).__name__


@contextlib.contextmanager
def naming(*files: Path) -> Iterator[None]:
    """Puts the files' names before the message of a ValueError."""
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
        what: The beginning of the message, such as "Cannot read a.png".
        kinds: Class or classes of errors. Defaults to all: parsers of damaged files raise many kinds.
        reason: Function that says in one line, without a full stop, what went wrong.

    Raises:
        ValueError: In place of the error. Too little memory is not the file's fault, so a MemoryError stays.
    """
    try:
        yield
    except MemoryError:
        raise
    except kinds as error:
        raise ValueError(f"{what}: {reason(error)}.") from error
