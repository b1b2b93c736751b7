import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from runs import photo
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_edsr import imresize
from keras_edsr.training.board import BLOCK, SIDE, Board, comparison

ROW = {"step": 1000, "loss": 4.5, "val_psnr": 31.25, "learning_rate": 1e-4, "skipped_steps": 2}


def three(height=40, width=52, scale=2, seed=0):
    """LR, something like SR, and HR."""
    hr = photo(height * scale, width * scale, seed)
    lr = imresize(hr, 1 / scale)
    return lr, imresize(lr, scale), hr


def read(logs):
    # Images are sampled to four by default.
    events = EventAccumulator(str(logs), size_guidance={"images": 0, "scalars": 0, "tensors": 0})
    return events.Reload()


def scalar(events, name):
    return [(event.step, float(tf.make_ndarray(event.tensor_proto))) for event in events.Tensors(name)]


# === The files ===


def test_every_value_is_a_scalar_at_its_step(tmp_path):
    board = Board(tmp_path)
    board.write(ROW, 800.0, {})
    board.write({**ROW, "step": 2000, "loss": 4.25}, 850.0, {})
    events = read(tmp_path)
    assert scalar(events, "loss") == [(1000, 4.5), (2000, 4.25)]
    assert scalar(events, "images_per_second") == [(1000, 800), (2000, 850)]
    assert scalar(events, "skipped_steps") == [(1000, 2), (2000, 2)]
    assert set(events.Tags()["tensors"]) == {*ROW, "images_per_second"} - {"step"}


def test_a_picture_comes_back_as_it_was(tmp_path):
    picture = photo(16, 80)
    Board(tmp_path).write(ROW, 1.0, {"a.png x2": picture})
    width, height, data, *_ = read(tmp_path).Tensors("a.png x2")[0].tensor_proto.string_val
    assert (int(width), int(height)) == (80, 16)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), picture)


def test_names_that_are_not_utf_8_are_shown_escaped(tmp_path):
    logs = tmp_path / os.fsdecode(b"r\xe9n")
    Board(logs).write(ROW, 1.0, {os.fsdecode(b"caf\xe9 x2"): photo(8, 8), "stra\u00dfe x2": photo(8, 8)})
    (tmp_path / "logs").symlink_to(logs)  # TensorBoard itself takes no other names
    assert {"caf\\udce9 x2", "stra\u00dfe x2"} <= set(read(tmp_path / "logs").Tags()["tensors"])


def test_there_is_no_graph(tmp_path):
    Board(tmp_path).write(ROW, 1.0, {})
    assert not read(tmp_path).Tags()["graph"]


def test_nothing_is_written_before_there_is_something(tmp_path):
    Board(tmp_path / "logs")
    assert not (tmp_path / "logs").exists()


def test_a_folder_that_cannot_be_written_is_an_error_of_the_system(tmp_path):
    (tmp_path / "logs").touch()
    with pytest.raises(OSError, match="logs"):
        Board(tmp_path / "logs").write(ROW, 1.0, {})


# === The pictures ===


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_comparison_is_five_panels_of_one_place(scale):
    lr, sr, hr = three(scale=scale)
    picture = comparison(lr, sr, hr)
    assert picture.shape == (40 * scale, 5 * 52 * scale, 3)
    assert picture.dtype == np.uint8
    enlarged, bicubic, shown, original, error = np.split(picture, 5, axis=1)
    np.testing.assert_array_equal(enlarged[::scale, ::scale], lr)
    np.testing.assert_array_equal(bicubic, imresize(lr, scale))
    np.testing.assert_array_equal(shown, sr)
    np.testing.assert_array_equal(original, hr)
    np.testing.assert_array_equal(error, np.clip(4 * np.abs(sr.astype(int) - hr), 0, 255))


def test_a_large_image_is_shown_where_bicubic_fails_most():
    scale, side = 2, SIDE * 2
    hr = np.full((400, 600, 3), 128, np.uint8)
    hr[200:220, 300:320] = photo(20, 20)  # all that there is to see
    picture = comparison(imresize(hr, 1 / scale), hr, hr)
    assert picture.shape == (side, 5 * side, 3)
    original = picture[:, 3 * side : 4 * side]
    assert np.count_nonzero(original != 128) == np.count_nonzero(hr != 128)


def test_the_place_does_not_depend_on_the_network():
    lr, sr, hr = three(100, 140)
    panels = [np.split(comparison(lr, made, hr), 5, axis=1) for made in (sr, hr, sr // 2)]
    for other in panels[1:]:
        for same in (0, 1, 3):
            np.testing.assert_array_equal(other[same], panels[0][same])


def test_the_place_is_the_worst_of_all_on_its_grid():
    lr, sr, hr = three(100, 90)
    side = SIDE * 2
    error = np.abs(imresize(lr, 2).astype(int) - hr).sum(axis=-1)
    sums = {
        (top, left): error[top : top + side, left : left + side].sum()
        for top in range(0, 200 - side + 1, BLOCK)
        for left in range(0, 180 - side + 1, BLOCK)
    }
    top, left = max(sums, key=sums.__getitem__)
    original = np.split(comparison(lr, sr, hr), 5, axis=1)[3]
    np.testing.assert_array_equal(original, hr[top : top + side, left : left + side])


def test_a_perfect_network_has_a_black_error():
    lr, _, hr = three()
    assert not np.split(comparison(lr, hr, hr), 5, axis=1)[4].any()


# === TensorBoard itself ===


def test_tensorboard_shows_scalars_and_pictures(tmp_path):
    picture = comparison(*three())
    board = Board(tmp_path)
    board.write(ROW, 800.0, {"0801.png x2": picture})
    board.write({**ROW, "step": 2000, "loss": 4.25}, 850.0, {"0801.png x2": picture})
    with serving(tmp_path) as get:
        tags = wait_for(lambda: json.loads(get("data/plugin/scalars/tags")).get("."))
        assert set(tags) == {*ROW, "images_per_second"} - {"step"}
        for name, values in {"loss": [4.5, 4.25], "val_psnr": [31.25] * 2, "images_per_second": [800, 850]}.items():
            shown = json.loads(get("data/plugin/scalars/scalars", run=".", tag=name))
            assert [(step, value) for _, step, value in shown] == list(zip([1000, 2000], values, strict=True))
        images = json.loads(get("data/plugin/images/images", run=".", tag="0801.png x2"))
        data = get(f"data/plugin/images/individualImage?{images[-1]['query']}")
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), picture)


class serving:
    """The real TensorBoard on loopback, while the block runs; gives a function that reads a path from it."""

    def __init__(self, logs):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logs)]
        self.command = [*command, "--host", "127.0.0.1", "--port", str(self.port), "--load_fast=false"]

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "no_proxy": "*"}
        )
        wait_for(lambda: self.get("data/environment"))
        return self.get

    def __exit__(self, *error):
        self.process.terminate()
        self.process.wait(30)

    def get(self, path, **query):
        query = f"?{urllib.parse.urlencode(query)}" if query else ""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.port}/{path}{query}", timeout=20) as answer:
            return answer.read()


def wait_for(read, seconds=90):
    """Calls `read` until it gives something: TensorBoard starts, and loads, in its own time."""
    end = time.monotonic() + seconds
    while True:
        try:
            if found := read():
                return found
        except urllib.error.URLError:
            pass
        assert time.monotonic() < end, "TensorBoard has shown nothing"
        time.sleep(0.5)
