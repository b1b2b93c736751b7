"""upscale: batches, any size, Pillow images, threads, the examples in its docstring."""

import doctest
import logging
import threading
import tracemalloc

import keras
import numpy as np
import pytest
from PIL import Image
from reference import images

from keras_edsr import imresize
from keras_edsr.inference import image as inference
from keras_edsr.inference import network, upscale
from keras_edsr.models import EDSR, MDSR


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return EDSR(2, 1, 4, 1.0)


@pytest.fixture(scope="module")
def mdsr():
    keras.utils.set_random_seed(0)
    return MDSR((2, 3), 1, 4)


# === Batches ===


@pytest.mark.parametrize("self_ensemble", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_batch_is_its_images_one_by_one(model, channels, self_ensemble):
    batch = images(5, 9, 7, channels).astype(np.uint8)
    sr = upscale(model, batch, tile_size=4, self_ensemble=self_ensemble)
    expected = [upscale(model, image, tile_size=None, self_ensemble=self_ensemble) for image in batch]
    np.testing.assert_array_equal(sr, expected)


def test_a_batch_that_does_not_fit_in_memory_is_cut(model, monkeypatch):
    calls = []
    batch = images(5, 9, 7, 3) / 255
    monkeypatch.setattr(network, "_images_together", lambda *_: 2)
    sr = upscale(model, batch, progress=lambda *call: calls.append(call))
    assert calls == [(126, 315), (252, 315), (315, 315)]
    np.testing.assert_allclose(sr, [upscale(model, image) for image in batch], atol=1e-5)


def test_small_images_run_together(model):
    calls = []
    upscale(model, images(50, 9, 7, 3) / 255, progress=lambda *call: calls.append(call))
    assert calls == [(50 * 63, 50 * 63)]


# === Memory ===


class Doubling:
    """A runtime that repeats each pixel, and takes next to no memory for it."""

    scales, halo, channels, filters, device_name = (2,), 8, 3, 1, "nothing"

    def __init__(self, free=None):
        self.free, self.largest = free, 0

    def bytes_per_pixel(self, scale):
        return 1000

    def free_memory(self):
        return self.free

    def run(self, tiles, scale):
        self.largest = max(self.largest, int(np.prod(tiles.shape[:3])))
        return tiles.repeat(scale, axis=1).repeat(scale, axis=2)


@pytest.mark.parametrize("shape", [(300, 400, 3), (50, 40, 40, 3)])
def test_a_tile_fits_in_the_memory_that_a_device_has(shape):
    device = Doubling(free=40e6)  # of which a quarter may be taken
    image = images(*shape).astype(np.uint8)
    np.testing.assert_array_equal(upscale(device, image), image.repeat(2, axis=-3).repeat(2, axis=-2))
    assert 2_000 < device.largest <= 10_000


def test_memory_that_a_runtime_keeps_is_given_back_after_a_large_image():
    runtime, calls = Doubling(), []
    runtime.release = lambda: calls.append(1)
    upscale(runtime, images(40, 50, 3) / 255)
    assert calls == []
    upscale(runtime, images(40, 50, 3) / 255, tile_size=20)
    assert calls == [1]


@pytest.mark.parametrize("rgba", [False, True])
def test_memory_is_that_of_the_result_and_a_tile(rgba):
    image = np.random.default_rng(0).integers(0, 256, (1500, 2000, 3 + rgba), np.uint8)
    tracemalloc.start()
    sr = upscale(Doubling(), image, tile_size=128)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sr.nbytes <= peak < (2.5 * sr.nbytes if rgba else 1.2 * sr.nbytes)


# === Any size ===


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float16])
@pytest.mark.parametrize("shape", [(9, 8), (9, 8, 3), (2, 9, 8, 4)])
@pytest.mark.parametrize(
    ("size", "sides"),
    [
        ({"scale": 1.5}, (14, 12)),
        ({"scale": 3.25}, (29, 26)),
        ({"width": 20}, (23, 20)),
        ({"height": 18, "width": 10}, (18, 10)),
        ({"fit": (100, 20)}, (20, 18)),
        ({"width": 8}, (9, 8)),
        ({"width": 4}, (5, 4)),
    ],
)
def test_any_size_is_met_in_the_same_kind(model, shape, dtype, size, sides):
    image = images(*shape) / 255
    if dtype not in (np.float32, np.float16):
        image = image * np.iinfo(dtype).max
    sr = upscale(model, image.astype(dtype), **size)
    expected = sides if len(shape) == 2 else (*shape[:-3], *sides, shape[-1])
    assert (sr.shape, sr.dtype) == (expected, dtype)
    assert sr.max() <= (1 if dtype in (np.float32, np.float16) else np.iinfo(dtype).max)


def test_a_size_between_is_the_next_scale_and_imresize(model):
    image = images(9, 8, 3).astype(np.uint8)
    sr = upscale(model, image, 1.5)
    exact = imresize(upscale(model, image / 255), output_shape=(14, 12)) * 255
    assert np.abs(sr - np.clip(exact, 0, 255)).max() < 0.51  # rounded once, if 16 bits are on the way


def test_a_chain_is_the_network_again(model):
    image = images(9, 8, 3) / 255
    np.testing.assert_allclose(upscale(model, image, 4), upscale(model, upscale(model, image)), atol=1e-6)
    eight = (image * 255).astype(np.uint8)
    sixteen = upscale(model, upscale(model, eight.astype(np.uint16) * 257))
    np.testing.assert_array_equal(upscale(model, eight, 4), np.rint(sixteen / 257))


