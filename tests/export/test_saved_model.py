import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from PIL import Image
from places import EXAMPLES, HELPERS
from reference import images
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.tools import saved_model_cli

from keras_edsr.export import export_ncnn, export_onnx, export_saved_model, export_tflite, saved_model
from keras_edsr.export.signatures import OK, UNREADABLE, dihedral, inverse_dihedral
from keras_edsr.image_ops import NUM_DIHEDRAL, quantize
from keras_edsr.image_ops import dihedral as dihedral_of_numpy
from keras_edsr.inference import upscale
from keras_edsr.models import EDSR, MDSR
from keras_edsr.runtimes import SavedModelRuntime, open_runtime
from keras_edsr.runtimes.saved_model import ABOUT

README = EXAMPLES / "serving" / "README.md"


@pytest.fixture(scope="module")
def edsr():
    keras.utils.set_random_seed(0)
    return EDSR(2, 1, 4, 1.0)


@pytest.fixture(scope="module")
def mdsr():
    keras.utils.set_random_seed(1)
    return MDSR((2, 3), 1, 4)


@pytest.fixture(scope="module")
def exported(edsr, tmp_path_factory):
    """The path of version 1 of the EDSR, verified, with a limit of 5,000 pixels."""
    return export_saved_model(edsr, tmp_path_factory.mktemp("edsr"), max_pixels=5000)


@pytest.fixture(scope="module")
def exported_mdsr(mdsr, tmp_path_factory):
    return export_saved_model(mdsr, tmp_path_factory.mktemp("mdsr"))


@pytest.fixture
def _unverified(monkeypatch):
    """For what is compared here: an export without the process that verifies it."""
    monkeypatch.setattr(saved_model, "check_export", lambda *args, **kwargs: {})


@pytest.fixture(scope="module")
def served(exported):
    """The signatures, loaded by TensorFlow."""
    return tf.saved_model.load(str(exported)).signatures


