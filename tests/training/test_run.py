import errno
import json
import os
import resource
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from runs import TINY, write_data

from keras_edsr.training import TrainConfig, train
from keras_edsr.training.run import Progress, RunFolder


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.open(config())
    return folder


def config(**settings):
    return TrainConfig(**{"output": "run", "hr": "photos", **settings})


def groups(seed=0):
    random = np.random.default_rng(seed)
    return {
        "weights": [random.normal(size=(3, 3, 4)).astype(np.float32), random.normal(size=4).astype(np.float32)],
        "optimizer": [np.int64(seed)],
        "guard": [],
    }


def variables():
    return {name: [tf.Variable(tf.zeros_like(value)) for value in group] for name, group in groups().items()}


def progress(step=7):
    return Progress(step, [{"step": 4, "loss": 1 / 3}], 0.1 + 0.2)


def names(folder):
    return {path.name for path in folder.path.iterdir()}


# === The checkpoint ===


def test_what_is_saved_is_loaded_to_the_bit(run):
    run.save(groups(), progress())
    into = variables()
    assert run.load(into) == progress()
    for name, values in groups().items():
        for variable, value in zip(into[name], values, strict=True):
            np.testing.assert_array_equal(variable.numpy(), value)


def test_a_new_run_is_at_its_beginning(run):
    assert run.load(variables()) == Progress(0, [], None)


def test_history_json_is_the_history(run):
    run.save(groups(), progress())
    assert json.loads(run.history.read_text()) == progress().history


def test_history_json_is_brought_up_to_the_checkpoint(run):
    # A start may be killed after it has written one and before it writes the other.
    run.save(groups(), progress())
    run.history.write_text("[]")
    run.load(variables())
    assert json.loads(run.history.read_text()) == progress().history


@pytest.mark.parametrize("damage", ["empty", "half", "garbage", "flipped", "an array", "other keys", "no json"])
def test_a_checkpoint_that_cannot_be_read_is_one_line_with_its_name(run, damage):
    run.save(groups(), progress())
    data = run.checkpoint.read_bytes()
    if damage == "empty":
        run.checkpoint.write_bytes(b"")
    elif damage == "half":
        run.checkpoint.write_bytes(data[: len(data) // 2])
    elif damage == "garbage":
        run.checkpoint.write_bytes(bytes(range(256)) * 4)
    elif damage == "flipped":
        at = data.index(b"NUMPY") + 130
        run.checkpoint.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    elif damage == "an array":
        with run.checkpoint.open("wb") as file:
            np.save(file, np.zeros(3))
    elif damage == "other keys":
        np.savez(run.checkpoint, a=np.zeros(3))
    else:
        np.savez(run.checkpoint, progress=np.array("{"))
    with pytest.raises(ValueError, match=r"checkpoint\.npz cannot be read: .*Delete it") as raised:
        run.load(variables())
    assert "\n" not in str(raised.value)


def test_a_checkpoint_of_another_model_is_refused(run):
    run.save({**groups(), "weights": groups()["weights"][:1]}, progress())
    with pytest.raises(ValueError, match="is of another model or recipe"):
        run.load(variables())


def test_a_checkpoint_of_other_shapes_is_refused(run):
    run.save({**groups(), "weights": [np.zeros((3, 3, 5)), np.zeros(4)]}, progress())
    with pytest.raises(ValueError, match="is of another model or recipe"):
        run.load(variables())


def test_a_checkpoint_never_runs_code(run):
    run.save(groups(), progress())
    np.savez(run.checkpoint, progress=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="cannot be read: Object arrays cannot be loaded"):
        run.load(variables())


# === A disk that is full ===


class FullDisk:
    """A file that takes some bytes and no more."""

    def __init__(self, file, room):
        self.file = file
        self.room = room

    def write(self, data):
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 200, 700])
def test_a_full_disk_leaves_the_checkpoint_before(run, monkeypatch, room):
    run.save(groups(0), progress(4))
    before = names(run)
    real = np.savez
    monkeypatch.setattr(np, "savez", lambda file, **arrays: real(FullDisk(file, room), **arrays))
    with pytest.raises(OSError, match="No space left"):
        run.save(groups(1), progress(8))
    monkeypatch.undo()
    assert names(run) == before
    assert run.load(variables()).step == 4


