import io
import json
import math
import pkgutil
import subprocess
import sys
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from photographs import photograph
from PIL import Image
from scipy import ndimage, special, stats

from keras_edsr import data, imresize
from keras_edsr.data import degradation_steps, kernels
from keras_edsr.data.degradation import (
    PRESETS,
    Blur,
    Compress,
    Degradation,
    Downscale,
    Either,
    Noise,
    Resize,
    image_seed,
)


def decoded(image, codec, **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, codec, **options)
    return np.asarray(Image.open(file))


# === Purity ===


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_the_same_arguments_give_the_same_pixels_and_another_seed_others(name, scale):
    degradation, hr = Degradation.load(name), photograph()
    before = hr.copy()
    first = degradation(hr, scale, 7)
    assert np.array_equal(degradation(hr, scale, 7), first)
    assert np.array_equal(hr, before)
    assert first.dtype == np.uint8
    assert first.shape == (96 // scale, 120 // scale, 3)
    others = [degradation(hr, scale, seed) for seed in range(8)]
    assert all(np.array_equal(other, first) for other in others) == (name == "bicubic")


def test_a_generator_gives_one_number_as_the_seed():
    hr, photo = photograph(), PRESETS["photo"]
    seed = int(np.random.default_rng(3).integers(2**63))
    assert np.array_equal(photo(hr, 2, np.random.default_rng(3)), photo(hr, 2, seed))


def test_another_process_without_any_other_package_gives_the_same_pixels():
    program = """
import sys
from pathlib import Path

allowed = {"numpy", "PIL", "keras_edsr"} | set(sys.stdlib_module_names)

class Only:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        root = name.partition(".")[0]
        return self.finder.find_spec(name, path, target) if root in allowed or root.startswith("_") else None

sys.meta_path[:] = [Only(finder) for finder in sys.meta_path if hasattr(finder, "find_spec")]
import numpy as np
from keras_edsr.data.degradation import Degradation
hr = np.arange(48 * 48 * 3, dtype=np.uint32).reshape(48, 48, 3) * 2654435761 >> 24
lr = Degradation.load("realesrgan")(hr.astype(np.uint8), 2, 5)
assert "keras" not in sys.modules and "tensorflow" not in sys.modules
print(lr.tobytes().hex())
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    hr = np.arange(48 * 48 * 3, dtype=np.uint32).reshape(48, 48, 3) * 2654435761 >> 24
    assert run.stdout.strip() == PRESETS["realesrgan"](hr.astype(np.uint8), 2, 5).tobytes().hex()


def test_the_seed_of_an_image_hangs_on_its_name_alone():
    assert image_seed(0, "Set14/baboon.png") == image_seed(0, "baboon.bmp")
    assert image_seed(0, "caf\udce9.png") != image_seed(0, "cafe.png")  # a name that is not UTF-8
    assert len({image_seed(seed, name) for seed in range(20) for name in "abcdef"}) == 120


@pytest.mark.parametrize("shape", [(30, 41), (30, 41, 1)])
@pytest.mark.parametrize("name", PRESETS)
def test_gray_images_keep_their_dimensions(name, shape):
    hr = photograph(30, 41, 1)
    assert PRESETS[name](hr.reshape(shape), 2, 1).shape == (15, 20, *shape[2:])


@pytest.mark.parametrize("seed", range(6))
def test_an_image_of_one_pixel_is_degraded_too(seed):
    for degradation in PRESETS.values():
        assert degradation(np.full((3, 2, 3), 99, np.uint8), 2, seed).shape == (1, 1, 3)


# === JSON ===


@pytest.mark.parametrize("name", PRESETS)
def test_json_brings_back_an_equal_degradation(name, tmp_path):
    PRESETS[name].save(tmp_path / "my.json")
    again = Degradation.load(tmp_path / "my.json")
    assert again == PRESETS[name]
    assert again.draw(11) == PRESETS[name].draw(11)


def test_json_may_be_short(tmp_path):
    text = {
        "steps": [{"step": "downscale", "methods": "area"}, {"step": "compress", "quality": 40, "codecs": ["webp"]}]
    }
    (tmp_path / "web.json").write_text(json.dumps(text))
    degradation = Degradation.load(str(tmp_path / "web.json"))
    assert degradation.name == "web"
    downscale, compress = degradation.draw(0)
    assert downscale["method"] == "area"
    assert (compress["codec"], compress["quality"]) == ("webp", 40)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": []}, "must have 'downscale' once"),
        ({"steps": [{"step": "downscale"}, {"step": "downscale"}]}, "must have 'downscale' once"),
        ({"steps": [{"step": "downscale"}, {"step": "resize"}]}, "no 'resize' after it"),
        ({"steps": [{"step": "either", "options": [[{"step": "downscale"}], []]}]}, "must have 'downscale' once"),
        ({"steps": [{"step": "sharpen"}]}, "one of"),
        ({"steps": ["downscale"]}, "JSON object with `step`"),
        ({"steps": {"step": "downscale"}}, "list of steps"),
        ({"steps": [{"step": "downscale", "method": "area"}]}, "no argument 'method'"),
        ({"steps": [{"step": "downscale", "methods": {"nearest": 1}}]}, "must have shares"),
        ({"steps": [{"step": "downscale", "methods": {"area": 0}}]}, "must have shares"),
        ({"steps": [{"step": "downscale"}, {"step": "compress", "quality": [95, 30]}]}, "lowest, highest"),
        ({"steps": [{"step": "downscale"}, {"step": "compress", "quality": 30.5}]}, "integers"),
        ({"steps": [{"step": "downscale"}, {"step": "compress", "quality": 101}]}, "from 1 to 100"),
        ({"steps": [{"step": "downscale"}, {"step": "noise", "sigma": "strong"}]}, "a number or"),
        ({"steps": [{"step": "downscale"}, {"step": "noise", "probability": 2}]}, "from 0 to 1"),
        ({"steps": [{"step": "resize", "factor": [0.2, 0.5], "enlarge": 0.5}]}, "`factor` must reach"),
        ({"steps": [{"step": "blur", "sigma": [0, 1]}]}, "from 0.01"),
        ({"name": "x"}, "with `steps`"),
        ({"steps": [], "seed": 1}, "with `steps`"),
        ([1], "with `steps`"),
    ],
)
def test_what_is_not_valid_is_said_in_one_line(values, message):
    with pytest.raises(ValueError, match=message) as error:
        Degradation.from_dict(values)
    assert "\n" not in str(error.value)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 200) | st.floats() | st.sampled_from(["blur", "area", "jpeg", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["step", "options", "area", "gaussian", "jpeg"]), inner, max_size=3)
    ),
    max_leaves=6,
)
_NAMES = ["kinds", "sigma", "methods", "factor", "enlarge", "keep", "quality", "codecs", "options", "kernel_size", "of"]


@hypothesis.given(
    st.lists(
        st.builds(
            lambda step, arguments: {"step": step, **arguments},
            st.sampled_from(["blur", "resize", "downscale", "noise", "compress", "either"]) | _VALUES,
            st.dictionaries(st.sampled_from(_NAMES), _VALUES, max_size=3),
        ),
        max_size=3,
    )
    | _VALUES
)
@hypothesis.settings(max_examples=150, deadline=None, derandomize=True)
def test_whatever_a_file_holds_is_a_degradation_or_one_line(steps):
    message, made = "", None
    try:
        made = Degradation.from_dict({"steps": steps})
    except ValueError as error:
        message = str(error)
    assert "\n" not in message
    assert made is None or made(photograph(8, 10), 2, 3).shape == (4, 5, 3)


def test_an_unknown_name_and_a_broken_file_are_said(tmp_path):
    with pytest.raises(ValueError, match="one of \\('bicubic'"):
        Degradation.load("phot")
    with pytest.raises(ValueError, match="Cannot read the degradation"):
        Degradation.load(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ValueError, match="not valid JSON"):
        Degradation.load(tmp_path / "bad.json")


@pytest.mark.parametrize("seed", [-1, 1.5, True, None])
def test_a_seed_is_an_integer(seed):
    with pytest.raises(ValueError, match="`seed`"):
        PRESETS["jpeg"](photograph(), 2, seed)


@pytest.mark.parametrize("image", [np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3)), np.zeros(8, np.uint8)])
def test_an_image_is_uint8_gray_or_rgb(image):
    with pytest.raises(ValueError, match="`hr` must be uint8"):
        PRESETS["jpeg"](image, 2)


# === Each step against a computation that is not ours ===


def test_bicubic_is_matlabs():
    hr = photograph(97, 122)
    assert np.array_equal(PRESETS["bicubic"](hr, 4, 3), imresize(hr[:96, :120], 1 / 4))


@pytest.mark.parametrize("quality", [5, 40, 95])
def test_jpeg_is_pillows_of_the_bicubic_image(quality):
    hr = photograph()
    expected = decoded(imresize(hr, 1 / 2), "JPEG", quality=quality, subsampling="4:2:0")
    assert np.array_equal(Degradation.load(f"jpeg-{quality}")(hr, 2), expected)


def test_a_shifted_grid_is_what_a_crop_of_a_larger_jpeg_has():
    image = photograph()
    shifted = Compress().apply(
        image, {"codec": "jpeg", "quality": 30, "subsampling": "4:4:4", "shift": (3, 5)}, (96, 120), None
    )
    large = np.pad(image, ((3, 0), (5, 0), (0, 0)), mode="edge")
    assert np.array_equal(shifted, decoded(large, "JPEG", quality=30, subsampling="4:4:4")[3:, 5:])
    # Between two blocks of a decoded JPEG the steps are larger than within one.
    steps = np.abs(np.diff(shifted.astype(float).sum(axis=-1), axis=0)).mean(axis=1)
    at_border = np.arange(3, 95 + 3) % 8 == 7
    assert steps[at_border].mean() > 1.5 * steps[~at_border].mean()


@pytest.mark.parametrize("sigma", [0.2, 0.7, 1.0, 2.5])
def test_an_isotropic_blur_is_scipys_gaussian_filter(sigma):
    image = photograph().astype(np.float32)
    ours = Blur(kinds={"isotropic": 1}, sigma=(sigma, sigma)).apply(
        image, {"kind": "isotropic", "sigma": (sigma, sigma)}, (0, 0), None
    )
    radius = max(1, math.ceil(4 * sigma))
    for channel in range(3):
        theirs = ndimage.gaussian_filter(image[..., channel].astype(float), sigma, mode="mirror", radius=radius)
        np.testing.assert_allclose(ours[..., channel], theirs, atol=1e-3)


@pytest.mark.parametrize("shape", [(50, 61, 3), (9, 9, 1), (1, 7, 3)])
@pytest.mark.parametrize("size", [3, 7])
def test_convolution_by_fourier_is_scipys(shape, size):
    image = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    kernel = kernels.gaussian_kernel(size, (0.8, 2.0), 0.5)
    ours = kernels.convolve(image, kernel)
    theirs = ndimage.convolve(image.astype(float), kernel[..., None], mode="mirror")
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_an_anisotropic_gaussian_is_scipys_density():
    kernel = kernels.gaussian_kernel(15, (1.0, 2.5), angle=0.6)
    turn = np.array([[math.cos(0.6), -math.sin(0.6)], [math.sin(0.6), math.cos(0.6)]])
    covariance = turn @ np.diag([1.0**2, 2.5**2]) @ turn.T
    y, x = np.mgrid[-7:8, -7:8]
    density = stats.multivariate_normal([0, 0], covariance).pdf(np.stack([x, y], axis=-1))
    np.testing.assert_allclose(kernel, density / density.sum(), rtol=1e-9)


def test_a_generalized_gaussian_and_a_plateau_have_their_published_forms():
    y, x = np.mgrid[-5:6, -5:6]
    form = (x / 1.5) ** 2 + (y / 1.5) ** 2
    expected = np.exp(-0.5 * form**2.5)
    np.testing.assert_allclose(kernels.gaussian_kernel(11, (1.5, 1.5), 0.3, 2.5), expected / expected.sum(), rtol=1e-9)
    expected = 1 / (form**1.5 + 1)
    np.testing.assert_allclose(kernels.plateau_kernel(11, (1.5, 1.5), 0.3, 1.5), expected / expected.sum(), rtol=1e-9)


@pytest.mark.parametrize("cutoff", [math.pi / 5, 2.0, math.pi])
def test_a_sinc_is_made_of_scipys_bessel_function(cutoff):
    y, x = np.mgrid[-10:11, -10:11]
    radius = np.hypot(x, y)
    with np.errstate(invalid="ignore"):
        expected = cutoff * special.j1(cutoff * radius) / (2 * np.pi * radius)
    expected[10, 10] = cutoff**2 / (4 * np.pi)
    np.testing.assert_allclose(kernels.sinc_kernel(21, cutoff), expected / expected.sum(), atol=1e-12)


@pytest.mark.parametrize("method", ["area", "bilinear", "lanczos"])
def test_the_other_ways_to_shrink_are_pillows_for_bytes_and_floats(method):
    image = photograph()
    resample = {
        "area": Image.Resampling.BOX,
        "bilinear": Image.Resampling.BILINEAR,
        "lanczos": Image.Resampling.LANCZOS,
    }
    expected = np.asarray(Image.fromarray(image).resize((30, 24), resample[method]))
    drawn = {"method": method, "linear": False}
    assert np.array_equal(degradation_steps.resize(image, (24, 30), drawn), expected)
    fractions = degradation_steps.resize(image.astype(np.float32), (24, 30), drawn)
    np.testing.assert_allclose(np.clip(fractions, 0, 255), expected, atol=1)


def test_area_is_the_mean_of_blocks():
    image = photograph().astype(np.float32)
    blocks = image.reshape(24, 4, 30, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(degradation_steps.resize(image, (24, 30), {"method": "area"}), blocks, atol=1e-3)


def test_the_mean_of_black_and_white_in_linear_light_is_188():
    stripes = np.zeros((8, 8, 3), np.uint8)
    stripes[:, ::2] = 255
    light = Degradation([Downscale("area", linear=1.0)])
    assert np.unique(light(stripes, 2)).tolist() == [188]  # sRGB's value of half the light
    assert np.unique(Degradation([Downscale("area")])(stripes, 2)).tolist() == [128]


def test_linear_light_and_back_changes_nothing():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    still = degradation_steps._in_light(lambda light, _: light, image, {"linear": True})
    np.testing.assert_allclose(still, image, atol=1e-3)


def noise_of(step, value, seed=0):
    image = np.full((200, 200, 3), value, np.float32)
    rng = np.random.RandomState(seed)
    return step.apply(image, step.draw(rng), (200, 200), rng) - image


@pytest.mark.parametrize("value", [64, 128])
def test_gaussian_noise_has_its_sigma_and_is_normal(value):
    noise = noise_of(Noise(sigma=(8, 8), gray=0), value)
    assert abs(noise.mean()) < 0.1
    assert noise.std() == pytest.approx(8, rel=0.02)
    assert stats.kstest(noise[..., 0].ravel() / 8, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.02


@pytest.mark.parametrize("value", [32, 128])
def test_poisson_noise_grows_with_the_root_of_the_brightness(value):
    noise = noise_of(Noise(kinds={"poisson": 1}, poisson=(0.5, 0.5), gray=0), value)
    assert noise.std() == pytest.approx(0.5 * 255 / 16 * math.sqrt(value / 255), rel=0.02)
    assert abs(noise.mean()) < 0.1


@pytest.mark.parametrize("kind", ["gaussian", "poisson"])
def test_gray_noise_is_the_same_in_all_channels(kind):
    noise = noise_of(Noise(kinds={kind: 1}, sigma=(5, 5), poisson=(1, 1), gray=1), 100)
    assert noise.std() > 2
    np.testing.assert_allclose(noise[..., 0], noise[..., 2], atol=1e-4)


# === What is drawn ===

PHOTO_DRAWS = [PRESETS["photo"].draw(seed) for seed in range(4000)]


def test_photo_is_as_mild_as_it_says():
    blurs, _, noises, codes = ([d for d in column if d] for column in zip(*PHOTO_DRAWS, strict=True))
    assert max(max(blur["sigma"]) for blur in blurs) <= 1
    assert 7.5 < max(noise.get("sigma", 0) for noise in noises) <= 8
    assert {code["quality"] for code in codes} == set(range(30, 96))


def test_photos_steps_come_as_often_as_they_should():
    for column, step in zip(zip(*PHOTO_DRAWS, strict=True), PRESETS["photo"].steps, strict=True):
        applied = sum(drawn is not None for drawn in column)
        assert stats.binomtest(applied, len(PHOTO_DRAWS), step.probability).pvalue > 1e-4
        kind, shares = {
            "blur": ("kind", "kinds"),
            "downscale": ("method", "methods"),
            "noise": ("kind", "kinds"),
            "compress": ("codec", "codecs"),
        }[step.name]
        for name, share in getattr(step, shares).items():
            count = sum(drawn[kind] == name for drawn in column if drawn)
            total = sum(getattr(step, shares).values())
            assert stats.binomtest(count, applied, share / total).pvalue > 1e-4


def test_ranges_are_drawn_evenly():
    sigmas = [blur["sigma"][0] for blur, *_ in PHOTO_DRAWS if blur]
    assert stats.kstest(sigmas, stats.uniform(0.2, 0.8).cdf).pvalue > 1e-4
    codes = [code for *_, code in PHOTO_DRAWS if code]
    qualities = np.bincount([code["quality"] for code in codes], minlength=96)[30:]
    assert stats.chisquare(qualities).pvalue > 1e-4
    places = np.bincount([16 * code["shift"][0] + code["shift"][1] for code in codes], minlength=256)
    assert stats.chisquare(places).pvalue > 1e-4


def test_realesrgan_draws_within_the_published_ranges():
    draws = [PRESETS["realesrgan"].draw(seed) for seed in range(1500)]
    first, resize1, noise1, jpeg1, second, resize2, noise2, last = zip(*draws, strict=True)
    for blurs, top in ((first, 3.0), (second, 1.5)):
        drawn = [blur for blur in blurs if blur]
        assert {blur["kernel_size"] for blur in drawn} == set(range(7, 22, 2))
        sigmas = [sigma for blur in drawn if blur["kind"] != "sinc" for sigma in blur["sigma"]]
        assert 0.2 <= min(sigmas) < 0.25
        assert top - 0.1 < max(sigmas) <= top
        for blur in drawn:
            if blur["kind"] == "sinc":
                assert (math.pi / 3 if blur["kernel_size"] < 13 else math.pi / 5) <= blur["cutoff"] <= math.pi
            elif blur["kind"] == "generalized":
                assert 0.5 <= blur["beta"] <= 4
            elif blur["kind"] == "plateau":
                assert 1 <= blur["beta"] <= 2
    assert stats.binomtest(sum(blur is not None for blur in second), len(draws), 0.8).pvalue > 1e-4
    for resizes, bounds, shares in ((resize1, (0.15, 1.5), (0.2, 0.7)), (resize2, (0.3, 1.2), (0.3, 0.4))):
        factors = np.array([resize["factor"] for resize in resizes])
        assert bounds[0] <= factors.min()
        assert factors.max() <= bounds[1]
        for count, share in zip((np.sum(factors > 1), np.sum(factors < 1)), shares, strict=True):
            assert stats.binomtest(int(count), len(draws), share).pvalue > 1e-4
    for noises, sigma, factor in ((noise1, (1, 30), (0.05, 3)), (noise2, (1, 25), (0.05, 2.5))):
        for noise in noises:
            name, bounds = ("sigma", sigma) if noise["kind"] == "gaussian" else ("factor", factor)
            assert bounds[0] <= noise[name] <= bounds[1]
    assert all(30 <= jpeg["quality"] <= 95 for jpeg in jpeg1)
    assert stats.binomtest(sum(either["option"] for either in last), len(draws), 0.5).pvalue > 1e-4


def test_resize_takes_its_factor_of_the_image_or_of_the_lr_size():
    image = photograph(80, 60).astype(np.float32)
    drawn = {"factor": 0.5, "method": "area"}
    assert Resize().apply(image, drawn, (20, 15), None).shape[:2] == (40, 30)
    assert Resize(of="lr").apply(image, drawn, (20, 15), None).shape[:2] == (10, 8)


def test_either_takes_each_of_its_options():
    either = Degradation([Either(((Downscale("area"),), (Downscale("bilinear"),)))])
    drawn = [either.draw(seed)[0]["steps"][0]["method"] for seed in range(50)]
    assert set(drawn) == {"area", "bilinear"}


def test_every_public_name_of_data_is_there_and_no_module_hides_one():
    for name in data.__all__:
        assert callable(getattr(data, name))
    assert not {module.name for module in pkgutil.iter_modules(data.__path__)} & set(data.__all__)


def test_the_example_of_the_manual_is_valid():
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "train.md").read_text()
    example = page.split("```json\n")[1].split("```")[0]
    made = Degradation.from_dict(json.loads(example))
    assert [step.name for step in made.steps] == ["downscale", "noise", "compress"]
