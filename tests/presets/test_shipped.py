"""The weights that ship: that they are what their cards say, and that they have not seen what they are measured on."""

import functools
import io
import random
import zipfile

import numpy as np
import pytest
from likeness import COMMON, SAME, common_details, details, fingerprint, likeness
from PIL import Image, ImageEnhance

import keras_edsr
from keras_edsr.image_io import find_images
from keras_edsr.presets import CONFIG, WEIGHTS, lookup, read_config

FOLDER = lookup.SHIPPED
NAMES = {
    "edsr_compact_x2": ("EDSR", (2,)),
    "edsr_compact_x3": ("EDSR", (3,)),
    "edsr_compact_x4": ("EDSR", (4,)),
    "edsr_liif_x2": ("EDSR", (2,)),
    "edsr_photo_x2": ("EDSR", (2,)),
    "edsr_photo_x4": ("EDSR", (4,)),
    "mdsr_compact": ("MDSR", (2, 3, 4)),
}
EACH = [(name, scale) for name, (_, scales) in NAMES.items() for scale in scales]
CARD = "MODEL_CARD.md"
MEGABYTES = 25


@functools.cache
def model(name):
    return getattr(keras_edsr, NAMES[name][0]).from_preset(name)


@functools.cache
def measure(name, scale, folder):
    return keras_edsr.evaluate(name if name == "bicubic" else model(name), folder, scale)


def card(name):
    return " ".join((FOLDER / name / CARD).read_text("utf-8").split())


# === What is there ===


def test_the_presets_are_there_and_no_others():
    assert sorted(path.name for path in FOLDER.iterdir() if path.is_dir()) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_what_its_config_says(name):
    about = read_config(FOLDER / name)
    family, scales = NAMES[name]
    assert (about["class_name"], model(name).scales) == (family, scales)
    assert type(model(name)) is getattr(keras_edsr, family)
    assert about["parameters"] == model(name).count_params()
    assert about["source"]
    assert "non-commercial" in about["license"]


def test_the_weights_are_small_enough_for_a_wheel():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path in sorted(FOLDER.rglob("*")):
            wheel.write(path, path.relative_to(FOLDER))
    print(f"{packed.tell():,} bytes zipped")
    assert 0 < packed.tell() < MEGABYTES * 1e6


# === The cards ===


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_what_how_from_what_and_how_good(name):
    assert {path.name for path in (FOLDER / name).iterdir()} >= {CONFIG, WEIGHTS, CARD}
    text = card(name)
    assert text.startswith("--- library_name: keras pipeline_tag: image-to-image ")  # as the hub reads it
    assert f"# {name} " in text
    command = text.partition("```sh")[2].partition("```")[0]
    assert command.split()[:2] == ["keras-edsr", "train"]
    for option in ("--scale", "--steps", "--seed", "--hr"):
        assert f" {option} " in command
    assert f"{model(name).count_params():,} parameters" in text
    for data in ("T91", "BSDS500", "Kodak24", "Sun-Hays80", "non-commercial"):
        assert data in text
    for heading in ("## Scores", "## Training", "## Limits", "## License"):
        assert heading in text


@pytest.mark.parametrize(("name", "scale"), EACH)
def test_a_card_has_the_scores_of_the_config(name, scale):
    about = read_config(FOLDER / name)
    for test_set in ("Set5", "Set14"):
        psnr, ssim = (about[key][f"{test_set} (Y)"][f"x{scale}"] for key in ("psnr", "ssim"))
        assert f"{psnr:.2f} / {ssim:.4f}" in card(name)


# === The scores ===


def assert_scores(name, scale, shared_data, test_set):
    about = read_config(FOLDER / name)
    measured = measure(name, scale, shared_data / "eval" / test_set)
    print(f"{name} x{scale}, {test_set}: {measured['psnr']:.3f} dB / {measured['ssim']:.4f}")
    assert measured["psnr"] == pytest.approx(about["psnr"][f"{test_set} (Y)"][f"x{scale}"], abs=0.01)
    assert measured["ssim"] == pytest.approx(about["ssim"][f"{test_set} (Y)"][f"x{scale}"], abs=0.0005)


@pytest.mark.parametrize(("name", "scale"), EACH)
def test_the_scores_are_what_evaluate_gives(shared_data, name, scale):
    assert_scores(name, scale, shared_data, "Set5")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "scale"), EACH)
def test_the_scores_are_what_evaluate_gives_on_more_images(shared_data, name, scale):
    assert_scores(name, scale, shared_data, "Set14")


@pytest.mark.parametrize(("name", "scale"), [pair for pair in EACH if "photo" not in pair[0]])
def test_the_weights_are_clearly_better_than_bicubic(shared_data, name, scale):
    ours, bicubic = (measure(what, scale, shared_data / "eval" / "Set5") for what in (name, "bicubic"))
    assert ours["psnr"] > bicubic["psnr"] + 2
    for mine, other in zip(ours["images"], bicubic["images"], strict=True):
        assert mine["psnr"] > other["psnr"] + 0.5
        assert mine["ssim"] > other["ssim"]


@pytest.mark.parametrize(("name", "scale"), [pair for pair in EACH if "photo" in pair[0]])
def test_the_photo_networks_are_better_than_bicubic_on_clean_images(shared_data, name, scale):
    ours, bicubic = (measure(what, scale, shared_data / "eval" / "Set5") for what in (name, "bicubic"))
    assert ours["psnr"] > bicubic["psnr"] + 2
    for mine, other in zip(ours["images"], bicubic["images"], strict=True):
        assert mine["psnr"] > other["psnr"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "scale"), [pair for pair in EACH if "photo" in pair[0]])
