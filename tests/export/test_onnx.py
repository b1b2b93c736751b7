"""ONNX: the files alone, run by onnxruntime with no code of ours, against the Keras model."""

import keras
import numpy as np
import pytest
from reference import images

from keras_edsr.export import onnx as export
from keras_edsr.export.onnx import export_onnx
from keras_edsr.models import EDSR, MDSR

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install 'keras-edsr[onnx]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'keras-edsr[onnx]'")

TOLERANCE = 1e-3  # gray levels, of float32; measured: 1e-4


def model_of(family="edsr", scale=2, **kwargs):
    keras.utils.set_random_seed(0)
    if family == "mdsr":
        return MDSR((2, 3, 4), 1, 8, **kwargs)
    return EDSR(scale, 2, 8, 0.1, **kwargs)


@pytest.fixture
def unchecked(monkeypatch):
    """Saves the new process, for what is compared here anyway."""
    monkeypatch.setattr(export, "check_export", lambda *args, **kwargs: None)


def run(path, x):
    """Outputs by name, `(n, h, w, c)`."""
    session = onnxruntime.InferenceSession(str(path))
    results = session.run(None, {"lr": x.transpose(0, 3, 1, 2)})
    names = [output.name for output in session.get_outputs()]
    return {name: sr.transpose(0, 2, 3, 1) for name, sr in zip(names, results, strict=True)}


@pytest.mark.parametrize(
    ("scale", "options"),
    [
        *((scale, {"mean": (30, 100, 220)}) for scale in (1, 2, 3, 4, 8)),
        (3, {"mean": 0}),
        (2, {"upsampler": "direct", "mean": 0}),
        (3, {"upsampler": "direct", "mean": (30, 100, 220)}),
    ],
)
def test_the_file_gives_the_models_image_of_any_batch_and_size(scale, options, tmp_path, unchecked):
    model = model_of(scale=scale, **options)
    path = export_onnx(model, tmp_path / "m.onnx")
    for shape in ((1, 9, 8, 3), (2, 5, 12, 3)):
        sr = run(path, images(*shape))
        assert list(sr) == [f"x{scale}"]
        np.testing.assert_allclose(sr[f"x{scale}"], model(images(*shape)), atol=TOLERANCE)


@pytest.mark.parametrize("shared_tail", [True, False])
def test_an_mdsr_has_an_output_for_each_scale_and_its_weights_once(shared_tail, tmp_path, unchecked):
    model = model_of("mdsr", shared_tail=shared_tail)
    path = export_onnx(model, tmp_path / "m.onnx")
    sr, expected = run(path, images(1, 7, 6, 3)), model(images(1, 7, 6, 3))
    assert list(sr) == ["x2", "x3", "x4"]
    for name in sr:
        np.testing.assert_allclose(sr[name], expected[name], atol=TOLERANCE)
    sizes = [np.prod(weight.dims) for weight in onnx.load(path).graph.initializer]
    assert sum(sizes) == model.count_params() + 3  # and the mean that is taken off


def test_a_branch_is_its_scale_alone(tmp_path, unchecked):
    model = model_of("mdsr").branch(3)
    sr = run(export_onnx(model, tmp_path / "m.onnx"), images(1, 7, 6, 3))
    assert list(sr) == ["x3"]
    np.testing.assert_allclose(sr["x3"], model(images(1, 7, 6, 3)), atol=TOLERANCE)


def test_gray_images_stay_gray(tmp_path, unchecked):
    model = model_of(image_shape=(None, None, 1))
    sr = run(export_onnx(model, tmp_path / "m.onnx"), images(1, 7, 6, 1))
    np.testing.assert_allclose(sr["x2"], model(images(1, 7, 6, 1)), atol=TOLERANCE)


def test_a_model_of_mixed_precision_is_exported_in_float32(tmp_path, unchecked):
    model, exact = model_of(dtype="mixed_float16"), model_of()
    exact.set_weights(model.get_weights())
    sr = run(export_onnx(model, tmp_path / "m.onnx"), images(1, 7, 6, 3))
    np.testing.assert_allclose(sr["x2"], exact(images(1, 7, 6, 3)), atol=TOLERANCE)


