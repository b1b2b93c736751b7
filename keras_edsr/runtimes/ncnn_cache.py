"""Models of ncnn on disk: exported ones, presets, and those that were converted once from another file and kept.

What was converted is known by the content of that file, so that it can't be of another one, and lies in the user's
cache. With it TensorFlow need not be imported; nor for a preset, which is converted in milliseconds each time.
"""

import contextlib
import hashlib
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from ..machine import cache_folder
from .ncnn_format import Networks, ncnn_files, ncnn_networks, read_ncnn
from .stored import StoredModel

KEPT = 8  # models in the cache: a training run would fill it with one for every epoch


def is_ncnn(path: Path) -> bool:
    """Whether `path` is an exported model: a .param, or a folder of them that is no preset's."""
    if path.suffix == ".param":
        return True
    return path.is_dir() and not (path / "config.json").exists() and any(path.glob("*.param"))


def is_converted(path: Path) -> bool:
    """Whether `open_converted` would not have to load the model at `path`."""
    return path.is_dir() or _read(fingerprint(path)) is not None


def open_converted(path: Path, load: Callable) -> Networks:
    """Reads what the model at `path` was converted to; converts it if that was never done.

    Args:
        path: Path of a file, or of a preset's folder.
        load: Function without arguments that returns the Keras model at `path`.

    Raises:
        NotForNcnnError: ncnn could not run it.
    """
    if path.is_dir():
        return ncnn_networks(StoredModel(path))
    source = fingerprint(path)
    networks = _read(source)
    if networks is None:
        networks = ncnn_networks(load())
        with contextlib.suppress(OSError):  # without the cache it takes as long the next time
            _write(cache_folder() / "ncnn" / source, ncnn_files(networks, "model", source))
    return networks


def fingerprint(path: Path) -> str:
    """Hexadecimal digits that tell the file at `path` from any other."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def _read(source):
    folder = cache_folder() / "ncnn" / source
    with contextlib.suppress(ValueError):
        if folder.is_dir():
            networks = read_ncnn(folder)
            if all(about.get("source") == source for _, about in networks.values()):
                return networks
    return None


def _write(folder, files):
    """Writes the folder of one model, which appears whole or not at all, and deletes the oldest."""
    part = folder.with_name(f".{uuid.uuid4().hex}.part")
    part.mkdir(parents=True)
    try:
        for name, content in files.items():
            (part / name).write_bytes(content)
        shutil.rmtree(folder, ignore_errors=True)  # damaged, or of another format
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    by_age = sorted(folder.parent.iterdir(), key=lambda entry: entry.stat().st_mtime)
    for entry in by_age[:-KEPT]:
        shutil.rmtree(entry, ignore_errors=True)