def test_an_image_of_that_size_stays_as_it_is(model, caplog):
    caplog.set_level(logging.INFO, "keras_edsr")
    image = images(9, 8, 4).astype(np.uint8)
    sr = upscale(model, image, width=8)
    np.testing.assert_array_equal(sr, image)
    assert not np.shares_memory(sr, image)
    assert caplog.messages == ["8x9: the image has this size."]


def test_mdsr_takes_the_scale_that_is_enough(mdsr):
    image = images(9, 8, 3).astype(np.uint8)
    np.testing.assert_array_equal(upscale(mdsr, image, width=24), upscale(mdsr, image, 3))


def test_a_size_that_the_network_does_not_make_is_told(model, caplog):
    caplog.set_level(logging.INFO, "keras_edsr")
    upscale(model, images(9, 8) / 255, 2)
    assert not [message for message in caplog.messages if "imresize" in message or "by the network" in message]
    upscale(model, images(9, 8) / 255, 3)
    assert caplog.messages[-1] == "8x9, by the network x2 x2 32x36, by imresize 24x27."


@pytest.mark.parametrize(("size", "shape"), [({"scale": 8}, (9, 8, 3)), ({"scale": 3}, (2, 9, 8, 4))])
def test_progress_ends_at_its_total(model, size, shape):
    calls = []
    upscale(model, images(*shape) / 255, tile_size=5, progress=lambda *call: calls.append(call), **size)
    done, totals = zip(*calls, strict=True)
    assert len(set(totals)) == 1
    assert list(done) == sorted(set(done))
    assert done[-1] == totals[0]


# === Pillow images ===


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_a_pillow_image_comes_back_as_one(model, mode):
    pixels = images(6, 5, len(mode)).astype(np.uint8)
    sr = upscale(model, Image.fromarray(pixels.squeeze()))
    assert (sr.mode, sr.size) == (mode, (10, 12))
    np.testing.assert_array_equal(np.asarray(sr), upscale(model, pixels.squeeze()))


def test_pillow_images_of_other_modes_are_resolved(model):
    palette = Image.fromarray(images(6, 5, 3).astype(np.uint8)).quantize(8)
    np.testing.assert_array_equal(
        np.asarray(upscale(model, palette)), upscale(model, np.asarray(palette.convert("RGB")))
    )
    bits = Image.fromarray(images(6, 5) > 127)
    np.testing.assert_array_equal(np.asarray(upscale(model, bits)), upscale(model, np.asarray(bits.convert("L"))))
    deep = Image.fromarray((images(6, 5) * 257).astype(np.uint16))
    sr = upscale(model, deep)
    assert sr.mode == "I;16"
    np.testing.assert_array_equal(np.asarray(sr), upscale(model, np.asarray(deep)))


def test_what_lasts_of_info_is_kept(model):
    image = Image.fromarray(images(6, 5, 3).astype(np.uint8))
    image.info = {"icc_profile": b"profile", "exif": b"Exif\0\0", "gamma": 0.5}
    assert upscale(model, image, 1.5).info == {"icc_profile": b"profile", "exif": b"Exif\0\0"}


# === Threads, docstring ===


def test_threads_may_share_a_model():
    keras.utils.set_random_seed(0)
    model = EDSR(2, 1, 4, 1.0)  # not traced yet
    pictures = [images(20, 15 + i, 3, seed=i).astype(np.uint8) for i in range(8)]
    results = [None] * len(pictures)

    def work(i):
        results[i] = upscale(model, pictures[i], tile_size=9)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(pictures))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for picture, result in zip(pictures, results, strict=True):
        np.testing.assert_array_equal(result, upscale(model, picture, tile_size=9))


def test_cancelling_in_one_thread_leaves_the_model_to_others(model):
    def cancel(done, total):
        raise InterruptedError("enough")

    image = images(9, 8, 3).astype(np.uint8)
    expected = upscale(model, image)
    with pytest.raises(InterruptedError, match="enough"):
        upscale(model, image, progress=cancel)
    np.testing.assert_array_equal(upscale(model, image), expected)


def test_the_examples_in_the_docstring_run():
    finder = doctest.DocTestFinder()
    [test] = [test for test in finder.find(inference.upscale, "upscale") if test.examples]
    result = doctest.DocTestRunner().run(test)
    assert (result.failed, result.attempted > 5) == (0, True)


# === Floats ===


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1), (6, 5, 3), (6, 5, 4), (2, 6, 5, 3)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0, 255), r"must lie in \[0, 1\]. Received: values from 0 to 255. .*image / 255"),
        ((-0.5, 0.5), r"must lie in \[0, 1\]. Received: values from -0.5 to 0.5"),
        ((0, 1.01), r"must lie in \[0, 1\].*np\.clip"),
        ((0, np.nan), "must hold finite numbers. Received: NaN or infinity"),
        ((0, np.inf), "must hold finite numbers"),
        ((-np.inf, 1), "must hold finite numbers"),
    ],
)
def test_floats_lie_in_0_1_and_are_finite(model, shape, dtype, values, message):
    image = np.full(shape, 0.5, dtype)
    image.flat[0], image.flat[-1] = values
    for runtime in (None, "auto"):
        with pytest.raises(ValueError, match=message):
            upscale(model, image, runtime=runtime)


def test_a_float_photograph_is_that_of_uint8(shared_faults):
    with Image.open(shared_faults / "float_image_0_255" / "photo.png") as stored:
        photo = np.asarray(stored.convert("RGB"))
    with pytest.raises(ValueError, match="image / 255"):
        upscale("edsr_compact_x2", keras.utils.img_to_array(photo))
    spoilt = photo / 255
    spoilt[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        upscale("edsr_compact_x2", spoilt, runtime="auto")
    sr = upscale("edsr_compact_x2", (photo / 255).astype("float32"))
    assert np.abs(255 * sr - upscale("edsr_compact_x2", photo)).max() <= 0.51
