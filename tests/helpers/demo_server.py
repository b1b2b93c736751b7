"""`keras-edsr demo` in a process of its own, with two small models."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import keras

from keras_edsr.models import EDSR, MDSR


def write_presets(folder):
    """Writes `small_x4` and `small_mdsr` (x2, x3) to a folder of presets; returns it."""
    keras.utils.set_random_seed(0)
    EDSR(4, 1, 4, 1.0).save_to_preset(folder / "small_x4")
    MDSR((2, 3), 1, 4).save_to_preset(folder / "small_mdsr")
    return folder


@contextlib.contextmanager
def served(folder, *options, **environment):
    """Serves the presets of a folder on loopback; yields the address, and checks that it ends as it should."""
    temporary = folder / "tmp"
    temporary.mkdir()
    environment = {
        **os.environ,
        "KERAS_EDSR_WEIGHTS": str(folder),
        "TMPDIR": str(temporary),
        "PYTHONWARNINGS": "ignore",
        **environment,
    }
    command = [sys.executable, "-m", "keras_edsr", "demo", "--port", str(_free_port()), *options]
    with open(folder / "stderr", "w") as stderr:
        server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True)
        try:
            url = server.stdout.readline().strip()
            assert url, Path(stderr.name).read_text()
            yield url
            assert server.poll() is None, Path(stderr.name).read_text()  # it lives, whatever was asked of it
        finally:
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=60)
    assert server.returncode == 0
    assert not list(temporary.glob("keras-edsr-demo-*"))


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
