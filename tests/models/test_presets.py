"""Published presets as models: found where the user has them, made, and refused when they are something else."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from places import TORCH_CHECKPOINTS

from keras_edsr import EDSR, MDSR, upscale
from keras_edsr.info.describe import describe
from keras_edsr.models import load_model
from keras_edsr.network import Network
from keras_edsr.presets import official
from keras_edsr.runtimes import open_runtime

OUTPUTS = np.load(TORCH_CHECKPOINTS / "outputs.npz")
PICTURE = np.array(Image.open(TORCH_CHECKPOINTS / "picture.png"))
SMALL = {  # networks of the size of the golden files, under the names of the published ones
    "edsr_baseline_x2": Network("EDSR", (2,), 2, 8),
    "edsr_x4": Network("EDSR", (4,), 2, 8),
    "mdsr": Network("MDSR", (2, 3, 4), 2, 8),
}


@pytest.fixture(autouse=True)
def weights(tmp_path, monkeypatch):
    """The user's weights folder; the published networks are small."""
    monkeypatch.setenv("KERAS_EDSR_WEIGHTS", str(tmp_path / "weights"))
    for name, network in SMALL.items():
        monkeypatch.setitem(official.OFFICIAL, name, replace(official.OFFICIAL[name], network=network))
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def put(weights, golden, name):
    shutil.copy(TORCH_CHECKPOINTS / golden, weights / name)


def refusal(call):
    with pytest.raises(ValueError, match=r"edsr|mdsr|preset") as raised:
        call()
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("preset", "name", "golden"),
    [
        ("edsr_baseline_x2", "edsr64_x2.pt", "edsr_x2.pt"),
        ("edsr_baseline_x2", "EDSR_baseline_x2.pt", "edsr_x2.pt"),
        ("edsr_x4", "EDSR_Lx4_f256b32_DIV2K_official-76ee1c8f.pth", "edsr_x4_basicsr.pth"),
    ],
)
def test_edsr_from_a_file_of_the_users_gives_what_pytorch_gives(weights, preset, name, golden):
    put(weights, golden, name)
    model = EDSR.from_preset(preset)
    sr = model.predict(PICTURE[None].astype(np.float32), verbose=0)[0]
    np.testing.assert_allclose(sr, OUTPUTS[golden], atol=1e-3)


def test_mdsr_from_a_file_of_the_users_gives_what_pytorch_gives(weights):
    put(weights, "mdsr_legacy.pt", "MDSR.pt")
    results = MDSR.from_preset("mdsr").predict(PICTURE[None].astype(np.float32), verbose=0)
    for scale in (2, 3, 4):
        np.testing.assert_allclose(results[f"x{scale}"][0], OUTPUTS[f"mdsr_legacy.pt:x{scale}"], atol=1e-3)


def test_upscale_takes_a_published_name(weights):
    put(weights, "edsr_x2.pt", "edsr_baseline_x2.pt")
    sr = upscale("edsr_baseline_x2", PICTURE, runtime="tensorflow")
    expected = np.rint(OUTPUTS["edsr_x2.pt"].clip(0, 255)).astype(int)
    assert np.abs(sr - expected).max() <= 1  # at a tie
    assert (sr != expected).mean() < 1e-3


def test_the_wrong_class_is_told_the_right_one_before_anything_is_read():
    message = refusal(lambda: MDSR.from_preset("edsr_x2"))
    assert message == "The preset 'edsr_x2' is an EDSR, not an MDSR. Use EDSR.from_preset('edsr_x2')."
    message = refusal(lambda: EDSR.from_preset("mdsr_baseline"))
    assert message.endswith("Use MDSR.from_preset('mdsr_baseline').")


def test_a_file_of_another_network_under_a_published_name_is_refused(weights):
    put(weights, "edsr_x3.safetensors", "edsr_baseline_x2.safetensors")
    message = refusal(lambda: EDSR.from_preset("edsr_baseline_x2"))
    assert "should hold edsr_baseline_x2, EDSR(scale=2, num_blocks=2, filters=8), but holds EDSR(scale=3" in message


def test_an_unknown_preset_is_refused_with_the_nearest():
    message = refusal(lambda: EDSR.from_preset("edsr_x5"))
    assert message.startswith("'edsr_x5' is neither a preset nor a folder with one (config.json). Did you mean edsr_x")
    assert message.endswith("`keras-edsr info` lists all presets.")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("edsr_compct_x2", "edsr_compact_x2"),
        ("EDSR_Compact_x3", "edsr_compact_x3"),
        ("edsr-compact-x4", "edsr_compact_x4"),
        ("mdsr_compakt", "mdsr_compact"),
        ("edsr_baslin_x2", "edsr_baseline_x2"),
    ],
)
def test_a_misspelt_preset_is_found_by_every_door(word, meant):
    for load in (EDSR.from_preset, load_model, open_runtime, describe):
        message = refusal(lambda load=load: load(word))
        assert f"Did you mean {meant}" in message
        assert "`keras-edsr info` lists all presets." in message


def test_a_word_that_is_like_no_preset_is_told_how_to_list_them():
    message = refusal(lambda: open_runtime("photo"))
    assert "Did you mean" not in message
    assert message.endswith("`keras-edsr info` lists all presets.")


def test_weights_that_no_mirror_has_are_refused_with_what_to_do(weights):
    message = refusal(lambda: MDSR.from_preset("mdsr"))
    assert f"mdsr-4a78bedf.pt, put it into {weights}" in message
