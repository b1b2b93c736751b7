""".tflite and .onnx files as runtimes, and every exported format in `upscale` and `evaluate`."""

import concurrent.futures
import subprocess
import sys

import keras
import numpy as np
import pytest
from reference import images

from keras_edsr.evaluation import evaluate
from keras_edsr.export import export_ncnn, export_onnx, export_tflite
from keras_edsr.image_io import write_image
from keras_edsr.inference import upscale
from keras_edsr.models import EDSR, MDSR
from keras_edsr.network import About
from keras_edsr.runtimes import needs_tensorflow, open_runtime, tflite
from keras_edsr.runtimes import onnx as onnx_runtime

pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert: pip install 'keras-edsr[litert]'")
onnx = pytest.importorskip("onnx", reason="needs onnx: pip install 'keras-edsr[onnx]'")
pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'keras-edsr[onnx]'")
pytest.importorskip("ncnn", reason="needs ncnn: pip install 'keras-edsr[ncnn]'")

FILES = ("m.tflite", "m.onnx")
ALL = (*FILES, "of_1.onnx", "float16.onnx", "m")  # the last is ncnn's folder


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return EDSR(2, 1, 8, 1.0)


@pytest.fixture(scope="module")
def mdsr():
    keras.utils.set_random_seed(0)
    return MDSR((2, 3), 1, 8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, model, mdsr):
    """Exports of both models; how they are verified is tested elsewhere."""
    folder = tmp_path_factory.mktemp("exported")
    write_image(folder / "0.png", np.kron(images(9, 9, 3), np.ones((9, 9, 1))).astype(np.uint8))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("tflite", "onnx", "ncnn"):
            patch.setattr(f"keras_edsr.export.{name}.check_export", lambda *args, **kwargs: None)
        export_tflite(model, folder / "m.tflite")
        export_tflite(model, folder / "int8.tflite", quantize="int8", calibration=folder)
        export_tflite(model, folder / "fixed.tflite", input_size=(20, 24))
        export_tflite(model, folder / "square.tflite", input_size=20)
        export_onnx(model, folder / "m.onnx")
        export_onnx(model, folder / "of_1.onnx", range="0-1")
        export_onnx(model, folder / "float16.onnx", range="0-1", float16=True)
        export_ncnn(model, folder / "m")
        export_tflite(mdsr, folder / "mdsr.tflite")
        export_onnx(mdsr, folder / "mdsr.onnx")
        export_onnx(mdsr, folder / "mdsr_of_1.onnx", range="0-1")
    return folder


# === One evaluator for all ===


@pytest.mark.parametrize("name", ALL)
def test_an_export_upscales_as_the_model_in_any_tiles(folder, model, name):
    image = images(30, 41, 3).astype(np.uint8)
    expected = upscale(model, image).astype(int)
    for tile_size in ("auto", 11):
        assert np.abs(upscale(folder / name, image, tile_size=tile_size) - expected).max() <= 1


@pytest.mark.parametrize("name", ["mdsr.tflite", "mdsr.onnx", "mdsr_of_1.onnx"])
@pytest.mark.parametrize("scale", [2, 3])
def test_an_mdsr_has_all_its_scales(folder, mdsr, name, scale):
    image = images(13, 21, 3).astype(np.uint8)
    found = upscale(folder / name, image, scale)
    assert np.abs(found - upscale(mdsr, image, scale).astype(int)).max() <= 1


@pytest.mark.parametrize("name", ALL)
def test_an_export_is_evaluated(folder, model, name, tmp_path):
    for i in range(2):
        write_image(tmp_path / f"{i}.png", images(28, 30, 3, seed=i).astype(np.uint8))
    found, expected = evaluate(str(folder / name), tmp_path, 2), evaluate(model, tmp_path, 2)
    assert [row["name"] for row in found["images"]] == ["0.png", "1.png"]
    assert found["psnr"] == pytest.approx(expected["psnr"], abs=1e-3)


