"""Where an export goes: it appears under its name whole and verified, or not at all."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ..files import atomic_path, reason


def check_target(target: Path, overwrite: bool, is_ours: Callable[[Path], bool] | None = None) -> None:
    """Checks, before the work, that a target can be written.

    Args:
        target: Path of the file or folder.
        overwrite: Boolean, whether an existing target may be replaced.
        is_ours: Function that returns whether an existing folder is such an export; None for a file. Other folders are
            never replaced.

    Raises:
        ValueError: If it cannot. The message has one line and names it.
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
            raise ValueError(f"Cannot write {target}: it is a folder with other files.")
    parent = target.parent
    if not parent.is_dir():
        raise ValueError(f"Cannot write {target}: there is no folder {parent}.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ValueError(f"Cannot write {target}: its folder is not writable.")


@contextlib.contextmanager
def whole_target(
    target: Path, overwrite: bool = False, is_ours: Callable[[Path], bool] | None = None
) -> Iterator[Path]:
    """Yields a path for a file or a folder, which becomes `target` when the block ends.

    If the block raises, the new file is deleted, and an existing target stays. Verify inside the block.

    Args:
        target: As `check_target` takes it.
        overwrite: As `check_target` takes it.
        is_ours: As `check_target` takes it.

    Yields:
        A hidden path with the target's suffix, at which nothing exists.

    Raises:
        ValueError: If it cannot be written. The message has one line and names it.
    """
    check_target(target, overwrite, is_ours)
    try:
        with atomic_path(target) as part:
            yield part
    except OSError as error:
        raise ValueError(f"Cannot write {target}: {reason(error)}.") from error
