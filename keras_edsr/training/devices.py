"""Sets up the devices and machines that share a training run, and checks that they agree."""

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import logging
import os
import time
import types
from typing import Any

import keras

from ..data import PatchSampler
from .config import TrainConfig
from .run import RunFolder

logger = logging.getLogger("keras_edsr")

FOLDER_SECONDS = 60  # time until all machines must see a new file; NFS may need up to half of it


def join_workers(config: TrainConfig) -> Any:
    """Returns the workers that TF_CONFIG names, once all are connected; without TF_CONFIG, this process alone.

    Raises:
        ValueError: If TF_CONFIG is not valid, or `config.devices` does not match the devices and the batch.
        ConnectionError: If the other workers do not connect.
    """
    if keras.backend.backend() != "tensorflow":
        return _alone(config)
    import tensorflow as tf

    from ..trainer.workers import Workers, connect, read_cluster

    cluster = read_cluster(os.environ.get("TF_CONFIG"))
    if cluster is None:
        return Workers(_strategy(config))
    count = len(cluster.addresses)
    here = len(tf.config.list_physical_devices("GPU"))
    each = config.devices or max(1, here)
    if each > max(1, here) or config.batch_size % (count * each):
        raise ValueError(
            f"On {count} workers `devices` must be at most the {max(1, here)} GPUs of each, and the number of all "
            f"devices must divide the batch of {config.batch_size}. Received: devices={each}."
        )
    logger.info("Worker %d of %d: waiting for %s.", cluster.index, count, ", ".join(cluster.addresses))
    workers = Workers(connect(cluster, min(each, here)), cluster)
    logger.info(
        "Worker %d of %d: training with MultiWorkerMirroredStrategy on %d devices%s.",
        cluster.index,
        count,
        workers.strategy.num_replicas_in_sync,
        "; this is the chief, which validates and writes" if workers.is_chief else ", the chief is worker 0",
    )
    return workers


class Alone:
    """The only process of a training, on its one device: what `Workers` is where TensorFlow trains.

    Attributes:
        strategy: Has a `scope` that does nothing.
        count: 1.
        index: 0.
        is_chief: True.
    """

    def __init__(self) -> None:
        self.strategy = types.SimpleNamespace(scope=contextlib.nullcontext)
        self.count = 1
        self.index = 0
        self.is_chief = True

    def any(self, flag: bool) -> bool:
        """Returns `flag`: there is nobody else to ask."""
        return flag

    def together(self) -> contextlib.AbstractContextManager[None]:
        """Returns a context that does nothing: there is nobody else to tell."""
        return contextlib.nullcontext()


def _alone(config):
    if os.environ.get("TF_CONFIG") or (config.devices or 1) > 1:
        raise ValueError(
            "Training on several devices or machines needs KERAS_BACKEND=tensorflow. "
            f"Received: the backend {keras.backend.backend()} with devices={config.devices}, "
            f"TF_CONFIG={os.environ.get('TF_CONFIG')!r}."
        )
    return Alone()


def _strategy(config):
    import tensorflow as tf

    gpus = tf.config.list_logical_devices("GPU")
    available = gpus or tf.config.list_logical_devices("CPU")
    count = config.devices or max(1, len(gpus))
    if count > len(available) or config.batch_size % count:
        raise ValueError(
            f"`devices` must be at most the {len(available)} of this machine, and must divide the batch of "
            f"{config.batch_size}. Received: devices={count}."
        )
    if count == 1:
        return tf.distribute.get_strategy()
    return _mirrored(tuple(device.name for device in available[:count]))


@functools.cache
def _mirrored(devices):
    import tensorflow as tf

    # One strategy a process: a second would count its collectives from zero again, and TensorFlow aborts.
    return tf.distribute.MirroredStrategy(devices)


def check_start(workers: Any, config: TrainConfig, run: RunFolder, batches: PatchSampler) -> None:
    """Checks that all workers start the same run, from the same step, with the same images.

    Raises:
        ValueError: If they do not. The message names the difference and the workers.
    """
    if workers.count == 1:
        return
    import tensorflow as tf  # which all workers have

    settings = {name: repr(value) for name, value in dataclasses.asdict(config).items() if name != "output"}
    packages = ("keras_edsr", "keras", "tensorflow", "numpy")
    workers.check_same(
        {
            **settings,
            "GPUs": str(len(tf.config.list_physical_devices("GPU"))),
            **{f"version of {name}": importlib.metadata.version(name) for name in packages},
            "images to train on": _digest_of_images(batches),
            "checkpoint in `output`": _digest_of_file(run.checkpoint),
        },
        "Start each with the same command and packages, and with a shared folder as `output`.",
    )


def check_folder(workers: Any, run: RunFolder) -> None:
    """Checks that all workers see the folder that the chief made.

    Raises:
        ValueError: If one does not.
    """
    if workers.count == 1:
        return
    workers.any(False)  # waits until the chief has made it
    patience = time.monotonic() + FOLDER_SECONDS
    while not run.config.exists() and time.monotonic() < patience:
        time.sleep(0.5)
    seen = "seen" if run.config.exists() else "not seen"
    advice = f"`output` must be a folder that all workers share. Received: {run.path}."
    workers.check_same({f"{run.config.name} in `output`": seen}, advice)


def _digest_of_images(batches: PatchSampler) -> str:
    """Digests names, sizes, and the pixels of one batch: reading all pixels would load the whole memory map."""
    pairs = batches.pairs
    sizes = [pairs.hr(i, scale).shape for scale in pairs.scales for i in range(len(pairs))]
    digest = hashlib.sha256(json.dumps([pairs.names, sizes]).encode())
    for patches in batches.batch(0):
        digest.update(patches.tobytes())
    return digest.hexdigest()[:12]


def _digest_of_file(path: Any) -> str:
    if not path.exists():
        return "none"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
