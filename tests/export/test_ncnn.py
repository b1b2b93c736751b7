"""The folder for ncnn. What the files hold is tested in test_ncnn_format.py, by ncnn itself."""

import keras
import numpy as np
import pytest
from reference import images

from keras_edsr.export import ncnn as export
from keras_edsr.export.ncnn import export_ncnn
from keras_edsr.models import EDSR, MDSR

ncnn = pytest.importorskip("ncnn", reason="needs ncnn: pip install 'keras-edsr[ncnn]'")


def model_of(scale=2, **kwargs):
    keras.utils.set_random_seed(0)
    return EDSR(scale, 1, 8, 1.0, **kwargs)


@pytest.fixture
def unchecked(monkeypatch):
    """Saves the new process, for what is compared here anyway."""
    monkeypatch.setattr(export, "check_export", lambda *args, **kwargs: None)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def run(folder, stem, image):
    """As programs built on Real-ESRGAN-ncnn-vulkan do: RGB planes in [0, 1], from `data` to `output`."""
    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    assert net.load_param(str(folder / f"{stem}.param")) == 0
    assert net.load_model(str(folder / f"{stem}.bin")) == 0
    extractor = net.create_extractor()
    planes = np.ascontiguousarray(image.transpose(2, 0, 1)) / np.float32(255)
    extractor.input("data", ncnn.Mat(planes).clone())  # ncnn's own memory is aligned
    status, output = extractor.extract("output")
    assert status == 0
    return np.array(output).transpose(1, 2, 0) * 255


def test_a_folder_is_written_run_in_another_process_and_nothing_else_is_left(tmp_path, caplog):
    caplog.set_level("INFO", logger="keras_edsr")
    model = model_of()
    folder = export_ncnn(model, tmp_path / "photo")
    assert "x2, of a photograph, run again in a new process" in caplog.text
    assert names(tmp_path) == ["photo"]
    assert names(folder) == ["photo-x2.bin", "photo-x2.json", "photo-x2.param"]
    image = images(9, 8, 3)
    np.testing.assert_allclose(run(folder, "photo-x2", image), model(image[None])[0], atol=2e-3)


def test_names_end_in_the_scale_once(tmp_path, unchecked):
    assert "photo-x3.param" in names(export_ncnn(model_of(3), tmp_path / "photo-x3"))
    assert "photo-x3-x2.param" in names(export_ncnn(model_of(2), tmp_path / "photo-x3", overwrite=True))


def test_an_mdsr_is_a_network_for_each_scale(tmp_path, unchecked):
    model = MDSR((2, 4), 1, 8)
    folder = export_ncnn(model, tmp_path / "m")
    image = images(7, 6, 3)
    for scale in (2, 4):
        np.testing.assert_allclose(run(folder, f"m-x{scale}", image), model(image[None])[f"x{scale}"][0], atol=2e-3)


def test_a_model_of_mixed_precision_is_exported_in_float32(tmp_path, unchecked):
    model, exact = model_of(dtype="mixed_bfloat16"), model_of()
    exact.set_weights(model.get_weights())
    image = images(9, 8, 3)
    folder = export_ncnn(model, tmp_path / "m")
    np.testing.assert_allclose(run(folder, "m-x2", image), exact(image[None])[0], atol=2e-3)


def refusal(folder, model=None, **options):
    with pytest.raises(ValueError) as raised:
        export_ncnn(model or model_of(), folder, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_folder_of_something_else_is_never_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"a")
    assert "already exists" in refusal(tmp_path / "photos")
    assert "a folder with other files" in refusal(tmp_path / "photos", overwrite=True)
    assert names(tmp_path / "photos") == ["a.png"]


def test_a_model_of_ncnn_is_replaced_whole(tmp_path, unchecked):
    export_ncnn(MDSR((2, 4), 1, 8), tmp_path / "m")
    assert names(export_ncnn(model_of(), tmp_path / "m", overwrite=True)) == ["m-x2.bin", "m-x2.json", "m-x2.param"]
    assert names(tmp_path) == ["m"]


def test_another_model_is_refused(tmp_path):
    other = keras.Sequential([keras.Input((4, 4, 3))])
    assert "Only an EDSR, an MDSR or a branch" in refusal(tmp_path / "m", other)


def test_the_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "is_installed", lambda: False)
    assert "pip install 'keras-edsr[ncnn]'" in refusal(tmp_path / "m")
