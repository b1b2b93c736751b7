"""Training on several machines: the workers that TF_CONFIG names, and what they agree on.

Keras' maintainers say that Keras 3 does not work with MultiWorkerMirroredStrategy (keras-team/keras#20585), and its
`fit` fails under it. `TrainingLoop`, which `keras-edsr train` uses, has steps of its own, which work as long as every
worker gets the same batches, of which each takes its part. What of TensorFlow and Keras that relies on beyond their
public names is listed here.
"""

import contextlib
import dataclasses
import functools
import itertools
import json
import re
import signal
import socket
import threading
import time
from typing import Any

import keras
import tensorflow as tf
from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
from tensorflow.python.eager import context

from ..files import reason

START_SECONDS = 15 * 60  # time that the first worker waits for the last: a cluster starts them one by one
HEARTBEAT_SECONDS = 30  # time without a heartbeat after which a worker counts as lost

# All that the package uses beyond the public names of Keras and TensorFlow; for several devices or machines alone.
PRIVATE_NAMES = {
    # `gradients_are_summed`: the loop adds up the gradients of all replicas before they are clipped.
    "keras.Optimizer": (keras.Optimizer, ("_all_reduce_sum_gradients",)),
    # The coordination service, by which workers find one another and tell each other of an end.
    "TensorFlow's context": (
        context.Context,
        (
            "configure_coordination_service",
            "set_config_key_value",
            "get_config_key_value",
            "wait_at_barrier",
            "report_error_to_cluster",
        ),
    ),
}
_WAIT_SECONDS = 24 * 3600  # time to wait for reports: a worker may need long to read its images
_NUMBERS = itertools.count()  # numbers of the reports, which the coordination service identifies by name
# Errors of a collective operation if another worker is lost or has stopped.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
)