@pytest.mark.parametrize("name", FILES)
def test_a_batch_and_a_self_ensemble_are_the_models(folder, model, name):
    batch = images(2, 9, 14, 3).astype(np.uint8)
    expected = upscale(model, batch, self_ensemble=True).astype(int)
    assert np.abs(upscale(folder / name, batch, self_ensemble=True) - expected).max() <= 1


@pytest.mark.parametrize("name", FILES)
def test_a_runtime_says_what_tiles_it_needs(folder, name, model):
    runtime = open_runtime(folder / name)
    assert (runtime.scales, runtime.halo, runtime.channels) == ((2,), model.halo, 3)
    assert runtime.bytes_per_pixel(2) > 0
    sr = runtime.run(images(2, 5, 4, 3), 2)
    assert (sr.dtype, sr.shape) == (np.float32, (2, 10, 8, 3))


def test_8_bits_are_pixels_in_and_out(folder, model):
    image = np.kron(images(6, 7, 3), np.ones((5, 5, 1))).astype(np.uint8)
    sr = upscale(folder / "int8.tflite", image)
    assert np.abs(sr - upscale(model, image).astype(int)).mean() < 2
    assert open_runtime(folder / "int8.tflite").bytes_per_pixel(2) < open_runtime(folder / "m.tflite").bytes_per_pixel(
        2
    )


@pytest.mark.parametrize("name", FILES)
def test_threads_share_a_runtime(folder, model, name):
    tiles = [images(1, 4 + i, 5, 3, seed=i) for i in range(8)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda tile: open_runtime(folder / name).run(tile, 2), tiles))
    for tile, result in zip(tiles, results, strict=True):
        np.testing.assert_allclose(result, np.clip(model(tile), 0, 255) if "tflite" in name else model(tile), atol=1e-3)


def test_onnxruntime_is_given_the_scale_that_is_asked_for(folder, mdsr):
    whole = onnx.load(folder / "mdsr.onnx")
    part = onnx_runtime._only(whole, "x3")
    onnx.checker.check_model(part, full_check=True)
    assert [value.name for value in part.graph.output] == ["x3"]
    assert not any("x2" in value.name for value in (*part.graph.node, *part.graph.initializer))
    sizes = [np.prod(weight.dims) for weight in part.graph.initializer]
    assert sum(sizes) == mdsr.branch(3).count_params() + 3  # and the mean that is taken off


# === A fixed size ===


@pytest.mark.parametrize("size", [(20, 24), (20, 60), (33, 25), (57, 49)])
def test_windows_of_a_fixed_size_give_the_whole_image(folder, model, size):
    image = images(*size, 3).astype(np.uint8)
    done = []
    sr = upscale(folder / "fixed.tflite", image, progress=lambda *pixels: done.append(pixels))
    assert np.abs(sr - upscale(model, image).astype(int)).max() <= 1
    assert done[-1] == (size[0] * size[1],) * 2


def test_an_image_below_the_fixed_size_is_refused_with_the_least(folder):
    with pytest.raises(ValueError, match=r"images of 24x20 pixels and cannot take a smaller image\. Received: 30x19"):
        upscale(folder / "fixed.tflite", images(19, 30, 3).astype(np.uint8))


def test_a_self_ensemble_needs_square_windows(folder, model):
    image = images(25, 31, 3).astype(np.uint8)
    expected = upscale(model, image, self_ensemble=True).astype(int)
    assert np.abs(upscale(folder / "square.tflite", image, self_ensemble=True) - expected).max() <= 1
    with pytest.raises(ValueError, match="square"):
        upscale(folder / "fixed.tflite", image, self_ensemble=True)


# === Without TensorFlow ===


