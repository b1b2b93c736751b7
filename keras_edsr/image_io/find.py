"""Which files of a folder are images."""

import os
from collections.abc import Iterator
from pathlib import Path

from .formats import SUFFIXES


def find_images(folder: str | os.PathLike) -> list[Path]:
    """Lists the images of a folder and of the folders in it, sorted by path.

    Hidden files and folders (names that start with a dot) are passed over: an archive made on a
    Mac holds a `._0801.png`, which is no image, beside every `0801.png`.

    Args:
        folder: Path of the folder. Links to folders inside it are not followed.

    Returns:
        Paths (each begins with `folder`) of the files whose suffix is one of `SUFFIXES`, in
        small or capital letters; at least one.

    Raises:
        ValueError: If `folder` is missing, is no folder, or holds no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        problem = "is not a folder" if folder.exists() else "does not exist"
        raise ValueError(f"No images to read: {folder} {problem}.")
    paths = sorted(_walk_images(folder))
    if not paths:
        kinds = " ".join(suffix[1:] for suffix in SUFFIXES)
        raise ValueError(f"No images to read: {folder} holds no file with a suffix of {kinds}.")
    return paths


def _walk_images(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:
                yield Path(parent, name)
