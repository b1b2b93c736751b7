"""The kit of examples/serving: what is sent, what comes back, what is tried again.

Not TensorFlow Serving itself, of which there is no binary to install by pip: see the last test.
"""

import contextlib
import importlib
import io
import shutil
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from PIL import Image
from places import EXAMPLES

from keras_edsr.export import saved_model
from keras_edsr.inference import upscale
from keras_edsr.models import EDSR, MDSR

KIT = EXAMPLES / "serving"

serving_api = pytest.importorskip(
    "tensorflow_serving.apis", reason="tensorflow-serving-api is not installed", exc_type=ImportError
)


@pytest.fixture(scope="module")
def kit():
    """The kit's scripts as modules, which import each other as they do when they are run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(KIT))
        names = ("client_rest", "client_grpc", "load")
        yield {name: importlib.import_module(name) for name in names}
        for name in names:
            sys.modules.pop(name)


@pytest.fixture(scope="module")
def models():
    keras.utils.set_random_seed(0)
    return {("edsr_x2", 1): EDSR(2, 1, 4, 1.0), ("edsr_x2", 2): EDSR(2, 1, 4, 1.0), ("mdsr", 1): MDSR((2, 3), 1, 4)}


@pytest.fixture(scope="module")
def folder(models, tmp_path_factory):
    """What the kit's models.config asks for. That exports are verified is tested elsewhere."""
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved_model, "check_export", lambda *args, **kwargs: {})
        for (name, version), model in models.items():
            saved_model.export_saved_model(model, folder / name, version=version, max_pixels=5000)
    return folder


@pytest.fixture(scope="module")
def loaded(folder):
    from loopback_server import Models

    return Models(KIT / "models.config", folder)


@pytest.fixture(params=["grpc", "rest"])
def client(request, kit, loaded):
    """A client's `upscale` for a server that answers, by one protocol after the other."""
    from loopback_server import serve_grpc, serve_rest

    with contextlib.ExitStack() as stack:
        if request.param == "rest":
            place = stack.enter_context(serve_rest(loaded))
        else:
            place = stack.enter_context(kit["client_grpc"].connect(stack.enter_context(serve_grpc(loaded))))
        module = kit[f"client_{request.param}"]

        def ask(images, model="edsr_x2", **options):
            return module.upscale(images, place, model, **options)

        yield ask


