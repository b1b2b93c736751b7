import json
import signal
import time

import numpy as np
import pytest
from places import HELPERS
from runs import TINY, arguments, assert_same_run, history, state, weights, write_data
from two_workers import SCRIPT, Workers

from keras_edsr.training import TrainConfig, train

RUNS = {
    # One step is a spike to so low a factor, and the gradients of all are clipped.
    "edsr": {"average": 0.9, "clip_norm": 5.0, "loss_spike_factor": 1.01, "learning_rate": 0.001},
    "mdsr": {"model": "mdsr", "scale": [2, 3], "schedule": "cosine", "loss_spike_factor": 3.0},
}
KILLED = HELPERS / "killed.py"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_EDSR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def settings(output, data, name):
    return {"output": str(output), **data, **TINY, **RUNS[name]}


def command(output, data, **changes):
    return arguments(output=output, **{**data, **TINY, "average": 0.9, **changes})


def last_line(stderr):
    return stderr.splitlines()[-1]


# === Two workers ===


def test_two_workers_train_as_one_though_a_signal_to_one_stops_a_run_of_both(data, tmp_path):
    runs = [settings(tmp_path / "two" / name, data, name) for name in RUNS]
    (tmp_path / "runs.json").write_text(json.dumps(runs))
    words = (SCRIPT, "runs", tmp_path / "runs.json")
    workers = Workers(tmp_path, words, words)
    for name in RUNS:
        train(TrainConfig(**settings(tmp_path / "one" / name, data, name)))
    for _, stdout, _ in workers.finish_well():
        assert stdout.splitlines() == [str(tmp_path / "two" / name / "best.keras") for name in RUNS]
    for name in RUNS:
        one, two = tmp_path / "one" / name, tmp_path / "two" / name
        rows = history(one)
        assert history(two) == [pytest.approx(row, rel=1e-5, abs=1e-4) for row in rows]
        assert rows[-1]["skipped_steps"] == (name == "edsr")
        for file in ("best.keras", "last.keras"):
            for a, b in zip(weights(one / file), weights(two / file), strict=True):
                np.testing.assert_allclose(b, a, atol=1e-5)
        assert {path.name for path in two.iterdir()} == {path.name for path in one.iterdir()}
        starts = [json.loads(line) for line in (two / "starts.jsonl").read_text().splitlines()]
        assert [start["workers"] for start in starts] == ([2] if name == "edsr" else [2, 2])
    for folder in workers.folders:
        assert list(folder.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_worker_that_is_killed_ends_the_other_and_both_go_on(data, tmp_path, killed):
    words = {name: command(tmp_path / name, data, model="mdsr", scale=(2, 3)) for name in ("whole", "run")}
    Workers(tmp_path, (SCRIPT, *words["whole"]), (SCRIPT, *words["whole"])).finish_well()
    commands = [(SCRIPT, *words["run"])] * 2
    commands[killed] = (KILLED, "step:5", *words["run"])
    workers = Workers(tmp_path, *commands)
    assert workers.processes[killed].wait(300) == -signal.SIGKILL
    died = time.monotonic()
    status, stdout, stderr = workers.finish()[1 - killed]
    assert time.monotonic() - died < 120  # of which 30 are the heartbeat's, and more the machine's load
    assert (status, stdout) == (1, "")
    assert last_line(stderr) == (
        f"Error: Worker {killed} ({workers.addresses[killed]}) was lost. The run cannot go on without it. "
        "Start all 2 workers again, each with the same command as before: it goes on from the last checkpoint."
    )
    results = Workers(tmp_path, (SCRIPT, *words["run"]), (SCRIPT, *words["run"])).finish_well()
    assert all("Resuming at step 3 of 6." in stderr for _, _, stderr in results)
    assert_same_run(tmp_path / "whole", tmp_path / "run")


@pytest.mark.slow
def test_two_workers_train_float16_as_one(data, tmp_path):
    fine = {**data, **TINY, "precision": "mixed_float16", "clip_norm": 5.0, "learning_rate": 1e-4}
    # At so high a rate a gradient overflows in a step. (It is another step with one worker, which adds up all images
    # in float16.) That a worker sees it in its own part alone must not let the other wait.
    overflowing = {**fine, "learning_rate": 0.01}
    runs = {"fine": fine, "overflowing": overflowing}
    settings = [{"output": str(tmp_path / "two" / name), **values} for name, values in runs.items()]
    (tmp_path / "runs.json").write_text(json.dumps(settings))
    words = (SCRIPT, "runs", tmp_path / "runs.json")
    workers = Workers(tmp_path, words, words)
    train(TrainConfig(output=tmp_path / "one", **fine))
    workers.finish_well()
    two = tmp_path / "two" / "fine"
    for a, b in zip(weights(tmp_path / "one" / "last.keras"), weights(two / "last.keras"), strict=True):
        np.testing.assert_allclose(b, a, atol=1e-5)
    assert 2.0**15 in scalars(two)  # the first factor of the loss
    assert 2.0**14 in scalars(tmp_path / "two" / "overflowing")


def scalars(run):
    return [float(value) for name, value in state(run).items() if name.startswith("optimizer/") and value.shape == ()]


# === What ends it at once ===


@pytest.mark.slow
def test_workers_with_other_settings_are_told_which(data, tmp_path):
    words = [command(tmp_path / "run", data, learning_rate=rate) for rate in (0.01, 0.02)]
    for status, _, stderr in Workers(tmp_path, *[(SCRIPT, *each) for each in words]).finish():
        assert status == 1
        assert "Not the same on all 2 workers: learning_rate (0.01 on worker 0, 0.02 on worker 1)." in last_line(stderr)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_workers_must_share_the_folder_of_the_run(data, tmp_path):
    words = [command(tmp_path / f"run{index}", data) for index in range(2)]
    # The first time, the second worker does not see what the chief has made; the next, not its checkpoint.
    for reason in ("config.json in `output` (seen on worker 0, not seen on worker 1).", "none on worker 1)"):
        results = Workers(tmp_path, *[(SCRIPT, "FOLDER_SECONDS=2", *each) for each in words]).finish()
        for status, _, stderr in results:
            assert status == 1
            assert reason in last_line(stderr)
        train(TrainConfig(output=tmp_path / "run0", **{**data, **TINY, "average": 0.9, "loss_spike_factor": 3.0}))
    assert not (tmp_path / "run1").exists()


@pytest.mark.slow
def test_the_error_of_one_worker_is_told_by_the_other(data, tmp_path):
    good = command(tmp_path / "run", data)
    bad = command(tmp_path / "run", {**data, "hr": str(tmp_path / "nothing")})
    (status, _, stderr), (bad_status, _, bad_stderr) = Workers(tmp_path, (SCRIPT, *good), (SCRIPT, *bad)).finish()
    assert (status, bad_status) == (1, 1)
    assert last_line(bad_stderr).startswith(f"Error: No images to read: {tmp_path / 'nothing'}")
    assert f"ended: {last_line(bad_stderr).removeprefix('Error: ').removesuffix('.')}" in last_line(stderr)


@pytest.mark.slow
def test_workers_do_not_wait_without_end_for_one_that_does_not_come(data, tmp_path):
    words = command(tmp_path / "run", data)
    for index in range(2):
        commands = [("-c", "pass")] * 2
        commands[index] = (SCRIPT, "START_SECONDS=5", *words)
        status, _, stderr = Workers(tmp_path, *commands).finish()[index]
        assert status == 1
        assert last_line(stderr).startswith("Error: The workers do not come together")


def test_a_batch_that_the_workers_cannot_divide_is_refused_before_they_meet(data, tmp_path, monkeypatch):
    three = {"worker": [f"127.0.0.1:{port}" for port in (1, 2, 3)]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": three, "task": {"type": "worker", "index": 0}}))
    with pytest.raises(ValueError, match=r"On 3 workers `devices` .* must divide the batch of 4"):
        train(TrainConfig(output=tmp_path / "run", **data, **TINY))
    with pytest.raises(ValueError, match=r"`devices` must be at most the 1 GPUs of each"):
        train(TrainConfig(output=tmp_path / "run", **{**data, **TINY, "batch_size": 6, "devices": 2}))
