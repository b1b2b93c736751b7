"""Which network `keras-edsr upscale` takes where none is named."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from photographs import photograph
from PIL import Image, JpegPresets

import keras_edsr
from keras_edsr import cli, presets
from keras_edsr.demo.pictures import advise
from keras_edsr.image_io import jpeg_quality
from keras_edsr.inference import choose, choose_for

SHIPPED = Path(keras_edsr.__file__).parent / "weights"


@pytest.fixture(autouse=True)
def logger():
    yield
    cli.logger.handlers.clear()
    cli.logger.setLevel(logging.NOTSET)


@pytest.fixture
def ships(monkeypatch):
    """Says which presets there are, whatever has been trained by now."""

    def say(*names):
        monkeypatch.setattr("keras_edsr.inference.choice.preset_names", lambda: list(names))

    say("edsr_compact_x2", "edsr_compact_x3", "edsr_compact_x4", "edsr_photo_x2", "mdsr_compact")
    return say


@pytest.fixture
def jpeg(tmp_path):
    def write(quality, name="photo.jpg", **options):
        Image.fromarray(photograph(24, 32)).save(tmp_path / name, "JPEG", quality=quality, **options)
        return tmp_path / name

    return write


# === The estimate ===


@pytest.mark.parametrize("quality", [*range(1, 100, 7), 89, 90, 99, 100])
def test_the_quality_of_libjpeg_is_read_back(jpeg, quality):
    assert jpeg_quality(jpeg(quality)) == quality
    assert jpeg_quality(jpeg(quality, "p.jpg", progressive=True, subsampling="4:2:0")) == quality


def test_tables_of_another_program_are_ranked_as_it_ranks_them(jpeg):
    photoshop = [jpeg_quality(jpeg(name, f"{name}.jpg")) for name in ("low", "medium", "high", "maximum")]
    assert photoshop == sorted(photoshop)
    assert photoshop[0] < 60 < 90 < photoshop[-1]
    assert set(JpegPresets.presets) >= {"low", "maximum"}


def test_gray_and_cmyk_jpegs_have_a_quality_and_other_files_none(tmp_path):
    Image.fromarray(photograph(16, 16, 1)[..., 0]).save(tmp_path / "gray.jpg", quality=55)
    Image.new("CMYK", (16, 16)).save(tmp_path / "cmyk.jpg", quality=66)
    assert [jpeg_quality(tmp_path / name) for name in ("gray.jpg", "cmyk.jpg")] == [55, 66]
    Image.new("RGB", (8, 8)).save(tmp_path / "png.jpg", "PNG")  # the content counts
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff\xdb\x00\x43")
    (tmp_path / "empty.jpg").touch()
    for name in ("png.jpg", "cut.jpg", "empty.jpg", "missing.jpg"):
        assert jpeg_quality(tmp_path / name) is None


# === The choice ===


@pytest.mark.parametrize(
    ("quality", "kind", "preset"),
    [
        (60, "auto", "edsr_photo_x2"),
        (89, "auto", "edsr_photo_x2"),
        (90, "auto", "edsr_compact_x2"),
        (60, "clean", "edsr_compact_x2"),
        (95, "photo", "edsr_photo_x2"),
    ],
)
def test_auto_takes_the_photo_network_for_jpegs_of_a_low_quality(ships, jpeg, quality, kind, preset):
    assert choose().preset(jpeg(quality), kind) == preset


def test_auto_never_takes_it_for_png(ships, tmp_path):
    Image.fromarray(photograph(24, 32)).save(tmp_path / "a.png")
    assert choose().preset(tmp_path / "a.png") == "edsr_compact_x2"
    assert choose().preset(tmp_path / "a.png", "photo") == "edsr_photo_x2"


def test_without_a_photo_network_for_the_size_the_clean_one_is_taken(ships, jpeg, caplog):
    assert choose(3).preset(jpeg(30)) == "edsr_compact_x3"
    assert choose(2.5).preset(jpeg(30)) == "mdsr_compact"
    assert choose(None, other_size=True).preset(jpeg(30)) == "mdsr_compact"
    assert list(choose_for([jpeg(30)], 3, kind="photo")) == ["edsr_compact_x3"]
    assert "the package has none for photographs at this size" in caplog.text


def test_best_takes_the_larger_networks_that_ship(ships):
    ships("edsr_compact_x2", "edsr_liif_x2", "edsr_photo_x2", "edsr_photo_x4", "edsr_photo_liif_x4", "mdsr_compact")
    best = choose(2, effort="best")
    assert (best.clean, best.photo) == ("edsr_liif_x2", "edsr_photo_x2")
    assert choose(4, effort="best").photo == "edsr_photo_liif_x4"
    assert choose(4, effort="fast").photo == "edsr_photo_x4"
    assert choose(2.5, effort="best").clean == "mdsr_compact"


def test_what_is_chosen_by_default_ships():
    for scale in (None, 2, 3, 4, 2.5):
        for effort in ("fast", "best"):
            choice = choose(scale, effort=effort)
            for name in filter(None, [choice.clean, choice.photo]):
                config = presets.read_config(SHIPPED / name)["config"]
                assert scale in (None, 2.5) or config.get("scale") == scale


# === The command ===


@pytest.fixture
def upscaled(tmp_path):
    def run(*arguments):
        return CliRunner().invoke(cli.main, ["upscale", *map(str, arguments)])

    return run


@pytest.fixture
def photo_preset(tmp_path, monkeypatch):
    """Weights under the name of the network for photographs, where none ships."""
    if not (SHIPPED / "edsr_photo_x2").exists():
        shutil.copytree(SHIPPED / "edsr_compact_x2", tmp_path / "weights" / "edsr_photo_x2")
    monkeypatch.setenv("KERAS_EDSR_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("KERAS_EDSR_CACHE", str(tmp_path / "cache"))


def test_each_file_gets_its_network_and_the_log_says_so(photo_preset, upscaled, jpeg, tmp_path):
    (tmp_path / "in").mkdir()
    for name, quality in (("a.jpg", 40), ("b.jpg", 95), ("c.jpg", 70)):
        jpeg(quality, f"in/{name}")
    Image.fromarray(photograph(24, 32)).save(tmp_path / "in" / "d.png")
    result = upscaled(tmp_path / "in", "-o", tmp_path / "out", "--runtime", "ncnn")
    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.jpg", "b.jpg", "c.jpg", "d.png"]
    models = [line for line in result.stderr.splitlines() if line.startswith("Model: ")]
    assert len(models) == 2
    assert (
        "Model: edsr_photo_x2, for 2 JPEGs of about qualities 40 to 70 (--kind clean selects edsr_compact_x2)."
        in models
    )
    assert "Model: edsr_compact_x2, the default for this size." in models


def test_kind_and_effort_are_for_the_models_that_ship(upscaled, jpeg, tmp_path):
    for option in (("--kind", "photo"), ("--effort", "best")):
        result = upscaled(jpeg(50), "-o", tmp_path / "o.png", "--model", "edsr_compact_x2", *option)
        assert result.exit_code == 2
        assert "without --model" in result.stderr


def test_best_says_how_long_it_takes(upscaled, jpeg, tmp_path):
    result = upscaled(jpeg(95), "-o", tmp_path / "o.png", "--effort", "best", "--runtime", "ncnn")
    assert result.exit_code == 0, result.stderr
    assert "Model: edsr_liif_x2," in result.stderr
    assert "Expect about 7 times the time of edsr_compact_x2" in result.stderr
    fast = upscaled(jpeg(95), "-o", tmp_path / "f.png", "--effort", "fast", "--runtime", "ncnn")
    assert fast.exit_code == 0
    assert not np.array_equal(*(np.asarray(Image.open(tmp_path / name)) for name in ("o.png", "f.png")))


def test_best_says_where_it_changes_nothing(upscaled, jpeg, tmp_path):
    result = upscaled(jpeg(95), "-o", tmp_path / "o.png", "--effort", "best", "--width", 40, "--runtime", "ncnn")
    assert result.exit_code == 0, result.stderr
    assert "Ignoring --effort best" in result.stderr


# === The demo ===


def test_the_demo_advises_the_photo_network_for_a_jpeg_of_a_low_quality(ships, jpeg):
    offered = ["edsr_compact_x2", "edsr_photo_x2"]
    assert advise(jpeg(50), 2, offered) == ". This JPEG lost much detail (quality 50): try edsr_photo_x2"
    assert advise(jpeg(95), 2, offered) == ""
    assert advise(jpeg(50), 3, offered) == ""  # none ships for this scale
    assert advise(jpeg(50), 2, ["edsr_compact_x2"]) == ""
