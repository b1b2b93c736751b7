"""Where the user's cache lies."""

import os
import sys
from pathlib import Path


def cache_folder(cache_dir: str | os.PathLike | None = None) -> Path:
    """Returns the folder of the cache: `cache_dir`, else the user's own.

    Everything in it is made again when it is missing, so it may be deleted at any time. The user's
    own is `$KERAS_EDSR_CACHE` if that is set, else `keras_edsr` where the system has its caches.
    """
    if cache_dir is not None:
        return Path(cache_dir)
    if "KERAS_EDSR_CACHE" in os.environ:
        return Path(os.environ["KERAS_EDSR_CACHE"])
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"), "keras_edsr")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "keras_edsr"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "keras_edsr")
