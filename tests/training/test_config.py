import dataclasses
import inspect
import json
from pathlib import Path

import pytest

from keras_edsr.data.degradation import Degradation, Downscale
from keras_edsr.training import TrainConfig
from keras_edsr.training.config import in_words, settings


def config(**settings):
    return TrainConfig(**{"output": "run", "hr": "photos", **settings})


# === Defaults ===


def test_the_defaults_are_the_papers_recipe():
    made = config()
    assert (made.num_blocks, made.filters, made.residual_scaling, made.scale) == (32, 256, 0.1, 2)
    assert (made.patch_size, made.batch_size) == (48, 16)
    assert (made.learning_rate, made.beta_1, made.beta_2, made.epsilon) == (1e-4, 0.9, 0.999, 1e-8)
    assert (made.schedule, made.halve_every, made.steps) == ("halving", 200_000, 300_000)
    assert made.loss_spike_factor is made.clip_norm is made.average is made.precision is None


def test_an_mdsr_has_its_own():
    made = config(model="mdsr", scale=(2, 3, 4))
    assert (made.num_blocks, made.filters, made.residual_scaling) == (80, 64, 1.0)


def test_residual_scaling_follows_the_filters():
    assert config(filters=64).residual_scaling == 1.0
    assert config(filters=64, residual_scaling=0.5).residual_scaling == 0.5


@pytest.mark.parametrize(
    ("model", "scale", "kept", "scales"),
    [
        ("edsr", 3, 3, (3,)),
        ("edsr", (3,), 3, (3,)),
        ("mdsr", 2, (2,), (2,)),
        ("mdsr", [2, 3], (2, 3), (2, 3)),
    ],
)
def test_an_mdsr_has_a_tuple_of_scales_an_edsr_one(model, scale, kept, scales):
    made = config(model=model, scale=scale)
    assert (made.scale, made.scales) == (kept, scales)


# === What is refused ===


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"model": "vdsr"}, "`model` must be edsr or mdsr. Received: model='vdsr'"),
        ({"model": ["edsr"]}, "`model` must be"),
        ({"schedule": "linear"}, "`schedule` must be halving or cosine"),
        ({"degradation": "rain"}, "A degradation must be one of"),
        ({"degradation": 3}, "`degradation` must be a name"),
        ({"degradation": {"steps": []}}, "must have 'downscale' once"),
        ({"scale": (2, 3)}, "`scale` of an EDSR must be one integer.*model='mdsr'"),
        ({"scale": "2"}, "`scale` must be an integer"),
        ({"scale": 2.5}, "`scale` must be an integer"),
        ({"learning_rate": 0}, "`learning_rate` must be positive"),
        ({"learning_rate": float("nan")}, "`learning_rate` must be positive"),
        ({"learning_rate": "high"}, "`learning_rate` must be positive"),
        ({"final_learning_rate": -1e-6}, "`final_learning_rate` must be 0 or more"),
        ({"final_learning_rate": 1e-5}, "`final_learning_rate` needs schedule='cosine'.*Received: .*halving.*=1e-05"),
        ({"schedule": "cosine", "halve_every": 5}, "`halve_every` needs schedule='halving'.*Received: .*cosine.*=5"),
        ({"beta_1": 1}, r"`beta_1` must be in \[0, 1\)"),
        ({"beta_2": -0.1}, r"`beta_2` must be in \[0, 1\)"),
        ({"epsilon": 0}, "`epsilon` must be positive"),
        ({"clip_norm": 0}, "`clip_norm` must be positive"),
        ({"average": 1}, r"`average` must be in \[0, 1\)"),
        ({"loss_spike_factor": 1}, "`loss_spike_factor` must be above 1, or 0 for no limit"),
        ({"residual_scaling": float("inf")}, "`residual_scaling` must be a number"),
        ({"seed": -1}, "`seed` must be an integer from 0"),
        ({"seed": 2**32}, "`seed` must be an integer from 0"),
        ({"skip_small": 1}, "`skip_small` must be true or false"),
        ({"precision": 16}, "`precision` must be the name of a dtype policy"),
        ({"hr": 5}, "`hr` must be a path"),
        ({"hr": None}, "Pass either `hr`.* or `div2k`"),
        ({"div2k": "DIV2K"}, "Pass either `hr`.* or `div2k`"),
        ({"hr": None, "div2k": "DIV2K", "lr": "lr"}, r"`lr` must come with `hr`.*lr='lr' alone"),
        ({"validation_lr": "lr"}, "`validation_lr` must come with `validation`"),
        ({"degradation": "unknown"}, "'unknown' is a track of DIV2K and must come with `div2k`.* as `lr`"),
        ({"degradation": "photo", "lr": "x"}, "`degradation` must be bicubic with `lr`"),
    ],
)
def test_a_value_out_of_range_is_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        config(**setting)


