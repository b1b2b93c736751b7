"""upscale in a shell: entries of every kind, pipes, links; each is a process of its own, as users start it."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from odd_entries import ODD
from PIL import Image
from runs import photo

import keras_edsr
from keras_edsr.image_io import read_image, write_image

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX only")
COMMAND = [sys.executable, "-m", "keras_edsr"]


@pytest.fixture(scope="module", autouse=True)
def _ncnn():
    pytest.importorskip("ncnn", reason="needs ncnn: pip install 'keras-edsr[ncnn]'")  # else each takes seconds


def run(folder, *words, **options):
    words = [word if isinstance(word, bytes) else str(word) for word in words]
    # As in any locale but C, where Python itself would let names pass that are not UTF-8.
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    return subprocess.run([*COMMAND, *words], cwd=folder, capture_output=True, timeout=120, env=environment, **options)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.png", "z.png"):
        write_image(tmp_path / "in" / name, photo(12, 16))
    return tmp_path


def expected(image):
    return keras_edsr.upscale("edsr_compact_x2", image, runtime="auto")


@pytest.mark.parametrize("kind", ODD)
def test_one_bad_entry_is_one_line(folder, kind):
    ODD[kind](folder / "in" / "m.png")
    done = run(folder, "upscale", "in", "-o", "out")
    assert done.returncode == 1
    assert done.stdout == b"out/a.png\nout/z.png\n"
    *_, reported, total = done.stderr.decode().splitlines()
    assert reported.startswith("in/m.png: Cannot read in/m.png: it is a ")
    assert total == "Error: 1 of 3 images failed."
    assert b"Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["a link to nowhere", "a link to itself", "a pipe"])
def test_a_bad_input_or_target_is_named_in_one_line(folder, kind):
    ODD[kind](folder / "o.png")
    for words in (["o.png", "-o", "b.png"], ["in/a.png", "-o", "o.png", "--overwrite"], ["o.png", "-o", "out/"]):
        done = run(folder, "--quiet", "upscale", *words)
        assert (done.returncode, done.stdout) == (1, b"")
        [line] = [line for line in done.stderr.decode().splitlines() if "o.png" in line]
        assert "o.png: it is a " in line
        assert b"Traceback" not in done.stderr


def test_links_of_the_fault_are_reported(folder, shared_faults):
    shutil.rmtree(folder / "in")
    (folder / "in").mkdir()
    for name in ("a.png", "z.png"):
        shutil.copy(shared_faults / "folder_links" / "photo.png", folder / "in" / name)
    (folder / "in" / "m.png").symlink_to("missing/x.png")
    done = run(folder, "upscale", "in", "-o", "out")
    assert (done.returncode, done.stdout) == (1, b"out/a.png\nout/z.png\n")
    np.testing.assert_array_equal(read_image(folder / "out" / "a.png"), expected(read_image(folder / "in" / "z.png")))


@pytest.mark.parametrize(("words", "count"), [(["in"], 7), (["one"], 1), (["one/*.avif"], 1)])
def test_every_image_of_the_fault_is_done(folder, shared_faults, words, count):
    for name in ("in", "one"):
        shutil.copytree(shared_faults / "folder_suffixes_skipped" / name, folder / "faults" / name)
    done = run(folder / "faults", "upscale", *words, "-o", "out", "--suffix", ".png")
    assert done.returncode == 0, done.stderr
    assert len(list((folder / "faults" / "out").iterdir())) == count


def test_files_that_cannot_be_written_by_their_names_are_left_with_a_line_each(folder):
    for name in ("b.ppm", "c.pgm"):
        Image.fromarray(photo(12, 16)).convert("L" if name == "c.pgm" else "RGB").save(folder / "in" / name)
    done = run(folder, "--quiet", "upscale", "in", "-o", "out")
    assert (done.returncode, done.stdout) == (1, b"out/a.png\nout/z.png\n")
    lines = done.stderr.decode().splitlines()
    assert [line.split(":")[0] for line in lines] == ["in/b.ppm", "in/c.pgm", "Error"]
    assert all("--suffix .png" in line for line in lines[:2])


@pytest.mark.slow
def test_a_name_that_is_not_utf_8_is_printed_as_it_is(folder):
    os.rename(folder / "in" / "a.png", os.fsencode(folder) + b"/in/caf\xe9.png")
    (folder / "in" / "z.png").write_text("no image")
    done = run(folder, "upscale", "in", "-o", "out")
    assert done.stdout == b"out/caf\xe9.png\n"
    assert b"Error: 1 of 2 images failed." in done.stderr
    assert run(folder, "upscale", b"in/caf\xe9.png", "-o", b"caf\xe9.png").stdout == b"caf\xe9.png\n"
    os.remove(os.fsencode(folder) + b"/in/caf\xe9.png")
    (folder / os.fsdecode(b"in/\xe9.png")).write_text("no image")
    done = run(folder, "upscale", "in", "-o", "out")
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


@pytest.mark.slow
def test_every_command_takes_names_that_are_not_utf_8_and_leaves_out_what_is_no_file(folder, shared_faults):
    photo_of_fault = shared_faults / "train_name_not_utf8" / "photo.png"
    shutil.copy(photo_of_fault, folder / os.fsdecode(b"in/caf\xe9.png"))
    for name in ("a.png", "z.png"):
        (folder / "in" / name).unlink()
    for i, kind in enumerate(ODD):
        if kind != "a link in a circle":  # it has another file beside it
            ODD[kind](folder / "in" / f"{i}.png")
    names = [f"in/{i}.png: it is a " for i, kind in enumerate(ODD) if kind != "a link in a circle"]
    train = ["train", "--hr", "in", "--validation", "in", "--scale", 2, "--num-blocks", 1, "--filters", 4]
    train += ["--patch-size", 8, "--batch-size", 2, "--steps", 5, "--checkpoint-every", 5, "--output", b"r\xe9n"]
    for words, result in (
        (["downscale", "in", "lr", "--scale", 2], b"1 images in lr"),
        (["evaluate", "--model", "bicubic", "--scale", 2, "--hr", "in"], b"caf\xe9.png"),
        (train, b"r\xe9n/best.keras\n"),
    ):
        done = run(folder, *words)
        assert done.returncode == 0, done.stderr
        assert result in done.stdout
        assert all(name in done.stderr.decode() for name in names)


# === Pipes ===


@pytest.mark.parametrize("given", ["-", "/dev/stdin"])
@pytest.mark.parametrize("made", ["-", "/dev/stdout"])
def test_a_pipe_carries_the_image_and_nothing_else(folder, given, made):
    Image.fromarray(photo(12, 16)).save(folder / "a.jpg")
    shell = f"cat a.jpg | '{sys.executable}' -m keras_edsr upscale {given} -o {made} --suffix .png | cat > b.png"
    done = subprocess.run(shell, shell=True, cwd=folder, capture_output=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, b"")
    with Image.open(folder / "b.png") as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), expected(read_image(folder / "a.jpg")))
    data = (folder / "b.png").read_bytes()
    assert data.endswith(b"IEND\xaeB`\x82")
    assert data.startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_pipe_into_a_file_and_a_file_into_a_pipe(folder):
    data = (folder / "in" / "a.png").read_bytes()
    assert run(folder, "upscale", "-", "-o", "b.png", input=data).stdout == b"b.png\n"
    out = run(folder, "upscale", "in/a.png", "-o", "-")
    assert out.returncode == 0
    assert out.stdout == (folder / "b.png").read_bytes()


def test_what_libraries_print_does_not_reach_the_image(folder):
    program = (
        "import os, sys; from keras_edsr import cli, inference\n"
        "import keras_edsr.inference.files as files\n"
        "made = files.upscale\n"
        "def noisy(*words, **options):\n"
        "    os.write(1, b'from C++'); print('from Python', flush=True)\n"
        "    return made(*words, **options)\n"
        "files.upscale = noisy\n"
        "cli.main(['upscale', 'in/a.png', '-o', '-'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == run(folder, "upscale", "in/a.png", "-o", "-").stdout
    assert b"from C++" in done.stderr
    assert b"from Python" in done.stderr


def test_a_failure_leaves_standard_output_empty(folder):
    done = run(folder, "--quiet", "upscale", "-", "-o", "-", input=b"no image")
    assert (done.returncode, done.stdout) == (1, b"")
    [reported, _] = done.stderr.decode().splitlines()
    assert reported.startswith("/dev/stdin: Cannot read the image /dev/stdin: ")


@pytest.mark.parametrize("name", ["x.heic", "x.mp4", "x"])
def test_an_output_that_cannot_be_written_is_no_folder(folder, name):
    done = run(folder, "--quiet", "upscale", "in/a.png", "-o", name)
    assert (done.returncode, done.stdout) == (1, b"")
    assert f"Cannot write {name}: its suffix must be one of" in done.stderr.decode()
    assert not (folder / name).exists()
    if name == "x":
        assert run(folder, "upscale", "in/a.png", "-o", "x/").stdout == b"x/a.png\n"


def test_a_misspelt_model_is_told_the_nearest(folder):
    done = run(folder, "upscale", "in/a.png", "-o", "b.png", "--model", "edsr_compct_x2")
    assert done.returncode == 1
    [line] = done.stderr.decode().splitlines()
    assert "Did you mean edsr_compact_x2" in line
    assert "`keras-edsr info` lists all presets" in line
