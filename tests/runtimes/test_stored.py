import subprocess
import sys

import numpy as np
import pytest

from keras_edsr import EDSR, MDSR
from keras_edsr.presets import read_state
from keras_edsr.runtimes import ncnn_cache
from keras_edsr.runtimes.ncnn_format import ncnn_networks
from keras_edsr.runtimes.stored import StoredModel

MODELS = {
    "EDSR x2": lambda: EDSR(2, 2, 4, 0.1),
    "EDSR x3": lambda: EDSR(3, 1, 4, 1.0),
    "EDSR x8": lambda: EDSR(8, 1, 4, 1.0),
    "gray": lambda: EDSR(2, 1, 4, 1.0, image_shape=(None, None, 1)),
    "mean": lambda: EDSR(2, 1, 4, 1.0, mean=(1.0, 2.0, 3.0)),
    "MDSR": lambda: MDSR((2, 3, 4), 2, 4),
    "MDSR, scaled": lambda: MDSR((2, 4), 2, 4, residual_scaling=0.5),
    "MDSR, own tails": lambda: MDSR((3, 4), 1, 4, shared_tail=False),
    "branch": lambda: MDSR((2, 3), 1, 4).branch(3),
}


@pytest.mark.parametrize("kind", MODELS)
def test_it_becomes_the_network_that_the_keras_model_becomes(kind, tmp_path):
    model = MODELS[kind]()
    model.save_to_preset(tmp_path / "preset")
    expected, found = ncnn_networks(model), ncnn_networks(StoredModel(tmp_path / "preset"))
    assert list(found) == list(expected)
    for scale, (graph, about) in expected.items():
        assert found[scale][1] == about
        assert found[scale][0].param() == graph.param()
        assert found[scale][0].weights() == graph.weights()


def test_a_preset_is_opened_without_loading_it(tmp_path):
    EDSR(2, 1, 4, 1.0).save_to_preset(tmp_path)
    assert ncnn_cache.is_converted(tmp_path)

    def load():
        raise AssertionError("the Keras model is not needed")

    assert list(ncnn_cache.open_converted(tmp_path, load)) == [2]


def test_upscaling_with_a_preset_does_not_import_tensorflow(tmp_path):
    pytest.importorskip("ncnn", reason="needs ncnn: pip install 'keras-edsr[ncnn]'")
    EDSR(2, 1, 4, 1.0).save_to_preset(tmp_path)
    program = (
        "import sys, numpy, keras_edsr\n"
        "image = numpy.zeros((9, 8, 3), 'uint8')\n"
        f"assert keras_edsr.upscale({str(tmp_path)!r}, image, runtime='ncnn').shape == (18, 16, 3)\n"
        "assert not {'tensorflow', 'keras', 'h5py'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_config_that_lacks_a_number_is_one_line(tmp_path):
    EDSR(2, 1, 4, 1.0).save_to_preset(tmp_path)
    text = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(text.replace("num_blocks", "blocks"))
    with pytest.raises(ValueError, match="no preset that keras_edsr can load: KeyError") as raised:
        StoredModel(tmp_path)
    assert "\n" not in str(raised.value)


def test_the_weights_have_the_names_of_the_layers(tmp_path):
    model = EDSR(4, 1, 4, 1.0)
    model.save_to_preset(tmp_path)
    state = read_state(tmp_path)
    assert {"head/kernel", "body_0/conv_2/bias", "body_conv/kernel", "upsample/conv_2/kernel", "tail/bias"} < set(state)
    np.testing.assert_array_equal(state["body_0/conv_1/kernel"], model.get_layer("body_0").conv_1.kernel.numpy())