@pytest.mark.parametrize(
    "name",
    ["num_blocks", "filters", "patch_size", "batch_size", "steps", "halve_every", "checkpoint_every", "devices"],
)
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "4"])
def test_a_count_must_be_a_positive_integer(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be a positive integer. Received: {name}="):
        config(**{name: value})


# === What is told of it ===


def test_the_class_says_what_each_setting_is_and_its_default():
    text = inspect.getdoc(TrainConfig)
    for name, about in settings().items():
        assert f"\n    {name}: {about.help.split()[0]} " in text
    assert "    patch_size: Side of a patch in LR pixels. Defaults to 48.\n" in text


@pytest.mark.parametrize(
    ("default", "words"), [(1e-8, "1e-8"), (1e-4, "0.0001"), (300_000, "300000"), (2, "2"), ("a", "a")]
)
def test_a_default_is_told_as_one_would_type_it(default, words):
    assert in_words(default) == words
    assert isinstance(default, str) or float(words) == default


# === As JSON ===


def test_it_is_the_same_after_saving_and_loading(tmp_path):
    made = config(model="mdsr", scale=(2, 4), average=0.99, clip_norm=1.0, devices=2, skip_small=True)
    made.save(tmp_path / "config.json")
    assert TrainConfig.load(tmp_path / "config.json") == made


def test_paths_may_be_objects(tmp_path):
    made = config(output=tmp_path, hr=Path("photos"), validation=Path("val"))
    made.save(tmp_path / "config.json")
    assert made == config(output=str(tmp_path), hr="photos", validation="val")


def test_it_is_readable_json_with_every_setting(tmp_path):
    config().save(tmp_path / "config.json")
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    assert json.loads((tmp_path / "config.json").read_text()).keys() == names


def test_changes_replace_what_was_saved(tmp_path):
    config(steps=7, seed=3).save(tmp_path / "config.json")
    loaded = TrainConfig.load(tmp_path / "config.json", steps=9)
    assert (loaded.steps, loaded.seed) == (9, 3)


def test_settings_that_an_older_file_lacks_have_their_defaults(tmp_path):
    (tmp_path / "config.json").write_text('{"output": "run", "hr": "photos"}')
    assert TrainConfig.load(tmp_path / "config.json") == config()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a valid training configuration"),
        ("[1]", "is not a valid training configuration"),
        ("3", "is not a valid training configuration"),
        ('{"hr": "photos"}', "it has no `output`"),
        ('{"output": "run", "hr": "x", "color": 1, "blur": 2}', "unknown settings: blur, color"),
        ('{"output": "run", "hr": "x", "steps": "many"}', "`steps` must be a positive integer"),
    ],
)
def test_a_file_that_is_no_configuration_is_named(tmp_path, text, message):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        TrainConfig.load(tmp_path / "config.json")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"missing\.json is not a valid training configuration"):
        TrainConfig.load(tmp_path / "missing.json")


# === How LR images are made ===


def test_a_degradation_of_a_file_is_kept_whole_so_that_a_change_of_the_file_changes_no_run(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text('{"steps": [{"step": "downscale"}, {"step": "compress", "quality": 50}]}')
    first = config(degradation=str(file))
    first.save(tmp_path / "config.json")
    file.unlink()
    again = TrainConfig.load(tmp_path / "config.json")
    assert again == first
    assert Degradation.load(again.degradation).steps[1].quality == (50, 50)


@pytest.mark.parametrize("name", ["bicubic", "photo", "jpeg-40", "realesrgan"])
def test_a_degradation_with_a_name_is_kept_by_its_name(name):
    assert config(degradation=name).degradation == name
    assert config(degradation=Degradation.load(name)).degradation == name


def test_a_degradation_of_ones_own_under_a_known_name_is_kept_whole():
    mine = Degradation([Downscale("area")], "photo")
    assert Degradation.load(config(degradation=mine).degradation) == mine


def test_a_track_goes_with_the_div2k_that_a_folder_takes_the_place_of(tmp_path):
    for track, expected in (("mild", "bicubic"), ("photo", "photo")):
        config(hr=None, div2k="DIV2K", scale=4, degradation=track).save(tmp_path / "config.json")
        assert TrainConfig.load(tmp_path / "config.json", hr="mine", div2k=None).degradation == expected
