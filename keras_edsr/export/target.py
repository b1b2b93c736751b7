"""Where an export goes: it appears under its name whole and verified, or not at all."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ..files import atomic_path, reason


def check_target(target: Path, overwrite: bool, is_ours: Callable[[Path], bool] | None = None) -> None:
    """Finds out, before the work, whether a target can be written.

    Args:
        target: Path of the file or folder.
        overwrite: Whether one that exists may be replaced.
        is_ours: Function that says of an existing folder whether it is such an export; None where a file is written.
            Other folders are never replaced.

    Raises:
        ValueError: If it can't. The message has one line and names it.
    """
    try:
        os.fspath(target).encode()
    except UnicodeEncodeError:
        shown = os.fspath(target).encode("utf-8", "backslashreplace").decode()
        # The libraries that run exports take paths as UTF-8, so nothing could read what would be written there.
        raise ValueError(f"Cannot write {shown}: the path of an export must be UTF-8. Choose another name.") from None
    if target.exists():
        if not overwrite:
            raise ValueError(f"Cannot write {target}: it already exists; pass `overwrite` to replace it.")
        if target.is_dir() and (is_ours is None or not is_ours(target)):
            raise ValueError(f"Cannot write {target}: it is a folder that holds something else.")
    parent = target.parent
    if not parent.is_dir():
        raise ValueError(f"Cannot write {target}: there is no folder {parent}.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ValueError(f"Cannot write {target}: its folder may not be written to.")


@contextlib.contextmanager
def whole_target(
    target: Path, overwrite: bool = False, is_ours: Callable[[Path], bool] | None = None
) -> Iterator[Path]:
    """Gives a path beside `target` to write a file or a folder at, which becomes `target` when the block ends.

    If the block raises, nothing is left, and what was there before stays. Verify inside the block.

    Args:
        target: As `check_target` takes.
        overwrite: As `check_target` takes.
        is_ours: As `check_target` takes.

    Yields:
        A hidden path with the target's suffix, at which there is nothing.

    Raises:
        ValueError: If it can't be written. The message has one line and names it.
    """
    check_target(target, overwrite, is_ours)
    try:
        with atomic_path(target) as part:
            yield part
    except OSError as error:
        raise ValueError(f"Cannot write {target}: {reason(error)}.") from error
