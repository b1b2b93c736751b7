"""info: what a file is, told by files that other programs wrote: PyTorch, Keras, TensorFlow Lite, onnx, ncnn's own."""

import contextlib
import itertools
import math
import shutil
from dataclasses import replace
from pathlib import Path

import hypothesis
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st
from places import TORCH_CHECKPOINTS
from reference import pair

from keras_edsr import EDSR, MDSR
from keras_edsr.checkpoints.reader import read_file
from keras_edsr.info.describe import describe
from keras_edsr.info.presets import facts
from keras_edsr.info.recognize import recognize
from keras_edsr.info.text import page
from keras_edsr.network import Network
from keras_edsr.network.arrays import weight_shapes
from keras_edsr.runtimes.ncnn_format import ncnn_files, ncnn_networks

SIZES = ("family", "scales", "num_blocks", "filters", "channels", "halo")


def sizes(about):
    return tuple(about[name] for name in SIZES)


def refusal(path):
    with pytest.raises(ValueError, match=r"\S") as raised:
        describe(path)
    message = str(raised.value)
    assert "\n" not in message
    assert str(path) in message
    return message


# === By kernels ===

networks = st.builds(
    Network,
    st.just("EDSR"),
    st.sampled_from([(2,), (3,), (4,), (8,)]),
    st.integers(1, 40),
    st.sampled_from([8, 32, 64, 256]),
    image_shape=st.sampled_from([(None, None, channels) for channels in (1, 3, 4)]),
) | st.builds(
    Network,
    st.just("MDSR"),
    st.sampled_from([scales for n in (1, 2, 3, 4) for scales in itertools.combinations((2, 3, 4, 8), n)]),
    st.integers(1, 80),
    st.sampled_from([16, 64]),
)


def kernels_of(network):
    return [shape for shape in weight_shapes(network).values() if len(shape) == 4]


@hypothesis.settings(deadline=None, derandomize=True)
@hypothesis.given(networks)
def test_a_network_is_known_by_its_kernels_in_any_order(network):
    assert recognize(kernels_of(network)) == network
    assert recognize(sorted(kernels_of(network))) == network


@pytest.mark.parametrize("left_out", range(9))
def test_with_a_kernel_less_or_more_it_is_none(left_out):
    kernels = kernels_of(Network("MDSR", (2, 3), 2, 16))
    kinds = list(dict.fromkeys(kernels))
    if left_out < len(kinds):
        kernels.remove(kinds[left_out])
    else:
        kernels.append((1, 1, 16, 16))
    assert recognize(kernels) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("edsr_x2.pt", ("EDSR", (2,), 2, 8, 3, 8)),
        ("edsr_x3.safetensors", ("EDSR", (3,), 2, 8, 3, 8)),
        ("edsr_x8_legacy_module.pt", ("EDSR", (8,), 2, 8, 3, 8)),
        ("mdsr.pt", ("MDSR", (2, 3, 4), 2, 8, 3, 16)),
    ],
)
def test_pytorchs_files_have_the_kernels_of_their_network(name, expected):
    tensors = read_file(TORCH_CHECKPOINTS / name).tree
    shapes = [tensor.shape for key, tensor in tensors.items() if len(tensor.shape) == 4 and "mean" not in key]
    network = recognize([(height, width, ins, outs) for outs, ins, height, width in shapes])
    assert tuple(facts(network)[name] for name in SIZES) == expected


# === Keras and PyTorch ===


def test_a_keras_file_of_edsr(tmp_path):
    model = EDSR(4, 3, 8, 0.1)
    model.save(tmp_path / "m.keras")
    about = describe(tmp_path / "m.keras")
    assert sizes(about) == ("EDSR", (4,), 3, 8, 3, 10)
    assert (about["format"], about["residual_scaling"]) == ("keras", 0.1)
    assert about["parameters"] == sum(math.prod(weight.shape) for weight in model.trainable_weights)
    assert about["inputs"][0]["shape"] == [None, None, None, 3]
    assert [tensor["shape"] for tensor in about["outputs"]] == [[None, None, None, 3]]


