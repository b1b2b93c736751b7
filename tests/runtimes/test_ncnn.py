import concurrent.futures
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from reference import images, pair

from keras_edsr import imresize
from keras_edsr.image_io import read_image
from keras_edsr.inference import upscale
from keras_edsr.metrics import PSNR
from keras_edsr.models import EDSR, MDSR
from keras_edsr.runtimes import NcnnRuntime, ncnn, open_runtime
from keras_edsr.runtimes.ncnn_format import ncnn_networks

pytest.importorskip("ncnn", reason="needs ncnn: pip install 'keras-edsr[ncnn]'")

TOLERANCE = 3e-3  # gray levels, of float32 and Winograd; measured: 2e-4 to 5e-4 on nets of 4 to 64 filters


def model_of(family, scale, filters=8, **kwargs):
    keras.utils.set_random_seed(0)
    if family == "mdsr":
        return MDSR((2, 3, 4), 1, filters, **kwargs)
    return EDSR(scale, 2, filters, 0.5, **kwargs)


# === The same image as TensorFlow's ===


@pytest.mark.parametrize("family", ["edsr", "mdsr"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_ncnn_gives_what_tensorflow_gives(family, scale):
    model = model_of(family, scale)
    tiles = images(2, 21, 34, 3)
    sr = open_runtime(model, "ncnn").run(tiles, scale)
    assert (sr.dtype, sr.shape) == (np.float32, (2, 21 * scale, 34 * scale, 3))
    np.testing.assert_allclose(sr, open_runtime(model).run(tiles, scale), atol=TOLERANCE)


def test_x8_is_merged_too():
    model = model_of("edsr", 8)
    tiles = images(1, 7, 9, 3)
    np.testing.assert_allclose(
        open_runtime(model, "ncnn").run(tiles, 8), open_runtime(model).run(tiles, 8), atol=TOLERANCE
    )


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 2), (2, 2), (3, 3), (3, 17), (5, 4)])
@pytest.mark.parametrize("family", ["edsr", "mdsr"])
def test_the_smallest_images_are_right_up_to_the_edge(family, size):
    model = model_of(family, 2, 4)
    tiles = images(1, *size, 3)
    np.testing.assert_allclose(
        open_runtime(model, "ncnn").run(tiles, 2), open_runtime(model).run(tiles, 2), atol=TOLERANCE
    )


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_images_of_other_channels(channels):
    model = model_of("edsr", 2, image_shape=(None, None, channels))
    tiles = images(1, 12, 13, channels)
    np.testing.assert_allclose(
        open_runtime(model, "ncnn").run(tiles, 2), open_runtime(model).run(tiles, 2), atol=TOLERANCE
    )


def test_tiles_that_are_no_memory_of_their_own_are_read_right():
    model = model_of("edsr", 2)
    tiles = images(1, 20, 30, 3)
    turned = tiles[:, ::-1, 5:25].swapaxes(1, 2)
    expected = open_runtime(model).run(np.ascontiguousarray(turned), 2)
    np.testing.assert_allclose(open_runtime(model, "ncnn").run(turned, 2), expected, atol=TOLERANCE)


def test_a_result_outlives_the_runtime():
    model = model_of("edsr", 2)
    tiles = images(1, 16, 16, 3)
    first = open_runtime(model, "ncnn").run(tiles, 2)
    kept = first.copy()
    open_runtime(model, "ncnn").run(tiles[:, ::-1], 2)
    np.testing.assert_array_equal(first, kept)


def test_threads_share_a_runtime():
    runtime = open_runtime(model_of("edsr", 2), "ncnn")
    tiles = [images(1, 8 + i, 9, 3, seed=i) for i in range(8)]
    expected = [runtime.run(tile, 2) for tile in tiles]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for result, once in zip(pool.map(lambda tile: runtime.run(tile, 2), tiles), expected, strict=True):
            np.testing.assert_allclose(result, once, atol=1e-4)


# === Tiles, uint8, PSNR ===


@pytest.mark.parametrize("family", ["edsr", "mdsr"])
@pytest.mark.parametrize(("tile_size", "self_ensemble"), [(7, False), (16, True)])
def test_tiles_equal_the_whole_image(family, self_ensemble, tile_size):
    # In float: Winograd rounds by where in its block a pixel lies.
    runtime = open_runtime(model_of(family, 3), "ncnn")
    image = images(25, 19, 3) / 255
    tiled, whole = (
        upscale(runtime, image, 3, tile_size=size, self_ensemble=self_ensemble) for size in (tile_size, None)
    )
    np.testing.assert_allclose(255 * tiled, 255 * whole, atol=TOLERANCE)


@pytest.mark.parametrize("family", ["edsr", "mdsr"])
def test_an_image_differs_from_tensorflows_by_one_gray_level_in_few_values(family):
    model = model_of(family, 2, 16)
    image = images(64, 60, 3).astype(np.uint8)
    fast, reference = (upscale(model, image, 2, runtime=runtime).astype(int) for runtime in ("ncnn", "tensorflow"))
    different = np.abs(fast - reference)
    assert different.max() <= 1
    assert different.mean() < 1e-3


@pytest.fixture(scope="module")
def trained():
    """A small net after some steps: weights with some structure, as a user's."""
    model = model_of("edsr", 2, 16)
    yy, xx = np.mgrid[:96, :96]
    waves = [127 + 120 * np.sin(xx / (2 + k) + yy / (3 + k))[..., None] * [1, 0.8, 0.5] for k in range(8)]
    hr = np.stack(waves).clip(0, 255).astype(np.float32)
    lr = np.stack([imresize(each, 1 / 2) for each in hr])
    model.compile("adam", "mae")
    model.fit(lr, hr, batch_size=2, epochs=5, verbose=0)
    return model


