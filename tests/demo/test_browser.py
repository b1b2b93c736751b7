"""The demo's page in a real browser: Debian's Chromium, headless, driven by Playwright."""

import contextlib
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from demo_server import served, write_presets
from PIL import Image
from runs import photo

from keras_edsr import demo, upscale
from keras_edsr.image_io import read_picture, write_image
from keras_edsr.models import EDSR

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium")
FLAGS = ("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync")
FLAGS += ("disable-background-networking", "disable-component-update")  # it would ask its maker's hosts
SIZES = {"wide": {"width": 1400, "height": 900}, "phone": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def browser():
    pytest.importorskip("gradio", reason="the demo needs gradio: pip install 'keras-edsr[demo]'")
    playwright = pytest.importorskip("playwright.sync_api", reason="it is driven by playwright: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("there is no browser: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=[f"--{flag}" for flag in FLAGS])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory, browser):
    folder = write_presets(tmp_path_factory.mktemp("served"))
    keras.utils.set_random_seed(0)
    EDSR(2, 16, 48, 1.0).save_to_preset(folder / "slow")  # a picture of half a megapixel takes it many seconds
    with served(folder, "--max-pixels", "600000") as url:
        yield url, folder


@pytest.fixture(params=SIZES)
def size(request):
    return SIZES[request.param]


@contextlib.contextmanager
def opened(browser, server, size=SIZES["wide"], **options):
    """A page in a session of its own; checks that it asked nobody else for anything."""
    context = browser.new_context(viewport=size, **options)
    page = context.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server[0])
    page.wait_for_selector("#go[disabled]", timeout=60_000)
    yield page
    assert [url for url in asked if not url.startswith((server[0], "data:", "blob:"))] == []
    context.close()


def choose(page, path):
    """Gives the page a picture, in place of the one that it has."""
    field = page.locator("#picture input[type=file]")
    if not field.count():
        page.locator("#picture [aria-label='Clear']").click()
    field.set_input_files(path)


def choose_model(page, label):
    page.click("#model input")
    page.locator(f"[role=option][aria-label={label}]").click()
    page.wait_for_function(f"document.querySelector('#model input').value == '{label}'")


def press_upscale(page):
    page.wait_for_selector("#go:not([disabled])", timeout=60_000)
    page.click("#go")


def downloaded(page, folder):
    """Waits for the result; returns the path of what was downloaded."""
    page.wait_for_selector("#download", timeout=120_000)
    with page.expect_download() as waiting:
        page.click("#download")
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def write_photo(path, height=64, width=96, seed=0):
    write_image(path, photo(height, width, seed))
    return path


def assert_is_upscaled(path, source, model, scale, **options):
    np.testing.assert_array_equal(
        read_picture(path).image, upscale(model, read_picture(source).image, scale, **options)
    )


def test_a_picture_goes_up_and_comes_back_larger(browser, server, size, tmp_path):
    source = write_photo(tmp_path / "photo.png")
    with opened(browser, server, size) as page:
        choose(page, source)
        page.wait_for_selector("#preview img")
        assert page.inner_text("#note") == "photo.png: 96x64, becomes 192x128"
        choose_model(page, "small_mdsr")
        press_upscale(page)
        result = downloaded(page, tmp_path)
        assert result.name == "photo_x2.png"
        assert_is_upscaled(result, source, server[1] / "small_mdsr", 2)
        shown = page.locator("#slider img")
        page.wait_for_function("[...document.querySelectorAll('#slider img')].every(image => image.naturalWidth)")
        sizes = [shown.nth(i).evaluate("image => [image.naturalWidth, image.naturalHeight]") for i in range(2)]
        assert sizes == [[192, 128]] * 2  # both sides have every pixel
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_scale_model_and_self_ensemble_are_what_was_chosen(browser, server, tmp_path):
    source = write_photo(tmp_path / "photo.png")
    with opened(browser, server) as page:
        choose(page, source)
        page.locator("#scale label").nth(2).click()
        page.wait_for_function("document.querySelector('#note').innerText.includes('becomes 384x256')")
        choose_model(page, "small_x4")
        page.check("#ensemble input")
        press_upscale(page)
        result = downloaded(page, tmp_path)
    assert_is_upscaled(result, source, server[1] / "small_x4", 4, self_ensemble=True)


def test_a_sample_is_upscaled(browser, server, tmp_path):
    with opened(browser, server, color_scheme="dark") as page:
        choose_model(page, "small_mdsr")
        page.locator("#samples button").nth(1).click()
        press_upscale(page)
        result = downloaded(page, tmp_path)
    sample = Path(demo.__file__).parent / "samples" / "brick.png"
    assert_is_upscaled(result, sample, server[1] / "small_mdsr", 2)


def test_what_is_wrong_is_told_and_the_next_picture_works(browser, server, tmp_path):
    Image.new("L", (1000, 601)).save(tmp_path / "big.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "page.txt").write_text("no picture")
    source = write_photo(tmp_path / "photo.png")
    with opened(browser, server) as page:
        choose(page, tmp_path / "big.png")
        page.wait_for_selector("#note .error")
        assert "601,000 pixels (1000x601), and the limit is 600,000" in page.inner_text("#note")
        assert page.is_disabled("#go")
        choose(page, tmp_path / "broken.png")
        page.wait_for_function("document.querySelector('#note').innerText.includes('Cannot read the image broken.png')")
        assert page.is_disabled("#go")
        page.locator("#picture [aria-label='Clear']").click()
        page.wait_for_selector("#note p:not(.error)")
        choose(page, tmp_path / "page.txt")
        page.wait_for_selector(".toast-body >> text=Invalid file type")
        page.locator(".toast-close").first.click()
        choose(page, source)
        choose_model(page, "small_mdsr")
        press_upscale(page)
        assert_is_upscaled(downloaded(page, tmp_path), source, server[1] / "small_mdsr", 2)


def test_two_people_wait_for_one_another(browser, server, tmp_path):
    sources = [write_photo(tmp_path / f"{i}.png", 320, 480, i) for i in range(2)]
    with opened(browser, server) as first, opened(browser, server, SIZES["phone"]) as second:
        for page, source in zip((first, second), sources, strict=True):
            choose(page, source)
            choose_model(page, "small_mdsr")
            page.check("#ensemble input")
            page.wait_for_selector("#go:not([disabled])")
        for page in (first, second):
            press_upscale(page)
        for page, source in zip((first, second), sources, strict=True):
            result = downloaded(page, tmp_path)
            assert_is_upscaled(result, source, server[1] / "small_mdsr", 2, self_ensemble=True)


def test_work_is_stopped_by_the_button_and_by_leaving(browser, server, tmp_path):
    slow = write_photo(tmp_path / "slow.png", 600, 960)
    quick = write_photo(tmp_path / "quick.png")
    with opened(browser, server) as third:
        with opened(browser, server) as page:
            choose(page, slow)
            choose_model(page, "slow")
            press_upscale(page)
            page.wait_for_selector("#stop")
            page.wait_for_selector("#preview .progress-bar-wrap")
            page.click("#stop")
            page.wait_for_selector("#go:not([disabled])")
            assert page.locator("#download").count() == 0
            press_upscale(page)  # and leave
            page.wait_for_selector("#preview .progress-bar-wrap")
        choose(third, quick)
        choose_model(third, "small_mdsr")
        press_upscale(third)
        assert_is_upscaled(downloaded(third, tmp_path), quick, server[1] / "small_mdsr", 2)
    assert (server[1] / "stderr").read_text().count("Upscaling was stopped.") == 2  # not merely waited for
