import json

import keras
import numpy as np
import pytest
from reference import images, pair

from keras_edsr.models import EDSR, MDSR
from keras_edsr.network.about import FORMAT
from keras_edsr.runtimes.ncnn_format import ncnn_files, ncnn_networks, read_ncnn


def tiny(scale=2, **kwargs):
    keras.utils.set_random_seed(0)
    return EDSR(scale, 1, 4, 1.0, **kwargs)


def write(folder, files):
    for name, content in files.items():
        (folder / name).write_bytes(content)


def test_edsr_is_three_files_whose_names_end_in_the_scale():
    files = ncnn_files(ncnn_networks(*pair(tiny(3))), "photo")
    assert sorted(files) == ["photo-x3.bin", "photo-x3.json", "photo-x3.param"]


def test_mdsr_is_one_network_for_each_scale():
    files = ncnn_files(ncnn_networks(*pair(MDSR((2, 4), 1, 4))), "m")
    assert sorted(name for name in files if name.endswith(".param")) == ["m-x2.param", "m-x4.param"]


def test_a_branch_is_the_network_of_its_scale():
    model = MDSR((2, 3), 1, 4)
    assert ncnn_files(ncnn_networks(*pair(model.branch(3))), "m").keys() == {"m-x3.bin", "m-x3.json", "m-x3.param"}


def test_the_json_says_what_it_is():
    files = ncnn_files(ncnn_networks(*pair(MDSR((2, 3), 2, 4, image_shape=(None, None, 1)))), "m")
    assert json.loads(files["m-x3.json"]) == {
        "format": FORMAT,
        "family": "mdsr",
        "scale": 3,
        "halo": 16,
        "channels": 1,
        "filters": 4,
        "num_blocks": 2,
    }


def test_other_programs_find_the_blobs_they_look_for():
    # realesrgan.cpp of Real-ESRGAN-ncnn-vulkan: ex.input("data", …), ex.extract("output", …)
    lines = ncnn_files(ncnn_networks(*pair(tiny())), "m")["m-x2.param"].decode().splitlines()
    assert lines[2].split() == ["Input", "data", "0", "1", "data"]
    assert lines[-1].split()[5] == "output"


def test_other_programs_have_the_layers():
    # The ncnn in Real-ESRGAN-ncnn-vulkan has a few layers: "layer Scale not exists or registered". These are those of
    # its own models (realesr-animevideov3-x2.param) but for PReLU and Interp.
    lines = ncnn_files(ncnn_networks(*pair(MDSR((2, 3), 1, 4))), "m")["m-x3.param"].decode().splitlines()
    assert {line.split()[0] for line in lines[2:]} == {"Input", "Split", "Convolution", "BinaryOp", "PixelShuffle"}


@pytest.mark.parametrize(
    ("scale", "options"),
    [
        *((scale, {"mean": (30, 100, 220)}) for scale in (1, 2, 3, 4, 8)),
        (3, {"mean": 0}),
        (2, {"upsampler": "direct", "mean": 0}),
        (3, {"upsampler": "direct", "mean": (30, 100, 220)}),
    ],
)
def test_the_files_alone_give_the_models_image_for_rgb_in_0_to_1(scale, options, tmp_path):
    # As another program would run them: through ncnn's files, its defaults but for half precision, no code of ours.
    ncnn = pytest.importorskip("ncnn", reason="needs ncnn: pip install 'keras-edsr[ncnn]'")
    model = tiny(scale, **options)
    write(tmp_path, ncnn_files(ncnn_networks(*pair(model)), "m"))
    image = images(1, 9, 8, 3)
    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    assert net.load_param(str(tmp_path / f"m-x{scale}.param")) == 0
    assert net.load_model(str(tmp_path / f"m-x{scale}.bin")) == 0
    extractor = net.create_extractor()
    planes = np.ascontiguousarray(image[0].transpose(2, 0, 1)) / np.float32(255)
    extractor.input("data", ncnn.Mat(planes).clone())  # ncnn's own memory is aligned
    status, output = extractor.extract("output")
    assert status == 0
    np.testing.assert_allclose(np.array(output).transpose(1, 2, 0) * 255, model(image)[0], atol=2e-3)


def test_residual_scaling_is_in_the_weights():
    model = EDSR(2, 1, 4, 0.1)
    graph, _ = ncnn_networks(*pair(model))[2]
    kernel = next(layer for layer in graph.layers if layer.name == "body_0_conv_2").weights[0]
    expected = 0.1 * model.get_layer("body_0").conv_2.kernel.numpy().transpose(3, 2, 0, 1)
    np.testing.assert_allclose(kernel, expected, rtol=1e-6)


def test_what_is_written_is_read(tmp_path):
    networks = ncnn_networks(*pair(MDSR((2, 3), 1, 4)))
    write(tmp_path, ncnn_files(networks, "m"))
    again = read_ncnn(tmp_path)
    assert again.keys() == {2, 3}
    for scale, (graph, about) in again.items():
        assert graph.weights() == networks[scale][0].weights()
        assert about == networks[scale][1]._replace(parameters=None)


def test_one_param_is_one_scale(tmp_path):
    write(tmp_path, ncnn_files(ncnn_networks(*pair(MDSR((2, 3), 1, 4))), "m"))
    assert read_ncnn(tmp_path / "m-x3.param").keys() == {3}


def refusal(path):
    with pytest.raises(ValueError, match="is not an ncnn model that keras_edsr can load") as raised:
        read_ncnn(path)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_folder_without_models_is_refused(tmp_path):
    assert "no .param" in refusal(tmp_path)


def test_a_folder_with_two_models_of_one_scale_is_refused(tmp_path):
    for name in "ab":
        write(tmp_path, ncnn_files(ncnn_networks(*pair(tiny())), name))
    assert "name the .param of one" in refusal(tmp_path)
    assert read_ncnn(tmp_path / "b-x2.param")


@pytest.mark.parametrize("missing", ["m-x2.bin", "m-x2.json"])
def test_a_missing_file_is_refused(tmp_path, missing):
    write(tmp_path, ncnn_files(ncnn_networks(*pair(tiny())), "m"))
    (tmp_path / missing).unlink()
    assert missing in refusal(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, '{"format": 1, "scale": "2"}'])
def test_a_json_of_something_else_is_refused(tmp_path, text):
    write(tmp_path, ncnn_files(ncnn_networks(*pair(tiny())), "m"))
    (tmp_path / "m-x2.json").write_text(text)
    refusal(tmp_path)


def test_another_version_is_refused(tmp_path):
    files = ncnn_files(ncnn_networks(*pair(tiny())), "m")
    write(tmp_path, files)
    about = json.loads(files["m-x2.json"])
    (tmp_path / "m-x2.json").write_text(json.dumps({**about, "format": FORMAT + 1}))
    assert "another version of keras_edsr" in refusal(tmp_path)
