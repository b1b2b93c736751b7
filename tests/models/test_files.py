import json
import subprocess
import sys

import numpy as np
import pytest

from keras_edsr import EDSR, MDSR
from keras_edsr.models import MDSRBranch, load_model


@pytest.fixture
def model():
    return EDSR(2, 1, 4, 0.5, mean=(1.0, 2.0, 3.0))


def refusal(folder):
    with pytest.raises(ValueError, match="preset") as raised:
        load_model(folder)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("kind", [EDSR, MDSR, MDSRBranch])
def test_a_preset_gives_the_same_model_back(tmp_path, kind):
    mdsr = MDSR((2, 3), 1, 4, shared_tail=False)
    model = {EDSR: EDSR(3, 2, 4, 0.1, upsampler="direct", mean=0), MDSR: mdsr, MDSRBranch: mdsr.branch(3)}[kind]
    model.save_to_preset(tmp_path / "preset")
    again = load_model(tmp_path / "preset")
    assert type(again) is kind
    assert again.get_config() == model.get_config()
    for one, two in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_safetensors_library_reads_it(tmp_path, model):
    safetensors = pytest.importorskip("safetensors.numpy", reason="needs safetensors: pip install safetensors")
    model.save_to_preset(tmp_path)
    state = safetensors.load_file(tmp_path / "model.safetensors")
    assert state.keys() == {weight.path for weight in model.weights}
    for weight in model.weights:
        np.testing.assert_array_equal(state[weight.path], weight.numpy())


def test_the_optimizers_state_stays_out(tmp_path, model):
    model.save_to_preset(tmp_path / "new")
    lr, hr = np.zeros((1, 8, 8, 3)), np.ones((1, 16, 16, 3))
    model.fit(lr, hr, verbose=0)
    model.save_to_preset(tmp_path / "trained")
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("new", "trained")]
    assert sizes[0] == sizes[1]


def test_a_preset_is_replaced_only_if_that_is_asked(tmp_path, model):
    model.save_to_preset(tmp_path)
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(ValueError, match="holds a preset already"):
        EDSR(3, 1, 4, 1.0).save_to_preset(tmp_path)
    assert (tmp_path / "config.json").read_bytes() == before
    EDSR(3, 1, 4, 1.0).save_to_preset(tmp_path, overwrite=True)
    assert EDSR.from_preset(tmp_path).scale == 3


def test_the_wrong_class_is_told_the_right_one(tmp_path, model):
    model.save_to_preset(tmp_path)
    with pytest.raises(ValueError, match=r"is an EDSR, not an MDSR. Use EDSR\.from_preset"):
        MDSR.from_preset(tmp_path)


def test_weights_that_the_config_does_not_tell_of_are_refused(tmp_path, model):
    model.save_to_preset(tmp_path)
    about = json.loads((tmp_path / "config.json").read_text())
    about["config"]["num_blocks"] = 2
    (tmp_path / "config.json").write_text(json.dumps(about))
    assert "must have a weight body_1/conv_1/bias of shape (4,), and the file has None" in refusal(tmp_path)


def test_weights_of_another_shape_are_refused(tmp_path, model):
    model.save_to_preset(tmp_path)
    about = json.loads((tmp_path / "config.json").read_text())
    about["config"]["filters"] = 8
    (tmp_path / "config.json").write_text(json.dumps(about))
    assert "body_0/conv_1/bias of shape (8,), and the file has (4,)" in refusal(tmp_path)


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "torch"])
def test_damaged_weights_are_refused(tmp_path, model, damage):
    model.save_to_preset(tmp_path / "a")
    file = tmp_path / "a" / "model.safetensors"
    data = file.read_bytes()
    file.unlink()
    if damage == "torch":
        from keras_edsr import save_torch

        save_torch(model, tmp_path / "a.pt")
        data = (tmp_path / "a.pt").read_bytes()
    if damage != "missing":
        file.write_bytes({"empty": b"", "cut": data[:-1], "torch": data}[damage])
    with pytest.raises(ValueError, match=r"Cannot read .*model\.safetensors") as raised:
        load_model(tmp_path / "a")
    assert "\n" not in str(raised.value)


def test_upscaling_with_a_preset_imports_neither_tensorflow_nor_h5py(tmp_path, model):
    pytest.importorskip("ncnn", reason="needs ncnn: pip install 'keras-edsr[ncnn]'")
    model.save_to_preset(tmp_path)
    program = (
        "import sys, numpy, keras_edsr\n"
        "image = numpy.zeros((9, 8, 3), 'uint8')\n"
        f"assert keras_edsr.upscale({str(tmp_path)!r}, image, runtime='ncnn').shape == (18, 16, 3)\n"
        "assert not {'tensorflow', 'keras', 'h5py'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_config_that_lacks_a_number_is_refused(tmp_path, model):
    model.save_to_preset(tmp_path)
    text = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(text.replace("num_blocks", "blocks"))
    assert "its config is not that of an EDSR" in refusal(tmp_path)
