"""examples/beam_upscale.py: with the extra [beam], which needs an older protobuf and Pillow than the newest."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from places import EXAMPLES
from runs import photo

import keras_edsr
from keras_edsr.image_io import read_image
from keras_edsr.inference import upscale_files

SCRIPT = EXAMPLES / "beam_upscale.py"
MODEL = "edsr_compact_x2"
PROCESSES = ["--direct_num_workers", "2", "--direct_running_mode", "multi_processing"]

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("apache_beam") is None, reason="Apache Beam is not installed: keras-edsr[beam]"
    ),
    pytest.mark.filterwarnings("ignore"),  # Beam's own
]


@pytest.fixture(scope="module")
def example():
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("beam_upscale", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def photos(tmp_path):
    """A tree of three images, a file that is none though it is called so, and one that is of no interest."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.jpg", "sub/c.png")):
        Image.fromarray(photo(24, 32, number)).save(folder / name)
    (folder / "broken.jpg").write_text("no image")
    (folder / "notes.txt").write_text("nothing")
    return folder


def arguments(photos, output, *more):
    return ["--input", f"{photos}/**", "--output", str(output), "--model", MODEL, *more]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def start(words):
    """Starts the example in a process group of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def finish(process):
    stdout, stderr = process.communicate(timeout=600)
    return process.returncode, json.loads(stdout.splitlines()[-1]), stderr


# === In memory ===


def test_images_become_what_upscale_makes_of_them_and_others_dead_letters(example, photos, tmp_path, capsys):
    output = tmp_path / "out"
    assert example.main(arguments(photos, output)) == 1
    assert json.loads(capsys.readouterr().out) == {"written": 3, "present": 0, "dead letters": 1}
    images = ["a.png", "b.jpg", "sub/c.png"]
    assert files(output) == sorted([*images, "dead_letter.jsonl", "manifest.jsonl", "settings.json"])
    for name in ("a.png", "sub/c.png"):
        expected = keras_edsr.upscale(MODEL, read_image(photos / name), runtime="auto")
        np.testing.assert_array_equal(read_image(output / name), expected)
    assert sorted(lines(output / "manifest.jsonl"), key=lambda line: line["source"]) == [
        {
            "source": str(photos / name),
            "target": str(output / name),
            "bytes": (output / name).stat().st_size,
            "status": "written",
        }
        for name in images
    ]
    [letter] = lines(output / "dead_letter.jsonl")
    assert letter["source"] == str(photos / "broken.jpg")
    assert letter["reason"].startswith(f"Cannot read the image {photos / 'broken.jpg'}: ")


def test_the_second_time_only_what_is_missing_is_done(example, photos, tmp_path, capsys):
    output = tmp_path / "out"
    (photos / "broken.jpg").unlink()
    (photos / "b.jpg").rename(tmp_path / "b.jpg")
    assert example.main(arguments(photos, output)) == 0
    (tmp_path / "b.jpg").rename(photos / "b.jpg")
    (output / ".parts").mkdir()
    (output / ".parts" / "0123").write_bytes(b"half of")  # as a worker leaves it that is killed
    (output / "beam-temp-manifest-0123").mkdir()
    (output / "beam-temp-manifest-0123" / "4567.manifest.jsonl").write_bytes(b"half of")
    before = (output / "a.png").stat().st_mtime_ns
    capsys.readouterr()
    assert example.main(arguments(photos, output)) == 0
    assert json.loads(capsys.readouterr().out) == {"written": 1, "present": 2, "dead letters": 0}
    assert (output / "a.png").stat().st_mtime_ns == before
    assert {line["target"]: line["status"] for line in lines(output / "manifest.jsonl")} == {
        str(output / "a.png"): "present",
        str(output / "b.jpg"): "written",
        str(output / "sub" / "c.png"): "present",
    }
    assert {path.name for path in output.iterdir() if path.is_dir()} == {"sub"}


def test_what_was_made_with_other_settings_is_not_taken_for_this(example, photos, tmp_path):
    example.main(arguments(photos, tmp_path / "out"))
    with pytest.raises(SystemExit, match="other settings: self_ensemble False -> True"):
        example.main(arguments(photos, tmp_path / "out", "--self-ensemble"))


def test_two_sources_of_one_name_are_dead_letters(example, photos, tmp_path):
    shutil.copy(photos / "a.png", photos / "b.png")
    example.main(arguments(photos, tmp_path / "out", "--suffix", "_x2.png"))
    letters = {line["source"]: line["reason"] for line in lines(tmp_path / "out" / "dead_letter.jsonl")}
    for name in ("b.jpg", "b.png"):
        assert letters[str(photos / name)].startswith(f"Several inputs would become {tmp_path / 'out' / 'b_x2.png'}")
    assert files(tmp_path / "out")[0] == "a_x2.png"


def test_results_among_the_sources_are_no_sources(example, photos, capsys):
    output = photos / "out"
    example.main(arguments(photos, output))
    capsys.readouterr()
    example.main(arguments(photos, output))
    assert json.loads(capsys.readouterr().out) == {"written": 0, "present": 3, "dead letters": 1}


def test_a_pattern_of_nothing_is_an_error(example, tmp_path, capsys):
    assert example.main(arguments(tmp_path / "nothing", tmp_path / "out")) == 1
    assert "No images to read" in capsys.readouterr().err


# === Several processes ===


@pytest.fixture
def real_photos(shared_data, tmp_path):
    """Small real photographs, a dozen."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for path in sorted((shared_data / "train" / "T91").glob("*.*"))[:12]:
        shutil.copy(path, folder)
    return folder


