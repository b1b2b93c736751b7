import errno
import json
import logging
import os
import resource
import shutil
import signal
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from runs import (
    TINY,
    arguments,
    assert_same_run,
    history,
    photo,
    run_cli,
    run_killed,
    run_two_devices,
    state,
    weights,
    write_data,
    write_photos,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_edsr import evaluate
from keras_edsr.data import PatchSampler, ScaleBatchSampler
from keras_edsr.image_io import write_image
from keras_edsr.models import EDSR
from keras_edsr.training import Stopped, TrainConfig, _train, train
from keras_edsr.training._train import build_loop, build_model

EDSR_RUN = {"average": 0.9}
MDSR_RUN = {"model": "mdsr", "scale": (2, 3), "average": 0.9, "schedule": "cosine"}
RUNS = {"edsr": EDSR_RUN, "mdsr": MDSR_RUN, "float16": {"precision": "mixed_float16"}}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Settings that name a folder to train and one to validate on."""
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_EDSR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """Gives, by its name, a run that was never interrupted."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp("whole") / name
            train(config(made[name], data, **RUNS[name]))
        return made[name]

    return get


def config(output, data, **settings):
    return TrainConfig(output=output, **{**data, **TINY, "loss_spike_factor": 3.0, **settings})


def at_step(wanted, action):
    """A progress function that does something after one step."""

    def progress(step, steps, loss):
        if step == wanted:
            action()

    return progress


def names(folder):
    return {path.name for path in folder.iterdir() if path.name != ".lock"}


def board(folder):
    events = EventAccumulator(str(folder / "logs"), size_guidance={"tensors": 0}).Reload()
    return {
        tag: [(event.step, tf.make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
    }


# === A run ===


def test_a_run_leaves_its_weights_history_and_logs(whole):
    assert names(whole("edsr")) == {
        *("config.json", "starts.jsonl", "history.json", "checkpoint.npz", "best.keras", "last.keras", "logs"),
    }


def test_a_checkpoint_holds_all_that_changes(whole):
    groups = {name.partition("/")[0] for name in state(whole("edsr"))}
    assert groups == {"weights", "optimizer", "metrics", "guard", "average", "progress", "history"}


def test_an_epoch_is_a_row(whole):
    rows = history(whole("edsr"))
    assert [row["step"] for row in rows] == [3, 6]
    for row in rows:
        assert row.keys() == {
            *("step", "loss", "psnr", "learning_rate", "skipped_steps", "val_psnr", "val_ssim"),
        }


def test_an_mdsr_has_scores_for_each_scale(whole):
    last = history(whole("mdsr"))[-1]
    assert {"psnr_x2", "psnr_x3", "val_psnr_x2", "val_psnr_x3", "val_ssim_x2", "val_ssim_x3"} < last.keys()
    assert last["val_psnr"] == pytest.approx((last["val_psnr_x2"] + last["val_psnr_x3"]) / 2)


def test_it_learns(data, tmp_path):
    train(config(tmp_path, data, steps=60, checkpoint_every=20))
    losses = [row["loss"] for row in history(tmp_path)]
    assert losses[-1] < 0.6 * losses[0]


def test_the_history_is_what_tensorboard_shows(whole):
    shown = board(whole("mdsr"))
    for row in history(whole("mdsr")):
        for name in row.keys() - {"step"}:
            values = {step: float(value) for step, value in shown[name]}
            assert values[row["step"]] == pytest.approx(row[name], rel=1e-6)
    assert len(shown["images_per_second"]) == 2
    assert all(value > 0 for _, value in shown["images_per_second"])


def test_tensorboard_shows_each_validation_image_at_each_scale_each_epoch(whole):
    shown = board(whole("mdsr"))
    for name in ("0.png x2", "1.png x2", "0.png x3", "1.png x3"):
        assert [step for step, _ in shown[name]] == [3, 6]


def test_the_average_is_what_is_saved(whole):
    model = build_model(TrainConfig.load(whole("edsr") / "config.json"))
    arrays = state(whole("edsr"))
    for i, weight in enumerate(weights(whole("edsr") / "last.keras")):
        np.testing.assert_array_equal(weight, arrays[f"average/{i}"])
        assert not np.array_equal(weight, arrays[f"weights/{i}"]), model.weights[i].path


def test_what_is_saved_is_what_was_validated(whole, data):
    row = history(whole("edsr"))[-1]
    scores = evaluate(whole("edsr") / "last.keras", data["validation"], 2)
    assert row["val_psnr"] == pytest.approx(scores["psnr"], abs=1e-3)
    assert row["val_ssim"] == pytest.approx(scores["ssim"], abs=1e-4)


def test_the_best_is_kept_and_returned(data, tmp_path, monkeypatch):
    scores = iter([20.0, 30.0, 25.0])
    monkeypatch.setattr(_train, "validate", lambda *args: {"val_psnr": next(scores)})
    second = tmp_path / "second.keras"
    keep = at_step(7, lambda: shutil.copy(tmp_path / "run" / "last.keras", second))
    best = train(config(tmp_path / "run", data, steps=9), keep)
    assert best == tmp_path / "run" / "best.keras"
    for weight, expected in zip(weights(best), weights(second), strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_without_validation_the_last_is_returned(data, tmp_path):
    assert train(config(tmp_path, {"hr": data["hr"]}, steps=2)) == tmp_path / "last.keras"
    assert "val_psnr" not in history(tmp_path)[-1]


def test_progress_is_told_after_each_step_with_the_epochs_mean_loss(data, tmp_path):
    told = []
    train(config(tmp_path, data), lambda *values: told.append(values))
    assert [values[:2] for values in told] == [(step, 6) for step in range(1, 7)]
    assert [told[2][2], told[5][2]] == [row["loss"] for row in history(tmp_path)]


def test_another_thread_can_train(data, tmp_path):
    thread = threading.Thread(target=train, args=[config(tmp_path, data, steps=2)])
    thread.start()
    thread.join()
    assert (tmp_path / "last.keras").exists()


# === The recipe ===


def optimizer(**settings):
    settings = {**TINY, **settings}
    return build_model(TrainConfig(output="run", hr="photos", **settings)).optimizer


def test_every_number_of_adam_arrives():
    made = optimizer(learning_rate=0.5, beta_1=0.1, beta_2=0.2, epsilon=0.3, clip_norm=0.4)
    assert (made.beta_1, made.beta_2, made.epsilon, made.global_clipnorm) == (0.1, 0.2, 0.3, 0.4)
    assert float(made.learning_rate) == 0.5


@pytest.mark.parametrize(("update", "expected"), [(0, 0.8), (4, 0.8), (5, 0.4), (10, 0.2)])
def test_the_learning_rate_is_halved(update, expected):
    made = optimizer(learning_rate=0.8, halve_every=5)
    made.iterations.assign(update)
    assert float(made.learning_rate) == pytest.approx(expected)


@pytest.mark.parametrize("update", [0, 3, 10])
def test_the_learning_rate_follows_a_cosine(update):
    made = optimizer(learning_rate=0.8, schedule="cosine", final_learning_rate=0.2, steps=10)
    made.iterations.assign(update)
    assert float(made.learning_rate) == pytest.approx(0.2 + 0.6 * (1 + np.cos(np.pi * update / 10)) / 2)


def test_the_seed_decides_the_first_weights_and_the_batches(data, tmp_path):
    losses = {}
    for name, seed in {"a": 0, "b": 0, "c": 1}.items():
        train(config(tmp_path / name, data, seed=seed, steps=2, checkpoint_every=1))
        losses[name] = [row["loss"] for row in history(tmp_path / name)]
    assert losses["a"] == losses["b"]
    assert set(losses["a"]).isdisjoint(losses["c"])


def test_small_images_are_refused_or_left_out(tmp_path, caplog):
    folder = write_photos(tmp_path / "hr", 2)
    write_image(folder / "small.png", photo(12, 60))
    settings = {"hr": str(folder)}
    with pytest.raises(ValueError, match=r"small\.png .* is smaller than a patch"):
        train(config(tmp_path / "run", settings, steps=1))
    with caplog.at_level(logging.INFO, "keras_edsr"):
        train(config(tmp_path / "run", settings, steps=1, skip_small=True))
    assert "Skipping 1 of 3 images, which are smaller than a patch." in caplog.messages


# === Exact resume ===


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("edsr", 5),
        ("mdsr", 2),
        pytest.param("edsr", 2, marks=pytest.mark.slow),
        pytest.param("mdsr", 5, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_is_told_to_stop_goes_on_as_if_it_had_not_been(whole, data, tmp_path, name, step):
    # Also the epoch's mean loss, and the PSNR of a scale that had a batch before the stop and none after.
    settings = config(tmp_path, data, **RUNS[name])
    with pytest.raises(Stopped):
        train(settings, at_step(step, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    assert json.loads(str(state(tmp_path)["progress"]))["step"] == step
    train(settings)
    assert_same_run(whole(name), tmp_path)


def test_in_the_mdsr_that_is_stopped_one_scale_has_no_batch_after_the_stop():
    # Else the test above would say nothing about that scale's metrics.
    scales = [ScaleBatchSampler((2, 3), seed=0)(step) for step in range(3)]
    assert set(scales[:2]) - set(scales[2:])


def test_the_signals_are_given_back(data, tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    train(config(tmp_path, data, steps=1))
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_stopped_ends_a_program_with_status_0():
    assert issubclass(Stopped, SystemExit)
    assert Stopped(0).code == 0


def test_a_run_killed_three_times_ends_as_if_it_had_not_been(whole, data, tmp_path):
    # In a step, while a .keras file is written, and while a checkpoint is.
    for point in ("step:2", "keras:1", "half:2"):
        run_killed(point, arguments(output=tmp_path / "run", **data, **TINY, **EDSR_RUN))
    assert any(".part" in name for name in names(tmp_path / "run"))
    assert history(tmp_path / "run")[-1]["step"] == 3
    train(config(tmp_path / "run", data, **EDSR_RUN))
    assert_same_run(whole("edsr"), tmp_path / "run")
    assert not any(name.startswith(".") for name in names(tmp_path / "run"))


def test_an_mdsr_killed_between_its_weights_and_its_checkpoint_ends_as_if_it_had_not_been(whole, data, tmp_path):
    run_killed("save:2", arguments(output=tmp_path / "run", **data, **TINY, **MDSR_RUN))
    train(config(tmp_path / "run", data, **MDSR_RUN))
    assert_same_run(whole("mdsr"), tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("point", ["step:1", "step:5", "half:1", "half:2", "keras:3", "save:2", "history:2"])
@pytest.mark.parametrize("name", ["edsr", "mdsr"])
def test_the_same_command_after_a_kill_ends_as_if_there_had_been_none(whole, data, tmp_path, name, point):
    command = arguments(output=tmp_path / "run", **data, **TINY, **RUNS[name])
    run_killed(point, command)
    assert run_cli(command).returncode == 0
    assert_same_run(whole(name), tmp_path / "run")


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_as_if_it_had_not_been(whole, data, tmp_path):
    command = arguments(output=tmp_path / "run", **data, **TINY, **EDSR_RUN)
    for point in ("config:1", "step:2", "keras:1", "half:1", "save:1", "step:5", "half:1", "history:2"):
        run_killed(point, command)
    assert run_cli(command).returncode == 0
    assert_same_run(whole("edsr"), tmp_path / "run")


@pytest.mark.slow
def test_loss_scaling_goes_on_where_it_stopped(whole, data, tmp_path):
    settings = config(tmp_path, data, **RUNS["float16"])
    with pytest.raises(Stopped):
        train(settings, at_step(4, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    train(settings)
    assert_same_run(whole("float16"), tmp_path)


def test_a_finished_run_is_left_as_it_is(data, tmp_path):
    settings = config(tmp_path, data, steps=2)
    train(settings)
    before = state(tmp_path)
    train(settings)
    for name, value in state(tmp_path).items():
        np.testing.assert_array_equal(value, before[name])


def test_a_run_made_longer_ends_as_if_it_had_been_so_from_the_start(whole, data, tmp_path):
    train(config(tmp_path, data, **{**EDSR_RUN, "steps": 3}))
    train(config(tmp_path, data, **EDSR_RUN))
    assert_same_run(whole("edsr"), tmp_path)


# === What ends a run ===


class Full:
    """Stands in for `keras.Model.save` on a disk that becomes full."""

    def __init__(self, real):
        self.real = real

    def __call__(self, model, path, **kwargs):
        self.real(model, path, **kwargs)
        os.truncate(path, os.path.getsize(path) // 2)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_the_last_good_files_and_the_way_back(whole, data, tmp_path, monkeypatch):
    settings = config(tmp_path, data, **EDSR_RUN)
    full = Full(keras.Model.save)
    before = {}

    def fill():
        before.update({path.name: path.read_bytes() for path in tmp_path.glob("*.*")})
        monkeypatch.setattr(keras.Model, "save", lambda model, path, **kwargs: full(model, path, **kwargs))

    with pytest.raises(OSError, match="No space left"):
        train(settings, at_step(4, fill))
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.*")} == before
    monkeypatch.undo()
    train(settings)
    assert_same_run(whole("edsr"), tmp_path)


def test_a_disk_that_tells_late_that_it_is_full_leaves_the_last_good_files(data, tmp_path, monkeypatch):
    # Over a network, or with quotas, a write may succeed and the flush to the disk fail.
    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        train(config(tmp_path, data), at_step(4, lambda: monkeypatch.setattr(os, "fsync", full)))
    assert [row["step"] for row in history(tmp_path)] == [3]
    assert json.loads(str(state(tmp_path)["progress"]))["step"] == 3
    arrays = state(tmp_path)
    for i, weight in enumerate(weights(tmp_path / "last.keras")):
        np.testing.assert_array_equal(weight, arrays[f"weights/{i}"])
    assert not any(name.startswith(".") for name in names(tmp_path))


def test_a_write_that_the_system_refuses_leaves_no_half_file(data, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(OSError, match="File too large"):
            train(
                config(tmp_path, data),
                at_step(4, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))),
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [row["step"] for row in history(tmp_path)] == [3]
    assert not any(name.startswith(".") for name in names(tmp_path))


def test_a_spike_is_skipped_and_counted(data, tmp_path, monkeypatch):
    real = PatchSampler.batch

    def batch(self, step):
        lr, hr = real(self, step)
        return (np.zeros_like(lr), np.full_like(hr, 255)) if step == 4 else (lr, hr)

    monkeypatch.setattr(PatchSampler, "batch", batch)
    train(config(tmp_path, data, loss_spike_factor=1.5, validation=None))
    assert [row["skipped_steps"] for row in history(tmp_path)] == [0, 1]
    assert [int(value) for _, value in board(tmp_path)["skipped_steps"]] == [0, 1]


def test_without_a_factor_no_step_is_skipped(data, tmp_path):
    train(config(tmp_path, data, loss_spike_factor=0.0, steps=2))
    assert "skipped_steps" not in history(tmp_path)[-1]


def test_weights_that_are_not_finite_end_the_run_and_what_was_good_stays(data, tmp_path):
    def diverge():
        for weight in held[0].trainable_weights:
            weight.assign(tf.fill(weight.shape, np.nan))

    held = []
    real = _train.build_model
    settings = config(tmp_path, data, loss_spike_factor=None, validation=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            _train,
            "build_model",
            lambda *args, **kwargs: held.append(real(*args, **kwargs)) or held[0],
        )
        with pytest.raises(ArithmeticError, match=r"not finite after step 6: training has diverged"):
            train(settings, at_step(4, diverge))
    assert [row["step"] for row in history(tmp_path)] == [3]
    assert all(np.isfinite(weight).all() for weight in weights(tmp_path / "last.keras"))
    assert json.loads(str(state(tmp_path)["progress"]))["step"] == 3


def test_too_many_spikes_in_a_row_end_the_run(data, tmp_path):
    with pytest.raises(ArithmeticError, match="100 steps in a row"):
        train(config(tmp_path, data, learning_rate=1e30, steps=150, checkpoint_every=150))


def test_other_settings_are_refused_before_anything_is_read(data, tmp_path):
    train(config(tmp_path, data, steps=1))
    before = {path: path.read_bytes() for path in tmp_path.glob("*.*")}
    with pytest.raises(ValueError, match=r"Changed: hr .* -> gone, filters 4 -> 8\."):
        train(config(tmp_path, {**data, "hr": "gone"}, steps=1, filters=8))
    assert {path: path.read_bytes() for path in tmp_path.glob("*.*")} == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hr": "gone"}, "gone does not exist"),
        ({"validation": "gone"}, "gone does not exist"),
        ({"hr": None, "div2k": "gone"}, "`div2k` must be the folder of .* Received: gone, which is not a folder"),
        ({"scale": 5}, "`scale` must be one or several of"),
        ({"precision": "float15"}, "float15"),
        ({"devices": 7}, "`devices` must be at most the 1 of this machine"),
        ({"init_from": "gone.keras"}, r"gone\.keras is not a model that keras_edsr can load"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_folder_is_made(data, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        train(config(tmp_path / "run", {**data, **settings}))
    assert not (tmp_path / "run").exists()


def test_a_damaged_model_to_start_from_is_named(data, tmp_path):
    (tmp_path / "x2.keras").write_bytes(b"PK\3\4 no zip")
    with pytest.raises(ValueError, match=r"x2\.keras is not a model that keras_edsr can load"):
        train(config(tmp_path / "run", data, init_from=tmp_path / "x2.keras"))


def test_an_image_too_small_to_validate_on_is_named_at_once(data, tmp_path):
    folder = tmp_path / "val"
    folder.mkdir()
    write_image(folder / "tiny.png", photo(12, 40))
    with pytest.raises(ValueError, match=r"tiny\.png .* is too small to validate on"):
        train(config(tmp_path / "run", {**data, "validation": str(folder)}))


# === Warm start ===


@pytest.fixture(scope="module")
def x2(tmp_path_factory):
    keras.utils.set_random_seed(7)
    path = tmp_path_factory.mktemp("x2") / "x2.keras"
    EDSR(2, 1, 4, 1.0).save(path)
    return path


def test_the_first_weights_are_taken_and_the_log_says_which_were_not(x2, caplog):
    with caplog.at_level(logging.INFO, "keras_edsr"):
        model = build_model(TrainConfig(output="run", hr="photos", **{**TINY, "scale": 4, "init_from": str(x2)}))
    assert caplog.messages == [f"Weights of {x2}: copied all except upsample/conv_2/kernel, upsample/conv_2/bias."]
    source = keras.saving.load_model(x2)
    np.testing.assert_array_equal(model.get_layer("head").get_weights()[0], source.get_layer("head").get_weights()[0])


def test_the_average_begins_with_the_weights_that_were_taken(x2):
    settings = {**TINY, "init_from": str(x2), "average": 0.9}
    config = TrainConfig(output="run", hr="photos", **settings)
    loop = build_loop(build_model(config), config)
    for average, weight in zip(loop.average.averages, weights(x2), strict=True):
        np.testing.assert_array_equal(average.numpy(), weight)


def test_a_run_goes_on_without_the_file_that_it_started_from(x2, data, tmp_path, caplog):
    start = shutil.copy(x2, tmp_path / "start.keras")
    settings = config(tmp_path / "run", data, init_from=start)
    with pytest.raises(Stopped):
        train(settings, at_step(4, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    os.remove(start)
    with caplog.at_level(logging.INFO, "keras_edsr"):
        train(settings)
    assert [row["step"] for row in history(tmp_path / "run")] == [3, 6]
    assert not any("Weights of" in message for message in caplog.messages)


# === Precision ===


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_what_is_saved_is_float32_whatever_the_precision(data, tmp_path, precision):
    train(config(tmp_path, data, precision=precision, steps=3))
    for name in ("best.keras", "last.keras"):
        model = keras.saving.load_model(tmp_path / name)
        assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    arrays = state(tmp_path)
    for i, weight in enumerate(weights(tmp_path / "last.keras")):
        np.testing.assert_array_equal(weight, arrays[f"weights/{i}"])


# === DIV2K ===


@pytest.fixture(scope="module")
def div2k(tmp_path_factory):
    """The folders of DIV2K with small images, their LR not quite bicubic."""
    root = tmp_path_factory.mktemp("DIV2K")
    for split, numbers in {"train": range(1, 4), "valid": range(801, 813)}.items():
        hr = write_photos(root / f"DIV2K_{split}_HR", len(numbers), numbers[0], height=36, width=40)
        lr = root / f"DIV2K_{split}_LR_bicubic" / "X2"
        lr.mkdir(parents=True)
        for i, number in enumerate(numbers):
            (hr / f"{i}.png").rename(hr / f"{number:04}.png")
            write_image(lr / f"{number:04}x2.png", photo(36 + 4 * i, 40, number)[::2, ::2])
    return root


def test_div2k_is_trained_on_and_its_first_ten_validated_on(div2k, tmp_path):
    train(config(tmp_path, {"div2k": str(div2k)}, steps=2))
    ten = sorted((div2k / "DIV2K_valid_HR").iterdir())[:10]
    assert ten[-1].name == "0810.png"
    scores = evaluate(tmp_path / "last.keras", ten, 2, lr=div2k / "DIV2K_valid_LR_bicubic")
    row = history(tmp_path)[-1]
    assert row["val_psnr"] == pytest.approx(scores["psnr"], abs=1e-3)
    assert row["val_ssim"] == pytest.approx(scores["ssim"], abs=1e-4)
    pictures = sorted(name for name in board(tmp_path) if name.endswith(" x2"))
    assert pictures == [f"DIV2K_valid_HR/080{i}.png x2" for i in range(1, 5)]


def test_other_images_may_be_validated_on(div2k, data, tmp_path):
    train(config(tmp_path, {"div2k": str(div2k), "validation": data["validation"]}, steps=1))
    scores = evaluate(tmp_path / "last.keras", data["validation"], 2)
    assert history(tmp_path)[-1]["val_psnr"] == pytest.approx(scores["psnr"], abs=1e-3)


def test_a_folder_of_the_zips_is_told_to_tfds_as_such(tmp_path):
    (tmp_path / "DIV2K_train_HR.zip").touch()
    with pytest.raises(ValueError, match=r"`manual_dir` .* lacks DIV2K_train_LR_bicubic_X2\.zip"):
        train(config(tmp_path / "run", {"div2k": str(tmp_path)}))


# === Several devices ===


@pytest.mark.parametrize("name", [pytest.param("edsr", marks=pytest.mark.slow), "mdsr"])
def test_two_devices_train_as_one(whole, data, tmp_path, name):
    done = run_two_devices(arguments(output=tmp_path / "run", devices=2, **data, **TINY, **RUNS[name]))
    assert done.returncode == 0, done.stderr
    for one, two in zip(history(whole(name)), history(tmp_path / "run"), strict=True):
        assert two == pytest.approx(one, rel=1e-5, abs=1e-5)
    for file in ("best.keras", "last.keras"):
        for a, b in zip(weights(whole(name) / file), weights(tmp_path / "run" / file), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.slow
def test_two_devices_go_on_where_they_stopped(data, tmp_path):
    settings = {**data, **TINY, **MDSR_RUN, "devices": 2}
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert run_two_devices(arguments(output=whole, **settings)).returncode == 0
    done = run_two_devices(arguments(output=stopped, **settings), stop_at=5)
    assert done.returncode == 0, done.stderr
    assert json.loads(str(state(stopped)["progress"]))["step"] == 5
    assert run_two_devices(arguments(output=stopped, **settings)).returncode == 0
    assert_same_run(whole, stopped)