# === Who they are ===


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of one training, in an order that all of them know.

    Attributes:
        addresses: "host:port" of each; the first is the chief's.
        index: Which of them this process is.
    """

    addresses: tuple[str, ...]
    index: int


def read_cluster(tf_config: str | None) -> Cluster | None:
    """Reads the value of TF_CONFIG; None if it names no others.

    Args:
        tf_config: JSON such as `{"cluster": {"worker": ["a:9000", "b:9000"]}, "task": {"type": "worker", "index": 0}}`.

    Raises:
        ValueError: If it is not valid, or has tasks other than "chief" and "worker".
    """
    if not tf_config:
        return None
    try:
        values = json.loads(tf_config)
        jobs, task = values.get("cluster", {}), values.get("task", {})
        others = sorted(set(jobs) - {"chief", "worker"})
        chief, workers = list(jobs.get("chief", [])), list(jobs.get("worker", []))
        addresses = tuple(chief + workers)
        if len(addresses) < 2 and not others:
            return None
        number = int(task["index"])
        if number < 0:
            raise IndexError("below 0")
        own = jobs[task["type"]][number]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(
            'TF_CONFIG must be JSON such as {"cluster": {"worker": ["a:9000", "b:9000"]}, "task": {"type": "worker", '
            f'"index": 0}}}}, "index" being of this worker. Received: {tf_config} ({type(error).__name__}: {error}).'
        ) from None
    if others or len(chief) > 1:
        raise ValueError(
            "TF_CONFIG must name workers, and at most one chief: parameter servers and evaluators are not used. "
            f"Received: {tf_config}."
        )
    if len(set(addresses)) < len(addresses) or not all(re.fullmatch(r".+:\d+", address) for address in addresses):
        raise ValueError(f"TF_CONFIG must name each worker once, as host:port. Received: {', '.join(addresses)}.")
    return Cluster(addresses, addresses.index(own))


def check_versions() -> None:
    """Checks that Keras and TensorFlow have what training on several machines relies on.

    Raises:
        ValueError: If they do not.
    """
    missing = [
        f"{name}.{part}" for name, (owner, parts) in PRIVATE_NAMES.items() for part in parts if not hasattr(owner, part)
    ]
    if missing:
        raise ValueError(
            "Training on several machines was tried with Keras 3.15 and TensorFlow 2.21: it relies on private parts of "
            f"both. Received: Keras {keras.__version__}, TensorFlow {tf.__version__}, without {', '.join(missing)}. "
            "Install those, or train on one machine."
        )


@functools.cache  # a process can configure TensorFlow's cluster only once; several trainings share it
def connect(cluster: Cluster, gpus: int) -> Any:
    """Waits for all workers and returns the strategy by which they train together.

    The caller must not have used TensorFlow before.

    Args:
        cluster: The workers.
        gpus: GPUs of each worker; 0 for one CPU each.

    Raises:
        ValueError: If TensorFlow was used before, or `check_versions` raises it.
        ConnectionError: If the workers did not connect, or this one cannot listen at its address.
    """
    check_versions()
    job = coordination_config_pb2.CoordinatedJob(name="worker", num_tasks=len(cluster.addresses))
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.addresses)}),
        task_type="worker",
        task_id=cluster.index,
        num_accelerators={"GPU": gpus} if gpus else {},
        rpc_layer="grpc",
    )
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader="/job:worker/replica:0/task:0",
        cluster_register_timeout_in_ms=START_SECONDS * 1000,
        heartbeat_timeout_in_ms=HEARTBEAT_SECONDS * 1000,
        coordinated_jobs=[job],
    )
    if cluster.index == 0:
        _wait_for(cluster.addresses[1:])
    try:
        with _interruptible():
            return tf.distribute.MultiWorkerMirroredStrategy(resolver)
    except RuntimeError as error:
        raise ValueError(
            "Training on several machines must be the first thing that a process does with TensorFlow. Start it in a "
            f"process of its own, before a model is built or a tensor made. TensorFlow says: {reason(error)}"
        ) from error
    except tf.errors.OpError as error:
        own = cluster.addresses[cluster.index]
        raise ConnectionError(
            f"The workers do not come together. Each of {', '.join(cluster.addresses)} must be started within "
            f"{START_SECONDS:g} seconds and be reached by the others; {own} must be this machine, with a free port. "
            f"TensorFlow says: {reason(error)}"
        ) from error


def _wait_for(addresses):
    """Waits until all answer: TensorFlow's own chief would wait without end for one that does not come."""
    end = time.monotonic() + START_SECONDS
    while missing := [address for address in addresses if not _answers(address)]:
        if time.monotonic() > end:
            raise ConnectionError(
                f"The workers do not come together: {', '.join(missing)} cannot be reached from the chief after "
                f"{START_SECONDS:g} seconds. Start all of them, each with its address among those of TF_CONFIG."
            )
        time.sleep(1)


