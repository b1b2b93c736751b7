"""convert: from PyTorch's files to Keras' and back, by name; and the commands `convert` and `info`."""

import json
import logging
import subprocess
import sys

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from places import TORCH_CHECKPOINTS

from keras_edsr import EDSR, MDSR, cli
from keras_edsr._convert import convert
from keras_edsr.checkpoints.reader import read_file

OUTPUTS = np.load(TORCH_CHECKPOINTS / "outputs.npz")
PICTURE = np.array(Image.open(TORCH_CHECKPOINTS / "picture.png"))


@pytest.fixture(autouse=True)
def logger():
    """Leaves the package's logger as it was: `main` gives it a handler and a level."""
    yield
    cli.logger.handlers.clear()
    cli.logger.setLevel(logging.NOTSET)


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory):
    """The golden EDSR x2 as .keras."""
    path = tmp_path_factory.mktemp("models") / "edsr_x2.keras"
    convert(TORCH_CHECKPOINTS / "edsr_x2.pt", path)
    return path


def run(*words):
    return CliRunner().invoke(cli.main, [str(word) for word in words])


def assert_fails(result, message):
    """Checks for one line on stderr, nothing on stdout, and status 1."""
    assert (result.exit_code, result.stdout) == (1, "")
    [line] = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert message in line


def tensors(path):
    tree = read_file(path).tree
    return {name: tensor.read() for name, tensor in tree.get("params", tree).items()}


# === Files by their suffixes ===


@pytest.mark.parametrize("name", ["edsr_x2.pt", "edsr_x3_legacy.pt", "edsr_x3.safetensors", "edsr_x4_basicsr.pth"])
def test_a_keras_file_gives_what_pytorch_gives(name, tmp_path):
    convert(TORCH_CHECKPOINTS / name, tmp_path / "m.keras")
    model = keras.saving.load_model(tmp_path / "m.keras")
    sr = model.predict(PICTURE[None].astype(np.float32), verbose=0)[0]
    np.testing.assert_allclose(sr, OUTPUTS[name], atol=1e-3)


def test_mdsr_gives_what_pytorch_gives(tmp_path):
    convert(TORCH_CHECKPOINTS / "mdsr.pt", tmp_path / "m.keras")
    results = keras.saving.load_model(tmp_path / "m.keras").predict(PICTURE[None].astype(np.float32), verbose=0)
    for scale in (2, 3, 4):
        np.testing.assert_allclose(results[f"x{scale}"][0], OUTPUTS[f"mdsr.pt:x{scale}"], atol=1e-3)


@pytest.mark.parametrize(
    ("layout", "name"),
    [(None, "back.pt"), ("edsr-pytorch", "back.pth"), ("basicsr", "back.pth"), (None, "back.safetensors")],
)
def test_there_and_back_is_the_same_to_the_bit(keras_file, tmp_path, layout, name):
    convert(keras_file, tmp_path / name, layout=layout)
    expected, found = tensors(TORCH_CHECKPOINTS / "edsr_x2.pt"), tensors(tmp_path / name)
    if layout == "basicsr":
        assert ("params" in read_file(tmp_path / name).tree, "conv_last.bias" in found) == (True, True)
        renamed = {
            "head.0": "conv_first",
            "body.1.body.2": "body.1.conv2",
            "tail.0.0": "upsample.0",
            "tail.1": "conv_last",
        }
        for ours, theirs in renamed.items():
            np.testing.assert_array_equal(found[f"{theirs}.weight"], expected[f"{ours}.weight"])
        return
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        np.testing.assert_array_equal(found[key], values)


def test_residual_scaling_may_be_given(tmp_path):
    convert(TORCH_CHECKPOINTS / "edsr_x2.pt", tmp_path / "m.keras", residual_scaling=0.1)
    assert keras.saving.load_model(tmp_path / "m.keras").residual_scaling == 0.1


@pytest.mark.parametrize(
    ("source", "target"),
    [("a.pt", "b.pt"), ("a.keras", "b.keras"), ("a.h5", "b.keras"), ("a.keras", "b.npz"), ("a.pt", "b")],
)
def test_other_pairs_are_refused(tmp_path, source, target):
    with pytest.raises(ValueError, match=r"\.pt, \.pth, \.safetensors file becomes a \.keras file") as raised:
        convert(tmp_path / source, tmp_path / target)
    assert "\n" not in str(raised.value)


def test_a_scaling_for_a_keras_file_is_refused(keras_file, tmp_path):
    with pytest.raises(ValueError, match=r"A \.keras file contains it"):
        convert(keras_file, tmp_path / "m.pt", residual_scaling=0.1)


@pytest.mark.parametrize("target", ["m.keras", "m.pt"])
def test_a_target_is_replaced_only_when_asked_and_read_first(keras_file, tmp_path, target):
    source = keras_file if target == "m.pt" else TORCH_CHECKPOINTS / "edsr_x2.pt"
    (tmp_path / target).write_text("mine")
    with pytest.raises(ValueError, match="it already exists"):
        convert(tmp_path / f"gone{source.suffix}", tmp_path / target)
    assert (tmp_path / target).read_text() == "mine"
    convert(source, tmp_path / target, overwrite=True)
    assert (tmp_path / target).stat().st_size > 1000


def test_a_source_that_fails_leaves_the_target(tmp_path):
    (tmp_path / "m.keras").write_text("mine")
    (tmp_path / "a.pt").write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match=r"Cannot read .*a\.pt"):
        convert(tmp_path / "a.pt", tmp_path / "m.keras", overwrite=True)
    assert (tmp_path / "m.keras").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("target", ["gone/m.keras", "gone/m.pt"])
