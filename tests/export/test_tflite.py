"""TensorFlow Lite: the files alone, run by LiteRT with no code of ours, against the Keras model."""

import keras
import numpy as np
import pytest
from reference import images, pair

from keras_edsr.evaluation import evaluate
from keras_edsr.export import tflite
from keras_edsr.export.int8 import balanced, calibration_crops, run_network
from keras_edsr.export.tflite import export_tflite
from keras_edsr.image_io import write_image
from keras_edsr.models import EDSR, MDSR, build
from keras_edsr.presets import locate

interpreter = pytest.importorskip(
    "ai_edge_litert.interpreter", reason="needs ai-edge-litert: pip install 'keras-edsr[litert]'"
)
schema = pytest.importorskip("ai_edge_litert.schema_py_generated")

SMALL, LARGE = (1, 9, 8, 3), (1, 24, 31, 3)


def model_of(family="edsr", scale=2, **kwargs):
    keras.utils.set_random_seed(0)
    if family == "mdsr":
        return MDSR((2, 3), 1, 8, **kwargs)
    return EDSR(scale, 2, 8, 0.5, **kwargs)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for i in range(3):
        noise = images(12, 10, 3, seed=i)
        smooth = np.kron(noise, np.ones((8, 8, 1)))
        write_image(folder / f"{i}.png", smooth.astype(np.uint8))
    return folder


@pytest.fixture
def unchecked(monkeypatch):
    """Saves the new process, for what is compared here anyway."""
    monkeypatch.setattr(tflite, "check_export", lambda *args, **kwargs: None)


def run(path, x, scale=2):
    runner = interpreter.Interpreter(str(path)).get_signature_runner(f"x{scale}")
    return runner(lr=x)["sr"]


def read(path):
    return schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)


def operations(path):
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    model = read(path)
    codes = [model.operatorCodes[operator.opcodeIndex] for graph in model.subgraphs for operator in graph.operators]
    return {names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in codes}


def expected(model, x):
    return np.clip(model(x), 0, 255)


# === Exact ===


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_float32_gives_the_models_image_of_any_size(scale, tmp_path, unchecked):
    model = model_of(scale=scale, mean=(30, 100, 220))
    path = export_tflite(model, tmp_path / "m.tflite")
    for shape in (SMALL, LARGE):
        np.testing.assert_allclose(run(path, images(*shape), scale), expected(model, images(*shape)), atol=1e-3)


def test_the_result_is_clipped(tmp_path, unchecked):
    model = model_of()
    model.get_layer("tail").bias.assign([-400.0, 0.0, 400.0])
    sr = run(export_tflite(model, tmp_path / "m.tflite"), images(*SMALL))
    assert (sr.min(), sr.max()) == (0, 255)


def test_what_was_written_was_run_in_another_process_and_nothing_else_is_left(tmp_path, caplog):
    caplog.set_level("INFO", logger="keras_edsr")
    export_tflite(model_of(), tmp_path / "m.tflite")
    assert "run again in a new process" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["m.tflite"]


def test_only_built_in_operations_are_used_and_no_variables(tmp_path, photos, unchecked):
    exact = {"CONV_2D", "ADD", "DEPTH_TO_SPACE", "MINIMUM", "MAXIMUM", "RELU", "MUL"}
    whole = {"CONV_2D", "ADD", "SUB", "DEPTH_TO_SPACE", "QUANTIZE", "PADV2"}
    path = export_tflite(model_of(), tmp_path / "m.tflite")
    assert operations(path) <= exact
    path = export_tflite(model_of(), tmp_path / "m8.tflite", quantize="int8", calibration=photos)
    assert operations(path) <= whole


def test_a_model_of_mixed_precision_is_exported_in_float32(tmp_path, unchecked):
    model, exact = model_of(dtype="mixed_bfloat16"), model_of()
    exact.set_weights(model.get_weights())
    path = export_tflite(model, tmp_path / "m.tflite")
    np.testing.assert_allclose(run(path, images(*SMALL)), expected(exact, images(*SMALL)), atol=1e-3)


@pytest.mark.parametrize(("quantize", "share", "tolerance"), [("float16", 0.62, 0.5), ("dynamic", 0.45, 3)])
def test_smaller_weights_are_smaller_and_near(quantize, share, tolerance, tmp_path, unchecked):
    keras.utils.set_random_seed(0)
    model = EDSR(2, 2, 32, 1.0)
    exact = export_tflite(model, tmp_path / "m.tflite")
    path = export_tflite(model, tmp_path / "q.tflite", quantize=quantize)
    assert path.stat().st_size < share * exact.stat().st_size
    sr = run(path, images(*LARGE))
    assert np.isfinite(sr).all()
    np.testing.assert_allclose(sr, expected(model, images(*LARGE)), atol=tolerance)


# === 8 bits ===