def test_tensorflow_is_not_imported(folder):
    program = (
        "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
        "import numpy as np; from keras_edsr import upscale\n"
        f"for name in {FILES}:\n"
        f"    print(upscale({str(folder)!r} + '/' + name, np.zeros((4, 5, 3), 'uint8')).shape)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["(8, 10, 3)"] * 2


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("runtime", [None, "auto"])
def test_tensorflow_is_not_needed(folder, name, runtime):
    assert not needs_tensorflow(folder / name, runtime)


@pytest.mark.parametrize(("name", "program"), [("m.tflite", "LiteRT"), ("m.onnx", "onnxruntime")])
@pytest.mark.parametrize("runtime", ["tensorflow", "ncnn"])
def test_another_runtime_is_refused(folder, name, program, runtime):
    for function in (open_runtime, needs_tensorflow):
        with pytest.raises(ValueError, match=f"which {program} runs, not {runtime}. Omit `runtime`"):
            function(folder / name, runtime)


# === What is refused ===


def refusal(path, **options):
    with pytest.raises(ValueError) as raised:
        open_runtime(path, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(tmp_path, name):
    assert "No such file" in refusal(tmp_path / name)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("size", [0, 10, 1000, -100])
def test_a_damaged_file_is_refused(folder, tmp_path, name, size):
    (tmp_path / name).write_bytes((folder / name).read_bytes()[:size])
    assert str(tmp_path / name) in refusal(tmp_path / name)


@pytest.mark.parametrize("name", FILES)
def test_a_folder_of_that_name_is_refused(tmp_path, name):
    (tmp_path / name).mkdir()
    assert "Cannot read" in refusal(tmp_path / name)


def test_a_foreign_onnx_file_is_refused(folder, tmp_path):
    foreign = onnx.load(folder / "m.onnx")
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "m.onnx")
    assert "was not exported by keras_edsr" in refusal(tmp_path / "m.onnx")


def test_an_onnx_file_that_lacks_a_scale_is_refused(folder, tmp_path):
    part = onnx_runtime._only(onnx.load(folder / "mdsr.onnx"), "x3")
    onnx.save(part, tmp_path / "m.onnx")
    assert "must have an output for each of its scales, (2, 3)" in refusal(tmp_path / "m.onnx")


def test_a_foreign_tflite_file_is_refused(folder, tmp_path):
    content = (folder / "m.tflite").read_bytes()
    (tmp_path / "m.tflite").write_bytes(content.replace(b"keras_edsr\0", b"other_edsr\0"))
    assert "was not exported by keras_edsr" in refusal(tmp_path / "m.tflite")


@pytest.mark.parametrize(
    ("name", "module", "extra"), [("m.tflite", tflite, "litert"), ("m.onnx", onnx_runtime, "onnx")]
)
def test_the_missing_package_is_named(tmp_path, monkeypatch, name, module, extra):
    (tmp_path / name).write_bytes(b"")
    monkeypatch.setattr(module, "is_installed", lambda: False)
    assert f"pip install 'keras-edsr[{extra}]'" in refusal(tmp_path / name)


@pytest.mark.parametrize("name", FILES)
def test_a_gpu_that_is_not_there_is_refused(folder, name):
    assert "Omit `device`" in refusal(folder / name, device="gpu")


# === What a file says about itself ===


def test_what_is_told_is_read(mdsr):
    about = About.of(mdsr.network)
    assert about == About((2, 3), 14, 3, 8, "mdsr", 1, mdsr.count_params())
    assert About.from_json(about.to_json(), "m.onnx", "an ONNX model") == about
    assert About.from_json(About.of(mdsr.branch(3).network).to_json(), "m.onnx", "an ONNX model").scales == (3,)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "it was not exported by keras_edsr"),
        ("", "damaged"),
        ("[]", "damaged"),
        ("[" * 100_000, "damaged"),
        ('{"format": 2}', "by another version of keras_edsr"),
        ('{"format": 1, "scales": [2]}', "damaged"),
        ('{"format": 1, "family": "edsr", "scales": [], "halo": 1, "channels": 3}', "damaged"),
    ],
)
def test_what_is_told_wrongly_is_refused(text, problem):
    with pytest.raises(ValueError, match=problem) as raised:
        About.from_json(text, "m.onnx", "an ONNX model")
    assert "\n" not in str(raised.value)
