"""PyTorch's weights in, the same network out: against what PyTorch made of them (golden/), and back."""

import contextlib
import hashlib
import io
import json
import logging
import pickle
import shutil
import zipfile

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import TORCH_CHECKPOINTS
from torch_pictures import assert_same_picture, perturbed, run

from keras_edsr.checkpoints import CheckpointError, describe
from keras_edsr.checkpoints.description import open_checkpoint
from keras_edsr.checkpoints.layouts import shapes
from keras_edsr.checkpoints.means import stored_mean
from keras_edsr.checkpoints.reader import read_file
from keras_edsr.checkpoints.writer import write_torch_zip
from keras_edsr.models import EDSR, MDSR, load_torch, save_torch
from keras_edsr.network import Network, shuffle_order

OUTPUTS = np.load(TORCH_CHECKPOINTS / "outputs.npz")


def stored(path):
    """The state dict of a file, name -> array."""
    return {name: tensor.read() for name, tensor in open_checkpoint(path)[0].items()}


def assert_same_bits(ours, theirs):
    assert list(ours) == list(theirs)
    for name in ours:
        assert ours[name].dtype == theirs[name].dtype
        assert ours[name].tobytes() == theirs[name].tobytes(), name


def write(path, state, container=None):
    with open(path, "wb") as file:
        write_torch_zip(file, state, container)
    return path


# === In ===


@pytest.mark.parametrize("name", [name for name in OUTPUTS if ":" not in name])
def test_edsr_gives_what_pytorch_gives(name):
    model = load_torch(TORCH_CHECKPOINTS / name)
    assert isinstance(model, EDSR)
    assert_same_picture(run(model), OUTPUTS[name])


@pytest.mark.parametrize("name", ["mdsr.pt", "mdsr_legacy.pt"])
def test_mdsr_gives_what_pytorch_gives_at_every_scale(name):
    model = load_torch(TORCH_CHECKPOINTS / name)
    assert model.scales == (2, 3, 4)
    for key, sr in run(model).items():
        assert_same_picture(sr, OUTPUTS[f"{name}:{key}"])


@pytest.mark.parametrize(("channels", "factor"), [(20, 2), (45, 3), (4, 2), (7, 1)])
def test_shuffle_order_turns_one_shuffle_into_the_other(channels, factor):
    image = np.random.default_rng(0).normal(size=(1, 2, 3, channels)).astype("float32")
    features = channels // factor**2
    # PixelShuffle by its definition: out[c, h*r+i, w*r+j] = in[c*r*r + i*r + j, h, w]
    blocks = image.reshape(1, 2, 3, features, factor, factor)
    theirs = blocks.transpose(0, 1, 4, 2, 5, 3).reshape(1, 2 * factor, 3 * factor, features)
    ordered = image[..., shuffle_order(channels, factor)]
    ours = keras.ops.depth_to_space(ordered, factor) if factor > 1 else ordered
    np.testing.assert_array_equal(ours, theirs)


@given(st.integers(1, 40), st.sampled_from([1, 2, 3]))
def test_shuffle_order_is_a_permutation(features, factor):
    order = shuffle_order(features * factor**2, factor)
    np.testing.assert_array_equal(np.sort(order), np.arange(features * factor**2))


def test_every_weight_of_the_model_is_set():
    model = load_torch(TORCH_CHECKPOINTS / "mdsr.pt")
    state, found = open_checkpoint(TORCH_CHECKPOINTS / "mdsr.pt")
    names = shapes(found.network, found.layout)
    assert len(model.trainable_variables) == len(names)
    ours = sorted(np.sort(np.ravel(v)).tobytes() for v in model.trainable_variables)
    theirs = sorted(np.sort(state[name].read().ravel()).tobytes() for name in names)
    assert ours == theirs


# === What is concluded, and said ===


@pytest.mark.parametrize(
    ("family", "filters", "scaling"),
    [("EDSR", 256, 0.1), ("EDSR", 64, 1.0), ("EDSR", 255, 1.0), ("EDSR", 512, 0.1), ("MDSR", 256, 1.0)],
)
def test_residual_scaling_is_what_was_published(family, filters, scaling, tmp_path):
    names = shapes(Network(family, (2,), 1, filters), "edsr-pytorch")
    state = {name: np.zeros(shape, np.float32) for name, shape in names.items()}
    description = describe(write(tmp_path / "x.pt", state))
    assert description.network.residual_scaling == scaling
    assert any(f"residual_scaling={scaling}, as published" in note for note in description.notes)


