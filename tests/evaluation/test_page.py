import re

import pytest

from keras_edsr.evaluation.crops import Box
from keras_edsr.evaluation.page import About, Pictures, Shown, page


def result(*psnrs, scale=2, protocol="benchmark"):
    images = [{"name": f"{i}.png", "psnr": psnr, "ssim": psnr / 100} for i, psnr in enumerate(psnrs)]
    mean = sum(psnrs) / len(psnrs)
    return {"psnr": mean, "ssim": mean / 100, "images": images, "protocol": protocol, "scale": scale}


def make(results, name="0.png", view=None, gain=8):
    box = Box(20, 40, 96, 96)
    about = About({label: label for label in results}, "Set", "made", [], "0.0", "today")
    srs = {label: Pictures(f"{i}.png", f"{i}-view.png", f"{i}-error.png") for i, label in enumerate(results)}
    shown = Shown(
        name, 400, 300, box, view or Box(0, 0, 300, 400), gain, "lr.png", Pictures("hr.png", "hr-view.png"), srs
    )
    return page(about, results, [shown])


def test_a_gain_over_the_baseline_has_a_sign():
    text = make({"bicubic": result(30.0), "better": result(31.5), "worse": result(29.754)})
    assert '<span class="more">+1.50 dB</span> to bicubic' in text
    assert '<span class="less">−0.25 dB</span> to bicubic' in text  # noqa: RUF001


def test_of_two_equal_scores_both_are_marked():
    text = make({"bicubic": result(30.0), "one": result(31.5), "two": result(31.5)})
    assert text.count('<strong class="best"><data') == 8  # PSNR and SSIM, of the image and of the mean


def test_one_model_alone_is_not_marked_as_the_best():
    text = make({"bicubic": result(30.0)})
    assert '<strong class="best"><data' not in text
    assert "bicubic errs most" in text


def test_the_slider_begins_with_the_baseline_and_the_best():
    text = make({"bicubic": result(30.0), "good": result(32.0), "fair": result(31.0)})
    assert re.findall(r'<option value="(.*?)" data-alt=".*?" selected>', text) == ["0-view.png", "1-view.png"]


def test_without_models_the_slider_begins_with_the_baseline_and_the_original():
    text = make({"bicubic": result(30.0)})
    assert re.findall(r'<option value="(.*?)" data-alt=".*?" selected>', text) == ["0-view.png", "hr-view.png"]


def test_the_region_is_marked_in_the_view():
    text = make({"bicubic": result(30.0)}, view=Box(10, 20, 200, 300))
    assert "left: 6.667%; top: 5.000%; width: 32.000%; height: 48.000%" in text
    assert "a part of the image, 300 × 200 pixels" in text  # noqa: RUF001
    assert "a part of the image" not in make({"bicubic": result(30.0)})


@pytest.mark.parametrize(("gain", "end"), [(16, "16"), (8, "32"), (1, "255")])
def test_the_legend_says_where_the_scale_of_errors_ends(gain, end):
    text = make({"bicubic": result(30.0)}, gain=gain)
    assert f"<span>0</span><span>{end} or more</span>" in text
    assert f"gain ×{gain}" in text  # noqa: RUF001


@pytest.mark.parametrize(
    ("protocol", "words"), [("benchmark", "the luma (BT.601"), ("div2k", "RGB without a border of 9 pixels")]
)
def test_the_protocol_is_told_in_words(protocol, words):
    assert words in make({"bicubic": result(30.0, scale=3, protocol=protocol)})


def test_dollars_and_braces_in_names_stay_what_they_are():
    text = make({"bicubic": result(30.0), "$css {psnr}": result(31.0)}, name="$name ${id} {x}.png")
    assert "$css {psnr}" in text
    assert "$name ${id} {x}.png" in text