@pytest.mark.parametrize("quality", [40, 60, 80])
def test_on_compressed_photographs_the_photo_networks_are_better(shared_data, name, scale, quality):
    images, degradation = shared_data / "eval" / "Set14", f"jpeg-{quality}"
    photo = keras_edsr.evaluate(name, images, scale, degradation=degradation)["psnr"]
    clean = keras_edsr.evaluate(name.replace("photo", "compact"), images, scale, degradation=degradation)["psnr"]
    bicubic = keras_edsr.evaluate("bicubic", images, scale, degradation=degradation)["psnr"]
    print(f"{name} quality {quality}: {photo:.2f}, {clean:.2f}, {bicubic:.2f} dB")
    assert photo > max(clean, bicubic) + 0.3
    assert f"{photo:.2f}" in card(name)


# === What they have not seen ===


@pytest.fixture(scope="module")
def seen(shared_data):
    """The training images' paths and fingerprints."""
    paths = find_images(shared_data / "train")
    return paths, np.stack([fingerprint(Image.open(path)) for path in paths])


@pytest.fixture(scope="module")
def measured_on(shared_data):
    """The evaluation images' paths and fingerprints."""
    paths = [path for test_set in ("Set5", "Set14") for path in find_images(shared_data / "eval" / test_set)]
    return paths, np.stack([fingerprint(Image.open(path)) for path in paths])


def test_no_evaluation_image_is_among_the_training_images(seen, measured_on):
    alike = likeness(measured_on[1], seen[1])  # (19, 1299): 528 small photographs and 771 crops of large ones
    assert alike.shape == (19, 1299)
    for i in np.argsort(-alike, axis=None)[:5]:
        one, other = np.unravel_index(i, alike.shape)
        print(f"{alike[one, other]:.3f} {measured_on[0][one]} {seen[0][other]}")
    assert alike.max() < SAME


def again(image, part=1.0):
    """The same photograph, or a part of it: brighter or darker, stretched, smaller, turned, encoded anew."""
    choose = random.Random(image.size[0] + sum(image.getpixel((0, 0))))
    width, height = (round(part * side) for side in image.size)
    left, top = (choose.randint(0, side - kept) for side, kept in zip(image.size, (width, height), strict=True))
    image = image.crop((left, top, left + width, top + height))
    image = ImageEnhance.Brightness(image).enhance(choose.uniform(0.8, 1.2))
    image = image.resize([round(side * choose.uniform(0.45, 0.55)) for side in image.size], Image.Resampling.BICUBIC)
    image = image.transpose(choose.choice(list(Image.Transpose)))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=choose.randrange(30, 70))
    return Image.open(file)


def test_a_copy_in_disguise_would_have_been_found(seen, measured_on):
    for paths, fingerprints in (measured_on, [part[::9] for part in seen]):
        copies = [fingerprint(again(Image.open(path).convert("RGB"))) for path in paths]
        alike = likeness(np.stack(copies), fingerprints)
        print(f"least alike of {len(copies)} copies: {alike.diagonal().min():.3f}")
        assert alike.diagonal().min() > SAME


def test_one_photograph_from_two_sources_is_found(measured_on):
    # Set5's head and Set14's face are one: a likeness that nobody made for this test.
    names = [path.stem for path in measured_on[0]]
    alike = np.triu(likeness(measured_on[1], measured_on[1]), 1)
    assert {names[i] for i in np.argwhere(alike > SAME).ravel()} == {"head", "face"}


@pytest.mark.slow
def test_no_part_of_an_evaluation_image_is_in_a_training_image(seen, measured_on):
    theirs = [details(Image.open(path)) for path in seen[0]]
    ours = [[details(Image.open(path), mirrored) for mirrored in (False, True)] for path in measured_on[0]]
    common = np.array([[max(common_details(one, other) for one in both) for other in theirs] for both in ours])
    for i in np.argsort(-common, axis=None)[:5]:
        one, other = np.unravel_index(i, common.shape)
        print(f"{common[one, other]} details in common: {measured_on[0][one]} {seen[0][other]}")
    assert common.max() < COMMON


@pytest.mark.slow
def test_a_part_in_disguise_would_have_been_found(measured_on):
    found = []
    for path in measured_on[0]:
        image = Image.open(path).convert("RGB")
        part = again(image, 0.6)
        found.append(max(common_details(details(part, mirrored), details(image)) for mirrored in (False, True)))
    print(f"details in common with a part of itself: {found}")
    assert min(found) >= COMMON


def test_a_part_from_another_source_is_found(measured_on):
    # Set5's butterfly is a ninth of Set14's monarch.
    paths = {path.stem: path for path in measured_on[0]}
    butterfly, monarch = (details(Image.open(paths[name])) for name in ("butterfly", "monarch"))
    assert common_details(butterfly, monarch) >= COMMON


@pytest.mark.parametrize("name", [name for name in NAMES if "liif" in name])
def test_what_began_from_the_encoder_of_liif_has_its_license(name):
    text = (FOLDER / name / "LICENSE-LIIF").read_text("utf-8")
    assert "BSD 3-Clause" in text
    assert "Yinbo Chen" in text
    assert "LIIF" in card(name)