def test_a_keras_file_of_mdsr_and_of_a_branch(tmp_path):
    model = MDSR((2, 3), 1, 4)
    model.save(tmp_path / "m.keras")
    model.branch(3).save(tmp_path / "b.keras")
    about, branch = describe(tmp_path / "m.keras"), describe(tmp_path / "b.keras")
    assert sizes(about) == ("MDSR", (2, 3), 1, 4, 3, 14)
    assert [tensor["name"] for tensor in about["outputs"]] == ["x2", "x3"]
    assert sizes(branch) == ("MDSR", (3,), 1, 4, 3, 14)
    assert branch["parameters"] < about["parameters"]


def test_a_keras_file_of_something_else(tmp_path):
    keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(5, 3)]).save(tmp_path / "m.keras")
    about = describe(tmp_path / "m.keras")
    assert (about["family"], about["parameters"]) == (None, 3 * 3 * 3 * 5 + 5)
    assert about["inputs"][0]["shape"] == [None, 8, 8, 3]
    assert "neither EDSR nor MDSR" in page(about)


@pytest.mark.parametrize(
    ("name", "file_format", "layout", "expected"),
    [
        ("edsr_x2.pt", "torch", "edsr-pytorch", ("EDSR", (2,), 2, 8, 3, 8)),
        ("edsr_x3_legacy.pt", "torch-legacy", "edsr-pytorch", ("EDSR", (3,), 2, 8, 3, 8)),
        ("edsr_x3.safetensors", "safetensors", "edsr-pytorch", ("EDSR", (3,), 2, 8, 3, 8)),
        ("edsr_x4_basicsr.pth", "torch", "basicsr", ("EDSR", (4,), 2, 8, 3, 8)),
        ("pytorch_model_2x.pt", "torch", "super-image", ("EDSR", (2,), 2, 8, 3, 8)),
        ("mdsr_legacy.pt", "torch-legacy", "edsr-pytorch", ("MDSR", (2, 3, 4), 2, 8, 3, 16)),
    ],
)
def test_a_checkpoint_of_pytorch(name, file_format, layout, expected):
    about = describe(TORCH_CHECKPOINTS / name)
    assert sizes(about) == expected
    assert (about["format"], about["layout"], about["dtype"]) == (file_format, layout, "float32")
    weights = read_file(TORCH_CHECKPOINTS / name).tree
    weights = weights.get("params", weights)
    assert about["parameters"] == sum(t.numel for key, t in weights.items() if "mean" not in key)
    assert about["inputs"] == about["outputs"] == [{"name": "x", "shape": [None, 3, None, None], "dtype": "float32"}]
    assert "residual_scaling=1.0, as published" in page(about)


# === Exported networks ===


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """An EDSR x3 and an MDSR x2, x4, as Keras and TensorFlow Lite export them."""
    folder = tmp_path_factory.mktemp("exported")
    for name, model in {"edsr": EDSR(3, 2, 4, 1.0), "mdsr": MDSR((2, 4), 1, 4)}.items():
        model.export(folder / name, verbose=False)
        lite = tf.lite.TFLiteConverter.from_saved_model(str(folder / name)).convert()
        (folder / f"{name}.tflite").write_bytes(lite)
    return folder


def test_a_saved_model(exported):
    about = describe(exported / "edsr")
    assert sizes(about) == ("EDSR", (3,), 2, 4, 3, 8)
    assert (about["format"], about["parameters"]) == ("saved_model", EDSR(3, 2, 4, 1.0).count_params())
    for taken, made, signature in zip(about["inputs"], about["outputs"], ("serve", "serving_default"), strict=True):
        assert (taken["signature"], made["signature"]) == (signature, signature)
        assert (taken["shape"], taken["dtype"]) == ([None, None, None, 3], "float32")


