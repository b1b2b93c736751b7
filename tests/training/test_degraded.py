"""Training with a degradation: exact resume, and validation with the numbers of `evaluate --degradation`."""

import json

import pytest
from runs import TINY, arguments, assert_same_run, history, run_killed, write_data

from keras_edsr.evaluation import evaluate
from keras_edsr.training import TrainConfig, train

RUN = {"degradation": "photo", "scale": 2, "loss_spike_factor": 3.0}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_EDSR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(TrainConfig(output=str(folder), **data, **TINY, **RUN))
    return folder


def test_a_run_killed_in_a_step_ends_as_if_it_had_not_been(whole, data, tmp_path):
    run_killed("step:2", arguments(output=tmp_path / "run", **data, **TINY, **RUN))
    train(TrainConfig(output=str(tmp_path / "run"), **data, **TINY, **RUN))
    assert_same_run(whole, tmp_path / "run")


def test_validation_has_the_numbers_of_evaluate(whole, data):
    row = history(whole)[-1]
    scores = evaluate(whole / "last.keras", data["validation"], 2, degradation="photo", seed=0)
    assert (row["val_psnr"], row["val_ssim"]) == (scores["psnr"], scores["ssim"])
    assert evaluate(whole / "last.keras", data["validation"], 2)["psnr"] != scores["psnr"]


def test_a_run_with_another_degradation_is_another_run(whole, data, tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"steps": [{"step": "downscale"}]}))
    for degradation in ("bicubic", str(file)):
        with pytest.raises(ValueError, match="Changed: degradation photo -> "):
            train(TrainConfig(output=str(whole), **data, **TINY, **{**RUN, "degradation": degradation}))
