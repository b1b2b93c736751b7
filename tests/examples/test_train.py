"""The paper's runs, as the examples start them: their settings, and the whole of them on tiny networks."""

import importlib.util
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from places import EXAMPLES
from runs import TINY, history, write_photos

from keras_edsr.training import TrainConfig


@pytest.fixture(scope="module")
def div2k(tmp_path_factory):
    """DIV2K's folder with a few small images; their LR images are made."""
    root = tmp_path_factory.mktemp("DIV2K")
    for split in ("train", "valid"):
        write_photos(root / f"DIV2K_{split}_HR", 2, height=40, width=44)
    return root


@pytest.fixture
def start(monkeypatch, tmp_path, div2k):
    """Runs an example with options; returns the settings that it asked for. What is trained is tiny, or nothing."""

    def run(name, *options, trains=True):
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        example = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(example)
        asked = []

        def config(**settings):
            asked.append(TrainConfig(**settings))
            return TrainConfig(**{**settings, **TINY, "steps": 1})

        monkeypatch.setattr(example, "TrainConfig", config)
        if not trains:
            monkeypatch.setattr(example, "train", lambda config: Path(config.output, "best.keras"))
        monkeypatch.setattr(sys, "argv", [name, "--div2k", str(div2k), "--output", str(tmp_path), *options])
        example.main()
        return asked

    return run


def paper(**settings):
    """The defaults, with a guard against loss spikes as the official Torch7 code has it."""
    return TrainConfig(**{"loss_spike_factor": 3.0, **settings})


def test_edsr_is_trained_x2_and_from_that_x3_and_x4(start, tmp_path, div2k, capsys):
    x2, x3, x4 = start("train_edsr")
    first = tmp_path / "edsr_baseline_x2"
    baseline = {"div2k": str(div2k), "num_blocks": 16, "filters": 64}
    assert x2 == paper(output=str(first), **baseline)
    for scale, config in {3: x3, 4: x4}.items():
        output = str(tmp_path / f"edsr_baseline_x{scale}")
        assert config == paper(output=output, scale=scale, init_from=str(first / "best.keras"), **baseline)
    best = [tmp_path / f"edsr_baseline_x{scale}" / "best.keras" for scale in (2, 3, 4)]
    assert capsys.readouterr().out.splitlines() == [
        f"x{scale}: {path}" for scale, path in zip((2, 3, 4), best, strict=True)
    ]
    assert [keras.saving.load_model(path).scale for path in best] == [2, 3, 4]


def test_the_final_edsr_is_the_papers(start):
    for config in start("train_edsr", "--size", "final", "--precision", "mixed_bfloat16", trains=False):
        assert (config.num_blocks, config.filters, config.residual_scaling) == (32, 256, 0.1)
        assert config.precision == "mixed_bfloat16"


def test_mdsr_is_trained_on_three_scales(start, tmp_path, div2k):
    [config] = start("train_mdsr")
    output = str(tmp_path / "mdsr_baseline")
    network = {"model": "mdsr", "scale": (2, 3, 4), "num_blocks": 16, "filters": 64}
    assert config == paper(output=output, div2k=str(div2k), steps=650_000, **network)
    [row] = history(output)
    assert np.isfinite([row[f"val_psnr_x{scale}"] for scale in (2, 3, 4)]).all()


def test_the_final_mdsr_is_the_papers(start):
    [config] = start("train_mdsr", "--size", "final", trains=False)
    assert (config.num_blocks, config.filters, config.residual_scaling) == (80, 64, 1.0)
