import importlib.util
import json
import runpy
import socket
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from demo_server import served, write_presets
from PIL import Image
from places import EXAMPLES
from runs import photo

from keras_edsr import demo, imresize, upscale
from keras_edsr.cli import main
from keras_edsr.demo import choices as choices_module
from keras_edsr.demo import list_choices
from keras_edsr.demo.choices import Choice, scales_of
from keras_edsr.demo.pictures import describe, read_upload, upscale_upload, write_preview
from keras_edsr.demo.running import Running
from keras_edsr.image_io import read_image, read_picture, write_image

SAMPLES = Path(choices_module.__file__).parent / "samples"


@pytest.fixture(scope="module")
def presets(tmp_path_factory):
    return write_presets(tmp_path_factory.mktemp("presets"))


@pytest.fixture
def weights(presets, monkeypatch):
    """The presets, as the user's weights."""
    monkeypatch.setenv("KERAS_EDSR_WEIGHTS", str(presets))
    return presets


@pytest.fixture(scope="module")
def choice(presets):
    return Choice("small", str(presets / "small_mdsr"), (2, 3))


def write_kinds(folder):
    """Pictures of every kind that is easily lost on the way."""
    folder.mkdir(exist_ok=True)
    rgb = photo(12, 20)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    exif[0x010E] = "a description"
    Image.fromarray(rgb).save(folder / "turned.jpg", exif=exif, quality=95)
    write_image(folder / "deep.png", photo(12, 20)[..., 0].astype(np.uint16) * 257 + 3)
    write_image(folder / "clear.webp", np.dstack([rgb, photo(12, 20, 1)[..., 0]]), lossless=True)
    frames = [Image.fromarray(photo(12, 20, i)) for i in range(3)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:], duration=[50, 60, 70])
    return sorted(folder.iterdir())


KINDS = ["clear.webp", "deep.png", "moving.gif", "turned.jpg"]


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    return {path.name: path for path in write_kinds(tmp_path_factory.mktemp("kinds"))}


def assert_is_upscaled(result, source, model, scale, **options):
    """Checks that a file holds what `upscale` makes of each frame of another, to the bit."""
    expected, found = read_picture(source), read_picture(result)
    assert len(found.frames) == len(expected.frames)
    for lr, sr in zip(expected.frames, found.frames, strict=True):
        np.testing.assert_array_equal(sr, upscale(model, lr, scale, **options))


# === Which models ===


def test_the_presets_that_are_here_are_offered(weights):
    found = {choice.label: choice for choice in list_choices()}
    assert found["small_x4"] == Choice("small_x4", "small_x4", (4,))
    assert found["small_mdsr"] == Choice("small_mdsr", "small_mdsr", (2, 3))
    assert "edsr_baseline_x2" not in found  # it would have to be downloaded
    assert scales_of([found["small_x4"], found["small_mdsr"]]) == [2, 3, 4]


def test_published_weights_that_the_user_has_are_offered(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_EDSR_WEIGHTS", str(tmp_path))
    (tmp_path / "mdsr_baseline.pt").touch()
    assert Choice("mdsr_baseline", "mdsr_baseline", (2, 3, 4)) in list_choices()


def test_a_damaged_preset_is_left_out_and_told(weights, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("KERAS_EDSR_WEIGHTS", str(tmp_path))
    for name, config in (("bare", {}), ("whole", {"scale": 2})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"class_name": "EDSR", "config": config}))
    labels = [choice.label for choice in list_choices()]
    assert "whole" in labels
    assert "bare" not in labels
    assert "Skipping the preset bare" in caplog.text


def test_models_are_named_apart(presets):
    model = presets / "small_x4"
    assert list_choices([str(model)]) == [Choice("small_x4", str(model), (4,))]
    twice = [str(model), f"{presets}/../{presets.name}/small_x4"]
    assert [choice.label for choice in list_choices(twice)] == twice


def test_a_model_that_is_none_is_refused():
    with pytest.raises(ValueError, match="cannot be read"):
        list_choices(["gone.keras"])


def test_no_model_at_all_is_refused(monkeypatch):
    monkeypatch.setattr(choices_module, "preset_names", lambda: ["edsr_x2"])  # published, and not here
    with pytest.raises(ValueError, match="Pass --model, or put weights into"):
        list_choices()


# === Pictures ===


@pytest.mark.parametrize("name", KINDS)
def test_a_picture_is_upscaled_with_all_that_it_has(name, kinds, choice, tmp_path):
    steps = []
    made = upscale_upload(kinds[name], tmp_path, choice, 2, progress=lambda *step: steps.append(step))
    assert made.download.name == f"{kinds[name].stem}_x2.png"
    assert_is_upscaled(made.download, kinds[name], choice.model, 2)
    assert read_picture(made.download).exif == read_picture(kinds[name]).exif
    before, after = read_picture(made.before), read_picture(made.after)
    assert before.image.shape == after.image.shape
    assert not before.is_animated
    assert not after.is_animated
    assert steps[-1][0] == steps[-1][1]


