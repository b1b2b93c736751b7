import subprocess
import sys

import keras
import pytest

import keras_edsr.metrics
import keras_edsr.models
from keras_edsr.registration import CLASSES

LOAD = "model = keras.saving.load_model(sys.argv[1]); sys.exit(type(model).__name__ != 'EDSR')"
STARTS = {
    "keras_edsr first": f"import keras_edsr, keras, sys; {LOAD}",
    "keras first": f"import keras, keras_edsr, sys; {LOAD}",
    "a module of ours first": f"from keras_edsr.metrics import PSNR; import keras, sys; {LOAD}",
    "another module of ours first": f"import keras_edsr.layers, keras, sys; {LOAD}",
}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "best.keras"
    keras_edsr.models.EDSR(2, 1, 4).save(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("start", STARTS)
def test_importing_the_package_is_enough_to_load_a_model(file, start):
    subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", STARTS[start], file], check=True, timeout=120)


def test_importing_the_package_imports_no_backend():
    code = "import keras_edsr, sys; sys.exit(bool({'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_every_class_that_is_registered_has_a_stand_in():
    ours = {name.removeprefix("keras_edsr>") for name in keras.saving.get_custom_objects() if "keras_edsr>" in name}
    assert ours == set(CLASSES)


def test_each_stand_in_gives_its_class(monkeypatch):
    table = keras.saving.get_custom_objects()
    from keras_edsr.registration import StandIn

    layer = keras_edsr.layers.ScaledResBlock(4)
    config = keras.saving.serialize_keras_object(layer)
    monkeypatch.setitem(table, "keras_edsr>ScaledResBlock", StandIn("ScaledResBlock"))
    assert type(keras.saving.deserialize_keras_object(config)) is keras_edsr.layers.ScaledResBlock
