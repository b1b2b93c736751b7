import dataclasses
import json
import logging
import os
import pty
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import keras
import numpy as np
import pytest
from cli_calls import assert_fails, notes, run
from PIL import Image
from places import HELPERS
from runs import TINY, arguments, assert_same_run, history, photo, run_cli, write_data

import keras_edsr
from keras_edsr import cli
from keras_edsr.image_io import read_image, write_image
from keras_edsr.models import EDSR, MDSR
from keras_edsr.training import TrainConfig, _train


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_EDSR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def logger():
    """Leaves the package's logger as it was: `main` gives it a handler and a level."""
    yield
    cli.logger.handlers.clear()
    cli.logger.setLevel(logging.NOTSET)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder with an EDSR x2 and an MDSR x2, x3."""
    folder = tmp_path_factory.mktemp("models")
    keras.utils.set_random_seed(0)
    EDSR(2, 1, 4, 1.0).save(folder / "edsr.keras")
    MDSR((2, 3), 1, 4).save(folder / "mdsr.keras")
    return folder


def options(command):
    return {parameter.name: parameter for parameter in command.params}


# === The door ===


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["upscale", "-h"], ["--version"], []])
def test_help_does_not_import_tensorflow(words):
    code = (
        "import sys\n"
        "from keras_edsr.cli import main\n"
        f"try: main({words})\n"
        "except SystemExit as stop: print(stop.code)\n"
        "print(sorted({'tensorflow', 'keras', 'PIL', 'tensorboard'} & set(sys.modules)))\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.endswith(f"{0 if words else 2}\n[]\n")


def test_the_package_does_not_import_tensorflow():
    code = "import sys, keras_edsr; print({'tensorflow', 'keras'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "set()\n"


def test_it_says_its_version():
    assert run("--version").stdout == f"keras-edsr, version {keras_edsr.__version__}\n"


@pytest.mark.parametrize("name", ["train", "upscale", "evaluate"])
def test_every_option_has_a_help(name):
    for option in cli.main.commands[name].params:
        if isinstance(option, click.Option):
            assert option.help, option.name


def test_a_log_line_goes_to_stderr_of_each_call(models, data):
    for _ in range(2):  # a handler that keeps the first call's stderr would fail in the second
        result = run("train", "--hr", "gone", "--output", "run")
        assert_fails(result, "gone does not exist")


def test_a_reader_that_has_enough_is_no_error_of_ours(monkeypatch):
    def broken(*args, **kwargs):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(cli.main.commands["evaluate"], "callback", broken)
    result = run("evaluate", "--sr", "a", "--hr", "b", "--scale", "2")
    assert result.exit_code == 1
    assert "Broken pipe" not in result.stderr


# === train: the options ===


def test_every_setting_is_an_option():
    settings = {field.name for field in dataclasses.fields(TrainConfig)}
    assert options(cli.train).keys() == settings | {"config"}


def test_the_help_tells_the_true_defaults():
    defaults = dataclasses.asdict(TrainConfig(output="run", hr="photos"))
    told = {}
    for name, option in options(cli.train).items():
        found = [part for part in (option.help or "").replace(",", ".").split(". ") if part.startswith("Default: ")]
        if found:
            told[name] = found[0].removeprefix("Default: ").rstrip(".")
    numbers = {name: float(text) for name, text in told.items() if text.replace("e-", "").replace(".", "").isdigit()}
    assert set(numbers) == {
        *("num_blocks", "filters", "patch_size", "batch_size", "steps", "learning_rate", "halve_every"),
        *("final_learning_rate", "beta_1", "beta_2", "epsilon", "seed", "checkpoint_every", "scale"),
        "loss_spike_factor",
    }
    assert numbers.pop("loss_spike_factor") == 3
    for name, value in numbers.items():
        assert value == defaults[name], name
    assert {name: told[name] for name in ("model", "schedule", "degradation")} == {
        name: defaults[name] for name in ("model", "schedule", "degradation")
    }
    nothing = {name for name, text in told.items() if text == "none"}
    assert {"clip_norm", "average"} < nothing
    assert all(defaults[name] is None for name in nothing - {"hr", "config"})


def test_loss_spikes_are_skipped_by_default_here():
    assert options(cli.train)["loss_spike_factor"].default == 3.0


# === train: a run ===


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A run of `keras-edsr train` in this process, and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    return folder, run(*arguments(output=folder, **data, **TINY))


def test_it_trains_and_prints_where_the_best_weights_are(trained):
    folder, result = trained
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{folder / 'best.keras'}\n"
    assert [row["step"] for row in history(folder)] == [3, 6]


def test_each_epoch_is_a_line_on_stderr(trained):
    lines = notes(trained[1])
    assert [line.split(":")[0] for line in lines] == ["step 3/6", "step 6/6"]
    assert all(word in lines[0] for word in ("loss ", "val_psnr ", "val_ssim ", "learning_rate 0.01"))


def test_the_options_arrive(trained):
    saved = json.loads((trained[0] / "config.json").read_text())
    assert {name: saved[name] for name in TINY} == TINY
    assert saved["loss_spike_factor"] == 3.0


def test_quiet_leaves_stdout_alone(data, tmp_path):
    result = run("--quiet", *arguments(output=tmp_path / "run", **{**data, **TINY, "steps": 1}))
    assert (result.stdout, result.stderr) == (f"{tmp_path / 'run' / 'best.keras'}\n", "")


def test_a_config_is_done_again_and_options_replace_its_values(trained, tmp_path):
    folder = trained[0]
    result = run("train", "--config", folder / "config.json", "--output", tmp_path / "again", "--steps", 3)
    assert result.exit_code == 0, result.output
    assert history(tmp_path / "again") == history(folder)[:1]
    first, again = (json.loads((path / "config.json").read_text()) for path in (folder, tmp_path / "again"))
    changed = {name for name in first if first[name] != again[name]}
    assert changed == {"output", "steps"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"hr": "a", "lr": "b", "div2k": None, "validation": "c", "validation_lr": "d"}),
        ({"hr": "x"}, {"hr": "x", "lr": None, "div2k": None, "validation": "c", "validation_lr": "d"}),
        ({"div2k": "x"}, {"hr": None, "lr": None, "div2k": "x", "validation": "c", "validation_lr": "d"}),
        ({"validation": "x"}, {"hr": "a", "lr": "b", "div2k": None, "validation": "x", "validation_lr": None}),
    ],
)
def test_images_from_elsewhere_take_the_place_of_a_configs(monkeypatch, tmp_path, given, expected):
    made = TrainConfig(output="old", hr="a", lr="b", validation="c", validation_lr="d", seed=5)
    made.save(tmp_path / "config.json")
    seen = []
    monkeypatch.setattr(keras_edsr.training, "train", lambda settings, progress: seen.append(settings))
    words = [word for name, value in given.items() for word in (f"--{name}", value)]
    result = run("train", "--config", tmp_path / "config.json", "--output", "new", *words)
    assert result.exit_code == 0, result.output
    [settings] = seen
    assert {name: getattr(settings, name) for name in expected} == expected
    assert (settings.output, settings.seed, settings.loss_spike_factor) == ("new", 5, None)


def test_images_of_a_folder_in_place_of_div2k_have_no_degradation(monkeypatch, tmp_path):
    TrainConfig(output="old", div2k="a", degradation="unknown").save(tmp_path / "config.json")
    seen = []
    monkeypatch.setattr(keras_edsr.training, "train", lambda settings, progress: seen.append(settings))
    for words in (["--hr", "x"], ["--div2k", "y"]):
        result = run("train", "--config", tmp_path / "config.json", "--output", "new", *words)
        assert result.exit_code == 0, result.output
    assert [(s.hr, s.div2k, s.degradation) for s in seen] == [("x", None, "bicubic"), (None, "y", "unknown")]


def test_init_from_warm_starts(models, data, tmp_path):
    words = arguments(output=tmp_path / "run", **{**data, **TINY, "steps": 1, "scale": 4})
    result = run(*words, "--init-from", models / "edsr.keras")
    assert result.exit_code == 0, result.output
    missed = "upsample/conv_2/kernel, upsample/conv_2/bias"
    assert f"Weights of {models / 'edsr.keras'}: copied all except {missed}." in result.stderr.splitlines()


def test_a_signal_is_a_clean_exit_with_the_command_that_goes_on(data, tmp_path, monkeypatch):
    words = arguments(output=tmp_path / "a run", **data, **TINY)
    monkeypatch.setattr(sys, "argv", ["/opt/bin/keras-edsr", *words])
    stop_at(monkeypatch, 2)
    result = run(*words)
    assert (result.exit_code, result.stdout) == (0, ""), result.output
    stopped, line = notes(result)
    assert stopped == "Stopped at step 2 of 6."
    assert shlex.split(line.removeprefix("Resume with: ")) == ["/opt/bin/keras-edsr", *words]


def stop_at(monkeypatch, step):
    session = _train._Session
    real = session.after_step

    def after_step(self):
        stops = real(self)
        if self.progress.step == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return stops or self.asked_to_stop

    monkeypatch.setattr(session, "after_step", after_step)


@pytest.mark.slow
def test_the_command_that_goes_on_is_printed_and_works(data, tmp_path):
    # The real thing: a process, a signal, and the line pasted.
    words = arguments(output=tmp_path / "a run", **{**data, **TINY, "steps": 3000, "checkpoint_every": 3000})
    with subprocess.Popen(
        [sys.executable, "-m", "keras_edsr", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    ) as process:
        wait_for(lambda: any((tmp_path / "a run").glob("starts.jsonl")))
        time.sleep(3)  # from the note of the start to the first step
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (0, "")
    stopped, line = stderr.splitlines()[-2:]
    assert stopped.startswith("Stopped at step ")
    step = int(stopped.split()[3])
    assert 0 < step < 3000
    command = shlex.split(line.removeprefix("Resume with: "))
    assert command == [sys.executable, "-m", "keras_edsr", *words]
    words[words.index("3000")] = str(step + 1)  # only see that it goes on from there
    assert f"Resuming at step {step} of {step + 1}." in run(*words).stderr


def wait_for(found, seconds=90):
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_command_and_its_continuation_are_one_run(data, tmp_path, number):
    settings = {**data, **TINY, "steps": 60, "checkpoint_every": 40}
    assert run(*arguments(output=tmp_path / "whole", **settings)).exit_code == 0
    words = arguments(output=tmp_path / "stopped", **settings)
    script = HELPERS / "killed.py"
    kind = "stop" if number == signal.SIGTERM else "interrupt"
    command = [sys.executable, str(script), f"{kind}:25", *words]
    stopped = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert stopped.returncode == 0, stopped.stderr
    assert "Stopped at step 25 of 60." in stopped.stderr
    assert f"Resume with: keras-edsr {shlex.join(words)}" in stopped.stderr
    assert run_cli(words).returncode == 0
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


# === train: what is refused ===


@pytest.mark.parametrize("words", [[], ["--hr", "a", "--div2k", "b"]])
def test_it_needs_images_from_one_place(words):
    assert_fails(run("train", "--output", "run", *words), "Pass either --hr or --div2k.", status=2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scale", "two"], "'two' is not a valid scale."),
        (["--model", "vdsr"], "'vdsr' is not one of 'edsr', 'mdsr'"),
        (["--steps", "many"], "'many' is not a valid integer"),
        (["--color", "red"], "No such option"),
        (["--config", "gone.json"], "'gone.json' does not exist"),
    ],
)
def test_a_wrong_call_is_status_2(words, message):
    assert_fails(run("train", "--hr", "a", "--output", "run", *words), message, status=2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--hr", "gone"], "gone does not exist"),
        (["--scale", "5"], "`scale` must be one or several of (2, 3, 4, 8)"),
        (["--scale", "2,3"], "`scale` of an EDSR must be one integer"),
        (["--steps", "0"], "`steps` must be a positive integer"),
        (["--patch-size", "40"], "is smaller than a patch"),
        (["--validation", "gone"], "gone does not exist"),
        (["--init-from", "gone.keras"], "gone.keras is not a model that keras_edsr can load"),
        (["--precision", "float15"], "float15"),
        (["--devices", "3"], "`devices` must be at most"),
        (["--lr", "gone"], "gone"),
    ],
)
def test_a_bad_input_is_one_line_and_status_1(data, tmp_path, words, message):
    result = run(*arguments(output=tmp_path / "run", **data, **TINY), *words)
    assert_fails(result, message)
    assert not (tmp_path / "run").exists()


def test_a_corrupt_image_is_named(tmp_path):
    (tmp_path / "hr").mkdir()
    (tmp_path / "hr" / "a.png").write_bytes(b"no image")
    assert_fails(run("train", "--hr", tmp_path / "hr", "--output", tmp_path / "run"), "a.png")


def test_a_folder_of_other_things_is_refused(data, tmp_path):
    (tmp_path / "thesis.tex").touch()
    assert_fails(run(*arguments(output=tmp_path, **data, **TINY)), "which holds other files")


def test_other_settings_for_the_same_folder_are_named(trained, data):
    result = run(*arguments(output=trained[0], **{**data, **TINY, "learning_rate": 0.02, "filters": 8}))
    assert_fails(result, "Changed: filters 4 -> 8, learning_rate 0.01 -> 0.02.")


def test_a_corrupt_checkpoint_is_one_line(data, tmp_path):
    words = arguments(output=tmp_path / "run", **{**data, **TINY, "steps": 1})
    run(*words)
    (tmp_path / "run" / "checkpoint.npz").write_bytes(b"")
    assert_fails(run(*words), "checkpoint.npz cannot be read")


def test_too_many_loss_spikes_are_one_line(data, tmp_path):
    settings = {**data, **TINY, "learning_rate": 1e30, "steps": 150, "checkpoint_every": 150}
    assert_fails(run(*arguments(output=tmp_path / "run", **settings)), "100 steps in a row at scale 2 had a loss")


def test_a_full_disk_is_one_line(data, tmp_path):
    # A limit on the size of files stands in for it: the system refuses to write in the middle of a file.
    words = arguments(output=tmp_path / "run", **{**data, **TINY, "steps": 3})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        result = run(*words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_fails(result, "File too large")
    assert not list((tmp_path / "run").glob(".*.part*"))


# === upscale ===


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for i, name in enumerate(("a.png", "b.jpg", "sub/c.webp")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(folder / name, photo(12, 16 + 4 * i, i))
    return folder


def size(path):
    with Image.open(path) as picture:
        return picture.format, picture.size


@pytest.mark.parametrize(("name", "kind"), [("out.png", "PNG"), ("out.jpg", "JPEG"), ("out.webp", "WEBP")])
def test_it_upscales_a_file_and_prints_its_name(models, photos, tmp_path, name, kind):
    result = run("upscale", photos / "a.png", "-o", tmp_path / name, "--model", models / "edsr.keras")
    assert (result.exit_code, result.stdout, notes(result)) == (0, f"{tmp_path / name}\n", [])
    assert size(tmp_path / name) == (kind, (32, 24))


def test_it_mirrors_a_folder(models, photos, tmp_path):
    result = run("upscale", photos, "-o", tmp_path / "out", "--model", models / "edsr.keras")
    expected = [tmp_path / "out" / name for name in ("a.png", "b.jpg", "sub/c.webp")]
    assert result.stdout.splitlines() == list(map(str, expected))
    assert [size(path) for path in expected] == [("PNG", (32, 24)), ("JPEG", (40, 24)), ("WEBP", (48, 24))]


def test_the_tile_size_does_not_change_the_result(models, photos, tmp_path):
    images = []
    for i, words in enumerate([[], ["--tile-size", 5], ["--tile-size", 0], ["--tile-size", "auto"]]):
        target = tmp_path / f"{i}.png"
        run("upscale", photos / "a.png", "-o", target, "--model", models / "edsr.keras", *words)
        images.append(read_image(target))
    for image in images[1:]:
        np.testing.assert_array_equal(image, images[0])


def test_self_ensemble_and_quality_arrive(models, photos, tmp_path):
    found = []
    for i, words in enumerate([[], ["--self-ensemble"], ["--quality", 10]]):
        target = tmp_path / f"{i}.jpg"
        run("upscale", photos / "a.png", "-o", target, "--model", models / "edsr.keras", *words)
        found.append(target.read_bytes())
    assert found[1] != found[0]
    assert len(found[2]) < 0.8 * len(found[0])


def test_an_mdsr_needs_a_scale(models, photos, tmp_path):
    words = ["upscale", photos / "a.png", "-o", tmp_path / "out.png", "--model", models / "mdsr.keras"]
    assert_fails(run(*words), "`scale` must be one of the model's scales, (2, 3)")
    assert run(*words, "--scale", 3).exit_code == 0
    assert size(tmp_path / "out.png") == ("PNG", (48, 36))


def test_one_bad_file_is_reported_and_the_others_are_done(models, photos, tmp_path):
    (photos / "a.png").write_bytes(b"no image")
    result = run("upscale", photos, "-o", tmp_path / "out", "--model", models / "edsr.keras")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [str(tmp_path / "out" / name) for name in ("b.jpg", "sub/c.webp")]
    reported, total = notes(result)
    assert reported.startswith(f"{photos / 'a.png'}: Cannot read the image")
    assert total == "Error: 1 of 3 images failed."


def test_an_output_that_exists_is_replaced_only_when_told(models, photos, tmp_path):
    words = ["upscale", photos / "a.png", "-o", tmp_path / "out.png", "--model", models / "edsr.keras"]
    (tmp_path / "out.png").write_text("mine")
    assert_fails(run(*words), "already exists")
    assert (tmp_path / "out.png").read_text() == "mine"
    assert run(*words, "--overwrite").exit_code == 0
    assert size(tmp_path / "out.png")[1] == (32, 24)


@pytest.mark.parametrize(
    ("inputs", "output", "model", "message"),
    [
        (["gone.png"], "out.png", "edsr.keras", "gone.png does not exist"),
        (["a.png", "sub/a.png"], "out", "edsr.keras", "Several inputs would become"),
        (["a.png", "b.jpg"], "out.png", "edsr.keras", "must be a folder for several images"),
        (["a.png"], "out.png", "gone.keras", "gone.keras, which cannot be read"),
        (["a.png"], "out.png", "text.keras", "text.keras is not a model that keras_edsr can load"),
    ],
)
def test_upscale_refuses_in_one_line(models, photos, tmp_path, inputs, output, model, message):
    write_image(photos / "sub" / "a.png", photo(12, 16))
    (models / "text.keras").write_text("text")
    paths = [photos / name for name in inputs]
    assert_fails(run("upscale", *paths, "-o", tmp_path / output, "--model", models / model), message)
    assert not (tmp_path / output).exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tile-size", "-5"], "-5 is not a valid size"),
        (["--tile-size", "big"], "'big' is not a valid size"),
        (["--quality", "0"], "0 is not in the range"),
    ],
)
def test_upscale_wrongly_called_is_status_2(models, photos, words, message):
    result = run("upscale", photos, "-o", "out", "--model", models / "edsr.keras", *words)
    assert_fails(result, message, status=2)


# === upscale with the weights that ship ===


@pytest.fixture
def shipped(monkeypatch, tmp_path):
    """Small stand-ins for the presets that ship, as `save_to_preset` writes them."""
    monkeypatch.setattr("keras_edsr.presets.lookup.SHIPPED", tmp_path / "shipped")
    for scale in (2, 3, 4):
        EDSR(scale, 1, 4, 1.0).save_to_preset(tmp_path / "shipped" / f"edsr_compact_x{scale}")
    MDSR((2, 3, 4), 1, 4).save_to_preset(tmp_path / "shipped" / "mdsr_compact")
    return tmp_path / "shipped"


@pytest.mark.parametrize(
    ("words", "preset", "width"),
    [
        ([], "edsr_compact_x2", 32),
        (["--scale", "2"], "edsr_compact_x2", 32),
        (["--scale", "3"], "edsr_compact_x3", 48),
        (["--scale", "4.0"], "edsr_compact_x4", 64),
        (["--scale", "2.5"], "mdsr_compact", 40),
        (["--scale", "8"], "mdsr_compact", 128),
        (["--width", "33"], "mdsr_compact", 33),
        (["--fit", "52x999"], "mdsr_compact", 52),
    ],
)
def test_upscale_without_a_model_takes_the_weights_that_ship(shipped, photos, tmp_path, words, preset, width):
    result = run("upscale", photos / "a.png", "-o", tmp_path / "big.png", *words)
    assert result.exit_code == 0, result.output
    assert notes(result)[0] == f"Model: {preset}, the default for this size."
    assert size(tmp_path / "big.png")[1][0] == width
    run("upscale", photos / "a.png", "-o", tmp_path / "same.png", "--model", preset, *words)
    assert np.array_equal(read_image(tmp_path / "big.png"), read_image(tmp_path / "same.png"))


def test_a_model_that_is_given_is_no_default(models, photos, tmp_path):
    result = run("upscale", photos / "a.png", "-o", tmp_path / "big.png", "--model", models / "edsr.keras")
    assert not any(line.startswith("Model: ") for line in notes(result))


def test_the_weights_that_ship_are_taken_by_name(shipped, data):
    about = json.loads(run("info", "edsr_compact_x3", "--json").stdout)
    assert (about["family"], about["scales"], about["filters"]) == ("EDSR", [3], 4)
    assert about["parameters"] == keras_edsr.EDSR.from_preset("edsr_compact_x3").count_params()
    assert [row["name"] for row in json.loads(run("info", "--json").stdout)["presets"]][:4] == [
        *(f"edsr_compact_x{scale}" for scale in (2, 3, 4)),
        "mdsr_compact",
    ]
    words = ["--hr", data["validation"], "--scale", 4, "--json"]
    scores = json.loads(run("evaluate", "--model", "mdsr_compact", *words).stdout)
    assert scores == keras_edsr.evaluate(MDSR.from_preset("mdsr_compact"), data["validation"], 4)


@pytest.mark.slow
def test_the_weights_that_ship_are_exported_by_name(shipped, tmp_path):
    result = run("export", "edsr_compact_x2", tmp_path / "exported", "--format", "saved_model")
    assert result.exit_code == 0, result.output
    exported = keras_edsr.upscale(tmp_path / "exported", photo(12, 16))
    assert np.array_equal(exported, keras_edsr.upscale("edsr_compact_x2", photo(12, 16)))


# === evaluate ===


def test_evaluate_prints_a_table(data):
    result = run("evaluate", "--model", "bicubic", "--hr", data["validation"], "--scale", 2)
    assert (result.exit_code, notes(result)) == (0, [])
    expected = keras_edsr.evaluate("bicubic", data["validation"], 2)
    head, *rows, mean = [line.split() for line in result.stdout.splitlines()]
    assert head == ["image", "PSNR/dB", "SSIM"]
    assert [row[0] for row in rows] == ["0.png", "1.png"]
    assert mean == ["mean", f"{expected['psnr']:.3f}", f"{expected['ssim']:.4f}"]


@pytest.mark.parametrize("protocol", ["benchmark", "div2k"])
def test_evaluate_prints_one_json_object(models, data, protocol):
    words = ["--model", models / "edsr.keras", "--hr", data["validation"], "--scale", 2]
    result = run("evaluate", *words, "--protocol", protocol, "--json")
    assert (result.exit_code, notes(result)) == (0, [])
    expected = keras_edsr.evaluate(models / "edsr.keras", data["validation"], 2, protocol=protocol)
    assert json.loads(result.stdout) == expected
    assert expected["protocol"] == protocol


def test_evaluate_reads_lr_images(data, tmp_path):
    lr = tmp_path / "lr"
    lr.mkdir()
    for path in Path(data["validation"]).iterdir():
        write_image(lr / f"{path.stem}x2.png", read_image(path)[::2, ::2])
    words = ["--model", "bicubic", "--hr", data["validation"], "--scale", 2, "--lr", lr, "--json"]
    assert json.loads(run("evaluate", *words).stdout) == keras_edsr.evaluate("bicubic", data["validation"], 2, lr)


def test_evaluate_scores_images_made_elsewhere(data, tmp_path):
    made = shutil.copytree(data["validation"], tmp_path / "sr")
    words = ["--sr", made, "--hr", data["validation"], "--scale", 2, "--json"]
    scores = json.loads(run("evaluate", *words).stdout)
    assert (scores["psnr"], scores["ssim"]) == (100, pytest.approx(1))


def test_evaluate_of_several_models_prints_them_side_by_side(models, data):
    words = ["--model", models / "edsr.keras", "--model", models / "mdsr.keras", "--hr", data["validation"]]
    result = run("evaluate", *words, "--scale", 2)
    assert (result.exit_code, notes(result)) == (0, [])
    each = [keras_edsr.evaluate(models / f"{name}.keras", data["validation"], 2) for name in ("edsr", "mdsr")]
    names, head, *_, mean = [line.split() for line in result.stdout.splitlines()]
    assert (names, head) == (["edsr.keras", "mdsr.keras"], ["image", *["PSNR/dB", "SSIM"] * 2])
    assert mean == ["mean", *(text for one in each for text in (f"{one['psnr']:.3f}", f"{one['ssim']:.4f}"))]
    printed = json.loads(run("evaluate", *words, "--scale", 2, "--json").stdout)
    assert printed == {"models": dict(zip(names, each, strict=True))}


def test_evaluate_writes_a_report(models, data, tmp_path):
    made = shutil.copytree(data["validation"], tmp_path / "sr")
    words = ["evaluate", "--hr", data["validation"], "--scale", 2, "--report", tmp_path / "report", "--json"]
    result = run(*words, "--model", models / "edsr.keras")
    assert notes(result) == [f"Report: {tmp_path / 'report' / 'index.html'}"]
    assert json.loads(result.stdout) == keras_edsr.evaluate(models / "edsr.keras", data["validation"], 2)
    page = (tmp_path / "report" / "index.html").read_text()
    assert all(f'value="{row["psnr"]!r}"' in page for row in json.loads(result.stdout)["images"])
    assert_fails(run(*words, "--sr", made), "report is not empty")
    result = run(*words, "--model", "bicubic", "--sr", made, "--overwrite")
    assert list(json.loads(result.stdout)["models"]) == ["bicubic", "sr"]
    assert (tmp_path / "report" / "index.html").read_text() != page


def test_a_self_ensemble_beside_bicubic_is_of_the_network(models, data):
    words = ["--model", models / "edsr.keras", "--model", "bicubic", "--self-ensemble", "--json"]
    printed = json.loads(run("evaluate", *words, "--hr", data["validation"], "--scale", 2).stdout)["models"]
    assert printed["bicubic"] == keras_edsr.evaluate("bicubic", data["validation"], 2)
    network = keras_edsr.evaluate(models / "edsr.keras", data["validation"], 2, self_ensemble=True)
    assert printed["edsr.keras"] == network


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Pass --model or --sr"),
        (["--model", "bicubic", "--sr", "b"], "Pass --model or --sr"),
        (["--sr", "b", "--lr", "c"], "--lr and --self-ensemble need --model"),
        (["--sr", "b", "--self-ensemble"], "--lr and --self-ensemble need --model"),
        (["--sr", "b", "--report", "c", "--self-ensemble"], "--lr and --self-ensemble need --model"),
        (["--model", "bicubic", "--protocol", "new"], "'new' is not one of"),
        (["--model", "bicubic", "--overwrite"], "--overwrite needs --report"),
    ],
)
def test_evaluate_wrongly_called_is_status_2(words, message):
    assert_fails(run("evaluate", "--hr", "a", "--scale", "2", *words), message, status=2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "bicubic", "--hr", "gone", "--scale", "2"], "gone does not exist"),
        (["--model", "bicubic", "--scale", "0"], "`scale` must be a positive integer"),
        (["--model", "bicubic", "--scale", "2", "--self-ensemble"], "`self_ensemble` averages"),
        (["--model", "bicubic", "--scale", "2", "--lr", "gone"], "gone"),
        (["--model", "gone.keras", "--scale", "2"], "gone.keras, which cannot be read"),
        (["--model", "edsr.keras", "--scale", "3"], "`scale` must be one of the model's scales, (2,)"),
    ],
)
def test_evaluate_refuses_in_one_line(models, data, monkeypatch, words, message):
    monkeypatch.chdir(models)
    assert_fails(run("evaluate", "--hr", data["validation"], *words), message)


def test_bicubic_does_not_import_tensorflow(data):
    words = ["evaluate", "--model", "bicubic", "--hr", data["validation"], "--scale", "2"]
    code = (
        "import sys\n"
        "from keras_edsr.cli import main\n"
        f"try: main({words})\n"
        "except SystemExit as stop: print(stop.code, 'tensorflow' in sys.modules)\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.endswith("0 False\n")


# === A process ===


@pytest.mark.slow
def test_a_bar_on_a_terminal_keeps_out_of_the_results(models, photos, tmp_path):
    terminal, end = pty.openpty()
    words = ["upscale", photos, "-o", tmp_path / "out", "--model", models / "edsr.keras"]
    command = [sys.executable, "-m", "keras_edsr", *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=end, text=True, timeout=300)
    os.close(end)
    shown = os.read(terminal, 1 << 20).decode()
    os.close(terminal)
    expected = [str(tmp_path / "out" / name) for name in ("a.png", "b.jpg", "sub/c.webp")]
    assert done.stdout.splitlines() == expected
    assert "images" in shown
    assert not any(name in shown for name in expected)


@pytest.mark.slow
def test_on_one_terminal_results_are_lines_above_the_bar(models, photos, tmp_path):
    terminal, end = pty.openpty()
    words = ["upscale", photos / "a.png", "-o", tmp_path / "a.png", "--model", models / "edsr.keras"]
    command = [sys.executable, "-m", "keras_edsr", *map(str, words)]
    subprocess.run(command, stdout=end, stderr=end, timeout=300, check=True, env={**os.environ, "COLUMNS": "200"})
    os.close(end)
    shown = os.read(terminal, 1 << 20).decode()
    os.close(terminal)
    # Erased the bar, then the name on a line of its own.
    assert re.search(rf"\x1b\[2K{re.escape(str(tmp_path / 'a.png'))} *\r\n", shown)


def test_a_process_keeps_stdout_for_results(models, photos, tmp_path):
    words = ["upscale", photos / "a.png", "-o", tmp_path / "out.png", "--model", models / "edsr.keras"]
    command = [sys.executable, "-m", "keras_edsr", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, notes(done)) == (0, f"{tmp_path / 'out.png'}\n", [])


# === upscale: sizes, names, formats ===


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--scale", "2.5"], (40, 30)),
        (["--scale", "4"], (64, 48)),
        (["--width", "20"], (20, 15)),
        (["--height", "30", "--width", "33"], (33, 30)),
        (["--fit", "100x18"], (24, 18)),
    ],
)
def test_any_size_is_made_and_told(models, photos, tmp_path, words, expected):
    result = run("upscale", photos / "a.png", "-o", tmp_path / "a.png", "--model", models / "edsr.keras", *words)
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'a.png'}\n")
    assert size(tmp_path / "a.png")[1] == expected
    assert "16x12, by the network x2" in result.stderr


def test_a_quoted_pattern_a_suffix_and_skipping(models, photos, tmp_path):
    words = ["upscale", photos / "**" / "*.[pw]*", "-o", tmp_path / "out", "--model", models / "edsr.keras"]
    names = [str(tmp_path / "out" / name) for name in ("a_x2.png", "sub/c_x2.png")]
    assert run(*words, "--suffix", "_x2.png").stdout.splitlines() == names
    (tmp_path / "out" / "a_x2.png").unlink()
    again = run(*words, "--suffix", "_x2.png", "--skip-existing")
    assert again.stdout.splitlines() == names[:1]
    assert "Skipping 1 of 2 images, whose outputs exist." in again.stderr
    assert run(*words, "--suffix", "_x2.png", "--skip-existing").exit_code == 0


def test_options_of_formats_arrive(models, photos, tmp_path):
    words = ["upscale", photos / "a.png", "--model", models / "edsr.keras", "-o"]
    assert run(*words, tmp_path / "a.jpg", "--subsampling", "4:2:0").exit_code == 0
    with Image.open(tmp_path / "a.jpg") as stored:
        assert tuple(stored.layer[0][1:3]) == (2, 2)
    assert run(*words, tmp_path / "a.webp", "--lossless").exit_code == 0
    assert run(*words, tmp_path / "b.png").exit_code == 0
    np.testing.assert_array_equal(read_image(tmp_path / "a.webp"), read_image(tmp_path / "b.png"))


def test_what_a_format_cannot_hold_is_told(models, photos, tmp_path):
    words = ["upscale", photos / "a.png", "-o", tmp_path / "a.gif", "--model", models / "edsr.keras"]
    assert "GIF can store 256 colors a frame" in run(*words).stderr


def bomb(path):
    """10,000 x 10,000 pixels in 12 kB."""
    Image.new("1", (10_000, 10_000)).save(path, compress_level=9)
    assert path.stat().st_size < 20_000


def empty(path):
    path.touch()


def truncated(path):
    write_image(path, photo(64, 64))
    path.write_bytes(path.read_bytes()[:-2000])


def no_image(path):
    path.write_text("<html>")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (bomb, "it has 100000000 pixels (10000x10000), and `max_pixels` (--max-pixels) is 89478485"),
        (empty, "it is empty"),
        (truncated, "truncated"),
        (no_image, "it is a page of HTML, not an image"),
    ],
)
def test_a_bad_file_is_one_line(models, tmp_path, make, message):
    make(tmp_path / "bad.png")
    result = run("upscale", tmp_path / "bad.png", "-o", tmp_path / "out.png", "--model", models / "edsr.keras")
    assert (result.exit_code, result.stdout) == (1, "")
    [reported] = [line for line in result.stderr.splitlines() if "bad.png" in line]
    assert message in reported
    assert result.stderr.splitlines()[-1] == "Error: 1 of 1 images failed."
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name or path.name.startswith(".")] == []


def test_the_limit_of_pixels_is_as_asked(models, photos, tmp_path):
    words = ["upscale", photos / "a.png", "-o", tmp_path / "out.png", "--model", models / "edsr.keras", "--max-pixels"]
    assert "192 pixels (16x12)" in run(*words, 191).stderr
    assert run(*words, 192).exit_code == 0


def test_an_interrupt_is_one_line(models, photos, tmp_path, monkeypatch):
    from keras_edsr import inference

    def interrupted(pairs, model, *, report, **options):
        report(pairs[0][1], None)
        raise KeyboardInterrupt

    monkeypatch.setattr(inference, "upscale_files", interrupted)
    result = run("upscale", photos, "-o", tmp_path / "out", "--model", models / "edsr.keras")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "Error: Stopped; 1 of 3 images are done. Add --skip-existing to make the others."
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--fit", "100"], "'100' is not a valid size"),
        (["--fit", "0x100"], "0x100 is not a valid size"),
        (["--width", "0"], "0 is not in the range"),
        (["--scale", "2", "--width", "9"], "Pass --scale, or --width and --height, or --fit"),
        (["--overwrite", "--skip-existing"], "Pass --overwrite or --skip-existing"),
        (["--subsampling", "4:1:1"], "'4:1:1' is not one of"),
    ],
)
def test_sizes_and_names_wrongly_called_are_status_2(models, photos, words, message):
    assert_fails(run("upscale", photos, "-o", "out", "--model", models / "edsr.keras", *words), message, status=2)


@pytest.mark.slow
def test_ctrl_c_leaves_no_half_file(models, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        write_image(tmp_path / "in" / name, photo(*((12, 16) if name == "a.png" else (900, 1200))))
    words = ["upscale", tmp_path / "in", "-o", tmp_path / "out", "--model", models / "edsr.keras", "--self-ensemble"]
    command = [sys.executable, "-m", "keras_edsr", *map(str, words), "--tile-size", "16"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == f"{tmp_path / 'out' / 'a.png'}\n"
    time.sleep(1)  # within the second
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert stderr.splitlines()[-1] == "Error: Stopped; 1 of 2 images are done. Add --skip-existing to make the others."
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]
