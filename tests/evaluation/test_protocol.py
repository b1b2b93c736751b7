import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_edsr import imresize
from keras_edsr.evaluation import evaluate, evaluate_images, psnr, score, ssim
from keras_edsr.image_ops import crop_border, crop_to_multiple, luma

# (set, scale): PSNR and SSIM of bicubic, of 8-bit RGB images throughout.
BICUBIC = {
    ("Set5", 2): (33.674, 0.9303),
    ("Set5", 3): (30.405, 0.8689),
    ("Set5", 4): (28.430, 0.8111),
    ("Set14", 2): (30.232, 0.8691),
    ("Set14", 3): (27.539, 0.7745),
    ("Set14", 4): (25.997, 0.7029),
}
# The paper's table 3, column "Bicubic" (facts §10.1).
PUBLISHED = {
    ("Set5", 2): (33.66, 0.9299),
    ("Set5", 3): (30.39, 0.8682),
    ("Set5", 4): (28.42, 0.8104),
    ("Set14", 2): (30.24, 0.8688),
    ("Set14", 3): (27.55, 0.7742),
    ("Set14", 4): (26.00, 0.7027),
}


def photo(height=60, width=72, channels=3, seed=0):
    """Smooth 8-bit noise: something that bicubic can guess in part."""
    rng = np.random.default_rng(seed)
    size = (height // 4, width // 4, channels) if channels else (height // 4, width // 4)
    coarse = rng.integers(0, 256, size).astype(np.uint8)
    return imresize(coarse, output_shape=(height, width))


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


@pytest.fixture
def hr_folder(tmp_path):
    save(tmp_path / "hr" / "a.png", photo())
    save(tmp_path / "hr" / "b.png", photo(61, 73, seed=1))
    save(tmp_path / "hr" / "gray.png", photo(48, 60, channels=0, seed=2))
    return tmp_path / "hr"


@pytest.fixture(scope="module")
def network():
    from keras_edsr.models import EDSR

    return EDSR(scale=2, num_blocks=1, filters=4, residual_scaling=1.0)


# === The known rows ===


@pytest.mark.parametrize(("name", "scale"), BICUBIC)
def test_bicubic_scores_as_known(shared_data, name, scale):
    result = evaluate("bicubic", shared_data / "eval" / name, scale)
    expected_psnr, expected_ssim = BICUBIC[name, scale]
    assert result["psnr"] == pytest.approx(expected_psnr, abs=0.002)
    assert result["ssim"] == pytest.approx(expected_ssim, abs=0.0002)


@pytest.mark.parametrize(("name", "scale"), PUBLISHED)
def test_the_published_bicubic_row_was_made_on_the_luma_alone(shared_data, name, scale):
    # As the scripts of those years: rgb2ycbcr of 8 bits, whose Y is 8 bits; down and up in double.
    scores = []
    for path in sorted((shared_data / "eval" / name).iterdir()):
        hr = crop_to_multiple(np.floor(luma(np.asarray(Image.open(path))) + 0.5), scale)
        sr = imresize(imresize(hr, 1 / scale), scale)
        sr = np.floor(np.clip(sr, 0, 255) + 0.5)
        sr, hr = crop_border(sr, scale), crop_border(hr, scale)
        scores.append((psnr(sr, hr), ssim(sr, hr)))
    expected_psnr, expected_ssim = PUBLISHED[name, scale]
    mean_psnr, mean_ssim = np.mean(scores, axis=0)
    assert mean_psnr == pytest.approx(expected_psnr, abs=0.01)
    assert mean_ssim == pytest.approx(expected_ssim, abs=0.001)


# === evaluate ===


def test_the_result_has_a_row_per_image_and_is_json(hr_folder):
    result = evaluate("bicubic", hr_folder, 2)
    assert [row["name"] for row in result["images"]] == ["a.png", "b.png", "gray.png"]
    assert (result["protocol"], result["scale"]) == ("benchmark", 2)
    for key in ("psnr", "ssim"):
        assert result[key] == pytest.approx(np.mean([row[key] for row in result["images"]]))
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_an_image_without_any_error_leaves_the_means_finite(tmp_path):
    save(tmp_path / "flat.png", np.full((40, 40, 3), 9, np.uint8))
    result = evaluate("bicubic", tmp_path, 2)
    assert result["psnr"] == 100
    json.dumps(result, allow_nan=False)


@pytest.mark.parametrize("protocol", ["benchmark", "div2k"])
def test_hr_is_cropped_to_a_multiple_and_downscaled_by_matlabs_older_rule(tmp_path, protocol):
    hr = photo(61, 74)
    path = save(tmp_path / "a.png", hr)
    hr = hr[:60, :72]
    sr = imresize(imresize(hr, 1 / 3, "replicate"), 3, "replicate")
    result = evaluate("bicubic", path, 3, protocol=protocol)
    assert (result["psnr"], result["ssim"]) == score(sr, hr, 3, protocol)


def test_hr_may_be_a_folder_a_file_or_some_files(hr_folder):
    whole = evaluate("bicubic", hr_folder, 2)["images"]
    assert evaluate("bicubic", str(hr_folder / "a.png"), 2)["images"] == whole[:1]
    files = [hr_folder / "gray.png", str(hr_folder / "a.png")]
    assert evaluate("bicubic", files, 2)["images"] == [whole[2], whole[0]]


def test_images_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for folder in ("one", "two"):
        save(tmp_path / folder / "a.png", photo())
    names = [row["name"] for row in evaluate("bicubic", tmp_path, 2)["images"]]
    assert names == ["one/a.png", "two/a.png"]


def test_lr_images_are_read_from_their_folder(hr_folder, tmp_path):
    # Another degradation than our own, so that it shows which LR was used.
    lr = tmp_path / "lr" / "X2"
    for name, height, width in (("a", 30, 36), ("b", 30, 36), ("gray", 24, 30)):
        image = Image.open(hr_folder / f"{name}.png")
        save(lr / f"{name}x2.png", np.asarray(image.resize((width, height), Image.Resampling.NEAREST)))
    result = evaluate("bicubic", hr_folder, 2, lr=tmp_path / "lr")
    hr = np.asarray(Image.open(hr_folder / "b.png"))[:60, :72]
    sr = imresize(np.asarray(Image.open(lr / "bx2.png")), 2)
    assert (result["images"][1]["psnr"], result["images"][1]["ssim"]) == score(sr, hr, 2)
    assert result["psnr"] < evaluate("bicubic", hr_folder, 2)["psnr"]


def test_progress_is_told_after_each_image(hr_folder):
    calls = []
    evaluate("bicubic", hr_folder, 2, progress=lambda *done: calls.append(done))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_bicubic_is_scored_without_tensorflow(tmp_path):
    save(tmp_path / "a.png", photo())
    code = (
        "import sys; from keras_edsr.evaluation import evaluate; "
        f"evaluate('bicubic', {str(tmp_path)!r}, 2); sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# === Networks ===


def test_a_network_is_scored_by_what_upscale_makes_of_the_lr_images(hr_folder, network):
    from keras_edsr.inference import upscale

    result = evaluate(network, hr_folder, 2)
    for row, file in zip(result["images"], ("a.png", "b.png", "gray.png"), strict=True):
        hr = crop_to_multiple(np.asarray(Image.open(hr_folder / file)), 2)
        sr = upscale(network, imresize(hr, 1 / 2))
        assert sr.shape == hr.shape
        assert (row["psnr"], row["ssim"]) == score(sr, hr, 2)


def test_self_ensemble_and_tile_size_reach_upscale(hr_folder, network):
    from keras_edsr.inference import upscale

    file = hr_folder / "a.png"
    hr = np.asarray(Image.open(file))
    sr = upscale(network, imresize(hr, 1 / 2), self_ensemble=True)
    result = evaluate(network, file, 2, self_ensemble=True, tile_size=16)
    assert result["psnr"] == pytest.approx(score(sr, hr, 2)[0], abs=1e-9)
    assert result["psnr"] != evaluate(network, file, 2)["psnr"]


def test_a_keras_file_scores_as_the_model_it_holds(hr_folder, network, tmp_path):
    network.save(tmp_path / "tiny.keras")
    from_file = evaluate(tmp_path / "tiny.keras", hr_folder, 2)
    assert from_file == evaluate(network, hr_folder, 2)


def test_a_network_of_one_channel_scores_gray_images_and_names_one_that_is_not(hr_folder):
    from keras_edsr.inference import upscale
    from keras_edsr.models import EDSR

    network = EDSR(2, 1, 4, 1.0, image_shape=(None, None, 1))
    hr = np.asarray(Image.open(hr_folder / "gray.png"))
    result = evaluate(network, hr_folder / "gray.png", 2)
    assert (result["psnr"], result["ssim"]) == score(upscale(network, imresize(hr, 1 / 2)), hr, 2)
    with pytest.raises(ValueError, match=r"a\.png: .*must have the model's 1 channels"):
        evaluate(network, hr_folder, 2)


# === evaluate_images ===


def test_images_of_another_program_score_as_ours(hr_folder, tmp_path):
    for file in hr_folder.iterdir():
        hr = crop_to_multiple(np.asarray(Image.open(file)), 2)
        sr = imresize(imresize(hr, 1 / 2), 2)
        save(tmp_path / "sr" / f"{file.stem}_x2_SR.png", sr)
    for protocol in ("benchmark", "div2k"):
        expected = evaluate("bicubic", hr_folder, 2, protocol=protocol)
        assert evaluate_images(tmp_path / "sr", hr_folder, 2, protocol) == expected


def test_a_gray_image_that_was_written_as_rgb_scores_as_gray(hr_folder, tmp_path):
    hr, sr = photo(48, 60, channels=0, seed=2), photo(48, 60, channels=0, seed=3)
    save(tmp_path / "sr" / "gray.png", np.dstack([sr] * 3))
    result = evaluate_images(tmp_path / "sr", hr_folder / "gray.png", 2)
    assert (result["psnr"], result["ssim"]) == score(sr, hr, 2)


def test_an_sr_image_may_have_the_size_of_the_whole_hr_image(hr_folder, tmp_path):
    whole = photo(61, 73, seed=3)
    save(tmp_path / "whole" / "b.png", whole)
    save(tmp_path / "cropped" / "b.png", whole[:60, :72])
    results = [evaluate_images(tmp_path / kind, hr_folder / "b.png", 2) for kind in ("whole", "cropped")]
    assert results[0] == results[1]


def test_progress_is_told_after_each_sr_image(hr_folder):
    calls = []
    copy = hr_folder.parent / "sr"
    shutil.copytree(hr_folder, copy)
    evaluate_images(copy, hr_folder, 2, progress=lambda *done: calls.append(done))
    assert calls == [(1, 3), (2, 3), (3, 3)]


# === Errors ===


def test_an_unknown_protocol_is_refused(hr_folder):
    for call in (
        lambda: evaluate("bicubic", hr_folder, 2, protocol="y"),
        lambda: evaluate_images(hr_folder, hr_folder, 2, "y"),
        lambda: score(photo(), photo(), 2, "y"),
    ):
        with pytest.raises(ValueError, match=r"`protocol` must be one of .*protocol='y'"):
            call()


def test_a_folder_without_images_is_named(tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path} has no file"):
        evaluate("bicubic", tmp_path, 2)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere does not exist"):
        evaluate("bicubic", tmp_path / "nowhere", 2)


def test_no_files_at_all_are_refused():
    with pytest.raises(ValueError, match="Received: no files"):
        evaluate("bicubic", [], 2)


def test_a_missing_counterpart_is_named(hr_folder, tmp_path):
    save(tmp_path / "some" / "a.png", photo(30, 36))
    for call in (
        lambda: evaluate("bicubic", hr_folder, 2, lr=tmp_path / "some"),
        lambda: evaluate_images(tmp_path / "some", hr_folder, 2),
    ):
        with pytest.raises(ValueError, match=r"b\.png"):
            call()


def test_an_lr_image_of_another_scale_is_named(hr_folder, tmp_path):
    save(tmp_path / "lr" / "a.png", photo(20, 24))
    with pytest.raises(ValueError, match=r"hr/a\.png and .*lr/a\.png: An LR image .*20x24.*60x72"):
        evaluate("bicubic", hr_folder / "a.png", 2, lr=tmp_path / "lr")


def test_an_sr_image_of_another_size_is_named(hr_folder, tmp_path):
    save(tmp_path / "sr" / "a.png", photo(40, 48))
    with pytest.raises(ValueError, match=r"hr/a\.png and .*sr/a\.png: .*\(40, 48, 3\).*\(60, 72, 3\)"):
        evaluate_images(tmp_path / "sr", hr_folder / "a.png", 2)


@pytest.mark.parametrize(
    ("shape", "protocol"), [((1, 40, 3), "benchmark"), ((12, 40, 3), "benchmark"), ((24, 40, 3), "div2k")]
)
def test_an_image_too_small_to_score_is_named(tmp_path, shape, protocol):
    save(tmp_path / "tiny.png", np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match=r"tiny\.png: .*Use a larger image"):
        evaluate("bicubic", tmp_path, 2, protocol=protocol)


@pytest.mark.parametrize("scale", [0, -2, 2.0, "2", True])
def test_a_scale_that_is_no_positive_integer_is_refused(hr_folder, scale):
    with pytest.raises(ValueError, match=r"^`scale` must be a positive integer"):
        evaluate("bicubic", hr_folder, scale)


def test_a_scale_that_the_network_lacks_is_refused(hr_folder, network):
    with pytest.raises(ValueError, match="`scale` must be one of the model's"):
        evaluate(network, hr_folder, 3)


def test_a_self_ensemble_of_bicubic_is_refused(hr_folder):
    with pytest.raises(ValueError, match=r"`self_ensemble`.*bicubic"):
        evaluate("bicubic", hr_folder, 2, self_ensemble=True)
