"""`keras-edsr export`, and what it wrote in `upscale` and `evaluate`."""

import json

import click
import keras
import numpy as np
import pytest
from cli_calls import assert_fails, run
from runs import photo

import keras_edsr
from keras_edsr import cli, export
from keras_edsr.image_io import read_image, write_image
from keras_edsr.models import EDSR


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    keras.utils.set_random_seed(0)
    path = tmp_path_factory.mktemp("model") / "m.keras"
    EDSR(2, 1, 4, 1.0).save(path)
    return path


@pytest.fixture
def calls(monkeypatch):
    """What the verbs were called with, which do nothing."""
    made = []

    def verb(name):
        return lambda model, path, **options: made.append((name, model.name, path, options)) or f"{path}!"

    for name in export.__all__:
        monkeypatch.setitem(vars(export), name, verb(name))  # setattr would import the verb first
    return made


@pytest.mark.parametrize(
    ("words", "name", "options"),
    [
        (["--format", "saved_model"], "export_saved_model", {}),
        (
            ["--format", "saved_model", "--version", "3", "--self-ensemble", "--uint8-output", "--max-pixels", "9"],
            "export_saved_model",
            {"version": 3, "self_ensemble": True, "uint8_output": True, "max_pixels": 9},
        ),
        (["--format", "onnx", "--overwrite"], "export_onnx", {"overwrite": True}),
        (
            ["--format", "onnx", "--range", "0-1", "--float16"],
            "export_onnx",
            {"range": "0-1", "float16": True},
        ),
        (["--format", "ncnn"], "export_ncnn", {}),
        (["--format", "tflite", "--quantize", "float16"], "export_tflite", {"quantize": "float16"}),
        (
            ["--format", "tflite", "--quantize", "int8", "--calibration", "photos", "--input-size", "36x64"],
            "export_tflite",
            {"quantize": "int8", "calibration": "photos", "input_size": (36, 64)},
        ),
        (["--format", "tflite", "--input-size", "48"], "export_tflite", {"input_size": (48, 48)}),
    ],
)
def test_a_format_has_its_verb_and_its_options(model, calls, words, name, options):
    result = run("export", model, "out", *words)
    assert result.exit_code == 0, result.output
    assert result.stdout == "out!\n"
    [(called, _, path, given)] = calls
    assert (called, path, given) == (name, "out", {"overwrite": False, **options})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "h5"], "'h5' is not one of 'saved_model', 'tflite', 'onnx', 'ncnn'"),
        (["--format", "onnx", "--version", "2"], "--version needs --format saved_model."),
        (["--format", "tflite", "--self-ensemble"], "--self-ensemble needs --format saved_model."),
        (["--format", "ncnn", "--uint8-output"], "--uint8-output needs --format saved_model."),
        (["--format", "saved_model", "--quantize", "int8"], "--quantize needs --format tflite."),
        (["--format", "saved_model", "--input-size", "8"], "--input-size needs --format tflite."),
        (["--format", "ncnn", "--range", "0-1"], "--range needs --format onnx."),
        (["--format", "tflite", "--float16"], "--float16 needs --format onnx."),
        (["--format", "onnx", "--range", "1"], "'1' is not one of '0-255', '0-1'"),
        (["--format", "tflite", "--quantize", "int8"], "--quantize int8 and --calibration need each other."),
        (["--format", "tflite", "--calibration", "photos"], "--quantize int8 and --calibration need each other."),
        (["--format", "tflite", "--input-size", "8xa"], "Pass height x width, such as 360x640"),
        (["--format", "tflite", "--input-size", "0"], "both above 0"),
        (["--format", "tflite", "--input-size", "1x2x3"], "Pass the height and the width"),
        (["--format", "saved_model", "--max-pixels", "0"], "--max-pixels"),
        (["--format", "saved_model", "--version", "0"], "--version"),
    ],
)
def test_a_wrong_call_is_exit_2(model, calls, words, message):
    result = run("export", model, "out", *words)
    assert_fails(result, message, status=2)
    assert calls == []


def test_without_a_format_the_formats_are_told(model, calls):
    result = run("export", model, "out")
    assert result.exit_code == 2
    assert all(name in result.stderr for name in ("Missing option '--format'", "saved_model", "tflite", "onnx", "ncnn"))
    assert calls == []


def test_a_model_that_is_not_there_is_exit_1(tmp_path, calls):
    result = run("export", tmp_path / "gone.keras", "out", "--format", "onnx")
    assert_fails(result, "gone.keras is not a model that keras_edsr can load")
    assert calls == []


def test_a_refusal_is_one_line(model, tmp_path):
    (tmp_path / "m").write_text("")
    assert_fails(run("export", model, tmp_path / "m", "--format", "saved_model"), f"Cannot write {tmp_path / 'm'}")


def test_every_option_has_a_help():
    for option in cli.export.params:
        if isinstance(option, click.Option):
            assert option.help, option.name


def test_what_was_exported_is_upscaled_and_evaluated_as_the_model(model, tmp_path):
    written = run("export", model, tmp_path / "served", "--format", "saved_model")
    assert written.exit_code == 0, written.output
    assert written.stdout == f"{tmp_path / 'served' / '1'}\n"
    assert "run again in a new process: equal to the model's." in written.stderr
    (tmp_path / "hr").mkdir()
    write_image(tmp_path / "hr" / "a.png", photo(48, 40))
    results = []
    for name in (model, tmp_path / "served"):
        out = tmp_path / f"{name.name}.png"
        shown = run("upscale", tmp_path / "hr" / "a.png", "-o", out, "--model", name, "--runtime", "tensorflow")
        assert shown.exit_code == 0, shown.output
        scores = run("evaluate", "--model", name, "--hr", tmp_path / "hr", "--scale", 2, "--json")
        assert scores.exit_code == 0, scores.output
        results.append((read_image(out), json.loads(scores.stdout)["psnr"]))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
    np.testing.assert_array_equal(results[0][0], keras_edsr.upscale(model, photo(48, 40), runtime="tensorflow"))


def test_the_old_name_of_an_option_works_with_a_warning(model, calls):
    result = run("export", model, "out", "--format", "saved_model", "--quantised-output")
    assert result.exit_code == 0, result.output
    assert calls[0][3] == {"overwrite": False, "uint8_output": True}
    assert "--quantised-output is deprecated; use --uint8-output." in result.stderr
    assert "--quantised-output" not in run("export", "--help").output
