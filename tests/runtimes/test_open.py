"""Which runtime is taken, and that ncnn takes files of weights without TensorFlow."""

import logging
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from reference import pair

from keras_edsr.checkpoints import ForeignModelError
from keras_edsr.image_io import write_image
from keras_edsr.models import EDSR, MDSR, save_torch
from keras_edsr.runtimes import NcnnRuntime, ncnn, needs_tensorflow, open_runtime
from keras_edsr.runtimes import open as opening
from keras_edsr.runtimes.ncnn_format import ncnn_files, ncnn_networks

pytest.importorskip("ncnn", reason="needs ncnn: pip install 'keras-edsr[ncnn]'")

IMAGE = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    """A machine without a GPU."""
    monkeypatch.setattr(opening, "_may_have_gpu", lambda: False)
    opening._open_ncnn.cache_clear()


@pytest.fixture
def saved(tmp_path):
    keras.utils.set_random_seed(0)
    model = EDSR(2, 1, 4, 1.0)
    model.save(tmp_path / "m.keras")
    return tmp_path / "m.keras"


# === Which runtime ===


def test_auto_takes_ncnn_for_a_file_and_says_so(saved, caplog):
    caplog.set_level(logging.INFO, "keras_edsr")
    assert isinstance(open_runtime(saved, "auto"), NcnnRuntime)
    assert caplog.messages[-1] == f"Runtime: ncnn, on the CPU ({ncnn._num_threads()} threads)."


def test_auto_takes_tensorflow_where_ncnn_is_not_installed_and_says_so(saved, caplog, monkeypatch):
    caplog.set_level(logging.INFO, "keras_edsr")
    monkeypatch.setattr(ncnn, "is_installed", lambda: False)
    assert not isinstance(open_runtime(saved, "auto"), NcnnRuntime)
    assert caplog.messages[-1] == "Runtime: TensorFlow, on the CPU."


def test_auto_takes_tensorflow_where_that_has_a_gpu(saved, monkeypatch):
    monkeypatch.setattr(opening, "_may_have_gpu", lambda: True)
    monkeypatch.setattr(opening, "_tensorflow_has_gpu", lambda: True)
    assert not isinstance(open_runtime(saved, "auto"), NcnnRuntime)
    assert needs_tensorflow(saved, "auto")
    assert isinstance(open_runtime(saved, "auto", "cpu"), NcnnRuntime)


def test_auto_runs_a_model_in_memory_in_tensorflow(saved):
    model = EDSR(2, 1, 4, 1.0)
    assert not isinstance(open_runtime(model, "auto"), NcnnRuntime)
    assert isinstance(open_runtime(model, "ncnn"), NcnnRuntime)


def test_tensorflow_is_the_default_and_may_be_asked_for(saved):
    assert not isinstance(open_runtime(saved), NcnnRuntime)
    assert not isinstance(open_runtime(saved, "tensorflow"), NcnnRuntime)


@pytest.mark.parametrize("names", [("runtime", "torch"), ("device", "tpu")])
def test_other_names_are_refused(saved, names):
    with pytest.raises(ValueError, match=f"`{names[0]}` must be .*Received: {names[0]}='{names[1]}'"):
        open_runtime(saved, **dict([names]))


def test_a_model_that_does_not_fit_is_left_to_tensorflow_or_refused(tmp_path):
    keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 3)]).save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match="must be an EDSR, an MDSR or a branch of one"):  # of TensorFlow's runtime
        open_runtime(tmp_path / "other.keras", "auto")
    with pytest.raises(ForeignModelError):
        open_runtime(tmp_path / "other.keras", "ncnn")


def test_an_exported_model_is_opened_by_file_or_folder_and_is_not_tensorflows(tmp_path):
    model = MDSR((2, 3), 1, 4)
    for name, content in ncnn_files(ncnn_networks(*pair(model)), "m").items():
        (tmp_path / name).write_bytes(content)
    assert open_runtime(tmp_path).scales == (2, 3)
    assert open_runtime(tmp_path / "m-x3.param", "auto").scales == (3,)
    assert not needs_tensorflow(tmp_path, "auto")
    with pytest.raises(ValueError, match="is a model of ncnn, which TensorFlow cannot run"):
        open_runtime(tmp_path, "tensorflow")


# === Without TensorFlow ===


@pytest.mark.parametrize("suffix", [".keras", ".pt"])
def test_a_command_with_a_file_of_weights_does_not_import_tensorflow(saved, tmp_path, suffix):
    if suffix == ".pt":
        saved = tmp_path / "m.pt"
        save_torch(EDSR(2, 1, 4, 1.0), saved)
    write_image(tmp_path / "in.png", IMAGE)
    program = (
        "import sys, keras_edsr.cli as cli\n"
        "try: cli.main(sys.argv[1:])\n"
        "except SystemExit as stop: print(stop.code, {'tensorflow', 'keras'} & set(sys.modules))\n"
    )
    words = ["upscale", tmp_path / "in.png", "-o", tmp_path / "out.png", "--model", saved, "--device", "cpu"]
    command = [sys.executable, "-c", program, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 set()"
    assert "Runtime: ncnn, on the CPU" in done.stderr
    assert Path(tmp_path / "out.png").is_file()
