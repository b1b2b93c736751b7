import concurrent.futures
import gc
import os
import weakref

import keras
import numpy as np
import pytest
from reference import images

from keras_edsr.models import EDSR, MDSR
from keras_edsr.runtimes import KerasRuntime, open_runtime


def tiny(scale=2, **kwargs):
    return EDSR(scale, 1, 4, 1.0, **kwargs)


# === A Keras model as a runtime ===


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_runtime_gives_what_predict_gives(scale):
    model = tiny(scale)
    tiles = images(2, 5, 7, 3)
    sr = open_runtime(model).run(tiles, scale)
    assert (type(sr), sr.dtype) == (np.ndarray, np.float32)
    np.testing.assert_allclose(sr, model.predict(tiles, verbose=0), rtol=1e-6)


@pytest.mark.parametrize("scale", [2, 3])
def test_a_runtime_of_mdsr_gives_each_scale(scale):
    model = MDSR((2, 3), 1, 4)
    tiles = images(1, 5, 7, 3)
    expected = model.predict(tiles, verbose=0)[f"x{scale}"]
    np.testing.assert_allclose(open_runtime(model).run(tiles, scale), expected, rtol=1e-6)


def test_a_runtime_of_mdsr_computes_one_branch():
    model = MDSR((2, 3), 1, 4)
    for weight in model.get_layer("pre_x3_0").weights:
        weight.assign(weight + np.nan)
    assert np.isfinite(open_runtime(model).run(images(1, 5, 7, 3), 2)).all()


def test_a_runtime_of_a_branch_has_one_scale():
    runtime = open_runtime(MDSR((2, 3), 1, 4).branch(3))
    assert runtime.scales == (3,)
    assert runtime.run(images(1, 2, 2, 3), 3).shape == (1, 6, 6, 3)


def test_a_runtime_says_what_tiles_it_needs():
    runtime = open_runtime(tiny(image_shape=(None, None, 1)))
    assert (runtime.scales, runtime.halo, runtime.channels) == ((2,), 6, 1)


def test_a_larger_scale_needs_more_memory_a_pixel():
    runtime = open_runtime(MDSR((2, 3, 4), 1, 4))
    needs = [runtime.bytes_per_pixel(scale) for scale in (2, 3, 4)]
    assert sorted(needs) == needs
    assert needs[0] > 0


def test_no_size_of_a_tile_is_traced_again():
    model = tiny()
    head, traces = model.get_layer("head"), []
    call = head.call
    head.call = lambda inputs: traces.append(1) or call(inputs)
    for shape in [(1, 5, 5, 3), (1, 8, 3, 3), (2, 5, 5, 3), (1, 1, 1, 3)]:
        open_runtime(model).run(images(*shape), 2)
    assert len(traces) == 1


def test_a_runtime_follows_the_weights():
    model = tiny()
    tiles = images(1, 4, 4, 3)
    before = open_runtime(model).run(tiles, 2)
    bias = model.get_layer("tail").bias
    bias.assign(bias + 5)
    np.testing.assert_allclose(open_runtime(model).run(tiles, 2), before + 5, rtol=1e-5)


def test_a_mixed_precision_model_gives_float32():
    assert open_runtime(tiny(dtype="mixed_bfloat16")).run(images(1, 4, 4, 3), 2).dtype == np.float32


def test_a_model_of_a_fixed_size_takes_tiles_of_any_size():
    runtime = open_runtime(tiny(image_shape=(8, 8, 3)))
    assert runtime.run(images(1, 5, 4, 3), 2).shape == (1, 10, 8, 3)


def test_threads_share_a_runtime():
    model = tiny()
    tiles = [images(1, 4 + i, 5, 3, seed=i) for i in range(8)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda tile: open_runtime(model).run(tile, 2), tiles))
    for tile, result in zip(tiles, results, strict=True):
        np.testing.assert_allclose(result, model(tile), rtol=1e-5)


# === From a name to a runtime ===


def test_a_model_keeps_its_runtime():
    model = tiny()
    assert open_runtime(model) is open_runtime(model)


@pytest.mark.parametrize("build", [tiny, lambda: MDSR((2, 3), 1, 4)])
def test_a_runtime_does_not_keep_its_model_alive(build):
    model = build()
    open_runtime(model).run(images(1, 3, 3, 3), 2)
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("as_path", [str, lambda path: path])
def test_a_keras_file_is_opened(tmp_path, as_path):
    model = tiny()
    model.save(tmp_path / "m.keras")
    tiles = images(1, 4, 4, 3)
    runtime = open_runtime(as_path(tmp_path / "m.keras"))
    np.testing.assert_array_equal(runtime.run(tiles, 2), open_runtime(model).run(tiles, 2))


def test_a_file_is_read_once(tmp_path):
    tiny().save(tmp_path / "m.keras")
    assert open_runtime(tmp_path / "m.keras") is open_runtime(tmp_path / "m.keras")


def test_a_file_that_has_changed_is_read_again(tmp_path):
    path = tmp_path / "m.keras"
    tiny(2).save(path)
    assert open_runtime(path).scales == (2,)
    tiny(3).save(path)
    os.utime(path, (1, 1))
    assert open_runtime(path).scales == (3,)


def refusal(model):
    with pytest.raises(ValueError, match="model") as raised:
        open_runtime(model)
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_a_missing_file_is_refused(tmp_path):
    assert "No such file" in refusal(tmp_path / "no.keras")


def test_a_folder_is_refused(tmp_path):
    assert "must be a .keras file" in refusal(tmp_path)


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "m.h5").write_bytes(b"")
    assert "must be a .keras file" in refusal(tmp_path / "m.h5")


@pytest.mark.parametrize("size", [0, 10, 1000, -100])
def test_a_damaged_file_is_refused(tmp_path, size):
    path = tmp_path / "m.keras"
    tiny().save(path)
    path.write_bytes(path.read_bytes()[:size])
    assert refusal(path).startswith(f"{path} is no model that keras_edsr can load: ")


def test_a_text_file_is_refused(tmp_path):
    path = tmp_path / "m.keras"
    path.write_text("not a zip")
    assert "is no model that keras_edsr can load" in refusal(path)


def test_a_model_of_another_package_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 3)])
    model.save(tmp_path / "m.keras")
    assert "must be an EDSR, an MDSR or a branch" in refusal(tmp_path / "m.keras")


def test_a_clone_is_refused_with_what_to_do_instead():
    message = refusal(keras.models.clone_model(tiny()))
    assert "clone_model" in message
    assert "from_config" in message


@pytest.mark.parametrize("model", [None, 3, np.zeros(3), EDSR])
def test_what_is_no_model_is_refused(model):
    assert "`model` must be an EDSR, an MDSR" in refusal(model)


def test_a_runtime_can_be_made_directly():
    assert KerasRuntime(tiny(3)).scales == (3,)