def test_psnr_on_set5_is_the_same_within_two_thousandths(shared_data, trained):
    fast = open_runtime(trained, "ncnn")
    scores = {runtime: PSNR(crop_border=2, y_channel=True) for runtime in (fast, trained)}
    for path in sorted((shared_data / "eval" / "Set5").glob("*.png")):
        hr = read_image(path, 3)
        hr = hr[: hr.shape[0] // 2 * 2, : hr.shape[1] // 2 * 2]
        lr = imresize(hr, 1 / 2)
        images = {runtime: upscale(runtime, lr) for runtime in scores}
        assert np.abs(images[fast].astype(int) - images[trained]).max() <= 1
        for runtime, metric in scores.items():
            metric.update_state(hr[None], images[runtime][None])
    assert abs(float(scores[fast].result()) - float(scores[trained].result())) < 0.002


# === The runtime ===


def test_a_runtime_says_what_tiles_it_needs():
    model = model_of("mdsr", 2)
    runtime = open_runtime(model, "ncnn")
    assert (runtime.scales, runtime.halo, runtime.channels) == (model.scales, model.halo, 3)
    needs = [runtime.bytes_per_pixel(scale) for scale in (2, 3, 4)]
    assert 0 < needs[0] < needs[1] < needs[2]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="tells memory by Linux's /proc")
def test_memory_is_that_of_the_largest_tile_and_given_back(tmp_path):
    model_of("edsr", 2, 32).save_to_preset(tmp_path)
    program = (  # in a process of its own: in this one's memory are gaps that others left
        "import numpy, pathlib, resource, sys; from keras_edsr.runtimes import open_runtime\n"
        "def run(side): runtime.run(numpy.zeros((1, side, side, 3), 'float32'), 2)\n"
        "def resident(): return int(pathlib.Path('/proc/self/statm').read_text().split()[1]) * resource.getpagesize()\n"
        "runtime = open_runtime(sys.argv[1], 'ncnn'); run(8); before = resident()\n"
        "for side in (180, 210, 240, 270, 300): run(side)\n"
        "print(resident() - before); runtime.release(); print(resident() - before)\n"
        "print(300 * 300 * runtime.bytes_per_pixel(2))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    kept, left, told = map(int, done.stdout.split())
    assert told / 2 < kept < 1.3 * told  # with those of smaller tiles beside it: twice what is told
    assert left < kept / 4


def test_the_weights_are_those_of_the_time_it_was_made():
    model = model_of("edsr", 2)
    tiles = images(1, 8, 8, 3)
    runtime = open_runtime(model, "ncnn")
    before = runtime.run(tiles, 2)
    bias = model.get_layer("tail").bias
    bias.assign(bias + 50)
    np.testing.assert_array_equal(runtime.run(tiles, 2), before)
    np.testing.assert_allclose(open_runtime(model, "ncnn").run(tiles, 2), before + 50, atol=TOLERANCE)


def test_the_environment_is_left_as_it_was():
    code = (
        "import os; before = dict(os.environ); from keras_edsr.runtimes import ncnn; ncnn._import_ncnn(); "
        "assert dict(os.environ) == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_threads_are_as_many_as_asked_for(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert ncnn._num_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    assert ncnn._num_threads() >= 1


def test_a_missing_package_is_named(monkeypatch):
    networks = ncnn_networks(*pair(model_of("edsr", 2)))
    monkeypatch.setattr(ncnn, "is_installed", lambda: False)
    with pytest.raises(ValueError, match=r"pip install 'keras-edsr\[ncnn\]'"):
        NcnnRuntime(networks)


# === Vulkan ===


@pytest.mark.slow
@pytest.mark.parametrize("family", ["edsr", "mdsr"])
def test_a_gpu_gives_what_tensorflow_gives_on_the_cpu(family, tmp_path):
    model = model_of(family, 2)
    tiles = images(1, 20, 31, 3)
    np.save(tmp_path / "tiles.npy", tiles)
    model.save_to_preset(tmp_path / "preset")
    program = (  # without TensorFlow, which the driver in software can't bear
        "import numpy, sys; from keras_edsr.runtimes import open_runtime, ncnn\n"
        "if ncnn.gpu_name() is None: sys.exit('no GPU')\n"
        "runtime = open_runtime(sys.argv[1] + '/preset', 'ncnn', 'gpu')\n"
        "assert runtime.device_name == ncnn.gpu_name() and runtime.free_memory() > 0\n"
        "numpy.save(sys.argv[1] + '/sr.npy', runtime.run(numpy.load(sys.argv[1] + '/tiles.npy'), 2))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], stderr=subprocess.PIPE, text=True)
    if done.stderr.strip() == "no GPU":
        pytest.skip("no Vulkan device: install a driver, or mesa-vulkan-drivers for one in software")
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "sr.npy"), open_runtime(model).run(tiles, 2), atol=TOLERANCE)


def test_a_driver_that_would_crash_beside_tensorflow_is_refused(monkeypatch):
    monkeypatch.setattr(ncnn, "gpu_name", lambda: "llvmpipe (LLVM 15.0.6, 256 bits)")
    with pytest.raises(ValueError, match=r"llvmpipe \(LLVM .*crashes where TensorFlow is loaded"):
        open_runtime(model_of("edsr", 2), "ncnn", "gpu")


def test_without_a_gpu_the_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(ncnn, "gpu_name", lambda: None)
    with pytest.raises(ValueError, match="ncnn finds no GPU: it needs a driver for Vulkan"):
        open_runtime(model_of("edsr", 2), "ncnn", "gpu")
