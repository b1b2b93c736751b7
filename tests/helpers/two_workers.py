"""Two workers that train together on loopback, and what one of them does.

python two_workers.py [NAME=SECONDS…] train …   `keras-edsr train`, with other bounds of time
python two_workers.py runs RUNS.json            some runs; the second worker stops an MDSR by SIGTERM, then both go on
python two_workers.py fit RESULT.json           `fit`, `evaluate` and `predict` without `train`
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = Path(__file__)


class Workers:
    """Two processes, started with the commands for the first and the second; the folders that they run in."""

    def __init__(self, folder, *commands):
        self.addresses = [f"127.0.0.1:{port}" for port in free_ports()]
        self.folders = [folder / f"worker{index}" for index in range(2)]
        self.processes = [self._start(index, command) for index, command in enumerate(commands)]

    def _start(self, index, command):
        self.folders[index].mkdir(parents=True, exist_ok=True)
        cluster = {"cluster": {"worker": self.addresses}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_CONFIG": json.dumps(cluster)}
        command = [sys.executable, *map(str, command)]
        return subprocess.Popen(
            command, cwd=self.folders[index], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def finish(self, timeout=600):
        """Waits; returns of each its status, stdout and stderr."""
        end = time.monotonic() + timeout
        try:
            outputs = [process.communicate(timeout=end - time.monotonic()) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()
        return [(process.returncode, *output) for process, output in zip(self.processes, outputs, strict=True)]

    def finish_well(self):
        """As `finish`, when both must end with 0."""
        results = self.finish()
        assert [status for status, _, _ in results] == [0, 0], results
        return results


def free_ports():
    with socket.socket() as one, socket.socket() as two:
        for each in (one, two):
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in (one, two)]


def run_all(path):
    from keras_edsr.training import Stopped, TrainConfig, train

    def stop(step, steps, loss):
        if step == 4 and json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    for settings in json.loads(Path(path).read_text()):
        config = TrainConfig(**settings)
        if config.model == "mdsr":
            with contextlib.suppress(Stopped):
                train(config, stop)
                raise RuntimeError("the signal was ignored")
        print(train(config))


def fit(path):
    import keras
    import tensorflow as tf
    from two_devices import batches, dataset

    from keras_edsr.models import MDSR
    from keras_edsr.trainer import LossSpikeGuard, TrainingLoop

    several = "TF_CONFIG" in os.environ
    strategy = tf.distribute.MultiWorkerMirroredStrategy() if several else tf.distribute.get_strategy()
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = MDSR((2, 3), 1, 4)
        model.compile(keras.optimizers.Adam(1e-3, global_clipnorm=1.0), "mae")
        loop = TrainingLoop(model, LossSpikeGuard(1.0001))
    loop.run(dataset(batches((2, 3))), lambda: False)
    result = {
        "results": loop.results(),
        "skipped": int(loop.guard.skipped.numpy()),
        "weights": [weight.tolist() for weight in model.get_weights()],
    }
    if several:
        result["refused"] = refused(loop, dataset)
        path = f"{path}.{json.loads(os.environ['TF_CONFIG'])['task']['index']}"
    Path(path).write_text(json.dumps(result))


def refused(loop, dataset):
    """What the loop says to batches that are not the same on each worker."""
    import numpy as np

    own_scale = 2 + json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    lr = np.zeros((4, 4, 4, 3), np.uint8)
    hr = np.zeros((4, 4 * own_scale, 4 * own_scale, 3), np.uint8)
    try:
        loop.run(dataset([(lr, hr)]), lambda: False)
    except ValueError as error:
        return str(error)


def main():
    bounds = [word for word in sys.argv[1:] if "=" in word and word.partition("=")[0].isupper()]
    del sys.argv[1 : 1 + len(bounds)]
    what, *rest = sys.argv[1:]
    if what == "runs":
        run_all(*rest)
    elif what == "fit":
        fit(*rest)
    else:
        from keras_edsr.cli import main as door
        from keras_edsr.trainer import workers
        from keras_edsr.training import devices

        for bound in bounds:
            name, value = bound.split("=")
            setattr(devices if hasattr(devices, name) else workers, name, int(value))
        sys.argv[0] = "keras-edsr"
        door()


if __name__ == "__main__":
    main()