def test_a_saved_model_of_mdsr(exported):
    about = describe(exported / "mdsr")
    assert sizes(about) == ("MDSR", (2, 4), 1, 4, 3, 14)
    assert about["parameters"] == MDSR((2, 4), 1, 4).count_params()
    assert {tensor["name"] for tensor in about["outputs"]} == {"x2", "x4"}


def test_a_folder_of_versions_is_its_last(exported, tmp_path):
    shutil.copytree(exported / "edsr", tmp_path / "9")
    shutil.copytree(exported / "mdsr", tmp_path / "10")
    assert describe(tmp_path)["family"] == "MDSR"


@pytest.mark.parametrize("name", ["edsr", "mdsr"])
def test_a_tflite_file(exported, name):
    about, saved = describe(exported / f"{name}.tflite"), describe(exported / name)
    assert sizes(about) == sizes(saved)
    assert (about["format"], about["parameters"]) == ("tflite", saved["parameters"])
    assert about["inputs"][0]["shape"] == [None, None, None, 3]
    assert {tensor["shape"][-1] for tensor in about["outputs"]} == {3}
    assert len(about["outputs"]) == len(about["scales"])


@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs:UserWarning")
def test_a_tflite_file_of_integers(tmp_path):
    converter = tf.lite.TFLiteConverter.from_keras_model(EDSR(2, 1, 4, 1.0, image_shape=(8, 8, 3)))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([np.full((1, 8, 8, 3), 9.0 * i, np.float32)] for i in range(9))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    (tmp_path / "m.tflite").write_bytes(converter.convert())
    about = describe(tmp_path / "m.tflite")
    assert sizes(about) == ("EDSR", (2,), 1, 4, 3, 6)
    assert (about["inputs"][0]["dtype"], about["inputs"][0]["shape"]) == ("uint8", [None, 8, 8, 3])
    assert about["outputs"][0]["shape"][1:] == [16, 16, 3]


def test_an_onnx_file(tmp_path):
    onnx = pytest.importorskip("onnx", reason="needs onnx: pip install 'keras-edsr[onnx]'")
    tensors = read_file(TORCH_CHECKPOINTS / "edsr_x2.pt").tree
    names = [name for name in tensors if name.endswith(".weight") and "mean" not in name]
    weights = [onnx.numpy_helper.from_array(tensors[name].read(), name) for name in names]
    nodes, x = [], "x"
    for i, name in enumerate(names):
        nodes.append(onnx.helper.make_node("Conv", [x, name], [f"y{i}"], pads=[1, 1, 1, 1]))
        x = f"y{i}"
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, f"{name}_height", 2])
        for name in ("x", x)
    ]
    onnx.save(
        onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)), tmp_path / "a.onnx"
    )
    about = describe(tmp_path / "a.onnx")
    assert sizes(about) == ("EDSR", (2,), 2, 8, 3, 8)
    assert about["inputs"] == [{"name": "x", "shape": [1, 3, None, 2], "dtype": "float32"}]
    assert [tensor["name"] for tensor in about["outputs"]] == [x]


@pytest.fixture
def ncnn_folder(tmp_path):
    folder = tmp_path / "ncnn"
    folder.mkdir()
    for name, content in ncnn_files(ncnn_networks(*pair(MDSR((2, 3), 1, 4))), "model").items():
        (folder / name).write_bytes(content)
    return folder


def test_one_of_ncnns_files(ncnn_folder):
    about = describe(ncnn_folder / "model-x3.param")
    assert sizes(about) == ("MDSR", (3,), 1, 4, 3, 14)
    assert about["parameters"] == MDSR((2, 3), 1, 4).branch(3).count_params()
    assert about["inputs"] == [{"name": "data", "shape": None, "dtype": "float32"}]
    assert [tensor["name"] for tensor in about["outputs"]] == ["output"]


def test_a_folder_of_ncnns_files_is_one_model(ncnn_folder):
    about = describe(ncnn_folder)
    assert (about["format"], sizes(about)) == ("ncnn", ("MDSR", (2, 3), 1, 4, 3, 14))
    assert about["parameters"] == MDSR((2, 3), 1, 4).count_params()
    assert [tensor["signature"] for tensor in about["inputs"]] == ["model-x2", "model-x3"]