def test_an_orientation_is_applied(kinds, choice, tmp_path):
    made = upscale_upload(kinds["turned.jpg"], tmp_path, choice, 3)
    with Image.open(made.download) as image:
        assert image.size == (36, 60)  # stored as 20x12
        assert image.getexif()[0x0112] == 1
        assert image.getexif()[0x010E] == "a description"


def test_self_ensemble_reaches_the_network(kinds, choice, tmp_path):
    made = upscale_upload(kinds["deep.png"], tmp_path, choice, 2, self_ensemble=True)
    assert_is_upscaled(made.download, kinds["deep.png"], choice.model, 2, self_ensemble=True)


def test_before_is_bicubic(kinds, choice, tmp_path):
    made = upscale_upload(kinds["turned.jpg"], tmp_path, choice, 2)
    np.testing.assert_array_equal(read_image(made.before), imresize(read_image(kinds["turned.jpg"]), 2))


def test_hidden_colors_do_not_bleed_into_the_bicubic(choice, tmp_path):
    pixels = np.zeros((12, 12, 4), np.uint8)
    pixels[3:9, 3:9] = (200, 100, 50, 255)  # on transparent black
    write_image(tmp_path / "square.png", pixels)
    before = read_picture(upscale_upload(tmp_path / "square.png", tmp_path, choice, 2).before).image
    assert (before[before[..., 3] > 0][:, :3] == (200, 100, 50)).all()


def test_a_picture_that_is_too_large_is_refused_before_it_is_decoded(tmp_path):
    Image.new("L", (3000, 2000)).save(tmp_path / "big.png")
    with pytest.raises(ValueError, match=r"^big\.png is too large .* 6,000,000 pixels \(3000x2000\).* 2,000,000"):
        read_upload(tmp_path / "big.png", 2_000_000)


def test_frames_are_counted_together(kinds):
    with pytest.raises(ValueError, match=r"720 pixels \(20x12, 3 frames\), and the limit is 500"):
        read_upload(kinds["moving.gif"], 500)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(99)])
def test_a_broken_picture_is_refused_without_the_servers_folder(content, tmp_path):
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"Cannot read the image broken\.png") as raised:
        read_upload(tmp_path / "broken.png", 1000)
    assert str(tmp_path) not in str(raised.value)


def test_a_scale_that_the_model_has_not_is_refused(kinds, choice, tmp_path):
    with pytest.raises(ValueError, match=r"one of 2, 3 for small\. Received: scale=64"):
        upscale_upload(kinds["deep.png"], tmp_path, choice, 64)