def test_residual_scaling_can_be_given():
    model = load_torch(TORCH_CHECKPOINTS / "edsr_x2.pt", residual_scaling=0.3)
    assert model.residual_scaling == 0.3
    assert np.abs(run(model) - OUTPUTS["edsr_x2.pt"]).max() > 1


def test_description_tells_what_info_needs():
    found = describe(TORCH_CHECKPOINTS / "mdsr_legacy.pt")
    assert (found.layout, found.file_format) == ("edsr-pytorch", "torch-legacy")
    assert found.network == Network("MDSR", (2, 3, 4), 2, 8) == load_torch(TORCH_CHECKPOINTS / "mdsr_legacy.pt").network
    assert (found.dtype, found.value_range, found.warnings) == ("float32", 255, ())
    assert describe(TORCH_CHECKPOINTS / "edsr_x2_bfloat16.pt").dtype == "bfloat16"


def test_conclusions_are_logged(caplog):
    with caplog.at_level(logging.INFO, "keras_edsr"):
        load_torch(TORCH_CHECKPOINTS / "edsr_x4_basicsr.pth")
    said = caplog.text
    assert "EDSR(scale=4, num_blocks=2, filters=8) with the names of basicsr, under params_ema" in said
    assert "residual_scaling=1.0" in said
    assert "the mean is that of DIV2K" in said


def test_a_file_without_the_mean_has_that_of_div2k(tmp_path):
    state = stored(TORCH_CHECKPOINTS / "edsr_x2.pt")
    path = write(tmp_path / "x.pt", {name: a for name, a in state.items() if "mean" not in name})
    model = load_torch(path)
    assert model.mean is None
    assert_same_picture(run(model), OUTPUTS["edsr_x2.pt"])


def test_the_mean_of_the_official_files_is_the_default():
    assert load_torch(TORCH_CHECKPOINTS / "edsr_x2.pt").mean is None


def test_another_mean_is_the_models(tmp_path):
    mean = np.array([100, 110.5, 120.25], np.float32)
    state = stored(TORCH_CHECKPOINTS / "edsr_x2.pt") | {"sub_mean.bias": -mean, "add_mean.bias": mean}
    model = load_torch(write(tmp_path / "x.pt", state))
    assert model.mean == (100, 110.5, 120.25)
    assert model.get_layer("sub_mean").mean == model.get_layer("add_mean").mean == (100, 110.5, 120.25)


@pytest.mark.parametrize(
    "change",
    [
        {"sub_mean.bias": np.ones(3, np.float32)},
        {"add_mean.weight": 2 * np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)},
    ],
)
def test_a_mean_layer_that_was_trained_is_refused(change, tmp_path):
    path = write(tmp_path / "x.pt", stored(TORCH_CHECKPOINTS / "edsr_x2.pt") | change)
    with pytest.raises(CheckpointError, match="sub_mean and add_mean"):
        load_torch(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_diverged_are_refused(value, tmp_path):
    state = stored(TORCH_CHECKPOINTS / "edsr_x2.pt")
    state["body.1.body.0.bias"][3] = value
    with pytest.raises(CheckpointError, match=r"body\.1\.body\.0\.bias holds NaN"):
        load_torch(write(tmp_path / "x.pt", state))


def in_another_type(path, dtype, kind):
    state, found = open_checkpoint(TORCH_CHECKPOINTS / "edsr_x3.safetensors")
    header, values, end = {}, b"", 0
    for name in shapes(found.network, found.layout):
        array = state[name].read().astype(dtype)
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": [end, end := end + array.nbytes]}
        values += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + values)


def test_integers_are_no_weights(tmp_path):
    in_another_type(tmp_path / "x.safetensors", "<i4", "I32")
    with pytest.raises(CheckpointError, match="is of int32"):
        load_torch(tmp_path / "x.safetensors")


def test_float64_is_rounded_and_said(tmp_path):
    in_another_type(tmp_path / "x.safetensors", "<f8", "F64")
    assert "float64" in describe(tmp_path / "x.safetensors").warnings[0]
    assert_same_picture(run(load_torch(tmp_path / "x.safetensors")), OUTPUTS["edsr_x3.safetensors"])


# === super-image ===


def test_super_image_is_known_by_its_files_name():
    assert describe(TORCH_CHECKPOINTS / "pytorch_model_2x.pt").layout == "super-image"


def test_super_image_is_known_by_the_config_beside_it(tmp_path):
    shutil.copy(TORCH_CHECKPOINTS / "pytorch_model_2x.pt", tmp_path / "weights.pt")
    config = {"model_type": "EDSR", "n_feats": 8, "n_resblocks": 2, "res_scale": 0.25}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = describe(tmp_path / "weights.pt")
    assert (found.layout, found.network.residual_scaling) == ("super-image", 0.25)