def test_a_write_that_the_system_refuses_leaves_the_checkpoint_before(run):
    run.save(groups(0), progress(4))
    before = names(run)
    large = {**groups(1), "weights": [np.zeros((3, 3, 4)), np.zeros(100_000)]}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            run.save(large, progress(8))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(run) == before
    assert run.load(variables()).step == 4


# === The folder ===


def test_a_new_folder_gets_the_configuration_and_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["keras-edsr", "train", "--hr", "my photos"])
    folder = RunFolder(tmp_path / "a" / "b")
    folder.check(config())
    folder.open(config())
    assert names(folder) == {"config.json", "starts.jsonl"}
    assert TrainConfig.load(folder.config) == config()
    start = json.loads(folder.starts.read_text())
    assert start["command"] == "keras-edsr train --hr 'my photos'"
    assert start["tensorflow"] == tf.__version__
    assert {"date", "python", "keras_edsr", "keras", "numpy"} < start.keys()
    assert datetime.fromisoformat(start["date"]).tzinfo is not None


def test_each_start_is_a_line(run):
    run.open(config(steps=400_000))
    assert len(run.starts.read_text().splitlines()) == 2


def test_the_same_settings_go_on(run):
    run.check(config())


def test_other_settings_are_named(run):
    with pytest.raises(ValueError, match=r"Changed: filters 256 -> 64, seed 0 -> 1\. .*name another folder"):
        run.check(config(filters=64, residual_scaling=0.1, seed=1))


def test_a_run_may_become_longer(run):
    run.check(config(steps=400_000))


def test_a_run_with_a_cosine_may_not(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.open(config(schedule="cosine"))
    with pytest.raises(ValueError, match=r"Changed: steps 300000 -> 400000\."):
        folder.check(config(schedule="cosine", steps=400_000))


def test_an_empty_folder_may_be_used(tmp_path):
    RunFolder(tmp_path).check(config())


def test_a_folder_of_other_things_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match="which holds other files"):
        RunFolder(tmp_path).check(config())


def test_a_file_is_refused(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(ValueError, match="`output` must be a folder"):
        RunFolder(tmp_path / "run").check(config())


def test_a_check_changes_nothing(tmp_path):
    RunFolder(tmp_path / "run").check(config())
    assert not (tmp_path / "run").exists()


def test_what_a_killed_start_left_half_written_is_no_obstacle_and_is_removed(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    for name in (".0123456789abcdef0123456789abcdef.part", ".0123456789abcdef.part.keras"):
        Path(folder.path, name).write_text("half")
    folder.check(config())
    folder.open(config())
    assert names(folder) == {"config.json", "starts.jsonl"}


def test_a_configuration_that_cannot_be_read_is_named(run):
    run.config.write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is not a valid training configuration"):
        run.check(config())


# === Two at once ===


def test_a_second_process_may_not_train_here(tmp_path):
    with RunFolder(tmp_path).held():
        second = RunFolder(tmp_path)
        with pytest.raises(ValueError, match=rf"Another process trains in {tmp_path}\. Wait .*"), second.held():
            pass
    with RunFolder(tmp_path).held():
        pass


def test_training_holds_its_folder(tmp_path):
    data = write_data(tmp_path)
    found = []

    def start_again(step, steps, loss):
        with pytest.raises(ValueError, match="Another process trains"):
            train(made)
        found.append(step)

    made = TrainConfig(output=str(tmp_path / "run"), **data, **{**TINY, "steps": 1})
    train(made, start_again)
    assert found == [1]


def test_a_file_system_without_locks_does_not_keep_from_training(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with RunFolder(tmp_path).held(), RunFolder(tmp_path).held():
        pass
