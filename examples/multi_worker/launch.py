"""Runs `keras-edsr train` as one of the workers that SLURM or Kubernetes has started.

    srun python launch.py slurm keras-edsr train --hr … --output …
    python launch.py kubernetes keras-edsr train --hr … --output …

Makes TF_CONFIG of what the scheduler tells in the environment, runs the command with it, and passes SIGTERM and SIGINT
on. It ends as the command does, but with status 75 where that was stopped before the end of the run, which
`keras-edsr train` counts as success and a scheduler must not.
"""

import json
import os
import re
import signal
import subprocess
import sys

STOPPED = 75  # EX_TEMPFAIL of sysexits.h: try again
PORTS = 20_000  # the first; jobs of SLURM that share a machine get different ones


def main():
    """Runs the command; see above."""
    if len(sys.argv) < 3 or sys.argv[1] not in SCHEDULERS:
        sys.exit(f"usage: python launch.py {'|'.join(SCHEDULERS)} COMMAND…")
    try:
        addresses, index = SCHEDULERS[sys.argv[1]](os.environ)
    except (KeyError, ValueError) as error:
        sys.exit(f"This is not a worker of {sys.argv[1]}: {error}.")
    task = {"type": "worker", "index": index}
    config = json.dumps({"cluster": {"worker": addresses}, "task": task})
    command = subprocess.Popen(sys.argv[2:], env={**os.environ, "TF_CONFIG": config}, stdout=subprocess.PIPE)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: command.send_signal(number))
    weights, _ = command.communicate()  # the path of the weights, when the run is at its end
    sys.stdout.buffer.write(weights)
    sys.stdout.flush()
    sys.exit(STOPPED if command.returncode == 0 and not weights else command.returncode)


def of_slurm(environment):
    """Returns the workers' addresses and which of them this is, of a step with one task on each node."""
    tasks = environment["SLURM_STEP_TASKS_PER_NODE"]
    if not re.fullmatch(r"1(\(x\d+\))?", tasks):
        raise ValueError(f"one task must run on each node (srun --ntasks-per-node=1), not {tasks}")
    port = PORTS + int(environment["SLURM_JOB_ID"]) % 10_000
    hosts = expand(environment["SLURM_STEP_NODELIST"])
    return [f"{host}:{port}" for host in hosts], int(environment["SLURM_NODEID"])


def of_kubernetes(environment):
    """Returns the workers' addresses and which of them this is, of an Indexed Job with a headless service."""
    job, service, count = environment["JOB_NAME"], environment["SERVICE"], int(environment["WORKERS"])
    index = int(environment["JOB_COMPLETION_INDEX"])
    return [f"{job}-{number}.{service}:{PORTS}" for number in range(count)], index


def expand(hosts):
    """Expands SLURM's list of hosts: `a[01-03,7],b` is a01, a02, a03, a7, b."""
    expanded = []
    for name in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", hosts):
        head, bracket, rest = name.partition("[")
        if not bracket:
            expanded.append(name)
            continue
        ranges, _, tail = rest.partition("]")
        for part in ranges.split(","):
            first, _, last = part.partition("-")
            numbers = range(int(first), int(last or first) + 1)
            expanded += [host for number in numbers for host in expand(f"{head}{number:0{len(first)}}{tail}")]
    return expanded


SCHEDULERS = {"slurm": of_slurm, "kubernetes": of_kubernetes}


if __name__ == "__main__":
    main()