def test_super_image_under_another_name_is_edsr_pytorch_until_told(tmp_path):
    path = shutil.copy(TORCH_CHECKPOINTS / "pytorch_model_2x.pt", tmp_path / "weights.pt")
    found = describe(path)
    assert found.layout == "edsr-pytorch"
    assert any("layout='super-image'" in note for note in found.notes)
    assert_same_picture(run(load_torch(path, layout="super-image")), OUTPUTS["pytorch_model_2x.pt"])


def test_an_official_file_beside_super_images_config_stays_official(tmp_path):
    path = shutil.copy(TORCH_CHECKPOINTS / "edsr_x2.pt", tmp_path / "edsr_x2-0edfb8a3.pt")
    (tmp_path / "config.json").write_text('{"model_type": "EDSR", "n_feats": 8}')
    assert describe(path).layout == "edsr-pytorch"
    assert not any("super-image" in note for note in describe(path).notes)


@pytest.mark.parametrize("config", ["", "[]", "{", '{"model_type": "PAN"}', "[" * 60_000])
def test_a_config_of_something_else_is_not_heeded(config, tmp_path):
    path = shutil.copy(TORCH_CHECKPOINTS / "edsr_x2.pt", tmp_path / "weights.pt")
    (tmp_path / "config.json").write_text(config)
    assert describe(path).layout == "edsr-pytorch"


def test_a_network_for_0_to_1_with_a_mean_becomes_one_for_0_to_255(tmp_path):
    # rgb_range 1 of the official code: the same weights but for the units of the two ends
    state = stored(TORCH_CHECKPOINTS / "edsr_x2.pt")
    for name, factor in {"head.0.weight": 255, "tail.1.weight": 1 / 255, "tail.1.bias": 1 / 255}.items():
        state[name] = (state[name] * factor).astype(np.float32)
    for name in ("sub_mean.bias", "add_mean.bias"):
        state[name] = state[name] / np.float32(255)
    path = write(tmp_path / "x.pt", state)
    assert describe(path).value_range == 1
    assert_same_picture(run(load_torch(path)), OUTPUTS["edsr_x2.pt"])


# === The official names ===


@pytest.mark.parametrize("form", ["edsr_baseline_x2-{}.pt", "mdsr-{}.pt", "EDSR_Mx2_f64b16_DIV2K_official-{}.pth"])
def test_the_hash_in_an_official_name_is_checked(form, tmp_path):
    data = (TORCH_CHECKPOINTS / "edsr_x2.pt").read_bytes()
    digits = hashlib.sha256(data).hexdigest()[:8]
    right, wrong = tmp_path / form.format(digits), tmp_path / form.format("0edfb8a3")
    right.write_bytes(data)
    wrong.write_bytes(data)
    assert describe(right).warnings == ()
    assert digits in describe(wrong).warnings[0]
    assert "0edfb8a3" in describe(wrong).warnings[0]


def test_a_wrong_hash_is_a_warning_in_the_log(tmp_path, caplog):
    path = shutil.copy(TORCH_CHECKPOINTS / "edsr_x2.pt", tmp_path / "edsr_x2-0edfb8a3.pt")
    load_torch(path)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_date_in_another_name_is_no_hash(tmp_path):
    path = shutil.copy(TORCH_CHECKPOINTS / "edsr_x2.pt", tmp_path / "mine-20240101.pt")
    assert describe(path).warnings == ()


# === Refusals ===


def test_a_refusal_is_one_line_that_names_the_file(tmp_path):
    state = stored(TORCH_CHECKPOINTS / "edsr_x2.pt")
    del state["tail.1.bias"]
    path = write(tmp_path / "broken.pt", state)
    for read in (load_torch, describe):
        with pytest.raises(ValueError, match=r"tail\.1\.bias") as caught:
            read(path)
        message = str(caught.value)
        assert message.startswith(f"Cannot read {path}: ")
        assert message.count("Cannot read") == 1
        assert "\n" not in message


def test_an_unknown_layout_is_refused():
    with pytest.raises(CheckpointError, match="must be one of"):
        load_torch(TORCH_CHECKPOINTS / "edsr_x2.pt", layout="torch")


def test_a_missing_file_is_refused():
    with pytest.raises(CheckpointError, match="no such file"):
        load_torch(TORCH_CHECKPOINTS / "nothing.pt")


# === Back ===


