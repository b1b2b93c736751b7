"""Finds the images in a folder."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from ..files import why_not_a_file
from .formats import READ_SUFFIXES

logger = logging.getLogger("keras_edsr")


def find_images(folder: str | os.PathLike) -> list[Path]:
    """Lists the images of a folder and of the folders in it, sorted by path.

    The function skips hidden files and folders (names that start with a dot): an archive made on a Mac has a
    `._0801.png`, which is not a valid image, beside every `0801.png`. It skips broken links, pipes, sockets, devices
    and unreadable folders with a warning that names them.

    Args:
        folder: Path of the folder. Links to folders inside it are not followed.

    Returns:
        Paths (each begins with `folder`) of the files whose suffix is one of `READ_SUFFIXES`, in
        lower or upper case; at least one.

    Raises:
        ValueError: If `folder` is missing, is not a folder, or has no image.
    """
    paths = []
    for path in find_entries(folder):
        problem = unreadable_folder(path) if os.path.isdir(path) else why_not_a_file(path)
        if problem:
            logger.warning("Skipping %s: %s.", path, problem)
        else:
            paths.append(path)
    if not paths:
        raise ValueError(f"No images to read: {folder} has no readable image.")
    return paths


def find_entries(folder: str | os.PathLike) -> list[Path]:
    """Lists what `find_images` lists, and also unreadable entries, for callers that report each failure.

    Returns:
        Paths of all entries with an image's suffix, of any kind, and of unreadable folders; at least one.

    Raises:
        ValueError: If `folder` is missing, is not a folder, or has no entry with an image's suffix.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):
        problem = "is not a folder" if os.path.exists(folder) else "does not exist"
        if folder.is_symlink():
            problem = f"is not a folder: {why_not_a_file(folder) or 'it is a link to a file'}"
        raise ValueError(f"No images to read: {folder} {problem}.")
    paths = sorted(_walk_images(folder))
    if not paths:
        kinds = " ".join(suffix[1:] for suffix in READ_SUFFIXES)
        raise ValueError(f"No images to read: {folder} has no file with a suffix of {kinds}.")
    return paths


def is_called_like_an_image(path: str | os.PathLike) -> bool:
    """Whether a path has one of `READ_SUFFIXES`, in lower or upper case."""
    return os.path.splitext(path)[1].lower() in READ_SUFFIXES


def unreadable_folder(path: str | os.PathLike) -> str | None:
    """Returns why a folder cannot be listed, or None."""
    try:
        os.scandir(os.fspath(path)).close()
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None


def _walk_images(folder: Path) -> Iterator[Path]:
    unreadable: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=lambda error: unreadable.append(Path(error.filename))):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and is_called_like_an_image(name):
                yield Path(parent, name)
    yield from unreadable