def test_a_branch_of_mixed_precision_is_exported_in_float32(tmp_path, unchecked):
    model, exact = model_of("mdsr", dtype="mixed_float16").branch(2), model_of("mdsr").branch(2)
    exact.set_weights(model.get_weights())
    sr = run(export_onnx(model, tmp_path / "m.onnx"), images(1, 7, 6, 3))
    np.testing.assert_allclose(sr["x2"], exact(images(1, 7, 6, 3)), atol=TOLERANCE)


def test_the_file_says_what_it_needs(tmp_path, unchecked):
    model = onnx.load(export_onnx(model_of(), tmp_path / "m.onnx"))
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 13)]
    shape = model.graph.input[0].type.tensor_type.shape
    assert [dim.dim_param or dim.dim_value for dim in shape.dim] == ["batch", 3, "height", "width"]


# === For the programs of others ===


def run_of_1(path, x):
    """What a program gets that knows neither the scale nor this package: one input, one output, in 0..1."""
    session = onnxruntime.InferenceSession(str(path))
    assert [value.name for value in session.get_inputs()] == ["input"]
    assert [value.name for value in session.get_outputs()] == ["output"]
    (sr,) = session.run(None, {"input": x.transpose(0, 3, 1, 2) / np.float32(255)})
    assert sr.dtype == np.float32
    return sr.transpose(0, 2, 3, 1) * 255


@pytest.mark.parametrize(
    ("scale", "options"),
    [
        *((scale, {"mean": (30, 100, 220)}) for scale in (1, 2, 3, 4, 8)),
        (3, {"mean": 0}),
        (3, {"upsampler": "direct", "mean": (30, 100, 220)}),
    ],
)
def test_of_0_to_1_the_file_gives_the_models_image_in_0_to_1(scale, options, tmp_path, unchecked):
    model = model_of(scale=scale, **options)
    rng = np.random.default_rng(0)  # biases are zero in a new model
    model.set_weights([weight + rng.normal(0, 2, weight.shape) * (weight.ndim == 1) for weight in model.get_weights()])
    path = export_onnx(model, tmp_path / "m.onnx", range="0-1")
    for shape in ((1, 9, 8, 3), (2, 5, 12, 3)):
        np.testing.assert_allclose(run_of_1(path, images(*shape)), model(images(*shape)), atol=TOLERANCE)


def test_of_0_to_1_an_mdsr_keeps_the_names_of_its_scales(tmp_path, unchecked):
    model = model_of("mdsr")
    session = onnxruntime.InferenceSession(export_onnx(model, tmp_path / "m.onnx", range="0-1"))
    assert [value.name for value in session.get_inputs()] == ["input"]
    assert [value.name for value in session.get_outputs()] == ["x2", "x3", "x4"]
    np.testing.assert_allclose(
        run_of_1(export_onnx(model.branch(3), tmp_path / "x3.onnx", range="0-1"), images(1, 7, 6, 3)),
        model(images(1, 7, 6, 3))["x3"],
        atol=TOLERANCE,
    )


@pytest.mark.parametrize("range", ["0-255", "0-1"])
def test_float16_rounds_the_kernels_and_nothing_else(range, tmp_path, unchecked):
    keras.utils.set_random_seed(0)
    rounded = EDSR(2, 2, 8, 1.0, mean=(30, 100, 220))  # no residual scaling, which is in the kernels
    rng = np.random.default_rng(0)
    rounded.set_weights(
        [
            weight.astype(np.float16).astype(np.float32) if weight.ndim == 4 else rng.normal(0, 2, weight.shape)
            for weight in rounded.get_weights()
        ]
    )
    x = images(1, 9, 8, 3)
    path = export_onnx(rounded, tmp_path / "m.onnx", range=range, float16=True)
    found = run_of_1(path, x) if range == "0-1" else run(path, x)["x2"]
    np.testing.assert_allclose(found, rounded(x), atol=TOLERANCE)
    whole = export_onnx(rounded, tmp_path / "float32.onnx", range=range)
    kernels = sum(weight.size for weight in rounded.get_weights() if weight.ndim == 4)
    assert whole.stat().st_size - path.stat().st_size > 1.5 * kernels


