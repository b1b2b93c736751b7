"""What the machine has: a folder for caches, memory, cores."""

import contextlib
import os
from pathlib import Path

_GROUP = Path("/sys/fs/cgroup")  # of a container


def cache_folder(cache_dir: str | os.PathLike | None = None) -> Path:
    """Returns the folder of the cache: `cache_dir`, else `$KERAS_EDSR_CACHE`, else the user's, as the system has it.

    Everything in it is made again when it is missing, so it may be deleted at any time.
    """
    if cache_dir is not None:
        return Path(cache_dir)
    if "KERAS_EDSR_CACHE" in os.environ:
        return Path(os.environ["KERAS_EDSR_CACHE"])
    from platformdirs import user_cache_path

    return user_cache_path("keras_edsr", appauthor=False, opinion=False)


def total_memory() -> int:
    """Bytes that the machine has, or its container may take."""
    import psutil

    return min([psutil.virtual_memory().total, *_container("memory.max")])


def free_memory() -> int:
    """Bytes that this process may still take, by the system and by its container."""
    import psutil

    left = [limit - used for limit in _container("memory.max") for used in _container("memory.current")]
    return min([psutil.virtual_memory().available, *left])


def count_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _container(name: str) -> list[int]:
    """A number that the container's group of processes has; none outside a container, or where there is no bound."""
    with contextlib.suppress(ValueError, OSError):  # "max" if it has no bound
        return [int((_GROUP / name).read_text())]
    return []