@pytest.mark.parametrize("options", [{}, {"mean": (30, 100, 220)}, {"mean": 0}, {"mean": 0, "upsampler": "direct"}])
def test_the_network_that_is_rounded_is_the_models_up_to_the_edges(options):
    model = model_of(**options)
    sr = run_network(*pair(model), 2, images(*LARGE), lambda name, x: x)
    np.testing.assert_allclose(sr, model(images(*LARGE)), atol=1e-3)


def test_int8_takes_and_gives_pixels_and_computes_in_whole_numbers(tmp_path, photos):
    model = model_of()
    path = export_tflite(model, tmp_path / "m.tflite", quantize="int8", calibration=photos)
    runner = interpreter.Interpreter(str(path)).get_signature_runner()
    for tensor in (*runner.get_input_details().values(), *runner.get_output_details().values()):
        assert (tensor["dtype"], tensor["quantization"]) == (np.uint8, (1.0, 0))
    kinds = {tensor.type for graph in read(path).subgraphs for tensor in graph.tensors}
    assert kinds <= {schema.TensorType.INT8, schema.TensorType.UINT8, schema.TensorType.INT32}
    x = images(*LARGE).astype(np.uint8)
    sr = run(path, x).astype(float)
    np.testing.assert_allclose(sr, np.rint(expected(model, x)), atol=4)


def test_int8_of_an_mdsr_of_gray_images(tmp_path, photos, unchecked):
    model = model_of("mdsr", image_shape=(None, None, 1))
    path = export_tflite(model, tmp_path / "m.tflite", quantize="int8", calibration=photos)
    x = np.kron(images(1, 4, 5, 1), np.ones((1, 6, 6, 1))).astype(np.uint8)
    for scale in (2, 3):
        sr = run(path, x, scale).astype(float)
        off = sr - np.rint(np.clip(model(x)[f"x{scale}"], 0, 255))
        assert np.sqrt(np.square(off).mean()) < 3  # gray levels; of noise, by weights that are noise: 2.2


def test_int8_loses_at_most_015_db_on_set5(tmp_path, shared_data, unchecked):
    preset = "edsr_compact_x2"
    if locate(preset) is None:
        pytest.skip(f"the preset {preset} is not here")
    model = EDSR.from_preset(preset)
    path = export_tflite(model, tmp_path / "m.tflite", quantize="int8", calibration=shared_data / "train" / "Kodak24")
    set5 = shared_data / "eval" / "Set5"
    assert evaluate(model, set5, 2)["psnr"] - evaluate(path, set5, 2)["psnr"] <= 0.15


def test_ranges_that_do_not_fit_are_refused_and_nothing_is_left(tmp_path):
    (tmp_path / "flat").mkdir()
    write_image(tmp_path / "flat" / "0.png", np.full((40, 40, 3), (114, 111, 103), np.uint8))  # the mean: all is zero
    with pytest.raises(ValueError, match=r"differs from the model at x2: .* dB; no less than") as raised:
        export_tflite(model_of(), tmp_path / "m.tflite", quantize="int8", calibration=tmp_path / "flat")
    assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["flat"]


def test_crops_are_the_same_each_time_and_of_both_sizes(photos):
    first, again = (list(calibration_crops(photos, 3)) for _ in range(2))
    # Three images stand for 64, each by 22 places; half of one holds no more than one.
    assert [crop.shape for crop in first] == ([(64, 64, 3)] * 22 + [(48, 40, 3)]) * 3
    np.testing.assert_equal(first, again)


def test_crops_have_the_models_channels(photos):
    assert {crop.shape[-1] for crop in calibration_crops(photos, 1)} == {1}
    assert {crop.shape[-1] for crop in calibration_crops(photos, 4)} == {4}


def test_the_smallest_image_can_be_calibrated_on(tmp_path):
    write_image(tmp_path / "0.png", np.full((1, 1, 3), 7, np.uint8))
    assert [crop.shape for crop in calibration_crops(tmp_path, 3)] == [(1, 1, 3)] * 2


# === Channels of like ranges ===


def uneven(kind="edsr", **settings):
    """A network one of whose channels is much larger than the others, as in those that were trained long."""
    model = model_of(kind, **settings)
    head = model.get_layer("head")
    head.kernel.assign(head.kernel * np.array([50, 1, 1, 1] * 2))
    return model


def largest(network, arrays, crops):
    """The largest absolute value of each of the trunk's channels."""
    found = []

    def mark(name, x):
        if name in ("head", "body_0", "body_1", "skip"):
            found.append(np.abs(x).max(axis=(0, 1, 2)))
        return x

    for crop in crops:
        run_network(network, arrays, network.scales[0], crop[None], mark)
    return np.max(found, axis=0)