@pytest.mark.parametrize("options", [{}, {"range": "0-1"}, {"range": "0-1", "float16": True}])
@pytest.mark.parametrize("family", ["edsr", "mdsr"])
def test_checker_shape_inference_and_evaluator_of_onnx_accept_the_file(family, options, tmp_path, unchecked):
    from onnx.reference import ReferenceEvaluator

    keras_model = model_of(family)
    model = onnx.load(export_onnx(keras_model, tmp_path / "m.onnx", **options))
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    for before, after in zip(model.graph.output, inferred.graph.output, strict=True):
        dims = [dim.dim_param or dim.dim_value for dim in after.type.tensor_type.shape.dim]
        assert dims == ["batch", 3, f"{before.name}_height", f"{before.name}_width"]
    (entry,) = model.graph.input
    assert [dim.dim_param or dim.dim_value for dim in entry.type.tensor_type.shape.dim] == [
        "batch",
        3,
        "height",
        "width",
    ]
    divisor = np.float32(255 if options else 1)
    x = images(1, 5, 4, 3)
    results = ReferenceEvaluator(model).run(None, {entry.name: x.transpose(0, 3, 1, 2) / divisor})
    expected = keras_model(x)
    expected = list(expected.values()) if family == "mdsr" else [expected]
    for sr, wanted in zip(results, expected, strict=True):
        atol = 0.5 if "float16" in options else TOLERANCE
        np.testing.assert_allclose(sr.transpose(0, 2, 3, 1) * divisor, wanted, atol=atol)


@pytest.mark.parametrize("options", [{"range": "0-1"}, {"float16": True}, {"range": "0-1", "float16": True}])
def test_such_a_file_was_run_in_another_process(options, tmp_path, caplog):
    caplog.set_level("INFO", logger="keras_edsr")
    export_onnx(model_of(), tmp_path / "m.onnx", **options)
    assert "x2, of a photograph, run again in a new process" in caplog.text


def test_what_was_written_was_run_in_another_process_and_nothing_else_is_left(tmp_path, caplog):
    caplog.set_level("INFO", logger="keras_edsr")
    export_onnx(model_of("mdsr"), tmp_path / "m.onnx")
    assert [line for line in ("x2", "x3", "x4") if f"{line}, of a photograph, run again" in caplog.text] == [
        "x2",
        "x3",
        "x4",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_a_wrong_file_is_found_out_and_nothing_is_left(tmp_path, monkeypatch):
    weights = export.weights
    monkeypatch.setattr(export, "weights", lambda *args: [array * 1.02 for array in weights(*args)])
    with pytest.raises(ValueError, match=r"differs from the model at x2: up to \d+ gray levels"):
        export_onnx(model_of(), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


# === What is refused ===


def refusal(path, model=None):
    with pytest.raises(ValueError) as raised:
        export_onnx(model or model_of(), path)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_another_suffix_is_refused(tmp_path):
    assert "must end in .onnx" in refusal(tmp_path / "m.tflite")


def test_another_range_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`range` must be one of 0-255, 0-1\. Received: range='1'"):
        export_onnx(model_of(), tmp_path / "m.onnx", range="1")


def test_another_model_is_refused(tmp_path):
    other = keras.Sequential([keras.Input((4, 4, 3))])
    assert "Only an EDSR, an MDSR or a branch" in refusal(tmp_path / "m.onnx", other)


def test_an_existing_file_stays_unless_it_may_be_replaced(tmp_path, unchecked):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")
    assert "already exists" in refusal(path)
    assert path.read_bytes() == b"old"
    export_onnx(model_of(), path, overwrite=True)
    onnx.checker.check_model(onnx.load(path))


def test_the_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "is_installed", lambda: False)
    assert "pip install 'keras-edsr[onnx]'" in refusal(tmp_path / "m.onnx")