def _answers(address):
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=5):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def _interruptible():
    """Lets Ctrl-C end the process while TensorFlow waits, where Python's own handler is not run."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# === What they agree on ===


class Workers:
    """The processes that train one model together; or the only one.

    What reads or changes a model's variables, and the methods here, must be done by all workers in the same order:
    each waits for the others.

    Args:
        strategy: Their `tf.distribute.Strategy`.
        cluster: The workers, or None for one alone.

    Attributes:
        strategy: As given.
        count: How many there are.
        index: Which this is.
        is_chief: Whether this one writes the files.
    """

    def __init__(self, strategy: Any, cluster: Cluster | None = None) -> None:
        self.strategy = strategy
        self._addresses = cluster.addresses if cluster else ()
        self.count = max(1, len(self._addresses))
        self.index = cluster.index if cluster else 0
        self.is_chief = self.index == 0

    def any(self, flag: bool) -> bool:
        """Tells whether `flag` is true on any worker; the same answer on all."""
        if self.count == 1:
            return flag
        return float(self.strategy.reduce("SUM", tf.constant(float(flag)), axis=None)) > 0

    def check_same(self, what: dict[str, str], advice: str) -> None:
        """Checks that a thing is the same on all workers as on the chief.

        Args:
            what: What is compared, by name.
            advice: What to do about a difference.

        Raises:
            ValueError: If there is a difference. All workers raise it, and the message names the difference and the
                workers.
        """
        if self.count == 1:
            return
        reports = self._exchange(what)
        different = [
            f"{name} ({_short(reports[0][name])} on worker 0, {_short(report[name])} on worker {index})"
            for name in what
            for index, report in enumerate(reports)
            if report[name] != reports[0][name]
        ]
        if different:
            raise ValueError(f"Not the same on all {self.count} workers: {', '.join(different)}. {advice}")

    def _exchange(self, report: dict[str, str]) -> list[dict[str, str]]:
        """Returns the reports of all workers, in their order; through the chief's coordination service."""
        # Not by a collective operation: those hang where workers differ in their devices, and this is to find out.
        name, service = f"keras_edsr/{next(_NUMBERS)}", context.context()
        keys = [f"{name}/{index}" for index in range(self.count)]
        try:
            service.set_config_key_value(keys[self.index], json.dumps(report))
            service.wait_at_barrier(name, _WAIT_SECONDS * 1000)
            return [json.loads(service.get_config_key_value(key, _WAIT_SECONDS * 1000)) for key in keys]
        except tf.errors.FailedPreconditionError:
            self.any(False)  # fails, too, and says why: the service says only that it does not work any more
            raise

    @contextlib.contextmanager
    def together(self):
        """Stops the other workers with the reason if this one fails while the block runs.

        Raises:
            ConnectionError: If another worker was lost, or ended with an error.
        """
        try:
            yield
        except _LOST as error:
            if self.count == 1:
                raise
            raise ConnectionError(self._tell_of_loss(str(error))) from error
        except Exception as error:
            if self.count > 1:
                _report(f"{_ENDED}{reason(error)}")
            raise

    def _tell_of_loss(self, message: str) -> str:
        number = next((n for n in map(int, _TASK.findall(message)) if n != self.index), None)
        who = "Another worker" if number is None else f"Worker {number} ({self._addresses[number]})"
        said = re.search(f"{_ENDED}(.*)", message)
        why = f"ended: {said[1].removesuffix('.')}" if said else "was lost"
        return (
            f"{who} {why}. The run cannot go on without it. Start all {self.count} workers again, "
            "each with the same command as before: it goes on from the last checkpoint."
        )


_ENDED = "keras_edsr ended: "
_TASK = re.compile(r"/job:worker/(?:replica:\d+/)?task:(\d+)(?!/device|\d)")


def _report(message):
    # Where the others are gone, there is nobody to tell; where this one never connected, neither.
    with contextlib.suppress(tf.errors.OpError, ValueError):
        context.context().report_error_to_cluster(tf.errors.ABORTED, message)


def _short(text, limit=60):
    return text if len(text) <= limit else f"{text[:limit]}…"


# === What they train on, and how ===


@contextlib.contextmanager
def gradients_are_summed(optimizer: Any):
    """While the block runs, a Keras optimizer takes its gradients as those of all replicas, added up already."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # of what scales the loss for float16
    inner._all_reduce_sum_gradients = lambda pairs: pairs
    try:
        yield
    finally:
        del inner._all_reduce_sum_gradients


def has_workers(strategy: Any) -> bool:
    """Whether a strategy is of several workers."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return False
    return strategy.num_replicas_in_sync > len(strategy.extended.worker_devices)


def split_batches(name: str, data: Any) -> Any:
    """Returns a dataset of which each worker takes its part of every batch.

    Every worker must be given the same batches. (Where each was given its part, the weights came out wrong without an
    error: batches are divided by the number of workers once more.)

    Raises:
        ValueError: If it is not a `tf.data.Dataset`, or was split already.
    """
    policy = tf.data.experimental.AutoShardPolicy
    if not isinstance(data, tf.data.Dataset):
        raise ValueError(
            f"On several workers `{name}` must be a tf.data.Dataset whose batches are the same on each: they are "
            f"divided here. Received: {type(data).__name__}."
        )
    given = data.options().experimental_distribute.auto_shard_policy
    if given not in (policy.AUTO, policy.DATA):
        raise ValueError(
            f"On several workers `{name}` must have whole batches, the same on each worker, with AutoShardPolicy.DATA: "
            f"they are divided here. Received: {given}."
        )
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = policy.DATA
    return data.with_options(options)
