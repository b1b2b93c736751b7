"""`keras-edsr degrade` and `evaluate --degradation`: the same LR images, and a record of how they were made."""

import json
import logging

import numpy as np
import pytest
from click.testing import CliRunner
from photographs import photograph
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from keras_edsr import cli, evaluation, imresize
from keras_edsr.data import Degradation, degrade
from keras_edsr.image_io import read_image, write_image
from keras_edsr.image_ops import luma


@pytest.fixture(autouse=True)
def logger():
    yield
    cli.logger.handlers.clear()
    cli.logger.setLevel(logging.NOTSET)


@pytest.fixture
def hr(tmp_path):
    (tmp_path / "hr" / "more").mkdir(parents=True)
    write_image(tmp_path / "hr" / "a.png", photograph(60, 80, seed=1))
    write_image(tmp_path / "hr" / "more" / "b.png", photograph(64, 50, seed=2))
    Image.fromarray(photograph(60, 60, 1, seed=3)[..., 0]).save(tmp_path / "hr" / "gray.png")
    return tmp_path / "hr"


def run(*arguments):
    return CliRunner().invoke(cli.main, ["-q", *map(str, arguments)])


def test_the_images_that_degrade_writes_are_those_that_evaluate_makes(hr, tmp_path):
    assert run("degrade", hr, tmp_path / "lr", "--degradation", "photo", "--seed", 1).exit_code == 0
    written = evaluation.evaluate("bicubic", hr, 2, tmp_path / "lr")
    made = evaluation.evaluate("bicubic", hr, 2, degradation="photo", seed=1)
    assert made.pop("degradation")["seed"] == 1
    assert made == written
    assert evaluation.evaluate("bicubic", hr, 2, degradation="photo", seed=2)["psnr"] != made["psnr"]


def test_an_lr_image_does_not_hang_on_the_images_around_it(hr, tmp_path):
    degrade(hr, tmp_path / "all", 2, "photo", seed=5)
    degrade(hr / "more" / "b.png", tmp_path / "one", 2, "photo", seed=5)
    assert np.array_equal(read_image(tmp_path / "all" / "more" / "bx2.png"), read_image(tmp_path / "one" / "bx2.png"))


def test_degrade_records_what_it_drew(hr, tmp_path):
    run("degrade", hr, tmp_path / "lr", "--seed", 3, "--scale", 3)
    about = json.loads((tmp_path / "lr" / "degradation.json").read_text())
    assert (about["scale"], about["seed"]) == (3, 3)
    assert set(about["images"]) == {"a.png", "gray.png", "more/b.png"}
    again = Degradation.from_dict(about["degradation"])
    assert again == Degradation.load("photo")
    assert len(about["images"]["a.png"]) == len(again.steps)


def test_scale_1_keeps_the_size_and_takes_the_quality_alone(hr, tmp_path):
    assert run("degrade", hr, tmp_path / "lr", "--degradation", "jpeg-20", "--scale", 1).exit_code == 0
    lr, original = read_image(tmp_path / "lr" / "ax1.png"), read_image(hr / "a.png")
    assert lr.shape == original.shape
    assert 20 < peak_signal_noise_ratio(original, lr) < 40


def test_files_that_exist_are_not_replaced_unasked(hr, tmp_path):
    assert run("degrade", hr, tmp_path / "lr").exit_code == 0
    again = run("degrade", hr, tmp_path / "lr", "--seed", 9)
    assert again.exit_code == 1
    assert "exists" in again.stderr
    assert run("degrade", hr, tmp_path / "lr", "--seed", 9, "--overwrite").exit_code == 0


def test_the_scores_are_those_of_the_degraded_image(hr):
    (row, *_) = evaluation.evaluate("bicubic", hr, 2, degradation="jpeg-30")["images"]
    original = read_image(hr / "a.png")
    sr = imresize(Degradation.load("jpeg-30")(original, 2), 2)
    expected = peak_signal_noise_ratio(luma(original)[2:-2, 2:-2], luma(sr)[2:-2, 2:-2], data_range=255)
    assert row["psnr"] == pytest.approx(expected, abs=1e-6)


def test_json_and_report_say_how_lr_was_made_and_the_report_shows_it(hr, tmp_path):
    result = run(
        "evaluate", "--model", "bicubic", "--hr", hr, "--scale", 2, "--degradation", "jpeg-30", "--seed", 4,
        "--json", "--report", tmp_path / "report",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    about = json.loads(result.stdout)["degradation"]
    assert about["seed"] == 4
    assert Degradation.from_dict({"name": about["name"], "steps": about["steps"]}) == Degradation.load("jpeg-30")
    page = (tmp_path / "report" / "index.html").read_text()
    assert "degraded from the HR images: jpeg-30, seed 4" in page
    shown = read_image(tmp_path / "report" / "images" / "001-lr.png").astype(int)
    degraded = Degradation.load("jpeg-30")(read_image(hr / "a.png"), 2)
    windows = np.lib.stride_tricks.sliding_window_view(degraded, shown.shape)
    assert (windows == shown).all(axis=(-1, -2, -3)).any()


def test_a_clean_evaluation_has_no_degradation(hr):
    assert "degradation" not in evaluation.evaluate("bicubic", hr, 2)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--degradation", "photos"), 1, "A degradation must be one of"),
        (("--degradation", "photo", "--lr", "x"), 2, "Pass --lr or --degradation"),
        (("--seed", "1"), 2, "--seed needs --degradation"),
    ],
)
def test_what_does_not_fit_is_said(hr, arguments, status, message):
    result = run("evaluate", "--model", "bicubic", "--hr", hr, "--scale", 2, *arguments)
    assert result.exit_code == status
    assert message in result.stderr


def test_lr_and_degradation_together_are_refused(hr):
    with pytest.raises(ValueError, match="either `lr` or `degradation`"):
        evaluation.evaluate("bicubic", hr, 2, hr, degradation="photo")