@pytest.mark.parametrize("kind", ["edsr", "mdsr", "branch"])
def test_the_balanced_network_is_the_same(kind, photos):
    model = uneven("mdsr").branch(3) if kind == "branch" else uneven(kind)
    network, arrays = pair(model)
    before = {path: array.copy() for path, array in arrays.items()}
    result = build(network, balanced(network, arrays, calibration_crops(photos, 3)))
    x = images(*SMALL)
    outputs = model(x), result(x)
    if kind == "mdsr":
        outputs = tuple([each[f"x{scale}"] for scale in (2, 3)] for each in outputs)
        for expected_sr, sr in zip(*outputs, strict=True):
            np.testing.assert_allclose(sr, expected_sr, rtol=1e-4, atol=2e-3)
    else:
        np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-4, atol=2e-3)
    for path, array in before.items():
        np.testing.assert_array_equal(array, arrays[path])


def test_the_channels_of_a_balanced_network_are_closer_together(photos):
    model = uneven()
    network, arrays = pair(model)
    crops = list(calibration_crops(photos, 3))
    old, now = (np.log(largest(network, each, crops)) for each in (arrays, balanced(network, arrays, crops)))
    assert np.ptp(old) > 1
    np.testing.assert_allclose(np.ptp(now), np.ptp(old) / 2, rtol=1e-4)


# === Signatures and sizes ===


def test_an_mdsr_has_a_signature_for_each_scale_and_its_weights_once(tmp_path, unchecked):
    keras.utils.set_random_seed(0)
    model = MDSR((2, 3), 4, 16)
    path = export_tflite(model, tmp_path / "m.tflite")
    for scale in (2, 3):
        np.testing.assert_allclose(
            run(path, images(*SMALL), scale), np.clip(model(images(*SMALL))[f"x{scale}"], 0, 255), atol=1e-3
        )
    assert path.stat().st_size < 4 * model.count_params() + 40_000


def test_a_branch_has_its_scale_alone(tmp_path, unchecked):
    model = model_of("mdsr").branch(3)
    path = export_tflite(model, tmp_path / "m.tflite")
    assert list(interpreter.Interpreter(str(path)).get_signature_list()) == ["x3"]
    np.testing.assert_allclose(run(path, images(*SMALL), 3), expected(model, images(*SMALL)), atol=1e-3)


def test_weights_lie_where_the_schema_wants_them(tmp_path, unchecked):
    content = export_tflite(model_of(), tmp_path / "m.tflite").read_bytes()
    model = schema.Model.GetRootAs(content, 0)
    for i in range(model.BuffersLength()):
        buffer = model.Buffers(i)
        if buffer.DataLength():
            assert buffer._tab.Vector(buffer._tab.Offset(4)) % 16 == 0


@pytest.mark.parametrize(("input_size", "size"), [((8, 12), (8, 12)), (8, (8, 8))])
def test_a_fixed_size_is_all_that_the_file_takes(input_size, size, tmp_path, unchecked):
    model = model_of()
    path = export_tflite(model, tmp_path / "m.tflite", input_size=input_size)
    details = interpreter.Interpreter(str(path)).get_signature_runner().get_input_details()["lr"]
    assert tuple(details["shape_signature"]) == (1, *size, 3)
    x = images(1, *size, 3)
    np.testing.assert_allclose(run(path, x), expected(model, x), atol=1e-3)


def test_a_size_without_room_within_the_halo_is_told(tmp_path, unchecked, caplog):
    path = export_tflite(model_of(), tmp_path / "m.tflite", input_size=(16, 20))
    assert f"{path} takes images of 20x16 alone: the halo is 8." in caplog.text


# === What is refused ===


def refusal(path, model=None, **options):
    with pytest.raises(ValueError) as raised:
        export_tflite(model or model_of(), path, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantize": "int4"}, "`quantize` must be one of"),
        ({"quantize": "int8"}, "needs it"),
        ({"calibration": "photos"}, "is for quantize='int8'"),
        ({"input_size": 0}, "`input_size` must be a positive integer"),
        ({"input_size": (3, 4, 5)}, "or height and width"),
        ({"input_size": (3, 4.5)}, "or height and width"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, options, message):
    assert message in refusal(tmp_path / "m.tflite", **options)


def test_a_calibration_folder_without_images_is_refused(tmp_path):
    options = {"quantize": "int8", "calibration": tmp_path}
    assert "has no file with a suffix of" in refusal(tmp_path / "m.tflite", **options)
    assert not list(tmp_path.iterdir())


def test_another_suffix_is_refused(tmp_path):
    assert "must end in .tflite" in refusal(tmp_path / "m.onnx")


def test_another_model_is_refused(tmp_path):
    other = keras.Sequential([keras.Input((4, 4, 3))])
    assert "Only an EDSR, an MDSR or a branch" in refusal(tmp_path / "m.tflite", other)


def test_an_existing_file_stays_unless_it_may_be_replaced(tmp_path, unchecked):
    path = tmp_path / "m.tflite"
    path.write_bytes(b"old")
    assert "already exists" in refusal(path)
    assert path.read_bytes() == b"old"
    export_tflite(model_of(), path, overwrite=True)
    assert path.read_bytes()[4:8] == b"TFL3"


def test_the_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tflite, "is_installed", lambda: False)
    assert "pip install 'keras-edsr[litert]'" in refusal(tmp_path / "m.tflite")
