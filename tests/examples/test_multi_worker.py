"""examples/multi_worker/launch.py: TF_CONFIG of what SLURM and Kubernetes tell, and the status that they are told."""

import importlib.util
import os
import signal
import subprocess
import sys

import pytest
from places import EXAMPLES
from tensorflow.python.distribute.cluster_resolver.slurm_cluster_resolver import expand_hostlist

from keras_edsr.trainer.workers import read_cluster

SCRIPT = EXAMPLES / "multi_worker" / "launch.py"
# As SLURM 22.05 gave them to the second task of `srun -N2 --ntasks-per-node=1`.
SLURM = {
    "SLURM_JOB_ID": "2",
    "SLURM_NODEID": "1",
    "SLURM_PROCID": "1",
    "SLURM_STEP_NODELIST": "node[1-2]",
    "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
}
KUBERNETES = {"JOB_NAME": "mdsr", "SERVICE": "mdsr-workers", "WORKERS": "3", "JOB_COMPLETION_INDEX": "2"}
SHOW_CONFIG = "import os; print(os.environ['TF_CONFIG'])"


@pytest.fixture(scope="module")
def launch():
    spec = importlib.util.spec_from_file_location("launch", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def start(scheduler, environment, program):
    command = [sys.executable, str(SCRIPT), scheduler, sys.executable, "-uc", program]
    environment = {**os.environ, **environment}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    "hosts",
    ["node1", "node[1-2]", "n[001-003,07,11-12],gpu4", "a,b,c", "rack1-n[08-11]"],
)
def test_hosts_are_expanded_as_tensorflow_does(launch, hosts):
    assert launch.expand(hosts) == expand_hostlist(hosts)


def test_hosts_of_two_ranges_are_expanded_as_scontrol_does(launch):
    # `scontrol show hostnames` of SLURM 22.05; TensorFlow's expansion refuses them.
    expected = ["r1n08", "r1n09", "r1n11", "r2n08", "r2n09", "r2n11", "login"]
    assert launch.expand("r[1-2]n[08-09,11],login") == expected


def test_a_task_of_slurm_is_a_worker():
    stdout, stderr = start("slurm", SLURM, SHOW_CONFIG).communicate(timeout=60)
    cluster = read_cluster(stdout)
    assert cluster.addresses == ("node1:20002", "node2:20002"), stderr
    assert cluster.index == 1


def test_a_pod_of_an_indexed_job_is_a_worker():
    stdout, stderr = start("kubernetes", KUBERNETES, SHOW_CONFIG).communicate(timeout=60)
    cluster = read_cluster(stdout)
    assert cluster.addresses == tuple(f"mdsr-{index}.mdsr-workers:20000" for index in range(3)), stderr
    assert cluster.index == 2


@pytest.mark.parametrize("tasks", ["2(x2)", "1,2", "2"])
def test_two_tasks_of_slurm_on_a_node_are_refused(tasks):
    process = start("slurm", {**SLURM, "SLURM_STEP_TASKS_PER_NODE": tasks}, "")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "one task must run on each node" in stderr


def test_what_no_scheduler_has_started_is_refused():
    process = start("kubernetes", {}, "")
    assert process.communicate(timeout=60)[1] == "This is not a worker of kubernetes: 'JOB_NAME'.\n"
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("program", "status"),
    [("print('RUN/best.keras')", 0), ("pass", 75), ("raise SystemExit(1)", 1), ("raise SystemExit(2)", 2)],
)
def test_only_a_run_that_is_at_its_end_is_a_success(program, status):
    process = start("kubernetes", KUBERNETES, program)
    process.communicate(timeout=60)
    assert process.returncode == status


def test_sigterm_is_passed_on():
    program = (
        "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(0)); print(file=sys.stderr); time.sleep(60)"
    )
    process = start("kubernetes", KUBERNETES, program)
    process.stderr.readline()  # it sleeps
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 75


def test_the_manifest_gives_the_pods_what_they_read():
    manifest = (SCRIPT.parent / "kubernetes.yaml").read_text()
    for name in set(KUBERNETES) - {"JOB_COMPLETION_INDEX"}:  # which an Indexed Job sets
        assert f"{{name: {name}, value: " in manifest