@pytest.mark.slow
def test_two_processes_make_of_real_images_what_upscale_files_does(real_photos, tmp_path):
    (real_photos / "broken.png").write_bytes(b"\x89PNG")
    status, counts, stderr = finish(start(arguments(real_photos, tmp_path / "out", *PROCESSES)))
    assert (status, counts) == (1, {"written": 12, "present": 0, "dead letters": 1}), stderr
    check_images(real_photos, tmp_path)


@pytest.mark.slow
def test_a_worker_that_is_killed_and_then_all_of_it_lose_nothing(real_photos, tmp_path):
    output = tmp_path / "out"
    pipeline = start(arguments(real_photos, output, *PROCESSES, "--self-ensemble"))
    try:
        wait_for(lambda: len(list(output.glob("*.png"))) > 1)
        os.kill(workers_of(pipeline.pid)[0], signal.SIGKILL)
        time.sleep(5)
    finally:
        os.killpg(pipeline.pid, signal.SIGKILL)
    pipeline.communicate()
    before = {path.name: path.stat().st_mtime_ns for path in output.glob("*.png")}
    assert 0 < len(before) < 12
    status, counts, stderr = finish(start(arguments(real_photos, output, *PROCESSES, "--self-ensemble")))
    assert (status, counts) == (0, {"written": 12 - len(before), "present": len(before), "dead letters": 0}), stderr
    check_images(real_photos, tmp_path, self_ensemble=True)
    for name, time_of_change in before.items():
        assert (output / name).stat().st_mtime_ns == time_of_change
    assert len(lines(output / "manifest.jsonl")) == 12
    others = {"dead_letter.jsonl", "manifest.jsonl", "settings.json"}
    assert set(files(output)) == {path.name for path in real_photos.iterdir()} | others


def check_images(photos, folder, **options):
    """Checks that the results are those of `upscale_files`, to the byte."""
    sources = [path for path in sorted(photos.iterdir()) if path.name != "broken.png"]
    pairs = [(source, folder / "expected" / source.name) for source in sources]
    assert upscale_files(pairs, MODEL, 2, **options) == []
    for _, expected in pairs:
        assert (folder / "out" / expected.name).read_bytes() == expected.read_bytes()


def wait_for(happened, seconds=300):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def workers_of(pid):
    """The processes that do the work: those of the group that run Beam's worker."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                group = os.getpgid(int(folder.name))
            except OSError:
                continue  # it has ended
            if group == pid and b"apache_beam.runners.worker.sdk_worker_main" in words and words[0] != b"/bin/sh":
                found.append(int(folder.name))
    return found