def pixels_of(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def encoded(array, file_format="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, file_format, **options)
    return file.getvalue()


def decoded(data):
    return np.array(Image.open(io.BytesIO(data)))


def send(signatures, files, name="upscale_bytes"):
    """Returns for each file the PNG and the status."""
    answer = signatures[name](image_bytes=tf.constant(files, tf.string))
    return list(zip(answer["sr_bytes"].numpy(), [text.decode() for text in answer["status"].numpy()], strict=True))


def refusal(*args, **kwargs):
    with pytest.raises(ValueError, match=r".") as raised:
        export_saved_model(*args, **kwargs)
    message = str(raised.value)
    assert "\n" not in message
    return message


# === Images as tensors ===


@pytest.mark.parametrize("shape", [(1, 5, 7, 3), (2, 12, 9, 3), (1, 1, 1, 3)])
def test_uint8_is_what_the_model_predicts_to_the_bit(edsr, served, shape):
    lr = pixels_of(*shape)
    sr = served["upscale_uint8"](images=lr)["sr"].numpy()
    assert sr.dtype == np.uint8
    np.testing.assert_array_equal(sr, quantize(edsr.predict_on_batch(lr.astype(np.float32))))


def test_the_default_gives_what_the_model_gives_unclipped(edsr, served):
    lr = images(2, 6, 5, 3)
    sr = served["serving_default"](images=tf.constant(lr))["sr"].numpy()
    np.testing.assert_array_equal(sr, edsr.predict_on_batch(lr))
    lr[:] = -1000
    assert served["serving_default"](images=tf.constant(lr))["sr"].numpy().min() < 0


@pytest.mark.parametrize(("name", "dtype"), [("upscale_uint8", np.uint8), ("serving_default", np.float32)])
def test_a_request_of_too_many_pixels_is_refused(served, name, dtype):
    served[name](images=np.zeros((2, 50, 50, 3), dtype))
    with pytest.raises(tf.errors.InvalidArgumentError, match="the request comes to 5100 pixels, and this model takes"):
        served[name](images=np.zeros((2, 50, 51, 3), dtype))


# === Encoded images ===


def test_files_of_any_size_and_kind_come_back_as_png(edsr, served):
    rgb = pixels_of(9, 7, 3)
    files = {
        "png": encoded(rgb),
        "larger": encoded(pixels_of(20, 31, 3)),
        "jpeg": encoded(pixels_of(16, 24, 3), "JPEG", quality=90),
        "progressive": encoded(pixels_of(16, 24, 3), "JPEG", progressive=True),
        "gray": encoded(rgb[..., 0]),
        "gray jpeg": encoded(rgb[..., 0], "JPEG"),
        "alpha": encoded(np.dstack([rgb, rgb[..., 0]])),
        "palette": None,
    }
    palette = io.BytesIO()
    Image.fromarray(rgb).quantize(16).save(palette, "PNG")
    files["palette"] = palette.getvalue()
    for (data, status), (name, file) in zip(send(served, list(files.values())), files.items(), strict=True):
        assert status == OK, name
        seen = np.array(Image.open(io.BytesIO(file)).convert("RGBA"))[..., :3]  # alpha is dropped, not blended
        np.testing.assert_array_equal(decoded(data), upscale(edsr, seen), err_msg=name)


def without_adobe_marker(data):
    """A JPEG without its APP14 segments."""
    kept, at = [data[:2]], 2
    while data[at + 1] != 0xDA:  # of the scan
        length = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] != 0xEE:
            kept.append(data[at : at + length])
        at += length
    return b"".join([*kept, data[at:]])


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": "4:2:0"}])
def test_cmyk_jpegs_are_read_with_the_adobe_marker_or_without(edsr, served, options):
    ink = np.kron(pixels_of(4, 5, 4), np.ones((8, 8, 1), np.uint8))
    file = io.BytesIO()
    Image.fromarray(ink, "CMYK").save(file, "JPEG", quality=95, **options)
    files = [file.getvalue(), without_adobe_marker(file.getvalue())]
    assert (b"Adobe" in files[0], b"Adobe" in files[1]) == (True, False)
    (marked, status), (plain, same) = send(served, files)
    assert (status, same) == (OK, OK)
    np.testing.assert_array_equal(decoded(plain), decoded(marked))
    seen = np.asarray(Image.open(io.BytesIO(files[1])).convert("RGB"))  # Pillow rounds otherwise: one level
    assert np.abs(decoded(plain).astype(int) - upscale(edsr, seen)).max() <= 3


def test_sixteen_bits_are_taken_as_their_upper_eight(edsr, served):
    deep = np.random.default_rng(0).integers(0, 65536, (8, 9)).astype(np.uint16)
    [(data, status)] = send(served, [encoded(deep)])
    assert status == OK
    np.testing.assert_array_equal(
        decoded(data), upscale(edsr, np.repeat((deep >> 8).astype(np.uint8)[..., None], 3, 2))
    )


def with_header(width, height):
    """A PNG of a few bytes whose header says that it is larger."""
    data = bytearray(encoded(pixels_of(4, 4, 3)))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def large_jpeg():
    """A JPEG of a few bytes whose header says that it has 65500 x 65500 pixels."""
    data = encoded(pixels_of(8, 8, 3), "JPEG")
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", 65500, 65500) + data[place + 4 :]


PNG_FILE, JPEG_FILE = encoded(pixels_of(24, 16, 3)), encoded(pixels_of(24, 16, 3), "JPEG")
BAD = {
    "empty": b"",
    "one byte": b"\x89",
    "garbage": bytes(range(256)),
    "text": b"<svg></svg>",
    "GIF": encoded(pixels_of(4, 4), "GIF"),
    "BMP": encoded(pixels_of(4, 4, 3), "BMP"),
    "WebP": encoded(pixels_of(4, 4, 3), "WEBP"),
    "PNG's signature": PNG_FILE[:8],
    "PNG's header": PNG_FILE[:33],
    "half a PNG": PNG_FILE[: len(PNG_FILE) // 2],
    "PNG with a wrong byte": PNG_FILE[:100] + bytes([PNG_FILE[100] ^ 0xFF]) + PNG_FILE[101:],
    "PNG of no size": with_header(0, 4),
    "PNG of a negative size": with_header(0xFFFFFFFF, 0xFFFFFFFF),
    "PNG that lies about its size": with_header(60, 60),
    "JPEG's signature": JPEG_FILE[:3],
    "JPEG's header": JPEG_FILE[:30],
    "half a JPEG": JPEG_FILE[: len(JPEG_FILE) // 2],
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_is_told_and_the_others_come(edsr, served, name):
    good = pixels_of(6, 5, 3)
    first, bad, last = send(served, [encoded(good), BAD[name], encoded(good[:3])])
    assert bad[0] == b""
    assert bad[1].startswith(("unreadable: ", "too large: "))
    assert [first[1], last[1]] == [OK, OK]
    np.testing.assert_array_equal(decoded(first[0]), upscale(edsr, good))
    np.testing.assert_array_equal(decoded(last[0]), upscale(edsr, good[:3]))


@pytest.mark.parametrize("seed", range(6))
def test_no_damage_fails_the_request(served, seed):
    random = np.random.default_rng(seed)
    files = []
    for file in [PNG_FILE, JPEG_FILE] * 10:
        damaged = bytearray(file)
        for place in random.integers(0, len(file), random.integers(1, 20)):
            damaged[place] = random.integers(256)
        files.append(bytes(damaged[: random.integers(1, len(file) + 1)]))
    answers = send(served, [*files, PNG_FILE])
    assert answers[-1][1] == OK
    assert all((status == OK) == bool(data) for data, status in answers)


@pytest.mark.parametrize(("file", "pixels"), [(with_header(100000, 100000), 10**10), (large_jpeg(), 65500**2)])
def test_the_size_is_read_before_an_image_is_decoded(served, file, pixels):
    said = f"too large: the request comes to {pixels} pixels, and this model takes 5000"
    assert send(served, [file]) == [(b"", said)]


def test_images_that_don_t_fit_any_more_are_refused_and_smaller_ones_taken(served):
    files = [encoded(pixels_of(height, 50, 3)) for height in (60, 50, 39, 1, 1)]
    statuses = [status for _, status in send(served, files)]
    assert statuses == [
        OK,
        "too large: the request comes to 5500 pixels, and this model takes 5000",
        OK,
        OK,
        "too large: the request comes to 5050 pixels, and this model takes 5000",
    ]


def test_no_image_gives_none(served):
    assert send(served, []) == []


# === Options ===


def test_the_dihedral_transforms_are_those_of_image_ops():
    lr = images(2, 4, 5, 3)
    for k in range(NUM_DIHEDRAL):
        np.testing.assert_array_equal(dihedral(tf.constant(lr), tf.constant(k)), dihedral_of_numpy(lr, k))
        np.testing.assert_array_equal(inverse_dihedral(dihedral(tf.constant(lr), tf.constant(k)), tf.constant(k)), lr)


@pytest.mark.usefixtures("_unverified")
def test_a_self_ensemble_inside_is_that_of_upscale_to_the_bit(edsr, tmp_path):
    path = export_saved_model(edsr, tmp_path, self_ensemble=True)
    loaded, lr = tf.saved_model.load(str(path)).signatures, pixels_of(11, 7, 3)
    expected = upscale(edsr, lr, self_ensemble=True)
    assert (expected != upscale(edsr, lr)).any()
    np.testing.assert_array_equal(loaded["upscale_uint8"](images=lr[None])["sr"][0], expected)
    np.testing.assert_array_equal(decoded(send(loaded, [encoded(lr)])[0][0]), expected)
    np.testing.assert_array_equal(upscale(path, lr, tile_size=4), expected)


@pytest.mark.usefixtures("_unverified")
def test_quantized_gives_whole_gray_levels(edsr, tmp_path):
    path = export_saved_model(edsr, tmp_path, uint8_output=True)
    loaded, lr = tf.saved_model.load(str(path)).signatures, pixels_of(11, 7, 3)
    sr = loaded["serving_default"](images=tf.constant(lr[None], tf.float32))["sr"]
    assert sr.dtype == tf.uint8
    np.testing.assert_array_equal(sr[0], upscale(edsr, lr))
    np.testing.assert_array_equal(upscale(path, lr), upscale(edsr, lr))


@pytest.mark.usefixtures("_unverified")
def test_a_request_may_take_4_gb_unless_told(edsr, tmp_path):
    path = export_saved_model(edsr, tmp_path)
    limit = json.loads((path / ABOUT).read_text())["max_pixels"]
    assert limit == int(4e9 / open_runtime(edsr).bytes_per_pixel(2))


@pytest.mark.usefixtures("_unverified")
@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels(tmp_path, channels):
    model = EDSR(2, 1, 4, 1.0, image_shape=(None, None, channels))
    path = export_saved_model(model, tmp_path)
    signatures, lr = tf.saved_model.load(str(path)).signatures, pixels_of(6, 5, channels)
    np.testing.assert_array_equal(signatures["upscale_uint8"](images=lr[None])["sr"][0], upscale(model, lr))
    assert ("upscale_bytes" in signatures) == (channels == 1)
    if channels == 1:
        [(data, _)] = send(signatures, [encoded(lr[..., 0])])
        np.testing.assert_array_equal(decoded(data), upscale(model, lr[..., 0]))


@pytest.mark.usefixtures("_unverified")
def test_mixed_precision_is_exported_as_it_is(tmp_path):
    model, lr = EDSR(2, 1, 4, 1.0, dtype="mixed_bfloat16"), pixels_of(6, 5, 3)
    np.testing.assert_array_equal(upscale(export_saved_model(model, tmp_path), lr), upscale(model, lr))


@pytest.mark.parametrize("wrong", [{"version": 0}, {"version": "1"}, {"max_pixels": 0}, {"max_pixels": 2.5}])
def test_a_wrong_number_is_refused(edsr, tmp_path, wrong):
    [name] = wrong
    assert refusal(edsr, tmp_path / "out", **wrong).startswith(f"`{name}` must be a positive integer. Received: ")
    assert not (tmp_path / "out").exists()


def test_another_model_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 3)])
    assert "must be an EDSR, an MDSR or a branch" in refusal(model, tmp_path / "out")


# === MDSR ===


def test_an_mdsr_has_each_signature_for_each_scale(mdsr, exported_mdsr):
    signatures, lr = tf.saved_model.load(str(exported_mdsr)).signatures, pixels_of(6, 5, 3)
    names = ["float", "upscale_uint8", "upscale_bytes"]
    scales = [f"x{scale}_{name}" for scale in (2, 3) for name in names]
    assert set(signatures) == {"serving_default", "upscale_uint8", "upscale_bytes", *scales}
    expected = mdsr.predict_on_batch(lr[None].astype(np.float32))
    for prefix, scale in {"": 2, "x2_": 2, "x3_": 3}.items():
        sr = quantize(expected[f"x{scale}"])[0]
        np.testing.assert_array_equal(signatures[f"{prefix}upscale_uint8"](images=lr[None])["sr"][0], sr)
        np.testing.assert_array_equal(decoded(send(signatures, [encoded(lr)], f"{prefix}upscale_bytes")[0][0]), sr)
    for name, scale in {"serving_default": 2, "x2_float": 2, "x3_float": 3}.items():
        sr = signatures[name](images=tf.constant(lr[None], tf.float32))["sr"]
        np.testing.assert_allclose(sr, expected[f"x{scale}"], rtol=1e-6)


def test_a_signature_of_an_mdsr_holds_its_branch_alone(mdsr, exported_mdsr):
    signatures = tf.saved_model.load(str(exported_mdsr)).signatures
    for scale in (2, 3):
        used = [layer for layer in mdsr.layers if not layer.name.endswith(f"_x{5 - scale}") and layer.weights]
        used = [layer for layer in used if not layer.name.startswith(f"pre_x{5 - scale}")]
        count = sum(len(layer.weights) for layer in used)
        for name in ("float", "upscale_uint8", "upscale_bytes"):
            assert len(signatures[f"x{scale}_{name}"].captured_inputs) == count


@pytest.mark.usefixtures("_unverified")
def test_a_branch_is_exported_as_a_model_of_one_scale(mdsr, tmp_path):
    path = export_saved_model(mdsr.branch(3), tmp_path)
    assert set(tf.saved_model.load(str(path)).signatures) == {"serving_default", "upscale_uint8", "upscale_bytes"}
    lr = pixels_of(6, 5, 3)
    np.testing.assert_array_equal(upscale(path, lr), upscale(mdsr, lr, 3))


# === Without Python: TensorFlow's C++ loader ===


def tensor_names(folder, signature):
    graph = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs[0]
    of = graph.signature_def[signature]
    [inputs] = of.inputs.values()
    return inputs.name, [of.outputs[name].name for name in sorted(of.outputs)]


def ask_c_session(folder, requests, tmp_path):
    """Sends requests (signature, array) through a process that has no TensorFlow in Python.

    Returns the answers, and the log of what oneDNN ran.
    """
    jobs = []
    for signature, array in requests:
        inputs, outputs = tensor_names(folder, signature)
        jobs.append((inputs, array, outputs))
    path = tmp_path / "jobs"
    path.write_bytes(pickle.dumps(jobs))
    command = [sys.executable, str(HELPERS / "c_session.py"), str(folder), str(path)]
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "ONEDNN_VERBOSE": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return pickle.loads(path.read_bytes()), done.stdout


def test_tensorflow_s_c_loader_runs_it_without_python(edsr, exported, tmp_path):
    sizes = [(5 + i, 40 - i) for i in range(20)]
    frames = [pixels_of(*size, 3, seed=i) for i, size in enumerate(sizes)]
    files = np.array([encoded(frames[0]), b"", PNG_FILE[:60], encoded(frames[1], "JPEG")], object)
    requests = [("upscale_uint8", frame[None]) for frame in frames]
    requests += [("upscale_bytes", files), ("upscale_uint8", np.zeros((1, 80, 80, 3), np.uint8))]
    (*answers, of_files, refused), _ = ask_c_session(exported, requests, tmp_path)
    for frame, [sr] in zip(frames, answers, strict=True):
        np.testing.assert_array_equal(sr[0], upscale(edsr, frame))
    data, statuses = of_files
    assert [status.decode() for status in statuses] == [OK, UNREADABLE, UNREADABLE, OK]
    np.testing.assert_array_equal(decoded(data[0]), upscale(edsr, frames[0]))
    assert "too large: the request comes to 6400 pixels, and this model takes 5000" in refused


def test_no_signature_fuses_a_sum_with_a_convolution(exported, exported_mdsr, tmp_path):
    """That kernel is not safe for requests at once: see `ScaledResBlock`."""
    for folder, scales in ((exported, [""]), (exported_mdsr, ["x2_", "x3_"])):
        requests = [(f"{scale}upscale_uint8", pixels_of(7, 9, 3)[None]) for scale in scales]
        _, log = ask_c_session(folder, requests, tmp_path)
        convolutions = [line for line in log.splitlines() if "exec" in line and ",convolution," in line]
        if not convolutions:
            pytest.skip("TensorFlow runs convolutions without oneDNN here")
        assert not [line for line in convolutions if "sum" in line]


# === What lies beside the graph ===


def warm_up_requests(path):
    reason = "tensorflow-serving-api is not installed"
    log = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2", reason=reason, exc_type=ImportError)
    records = tf.data.TFRecordDataset(str(path / "assets.extra" / "tf_serving_warmup_requests"))
    return [log.PredictionLog.FromString(record.numpy()).predict_log.request for record in records]


def test_the_warm_up_requests_are_what_the_server_reads(exported, exported_mdsr):
    for path in (exported, exported_mdsr):
        signatures, requests = tf.saved_model.load(str(path)).signatures, warm_up_requests(path)
        assert sorted(request.model_spec.signature_name for request in requests) == sorted(signatures)
        for request in requests:
            assert request.model_spec.name == path.parent.name
            inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
            outputs = signatures[request.model_spec.signature_name](**inputs)
            assert outputs.get("status", tf.constant([OK.encode()])).numpy().tolist() == [OK.encode()]


@pytest.mark.usefixtures("_unverified")
def test_warm_up_requests_fit_a_small_limit(edsr, tmp_path):
    path = export_saved_model(edsr, tmp_path, max_pixels=np.int64(101))
    assert warm_up_requests(path)[0].inputs["images"].tensor_shape.dim[1].size == 10
    assert json.loads((path / ABOUT).read_text())["max_pixels"] == 101


def test_an_export_with_a_small_limit_is_verified(edsr, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(saved_model, "check_export", lambda *args, **kwargs: asked.append(kwargs))
    export_saved_model(edsr, tmp_path, max_pixels=101)
    assert asked == [{"self_ensemble": False, "size": (10, 10), "signatures": ["upscale_uint8"]}]


def test_the_readme_shows_what_saved_model_cli_shows(exported, capsys):
    for signature in ("serving_default", "upscale_uint8", "upscale_bytes"):
        flags.FLAGS(["saved_model_cli", f"--dir={exported}", "--tag_set=serve", f"--signature_def={signature}"])
        saved_model_cli.show()
        assert capsys.readouterr().out.strip() in README.read_text()


# === The runtime ===


@pytest.mark.usefixtures("_unverified")
def test_upscale_takes_the_last_version_and_any_version(edsr, tmp_path):
    other = EDSR(2, 1, 4, 1.0)
    lr = pixels_of(13, 9, 3)
    for version, model in {9: other, 10: edsr}.items():
        export_saved_model(model, tmp_path / "m", version=version)
    np.testing.assert_array_equal(upscale(tmp_path / "m", lr), upscale(edsr, lr))
    np.testing.assert_array_equal(upscale(str(tmp_path / "m" / "9"), lr), upscale(other, lr))


@pytest.mark.parametrize("tile_size", [5, 16, None, "auto"])
def test_tiles_of_a_saved_model_equal_the_whole_image(edsr, exported, tile_size):
    lr = pixels_of(70, 80, 3)  # more than the 5,000 pixels that a request may have
    np.testing.assert_array_equal(upscale(exported, lr, tile_size=tile_size), upscale(edsr, lr, tile_size=None))


def test_a_runtime_of_an_mdsr_has_its_scales(mdsr, exported_mdsr):
    runtime = open_runtime(exported_mdsr)
    assert isinstance(runtime, SavedModelRuntime)
    assert (runtime.scales, runtime.halo, runtime.channels) == ((2, 3), mdsr.halo, 3)
    assert runtime.bytes_per_pixel(3) == open_runtime(mdsr).bytes_per_pixel(3)
    lr = images(1, 5, 4, 3)
    for scale in (2, 3):
        np.testing.assert_array_equal(runtime.run(lr, scale), open_runtime(mdsr).run(lr, scale))


def test_gray_deep_and_transparent_images_go_through_a_saved_model(edsr, exported):
    rgba = np.random.default_rng(0).integers(0, 65536, (9, 8, 4)).astype(np.uint16)
    for image in (rgba, rgba[..., 0], rgba[..., :3] / 65535):
        np.testing.assert_array_equal(upscale(exported, image), upscale(edsr, image))


@pytest.mark.usefixtures("_unverified")
def test_a_replaced_version_is_loaded_again(edsr, tmp_path):
    lr = pixels_of(6, 5, 3)
    export_saved_model(edsr, tmp_path)
    np.testing.assert_array_equal(upscale(tmp_path, lr), upscale(edsr, lr))
    other = EDSR(2, 1, 4, 1.0)
    export_saved_model(other, tmp_path, overwrite=True)
    np.testing.assert_array_equal(upscale(tmp_path, lr), upscale(other, lr))


def open_refusal(path, **kwargs):
    with pytest.raises(ValueError, match=r".") as raised:
        open_runtime(path, **kwargs)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_ncnn_is_not_asked_to_run_it(exported):
    assert open_refusal(exported, runtime="ncnn").startswith(f"{exported} is a SavedModel, which ncnn cannot run.")


@pytest.mark.parametrize("about", [None, "", "{", "[]", '{"format": 1}', '{"format": 2}'])
def test_a_saved_model_of_something_else_is_refused(tmp_path, about):
    tf.saved_model.save(tf.Module(), str(tmp_path / "1"))
    (tmp_path / "1" / "assets.extra").mkdir()
    if about is not None:
        (tmp_path / "1" / ABOUT).write_text(about)
    message = open_refusal(tmp_path)
    assert "does not contain its scales and halo" in message
    assert "`keras-edsr export`" in message


def test_a_damaged_saved_model_is_refused(exported, tmp_path):
    for name in ("saved_model.pb", ABOUT):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((exported / name).read_bytes())
    assert "is a damaged SavedModel" in open_refusal(tmp_path)  # no variables
    (tmp_path / "saved_model.pb").write_bytes(b"damaged")
    os.utime(tmp_path / "saved_model.pb", (1, 1))
    assert "is a damaged SavedModel" in open_refusal(tmp_path)


# === The target ===


def contents(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_an_existing_version_is_not_replaced(edsr, exported):
    before = contents(exported.parent)
    assert "already exists" in refusal(edsr, exported.parent)
    assert contents(exported.parent) == before


def test_a_folder_that_holds_something_else_is_never_replaced(edsr, tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "letter.txt").write_text("dear")
    assert "a folder with other files" in refusal(edsr, tmp_path, overwrite=True)
    assert contents(tmp_path) == ["1", "1/letter.txt"]


def test_a_file_in_the_way_is_told(edsr, tmp_path):
    (tmp_path / "out").write_text("")
    assert refusal(edsr, tmp_path / "out").startswith(f"Cannot write {tmp_path / 'out'}")


def test_an_export_that_differs_is_not_kept(edsr, tmp_path, monkeypatch):
    build = saved_model.build_module

    def build_another(model, *args):
        other = EDSR.from_config(model.get_config())
        other.set_weights(model.get_weights())
        bias = other.get_layer("tail").bias
        bias.assign(bias + 3)
        return build(other, *args)

    monkeypatch.setattr(saved_model, "build_module", build_another)
    message = refusal(edsr, tmp_path / "new" / "out")
    assert "The export differs from the model at x2: up to 3 gray levels, PSNR " in message
    assert contents(tmp_path) == []


def test_what_was_there_stays_when_an_export_fails(edsr, tmp_path, monkeypatch):
    monkeypatch.setattr(saved_model, "check_export", lambda *args, **kwargs: {})
    path = export_saved_model(edsr, tmp_path)
    before = (path / "saved_model.pb").stat().st_mtime_ns, contents(tmp_path)

    def differs(*args, **kwargs):
        raise ValueError("differs")

    monkeypatch.setattr(saved_model, "check_export", differs)
    assert refusal(edsr, tmp_path, overwrite=True) == "differs"
    assert ((path / "saved_model.pb").stat().st_mtime_ns, contents(tmp_path)) == before


def test_a_path_that_is_not_utf_8_is_refused_in_one_line(edsr, tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    for call in (
        lambda: export_saved_model(edsr, folder),
        lambda: export_tflite(edsr, folder.with_suffix(".tflite")),
        lambda: export_onnx(edsr, folder.with_suffix(".onnx")),
        lambda: export_ncnn(edsr, folder),
    ):
        with pytest.raises(ValueError, match=r"Cannot write .*caf\\udce9.*: the path of an export must be UTF-8"):
            call()
    assert not any(tmp_path.iterdir())