def test_a_network_of_others_in_ncnn(tmp_path):
    lines = ["7767517", "3 3", "Input in0 0 1 in0", "Convolution c 1 1 in0 c 0=16 1=3 5=1 6=432", "ReLU r 1 1 c r"]
    (tmp_path / "other.param").write_text("\n".join(lines))
    about = describe(tmp_path / "other.param")
    assert (about["family"], about["format"], about["parameters"]) == (None, "ncnn", None)
    assert [tensor["name"] for tensor in (*about["inputs"], *about["outputs"])] == ["in0", "r"]


# === Presets ===


@pytest.fixture
def weights(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_EDSR_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


def test_a_published_preset_that_is_not_here(weights):
    about = describe("edsr_x4")
    assert sizes(about) == ("EDSR", (4,), 32, 256, 3, 68)
    assert (about["parameters"], about["residual_scaling"], about["path"]) == (43_089_923, 0.1, None)
    assert "The weights are not on this machine. They are downloaded from https://" in page(about)
    assert "Set5 (Y): x4 32.48 dB, published" in page(about)
    assert not weights.exists()


def test_a_folder_of_the_user(weights):
    model = EDSR(2, 1, 4, 0.5)
    model.save_to_preset(weights / "mine")
    about = describe("mine")
    assert sizes(about) == ("EDSR", (2,), 1, 4, 3, 6)
    assert (about["format"], about["path"]) == ("preset", str(weights / "mine"))
    assert (about["residual_scaling"], about["parameters"]) == (0.5, model.count_params())
    assert describe(weights / "mine") == about


# === What is refused ===


def test_what_is_not_there_is_refused():
    assert "neither a preset nor a file. Did you mean edsr_x" in refusal("edsr_x5")


@pytest.mark.parametrize("name", ["a.h5", "a.png", "a"])
def test_other_suffixes_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    assert "its suffix must be one of .keras, .pt, .pth, .safetensors" in refusal(tmp_path / name)


def test_another_folder_is_refused(tmp_path):
    (tmp_path / "a").touch()
    assert "neither a preset (config.json), nor a SavedModel" in refusal(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"text", bytes(100), b"\x80\x02}q\x00.", b"PK\x03\x04", b"7767517\n1 1\nInput"]
)
@pytest.mark.parametrize(
    "name", ["a.keras", "a.pt", "a.safetensors", "a.tflite", "a.onnx", "a.param", "s/saved_model.pb"]
)
def test_damaged_files_are_one_line(tmp_path, name, content):
    if name == "a.onnx":
        pytest.importorskip("onnx", reason="needs onnx: pip install 'keras-edsr[onnx]'")
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    refusal(path if path.parent == tmp_path else path.parent)


@pytest.mark.parametrize("kept", [1, 30, 1000, -1])
def test_cut_off_files_are_refused_or_known(exported, tmp_path, kept):
    for name in ("edsr.tflite", "edsr/saved_model.pb"):
        data = (exported / name).read_bytes()[:kept]
        path = tmp_path / "cut" / Path(name).name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        target = path.parent if path.suffix == ".pb" else path
        with contextlib.suppress(ValueError):
            assert describe(target)["format"]
        path.unlink()


def test_onnx_without_its_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    (tmp_path / "a.onnx").write_bytes(b"")
    with pytest.raises(ValueError, match=r"pip install 'keras-edsr\[onnx\]'"):
        describe(tmp_path / "a.onnx")


def test_a_joined_network_has_one_size():
    from keras_edsr.info.describe import _join

    part = Network("MDSR", (2,), 1, 16)
    assert _join([part, replace(part, scales=(3,))]).scales == (2, 3)
    assert _join([part, replace(part, scales=(3,), filters=8)]) is None
    assert _join([part, None]) is None
    edsr = replace(part, family="EDSR")
    assert _join([edsr, edsr]) == edsr
    assert _join([edsr, replace(edsr, scales=(3,))]) is None
