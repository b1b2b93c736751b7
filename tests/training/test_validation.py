import keras
import numpy as np
import pytest
from runs import photo, write_photos

from keras_edsr import evaluate
from keras_edsr.data import ImagePairs
from keras_edsr.models import EDSR, MDSR
from keras_edsr.training.validation import check_validation, validate


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_EDSR_CACHE", str(tmp_path / "cache"))
    return write_photos(tmp_path / "hr", 3, height=45, width=62)  # no multiples of 2, 3 and 4


def edsr(scale):
    keras.utils.set_random_seed(0)
    return EDSR(scale, 1, 4, 1.0)


@pytest.mark.parametrize("scale", [2, 4])
def test_it_is_what_evaluate_says(folder, scale):
    model = edsr(scale)
    found = validate(model, ImagePairs.from_folder(folder, scale))
    expected = evaluate(model, folder, scale)
    assert found.keys() == {"val_psnr", "val_ssim"}
    assert found == {"val_psnr": expected["psnr"], "val_ssim": expected["ssim"]}


def test_several_scales_are_told_apart_and_averaged(folder):
    keras.utils.set_random_seed(0)
    model = MDSR((2, 3), 1, 4)
    found = validate(model, ImagePairs.from_folder(folder, (2, 3)))
    expected = {scale: evaluate(model, folder, scale) for scale in (2, 3)}
    for name in ("psnr", "ssim"):
        for scale in (2, 3):
            assert found[f"val_{name}_x{scale}"] == expected[scale][name]
        mean = np.mean([expected[scale][name] for scale in (2, 3)])
        assert found[f"val_{name}"] == pytest.approx(mean, abs=1e-12)
    assert len(found) == 6


def test_every_image_is_shown_with_its_scale(folder):
    shown = {}
    validate(edsr(2), ImagePairs.from_folder(folder, 2), lambda name, *images: shown.update({name: images}))
    assert list(shown) == ["0.png x2", "1.png x2", "2.png x2"]
    lr, sr, hr = shown["0.png x2"]
    assert (lr.shape, sr.shape, hr.shape) == ((22, 31, 3), (44, 62, 3), (44, 62, 3))
    np.testing.assert_array_equal(hr, photo(45, 62)[:44])


@pytest.mark.parametrize(("height", "fits"), [(18, True), (17, False)])
def test_an_image_too_small_for_ssim_is_named_beforehand(height, fits):
    pairs = ImagePairs(["big.png", "small.png"], [photo(60, 60), photo(height, 60)], {3: lrs(3, 60, height)})
    if fits:
        check_validation(pairs)
        assert np.isfinite(validate(edsr(3), pairs)["val_ssim"])
    else:
        with pytest.raises(ValueError, match=r"small\.png in memory is too small to validate on: 15x60.* needs 17"):
            check_validation(pairs)


def lrs(scale, *heights):
    return [photo(height, 60)[: height // scale, : 60 // scale] for height in heights]