def photo(height=12, width=10, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def pixels(data):
    return np.array(Image.open(io.BytesIO(data)))


# === Both protocols ===


def test_images_of_several_sizes_come_back_upscaled(client, models):
    images = [photo(12, 10), photo(7, 9, 1)]
    results = client([png(image) for image in images])
    assert [status for _, status in results] == ["ok", "ok"]
    for image, (result, _) in zip(images, results, strict=True):
        np.testing.assert_array_equal(pixels(result), upscale(models["edsr_x2", 2], image))


def test_a_bad_image_has_its_status_and_the_others_come(client, models):
    results = client([png(photo()), b"no image", png(photo())[:60], png(photo(80, 80)), png(photo(6, 6))])
    statuses = [status for _, status in results]
    assert [statuses[0], statuses[4]] == ["ok", "ok"]
    assert all(status.startswith("unreadable: ") for status in statuses[1:3])
    assert statuses[3] == "too large: the request comes to 6520 pixels, and this model takes 5000"
    assert [data for data, _ in results[1:4]] == [b"", b"", b""]
    np.testing.assert_array_equal(pixels(results[4][0]), upscale(models["edsr_x2", 2], photo(6, 6)))


@pytest.mark.parametrize(("label", "version"), [("stable", 1), ("canary", 2), (None, 2)])
def test_a_label_names_a_version(client, models, label, version):
    [(result, _)] = client([png(photo())], label=label)
    np.testing.assert_array_equal(pixels(result), upscale(models["edsr_x2", version], photo()))


@pytest.mark.parametrize(("signature", "scale"), [("x3_upscale_bytes", 3), ("upscale_bytes", 2)])
def test_the_second_model_has_each_scale(client, models, signature, scale):
    [(result, _)] = client([png(photo())], "mdsr", signature=signature)
    np.testing.assert_array_equal(pixels(result), upscale(models["mdsr", 1], photo(), scale))


def test_a_server_that_is_busy_is_asked_again_later(client, loaded):
    waits = []
    loaded.refuse = 3
    [(_, status)] = client([png(photo())], sleep=waits.append)
    assert status == "ok"
    assert [0.25 * 2**i <= wait <= 0.5 * 2**i for i, wait in enumerate(waits)] == [True] * 3


def test_a_server_that_stays_busy_is_given_up(client, loaded):
    loaded.refuse = 2
    with pytest.raises(OSError, match=r"the queue is full \(tried 2 times\)"):
        client([png(photo())], attempts=2, sleep=lambda seconds: None)
    assert loaded.refuse == 0


@pytest.mark.parametrize("wrong", [{"model": "other"}, {"label": "other"}, {"signature": "other"}])
def test_what_is_not_there_is_not_asked_for_again(client, wrong):
    with pytest.raises(OSError, match=r"NOT_FOUND|HTTP 404"):
        client([png(photo())], **wrong, sleep=lambda seconds: pytest.fail("asked again"))


def test_a_server_that_is_not_there_is_named(kit):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(OSError, match="refused"):
        kit["client_rest"].upscale([b""], f"http://127.0.0.1:{port}", "m", attempts=2, sleep=lambda seconds: None)
    with kit["client_grpc"].connect(f"127.0.0.1:{port}") as channel, pytest.raises(OSError, match="UNAVAILABLE"):
        kit["client_grpc"].upscale([b""], channel, "m", attempts=2, sleep=lambda seconds: None)


# === The scripts ===


@pytest.fixture
def url(loaded):
    from loopback_server import serve_rest

    with serve_rest(loaded) as url:
        yield url


def run(module, words, monkeypatch):
    """Runs a script's `main`; returns its exit status."""
    monkeypatch.setattr(sys, "argv", ["script", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        module.main()
    return stop.value.code


def test_the_client_writes_files_and_tells_what_failed(kit, url, models, tmp_path, monkeypatch, capsys):
    (tmp_path / "a.png").write_bytes(png(photo()))
    (tmp_path / "b.png").write_bytes(b"no image")
    words = [tmp_path / "a.png", tmp_path / "b.png", "-o", tmp_path / "out", "--url", url]
    assert run(kit["client_rest"], words, monkeypatch) == 1
    shown = capsys.readouterr()
    assert shown.out == f"{tmp_path / 'out' / 'a.png'}\n"
    assert shown.err.startswith(f"{tmp_path / 'b.png'}: unreadable: ")
    expected = upscale(models["edsr_x2", 2], photo())
    np.testing.assert_array_equal(pixels((tmp_path / "out" / "a.png").read_bytes()), expected)
    assert run(kit["client_rest"], words[:1] + words[2:], monkeypatch) == 1  # it is there already
    assert "File exists" in capsys.readouterr().err


def test_the_grpc_client_writes_files(kit, loaded, tmp_path, monkeypatch, capsys):
    from loopback_server import serve_grpc

    (tmp_path / "a.png").write_bytes(png(photo()))
    with serve_grpc(loaded) as server:
        words = [tmp_path / "a.png", "-o", tmp_path / "out", "--server", server, "--label", "stable"]
        assert run(kit["client_grpc"], words, monkeypatch) == 0
    assert pixels((tmp_path / "out" / "a.png").read_bytes()).shape == (24, 20, 3)


def test_the_load_script_sends_as_many_as_it_says(kit, url, loaded, tmp_path, monkeypatch, capsys):
    (tmp_path / "a.png").write_bytes(png(photo()))
    loaded.requests.clear()
    words = [tmp_path / "a.png", "--url", url, "--requests", 7, "--clients", 3, "--label", "stable"]
    assert run(kit["load"], words, monkeypatch) == 0
    assert loaded.requests == [("edsr_x2", 1)] * 7
    shown = capsys.readouterr().out
    assert shown.startswith("7 of 7 in ")
    assert "p99" in shown


def test_the_load_script_counts_what_went_wrong(kit, url, loaded, tmp_path, monkeypatch, capsys):
    (tmp_path / "a.png").write_bytes(png(photo()))
    loaded.refuse = 2
    assert run(kit["load"], [tmp_path / "a.png", "--url", url, "--requests", 5], monkeypatch) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("3 of 5 in ")
    assert "2 x HTTP 503: the queue is full" in shown


@pytest.mark.parametrize(
    "words", [["--requests", "10001"], ["--clients", "65"], ["--requests", "0"], ["--url", "http://example.org"]]
)
def test_the_load_script_is_bounded(kit, words, monkeypatch, capsys):
    assert run(kit["load"], ["a.png", *words], monkeypatch) == 2


# === The configuration ===


def test_the_batching_parameters_are_those_that_the_server_knows():
    """Their message is not in tensorflow-serving-api: the fields are those of session_bundle_config.proto."""
    file = descriptor_pb2.FileDescriptorProto(name="batching.proto", package="test", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    message = file.message_type.add(name="BatchingParameters")
    kinds = descriptor_pb2.FieldDescriptorProto
    for number, name in enumerate(
        ["max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads"], start=1
    ):
        message.field.add(
            name=name, number=number, label=1, type=kinds.TYPE_MESSAGE, type_name=".google.protobuf.Int64Value"
        )
    message.field.add(name="allowed_batch_sizes", number=6, label=3, type=kinds.TYPE_INT64)
    message.field.add(name="pad_variable_length_inputs", number=7, label=1, type=kinds.TYPE_BOOL)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    parameters = message_factory.GetMessageClass(pool.FindMessageTypeByName("test.BatchingParameters"))()
    text_format.Parse((KIT / "batching_parameters.txt").read_text(), parameters, descriptor_pool=pool)
    assert parameters.max_batch_size.value == 8
    assert not parameters.pad_variable_length_inputs


def test_the_composition_mounts_what_the_configuration_names():
    composition = (KIT / "docker-compose.yml").read_text()
    assert "--model_config_file=/config/models.config" in composition
    for line in ("./models.config:/config/models.config:ro", "./models:/models:ro", '"127.0.0.1:8501:8501"'):
        assert line in composition
    config = (KIT / "models.config").read_text()
    assert config.count('base_path: "/models/') == config.count("base_path")


# === The real server ===


@pytest.mark.skipif(
    shutil.which("tensorflow_model_server") is None, reason="no tensorflow_model_server on PATH: it is not on PyPI"
)
def test_tensorflow_serving_gives_what_the_model_gives(kit, folder, models, tmp_path):
    config = tmp_path / "models.config"
    config.write_text((KIT / "models.config").read_text().replace("/models/", f"{folder}/"))
    with socket.socket() as grpc_port, socket.socket() as rest_port:
        for port in (grpc_port, rest_port):
            port.bind(("127.0.0.1", 0))
        grpc_at, rest_at = grpc_port.getsockname()[1], rest_port.getsockname()[1]
    command = [
        "tensorflow_model_server",
        f"--port={grpc_at}",
        f"--rest_api_port={rest_at}",
        f"--model_config_file={config}",
        "--allow_version_labels_for_unavailable_models=true",
    ]
    images = [png(photo()), b"no image", png(photo(7, 9, 1))]
    server = subprocess.Popen(command)
    try:
        options = {"label": "stable", "attempts": 12}
        by_rest = kit["client_rest"].upscale(images, f"http://127.0.0.1:{rest_at}", "edsr_x2", **options)
        with kit["client_grpc"].connect(f"127.0.0.1:{grpc_at}") as channel:
            by_grpc = kit["client_grpc"].upscale(images, channel, "edsr_x2", **options)
    finally:
        server.terminate()
        server.wait(30)
    assert by_rest == by_grpc
    assert [status for _, status in by_rest][::2] == ["ok", "ok"]
    assert by_rest[1][1].startswith("unreadable")
    np.testing.assert_array_equal(pixels(by_rest[0][0]), upscale(models["edsr_x2", 1], photo()))
