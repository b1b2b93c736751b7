"""ncnn: which runtime is taken, and what was converted once is not converted again."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_edsr.image_io import write_image
from keras_edsr.inference import upscale
from keras_edsr.models import EDSR, MDSR, save_torch
from keras_edsr.runtimes import NcnnRuntime, ncnn, ncnn_cache, needs_tensorflow, open_runtime
from keras_edsr.runtimes import open as opening
from keras_edsr.runtimes.ncnn_format import NotForNcnnError, ncnn_files, ncnn_networks

pytest.importorskip("ncnn", reason="needs ncnn: pip install 'keras-edsr[ncnn]'")

IMAGE = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own for each test, and a machine without a GPU."""
    monkeypatch.setenv("KERAS_EDSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(opening, "_may_have_gpu", lambda: False)
    opening._open_ncnn.cache_clear()
    return tmp_path / "cache" / "ncnn"


@pytest.fixture
def saved(tmp_path):
    keras.utils.set_random_seed(0)
    model = EDSR(2, 1, 4, 1.0)
    model.save(tmp_path / "m.keras")
    return tmp_path / "m.keras"


def kept(cache):
    return sorted(entry.name for entry in cache.iterdir()) if cache.is_dir() else []


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
    with pytest.raises(NotForNcnnError):
        open_runtime(tmp_path / "other.keras", "ncnn")


def test_an_exported_model_is_opened_by_file_or_folder_and_is_not_tensorflows(tmp_path):
    model = MDSR((2, 3), 1, 4)
    for name, content in ncnn_files(ncnn_networks(model), "m").items():
        (tmp_path / name).write_bytes(content)
    assert open_runtime(tmp_path).scales == (2, 3)
    assert open_runtime(tmp_path / "m-x3.param", "auto").scales == (3,)
    assert not needs_tensorflow(tmp_path, "auto")
    with pytest.raises(ValueError, match="is a model of ncnn, which TensorFlow cannot run"):
        open_runtime(tmp_path, "tensorflow")


# === What is kept ===


def test_a_file_is_converted_once(saved, cache):
    assert not ncnn_cache.is_converted(saved)
    assert needs_tensorflow(saved, "auto")
    first = upscale(saved, IMAGE)
    assert kept(cache) == [ncnn_cache.fingerprint(saved)]
    assert ncnn_cache.is_converted(saved)
    assert not needs_tensorflow(saved, "auto")
    opening._open_ncnn.cache_clear()

    def load():
        raise AssertionError("it is converted already")

    again = NcnnRuntime(ncnn_cache.open_converted(saved, load))
    np.testing.assert_array_equal(upscale(again, IMAGE), first)


def test_a_file_of_pytorch_is_kept_too(tmp_path, cache):
    save_torch(EDSR(3, 1, 4, 1.0), tmp_path / "m.pt")
    sr = upscale(tmp_path / "m.pt", IMAGE)
    assert sr.shape == (36, 30, 3)
    assert not needs_tensorflow(tmp_path / "m.pt", "auto")


def test_a_file_that_has_changed_is_converted_again(saved, cache):
    before = upscale(saved, IMAGE)
    keras.utils.set_random_seed(1)
    EDSR(2, 1, 4, 1.0).save(saved)
    assert needs_tensorflow(saved, "auto")
    assert (upscale(saved, IMAGE) != before).any()
    assert len(kept(cache)) == 2


@pytest.mark.parametrize("damage", [b"", b"text", None])
@pytest.mark.parametrize("suffix", ["param", "bin", "json"])
def test_what_is_damaged_is_made_again(saved, cache, suffix, damage):
    expected = upscale(saved, IMAGE)
    [folder] = cache.iterdir()
    [file] = folder.glob(f"*.{suffix}")
    file.unlink() if damage is None else file.write_bytes(damage)
    opening._open_ncnn.cache_clear()
    assert not ncnn_cache.is_converted(saved)
    np.testing.assert_array_equal(upscale(saved, IMAGE), expected)
    assert ncnn_cache.is_converted(saved)


def test_what_was_made_of_another_file_is_not_taken(saved, cache):
    upscale(saved, IMAGE)
    [folder] = cache.iterdir()
    EDSR(3, 1, 4, 1.0).save(saved)
    folder.rename(folder.with_name(ncnn_cache.fingerprint(saved)))
    opening._open_ncnn.cache_clear()
    assert upscale(saved, IMAGE).shape == (36, 30, 3)


def test_without_a_cache_it_is_converted_each_time(saved, cache):
    cache.parent.write_text("a file where the folder would be")
    assert upscale(saved, IMAGE).shape == (24, 20, 3)
    assert not ncnn_cache.is_converted(saved)


def test_the_newest_are_kept(saved, cache):
    for i in range(ncnn_cache.KEPT + 2):
        (cache / f"{i:032}").mkdir(parents=True)
        os.utime(cache / f"{i:032}", (i, i))
    upscale(saved, IMAGE)
    assert len(kept(cache)) == ncnn_cache.KEPT
    assert ncnn_cache.is_converted(saved)
    assert f"{0:032}" not in kept(cache)


def test_a_part_that_a_killed_process_left_is_no_model(saved, cache):
    (cache / ".0123.part").mkdir(parents=True)
    assert upscale(saved, IMAGE).shape == (24, 20, 3)
    assert ncnn_cache.is_converted(saved)


# === Without TensorFlow ===


def test_the_second_command_does_not_import_tensorflow(saved, tmp_path):
    upscale(saved, IMAGE)
    write_image(tmp_path / "in.png", IMAGE)
    program = (
        "import sys, keras_edsr.cli as cli\n"
        "try: cli.main(sys.argv[1:])\n"
        "except SystemExit as stop: print(stop.code, {'tensorflow', 'keras', 'h5py'} & set(sys.modules))\n"
    )
    words = ["upscale", tmp_path / "in.png", "-o", tmp_path / "out.png", "--model", saved, "--device", "cpu"]
    command = [sys.executable, "-c", program, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 set()"
    assert "Runtime: ncnn, on the CPU" in done.stderr
    assert Path(tmp_path / "out.png").is_file()
