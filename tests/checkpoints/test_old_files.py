"""Files of every format that version 0.1.0 wrote are read, and give the images that they gave (see golden/)."""

import numpy as np
import pytest
from places import TESTS

from keras_edsr import EDSR, MDSR, load_torch, presets, upscale
from keras_edsr.checkpoints import read_keras
from keras_edsr.models import MDSRBranch, load_model
from keras_edsr.network import Network

FOLDER = TESTS / "golden" / "old_files"
SR = np.load(FOLDER / "sr.npz")

NETWORKS = {
    "edsr": Network("EDSR", (2,), 1, 4, 0.5),
    "mdsr": Network("MDSR", (2, 3), 1, 4, 1.0, mean=(100, 110, 120), shared_tail=False),
    "branch": Network("MDSR", (3,), 1, 4, 1.0, mean=(100, 110, 120), shared_tail=False, is_branch=True),
}


def assert_same_images(model, family, tolerance, **options):
    scales = [int(name[-1]) for name in SR if name.startswith(family)]
    for scale in [3] if "branch" in str(model) else scales:
        sr = upscale(model, SR["lr"], scale, **options)
        assert np.abs(sr.astype(int) - SR[f"{family}_x{scale}"]).max() <= tolerance


@pytest.mark.parametrize(
    ("name", "family", "tolerance"),
    [
        ("edsr.keras", "edsr", 0),
        ("mdsr.keras", "mdsr", 0),
        ("branch.keras", "mdsr", 0),
        ("edsr", "edsr", 0),
        ("branch", "mdsr", 0),
        ("edsr_saved_model", "edsr", 0),
        ("mdsr_ncnn", "mdsr", 1),
        ("mdsr.onnx", "mdsr", 1),
        ("mdsr.tflite", "mdsr", 1),
    ],
)
def test_an_old_file_gives_the_old_image(name, family, tolerance):
    assert_same_images(FOLDER / name, family, tolerance, runtime=None)


@pytest.mark.parametrize("name", ["edsr.keras", "mdsr.keras", "edsr", "branch"])
def test_ncnn_reads_old_weights(name):
    assert_same_images(FOLDER / name, "edsr" if "edsr" in name else "mdsr", 1, runtime="ncnn")


@pytest.mark.parametrize("name", NETWORKS)
def test_an_old_keras_file_is_read_without_keras(name):
    network, arrays = read_keras(FOLDER / f"{name}.keras")
    assert network == NETWORKS[name]
    model = load_model(FOLDER / f"{name}.keras")
    assert arrays.keys() == {weight.path for weight in model.weights}
    for weight in model.weights:
        np.testing.assert_array_equal(arrays[weight.path], weight)


@pytest.mark.parametrize(("name", "cls"), [("edsr", EDSR), ("branch", MDSRBranch)])
def test_an_old_preset_is_read(name, cls):
    assert presets.read(FOLDER / name)[0] == NETWORKS[name]
    assert cls.from_preset(FOLDER / name).name == {"edsr": "old_edsr", "branch": "old_mdsr_x3"}[name]
    with pytest.raises(ValueError, match=f"Use {cls.__name__}"):
        MDSR.from_preset(FOLDER / name)


def test_an_old_checkpoint_is_read():
    found = load_torch(FOLDER / "edsr.pt", residual_scaling=0.5)
    assert found.network == NETWORKS["edsr"]
    assert_same_images(found, "edsr", 0, runtime="tensorflow")
