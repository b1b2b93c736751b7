"""Resources of the machine: the cache folder, memory, cores."""

import contextlib
import os
from pathlib import Path

_GROUP = Path("/sys/fs/cgroup")  # control group of a container


def cache_folder(cache_dir: str | os.PathLike | None = None) -> Path:
    """Returns the folder of the cache: `cache_dir`, else `$KERAS_EDSR_CACHE`, else the system's folder for user caches.

    It may be deleted at any time: missing files are made again.
    """
    if cache_dir is not None:
        return Path(cache_dir)
    if "KERAS_EDSR_CACHE" in os.environ:
        return Path(os.environ["KERAS_EDSR_CACHE"])
    from platformdirs import user_cache_path

    return user_cache_path("keras_edsr", appauthor=False, opinion=False)


def need_tensorflow(what: str) -> None:
    """Checks that TensorFlow is Keras' backend.

    Args:
        what: What needs it.

    Raises:
        ValueError: If it is not.
    """
    import keras  # here: the rest needs none

    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"{what} needs TensorFlow as Keras' backend. Received: {keras.backend.backend()}. Save the model to a "
            ".keras file, and do this where KERAS_BACKEND=tensorflow is set before Python starts."
        )


def total_memory() -> int:
    """Returns the memory of the machine, or the limit of its container, in bytes."""
    import psutil

    return min([psutil.virtual_memory().total, *_container("memory.max")])


def free_memory() -> int:
    """Returns the memory that this process may still use, by the system and its container, in bytes."""
    import psutil

    left = [limit - used for limit in _container("memory.max") for used in _container("memory.current")]
    return min([psutil.virtual_memory().available, *left])


def count_cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _container(name: str) -> list[int]:
    """Returns a number of the container's control group; an empty list outside a container or without a limit."""
    with contextlib.suppress(ValueError, OSError):  # "max" means no limit
        return [int((_GROUP / name).read_text())]
    return []
