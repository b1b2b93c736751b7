import importlib.util
import os
import subprocess
import sys

import pytest
from places import EXAMPLES
from runs import write_photos

SCRIPT = EXAMPLES / "keras_guide.py"
BACKENDS = [name for name in ("tensorflow", "jax", "torch") if importlib.util.find_spec(name)]


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_guide_runs_with_each_backend(backend, tmp_path):
    folder = write_photos(tmp_path / "photos", 2, height=96, width=100)
    command = [
        sys.executable,
        SCRIPT,
        "--images",
        folder,
        "--output",
        tmp_path / "out",
        "--epochs",
        "2",
        "--steps",
        "2",
    ]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    result = subprocess.run(command, env=environment, timeout=580, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "Loaded an EDSR after" in result.stdout
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"best.keras", "log.csv"} <= made
    assert ("saved_model" in made) == (backend == "tensorflow")