@pytest.mark.parametrize(
    "name", ["edsr_x2.pt", "edsr_x3_legacy.pt", "mdsr.pt", "mdsr_legacy.pt", "edsr_x2_bfloat16.pt"]
)
def test_round_trip_gives_the_same_bits(name, tmp_path):
    save_torch(load_torch(TORCH_CHECKPOINTS / name), tmp_path / "back.pt")
    assert_same_bits(stored(tmp_path / "back.pt"), stored(TORCH_CHECKPOINTS / name))


def test_round_trip_of_basicsr_gives_the_same_bits(tmp_path):
    save_torch(load_torch(TORCH_CHECKPOINTS / "edsr_x4_basicsr.pth"), tmp_path / "back.pth", layout="basicsr")
    assert set(read_file(tmp_path / "back.pth").tree) == {"params"}
    assert_same_bits(stored(tmp_path / "back.pth"), stored(TORCH_CHECKPOINTS / "edsr_x4_basicsr.pth"))


@pytest.mark.parametrize("layout", ["edsr-pytorch", "basicsr"])
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_a_keras_model_comes_back_the_same(scale, layout, tmp_path):
    model = perturbed(EDSR(scale, 2, 4, 1.0))
    save_torch(model, tmp_path / "x.pt", layout=layout)
    again = load_torch(tmp_path / "x.pt")
    assert again.get_config() | {"name": ""} == model.get_config() | {"name": ""}
    for ours, theirs in zip(again.variables, model.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_super_image_network_comes_back_as_edsr_pytorch_with_a_mean_of_zero(tmp_path):
    save_torch(load_torch(TORCH_CHECKPOINTS / "pytorch_model_2x.pt"), tmp_path / "back.pt")
    model = load_torch(tmp_path / "back.pt")
    assert model.mean == (0, 0, 0)
    assert_same_picture(run(model), OUTPUTS["pytorch_model_2x.pt"])


def test_gray_and_other_means_come_back(tmp_path):
    for i, model in enumerate(
        [EDSR(2, 1, 4, 1.0, image_shape=(None, None, 1)), EDSR(2, 1, 4, 1.0, mean=(1.5, 2.25, 3.1))]
    ):
        save_torch(model, tmp_path / f"{i}.pt")
        again = load_torch(tmp_path / f"{i}.pt")
        assert again.image_shape == model.image_shape
        channels = model.image_shape[-1]
        np.testing.assert_array_equal(stored_mean(again.mean, channels), stored_mean(model.mean, channels))


def test_a_branch_and_an_mdsr_of_one_scale_come_back(tmp_path):
    whole = perturbed(MDSR((3, 2), 1, 4))
    own_tail = perturbed(MDSR((2,), 1, 4, shared_tail=False))
    save_torch(whole.branch(3), tmp_path / "branch.pt")
    save_torch(own_tail, tmp_path / "one.pt")
    np.testing.assert_array_equal(run(load_torch(tmp_path / "branch.pt"))["x3"], run(whole.branch(3)))
    np.testing.assert_array_equal(run(load_torch(tmp_path / "one.pt"))["x2"], run(own_tail)["x2"])


def test_low_precision_weights_are_written_as_float32(tmp_path):
    model = EDSR(2, 1, 4, 1.0, dtype="bfloat16")
    save_torch(model, tmp_path / "x.pt")
    assert describe(tmp_path / "x.pt").dtype == "float32"
    head = stored(tmp_path / "x.pt")["head.0.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(head, np.asarray(model.get_layer("head").kernel).astype(np.float32))


@pytest.mark.parametrize(
    ("make", "layout", "says"),
    [
        (lambda: MDSR((2,), 1, 4), "basicsr", "BasicSR has no MDSR"),
        (lambda: MDSR((2, 3), 1, 4, shared_tail=False), "edsr-pytorch", "one last convolution for all"),
        (lambda: MDSR((2,), 1, 4, residual_scaling=0.5), "edsr-pytorch", "does not scale its residuals"),
        (lambda: EDSR(2, 1, 4, mean=(0, 0, 0)), "basicsr", "hold no mean"),
        (lambda: EDSR(2, 1, 4, image_shape=(None, None, 1)), "basicsr", "hold no mean"),
        (lambda: EDSR(2, 1, 4), "super-image", "must be one of"),
        (lambda: keras.Sequential([keras.Input((4,))]), "edsr-pytorch", "Received: Sequential"),
    ],
)
def test_what_a_layout_has_no_place_for_is_refused(make, layout, says, tmp_path):
    with pytest.raises(CheckpointError, match=says):
        save_torch(make(), tmp_path / "x.pt", layout=layout)
    assert list(tmp_path.iterdir()) == []


def test_a_residual_scaling_that_a_reader_would_not_guess_is_said(tmp_path, caplog):
    save_torch(EDSR(2, 1, 4, residual_scaling=1.0), tmp_path / "a.pt")
    assert caplog.text == ""
    save_torch(EDSR(2, 1, 4, residual_scaling=0.1), tmp_path / "b.pt")
    assert "residual_scaling=0.1" in caplog.text


def test_a_file_is_replaced_only_when_asked(tmp_path):
    path = tmp_path / "x.pt"
    path.write_text("precious")
    model = EDSR(2, 1, 4, 1.0)
    with pytest.raises(CheckpointError, match="already exists"):
        save_torch(model, path)
    assert path.read_text() == "precious"
    save_torch(model, path, overwrite=True)
    assert describe(path).network.family == "EDSR"


@pytest.mark.parametrize("name", ["x.keras", "x", "missing/x.pt"])
def test_a_path_that_cannot_be_written_is_refused(name, tmp_path):
    with pytest.raises(CheckpointError, match="Cannot write"):
        save_torch(EDSR(2, 1, 4, 1.0), tmp_path / name)


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(file, *_):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("keras_edsr.checkpoints.files.write_torch_zip", fail)
    with pytest.raises(CheckpointError, match="no space left"):
        save_torch(EDSR(2, 1, 4, 1.0), tmp_path / "x.pt")
    assert list(tmp_path.iterdir()) == []


def test_the_writer_gives_the_same_bytes_again(tmp_path):
    model = EDSR(2, 1, 4, 1.0)
    for name in ("a.pt", "b.pt"):
        save_torch(model, tmp_path / name)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_storages_are_aligned_as_torch_aligns_them():
    file = io.BytesIO()
    write_torch_zip(file, {"a": np.float32([1]), "b": np.float32([1, 2, 3])})
    data = file.getvalue()
    for needle in (np.float32([1]).tobytes(), np.float32([1, 2, 3]).tobytes()):
        with zipfile.ZipFile(file) as archive:
            info = next(i for i in archive.infolist() if archive.read(i) == needle)
        assert data.index(needle, info.header_offset + 30 + len(info.filename)) % 64 == 0


def test_what_is_written_is_a_pickle_of_three_names():
    class Recorder(pickle.Unpickler):
        names = set()  # noqa: RUF012

        def find_class(self, module, name):
            self.names.add(f"{module}.{name}")
            return dict if name == "OrderedDict" else lambda *_: None

        def persistent_load(self, pid):
            return None

    file = io.BytesIO()
    write_torch_zip(file, {"a": np.float32([1])}, "params")
    with contextlib.closing(zipfile.ZipFile(file)) as archive:
        tree = Recorder(io.BytesIO(archive.read("archive/data.pkl"))).load()
    assert tree == {"params": {"a": None}}
    assert Recorder.names == {
        "collections.OrderedDict",
        "torch.FloatStorage",
        "torch._utils._rebuild_tensor_v2",
    }


# === What trainers write beside the weights ===


@pytest.mark.parametrize("name", ["rng_state", "best_as_tensor", "epoch_as_tensor", "nothing_beside"])
def test_a_bare_tensor_beside_the_state_dict_is_no_part_of_the_network(shared_faults, name):
    folder = shared_faults / "checkpoint_tensor_beside"
    model = load_torch(folder / f"{name}.pt")
    expected = np.load(folder / "expected.npy")  # PyTorch's own output
    assert np.abs(model.predict(np.load(folder / "input.npy"), verbose=0) - expected).max() < 0.01


@pytest.mark.slow  # imports PyTorch
def test_weights_that_pytorch_averaged_are_read(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")

    class Network(torch.nn.Module):
        pass

    state = torch.load(TORCH_CHECKPOINTS / "edsr_x2.pt")
    network = Network()
    for name, value in state.items():
        module = network
        *path, last = name.split(".")
        for part in path:
            if not hasattr(module, part):
                module.add_module(part, torch.nn.Module())
            module = getattr(module, part)
        module.register_parameter(last, torch.nn.Parameter(value))
    averaged = torch.optim.swa_utils.AveragedModel(network)
    averaged.update_parameters(network)
    torch.save(averaged.state_dict(), tmp_path / "averaged.pt")
    torch.save(state | {"step_counter": torch.tensor(7)}, tmp_path / "counted.pt")
    expected = run(load_torch(TORCH_CHECKPOINTS / "edsr_x2.pt"))
    for name in ("averaged.pt", "counted.pt"):
        np.testing.assert_array_equal(run(load_torch(tmp_path / name)), expected)