def test_what_progress_raises_stops_the_work(kinds, choice, tmp_path):
    def stop(done, total):
        raise InterruptedError

    with pytest.raises(ValueError):  # an OSError is a failure of the file
        upscale_upload(kinds["deep.png"], tmp_path, choice, 2, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_is_described(kinds):
    texts = {name: describe(name, read_picture(path), 2) for name, path in kinds.items()}
    assert texts == {
        "clear.webp": "clear.webp: 20x12, transparent, becomes 40x24",
        "deep.png": "deep.png: 20x12, gray, 16 bits, becomes 40x24",
        "moving.gif": "moving.gif: 20x12, 3 frames, becomes 40x24",
        "turned.jpg": "turned.jpg: 12x20, becomes 24x40",
    }


def test_a_preview_is_what_a_browser_shows(kinds, tmp_path):
    picture = read_picture(kinds["moving.gif"])
    with Image.open(write_preview(tmp_path, picture)) as preview:
        assert (preview.format, preview.size, getattr(preview, "n_frames", 1)) == ("PNG", (20, 12), 1)


def test_the_samples_are_small_and_have_a_source():
    paths = [path for path in SAMPLES.iterdir() if path.suffix != ".md"]
    assert len(paths) == 5
    assert sum(path.stat().st_size for path in paths) < 300_000
    readme = (SAMPLES / "README.md").read_text()
    for path in paths:
        height, width = read_image(path).shape[:2]
        assert f"| {path.name} |" in readme
        assert f"{width}x{height}" in readme


# === Stopping ===


def test_work_is_stopped_by_its_session_alone():
    running = Running()
    with running("one") as first, running("two") as second:
        running.stop("one")
        running.stop("nobody")
        assert first.is_set()
        assert not second.is_set()
        with running("one") as again:  # before the first, at its last tile, has ended
            assert not again.is_set()
            running.stop("one")
            assert again.is_set()
    running.stop("one")
    with running("one") as later:
        assert not later.is_set()


# === The command ===


def test_every_option_has_a_help():
    assert all(option.help for option in main.commands["demo"].params)


def test_a_missing_gradio_is_told_in_one_line(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "gradio" else find_spec(name))
    result = CliRunner().invoke(main, ["demo"])
    assert result.exit_code == 1
    assert result.stderr == "Error: The demo needs gradio: pip install 'keras-edsr[demo]'\n"


def test_the_file_for_hosts_serves_every_address(weights, monkeypatch):
    calls = []
    monkeypatch.setattr(demo, "serve", lambda *args, **kwargs: calls.append((args, kwargs)))
    runpy.run_path(str(EXAMPLES / "demo" / "app.py"))
    [([choices], options)] = calls
    assert "small_x4" in [choice.label for choice in choices]
    assert options == {"host": "0.0.0.0"}


# === The page, through its API ===


@pytest.fixture(scope="module")
def proxy():
    """A proxy that counts who asks it for the world outside, and answers nobody."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        asked = []

        def listen():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                asked.append(connection.recv(200))
                connection.close()

        thread = threading.Thread(target=listen)
        thread.start()
        yield listener.getsockname()[1], asked
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture(scope="module")
def server(tmp_path_factory, proxy):
    pytest.importorskip("gradio_client", reason="the demo needs gradio: pip install 'keras-edsr[demo]'")
    pytest.importorskip("gradio", reason="the demo needs gradio: pip install 'keras-edsr[demo]'")
    folder = write_presets(tmp_path_factory.mktemp("served"))
    names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
    proxies = dict.fromkeys(names, f"http://127.0.0.1:{proxy[0]}")
    with served(folder, "--max-pixels", "20000", **proxies) as url:
        yield url, folder


def ask(server, tmp_path, picture, *options):
    """Upscales by the page; returns the path of what was downloaded."""
    from gradio_client import Client, handle_file

    client = Client(server[0], verbose=False, download_files=str(tmp_path / "downloads"))
    *_, download = client.predict(handle_file(picture), *options, api_name="/upscale")
    return Path(download["value"])


@pytest.mark.parametrize("name", KINDS)
def test_the_download_has_the_pixels_of_upscale(name, kinds, server, tmp_path):
    result = ask(server, tmp_path, kinds[name], 3, "small_mdsr", False)
    assert result.name == f"{kinds[name].stem}_x3.png"
    assert_is_upscaled(result, kinds[name], server[1] / "small_mdsr", 3)


def test_after_errors_the_next_picture_works(kinds, server, tmp_path):
    from gradio_client.exceptions import AppError

    (tmp_path / "broken.png").write_bytes(b"no picture")
    Image.new("L", (200, 101)).save(tmp_path / "big.png")
    for name, scale, message in [
        ("broken.png", 4, r"Cannot read the image broken\.png"),
        ("big.png", 4, "20,200 pixels .* the limit is 20,000"),
        (kinds["deep.png"], 2, "`scale` must be one of 4 for small_x4"),
        (kinds["deep.png"], 5, "not in the list of choices"),
    ]:
        with pytest.raises(AppError, match=message):
            ask(server, tmp_path, tmp_path / name, scale, "small_x4", False)
    result = ask(server, tmp_path, kinds["deep.png"], 4, "small_x4", True)
    assert_is_upscaled(result, kinds["deep.png"], server[1] / "small_x4", 4, self_ensemble=True)


def test_two_at_once_get_each_their_own(server, tmp_path):
    pictures = [tmp_path / "a.png", tmp_path / "b.png"]
    for seed, path in enumerate(pictures):
        write_image(path, photo(96, 120, seed))
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda path: ask(server, tmp_path, path, 2, "small_mdsr", True), pictures))
    for picture, result in zip(pictures, results, strict=True):
        assert_is_upscaled(result, picture, server[1] / "small_mdsr", 2, self_ensemble=True)


@pytest.mark.parametrize(("path", "status"), [(SAMPLES / "brick.png", 200), (SAMPLES.parent / "page.py", 403)])
def test_of_the_servers_files_only_the_samples_are_to_be_had(path, status, server):
    try:
        with urllib.request.urlopen(f"{server[0]}gradio_api/file={path}") as response:
            found = response.status
    except urllib.error.HTTPError as error:
        found = error.code
        error.close()
    assert found == status


def test_a_port_that_is_taken_is_told_in_one_line(server, weights):
    port = server[0].rstrip("/").rpartition(":")[2]
    result = CliRunner().invoke(main, ["demo", "--port", port])
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith(f"Error: Cannot serve at 127.0.0.1, port {port}: address already")


def test_nobody_outside_was_asked_for_anything(server, proxy):
    assert proxy[1] == []