def test_a_target_that_cannot_be_written_is_refused(keras_file, tmp_path, target):
    source = keras_file if target.endswith(".pt") else TORCH_CHECKPOINTS / "edsr_x2.pt"
    with pytest.raises(ValueError, match="Cannot write"):
        convert(source, tmp_path / target)
    assert list(tmp_path.iterdir()) == []


def test_another_keras_model_has_no_place_in_pytorchs_files(tmp_path):
    keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(3, 3)]).save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="holds Sequential, which is not an EDSR, an MDSR or a branch"):
        convert(tmp_path / "m.keras", tmp_path / "m.pt")


# === The command convert ===


def test_the_command_prints_the_target_and_says_what_it_found(tmp_path):
    result = run("convert", TORCH_CHECKPOINTS / "edsr_x3_legacy.pt", tmp_path / "m.keras")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'm.keras'}\n")
    assert "read as EDSR(scale=3, num_blocks=2, filters=8)" in result.stderr
    assert "residual_scaling=1.0, as published" in result.stderr
    assert keras.saving.load_model(tmp_path / "m.keras").scale == 3


def test_the_commands_options_arrive(tmp_path):
    words = ["convert", TORCH_CHECKPOINTS / "edsr_x2.pt", tmp_path / "m.keras"]
    assert run(*words, "--residual-scaling", 0.5, "--layout", "super-image").exit_code == 0
    model = keras.saving.load_model(tmp_path / "m.keras")
    assert (model.residual_scaling, model.get_config()["mean"]) == (0.5, (0.0, 0.0, 0.0))
    assert_fails(run(*words), "it already exists")
    assert run(*words, "--overwrite").exit_code == 0
    assert run("convert", tmp_path / "m.keras", tmp_path / "b.pth", "--layout", "basicsr").exit_code == 0
    assert "params" in read_file(tmp_path / "b.pth").tree


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.pt", None, "gone.pt: no such file"),
        ("a.pt", b"", "it is empty"),
        ("a.pth", b"<!DOCTYPE html>", "it is a web page: the download went wrong"),
        ("a.pt", b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00lsR.", "it names os.system"),
    ],
)
def test_what_is_refused_is_one_line(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert_fails(run("convert", tmp_path / name, tmp_path / "m.keras"), message)
    assert not (tmp_path / "m.keras").exists()


# === The command info ===


@pytest.fixture
def weights(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_EDSR_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


def test_info_tells_of_a_file(keras_file):
    lines = dict(line.split("  ", 1) for line in run("info", keras_file).stdout.splitlines())
    lines = {key.strip(): value.strip() for key, value in lines.items()}
    assert (lines["family"], lines["scales"], lines["filters"], lines["halo"]) == ("EDSR", "2", "8", "8")
    assert lines["parameters"] == f"{EDSR(2, 2, 8, 1.0).count_params():,}"


@pytest.mark.parametrize("name", ["edsr_x2.pt", "mdsr_legacy.pt", "edsr_x3.safetensors"])
def test_info_prints_one_json_object(name):
    result = run("info", TORCH_CHECKPOINTS / name, "--json")
    about = json.loads(result.stdout)
    assert about["family"] == ("MDSR" if name.startswith("mdsr") else "EDSR")
    assert about["parameters"] == sum(
        v.size for key, v in tensors(TORCH_CHECKPOINTS / name).items() if "mean" not in key
    )


def test_info_lists_the_presets(weights):
    model = MDSR((2, 3), 1, 4)
    model.save_to_preset(weights / "mine")
    rows = {line.split()[0]: line.split() for line in run("info").stdout.splitlines() if line}
    assert rows["edsr_x2"][:5] == ["edsr_x2", "EDSR", "2", "40,729,603", "download"]
    assert "35.03" in rows["edsr_x2"]
    assert (rows["mdsr"][-2], rows["mdsr"][-1]) == ("no", "34.92/31.22/29.24")
    assert rows["mine"] == ["mine", "MDSR", "2,", "3", f"{model.count_params():,}", "yes"]
    text = run("info").stdout
    assert "license: code MIT; none is stated for the weights" in text
    assert f"Folder of weights, also for downloads: {weights}" in text


def test_the_list_is_json_too(weights):
    (weights / "broken").mkdir(parents=True)
    (weights / "broken" / "config.json").write_text("{")
    result = run("info", "--json")
    about = json.loads(result.stdout)
    assert about["weights_folder"] == str(weights)
    by_name = {preset["name"]: preset for preset in about["presets"]}
    assert by_name["edsr_baseline_x4"]["psnr"]["DIV2K 0801-0900 (RGB)"] == {"x4": 28.95}
    assert by_name["edsr_baseline_x4"]["url"].endswith("/edsr64_x4.pt")
    assert "broken" not in by_name
    assert "broken is not a preset" in result.stderr


def test_the_list_of_presets_does_not_import_tensorflow():
    program = (
        "import sys, keras_edsr.cli as cli\n"
        "try: cli.main(['info'])\n"
        "except SystemExit as stop: print(stop.code, {'tensorflow', 'keras'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 set()"


@pytest.mark.parametrize(
    ("word", "message"), [("edsr_x5", "edsr_x5 is neither a preset nor a file"), (TORCH_CHECKPOINTS, "neither")]
)
def test_info_refuses_in_one_line(word, message):
    assert_fails(run("info", word), message)
