"""checkpoints/encoders.py: LIIF's encoder, against PyTorch modules and files that others made."""

import logging
from pathlib import Path

import numpy as np
import pytest

import keras_edsr
from keras_edsr._convert import convert
from keras_edsr.checkpoints import CheckpointError, read_encoder, read_torch
from keras_edsr.models import EDSR, start_from

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

WEIGHTS = Path(__file__).resolve().parents[3] / "shared" / "weights"


def encoder(filters=12, num_blocks=2, channels=3):
    """Head and body of an EDSR as LIIF builds them."""
    nn = torch.nn

    def conv(ins, out):
        return nn.Conv2d(ins, out, 3, padding=1)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(conv(filters, filters), nn.ReLU(), conv(filters, filters))

        def forward(self, x):
            return x + self.body(x)

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Sequential(conv(channels, filters))
            self.body = nn.Sequential(*[Block() for _ in range(num_blocks)], conv(filters, filters))

        def forward(self, x):
            x = self.head(x)
            return self.body(x) + x

    torch.manual_seed(0)
    return Encoder()


def save(path, module, **changes):
    """A checkpoint as LIIF's trainer writes it: specification, state dict, optimizer, epoch."""
    state = {f"encoder.{name}": value for name, value in module.state_dict().items()}
    state |= {"imnet.layers.0.weight": torch.zeros(4, 8), "imnet.layers.0.bias": torch.zeros(4)} | changes
    state = {name: value for name, value in state.items() if value is not None}
    model = {"name": "liif", "args": {"encoder_spec": {"name": "edsr-baseline"}}, "sd": state}
    torch.save({"model": model, "optimizer": {"name": "adam", "sd": {"state": {0: {"step": 3}}}}, "epoch": 7}, path)
    return path


def features(model, image):
    import keras

    inner = keras.Model(model.input, model.get_layer("skip").output)
    return keras.ops.convert_to_numpy(inner(image[None].astype(np.float32)))[0]


def test_inside_an_image_the_features_are_those_of_liif(tmp_path):
    module = encoder()
    path = save(tmp_path / "liif.pth", module)
    model = EDSR(2, num_blocks=2, filters=12, residual_scaling=1.0)
    missed = start_from(path, model)
    assert {name.partition("/")[0] for name in missed} == {"upsample", "tail"}
    image = np.random.default_rng(0).integers(0, 256, (24, 24, 3))
    with torch.no_grad():
        x = torch.tensor((image / 127.5 - 1).transpose(2, 0, 1)[None], dtype=torch.float32)
        wanted = 127.5 * module(x)[0].numpy().transpose(1, 2, 0)
    inside = slice(6, -6)  # head, two blocks and the last convolution see six pixels around
    np.testing.assert_allclose(features(model, image)[inside, inside], wanted[inside, inside], atol=2e-3)


def test_other_files_are_not_encoders(tmp_path):
    torch.save({"head.0.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "other.pt")
    assert read_encoder(tmp_path / "other.pt") is None


def test_an_encoder_that_is_not_an_edsr_is_refused(tmp_path):
    path = save(tmp_path / "a.pth", encoder(), **{"encoder.body.0.body.0.bias": None})
    with pytest.raises(CheckpointError, match=r"a\.pth.*lacks one, body\.0\.body\.0\.bias"):
        read_encoder(path)
    path = save(tmp_path / "b.pth", encoder(), **{"encoder.head.0.weight": torch.zeros(12, 3, 5, 5)})
    with pytest.raises(CheckpointError, match=r"head\.0 has the shape"):
        read_encoder(path)


def test_a_network_of_another_size_takes_nothing(tmp_path):
    path = save(tmp_path / "liif.pth", encoder())
    with pytest.raises(ValueError, match="12 filters"):
        start_from(path, EDSR(2, num_blocks=2, filters=8, residual_scaling=1.0))


def test_convert_makes_an_upsampler_and_names_it(tmp_path, caplog):
    path = save(tmp_path / "liif.pth", encoder())
    with pytest.raises(ValueError, match="needs a scale"):
        convert(path, tmp_path / "x2.keras")
    with caplog.at_level(logging.INFO, "keras_edsr"):
        convert(path, tmp_path / "x2.keras", scale=2)
    assert "made new, at random: upsample/conv_1/kernel" in caplog.text
    assert keras_edsr.load_model(tmp_path / "x2.keras").scale == 2


@pytest.mark.skipif(not WEIGHTS.is_dir(), reason="needs ../shared/weights")
def test_the_published_encoder_gives_the_head_and_body_that_were_folded_elsewhere(tmp_path):
    # Undo the folding of a file that was made by other code, and fold again.
    network, arrays = read_torch(WEIGHTS / "edsr_baseline_x2_readout.pt")
    state = torch.load(WEIGHTS / "edsr_baseline_x2_readout.pt", weights_only=True)
    unfolded = {}
    for name, value in state.items():
        if name.startswith("tail"):
            continue
        if name.endswith("bias"):
            value = value.double()
            if name == "head.0.bias":
                kernel = state["head.0.weight"].double().sum(dim=(2, 3))
                value = value - kernel @ (torch.tensor(network.shift, dtype=torch.float64) - 127.5)
            value = (value / 127.5).float()
        unfolded[f"encoder.{name}"] = value
    torch.save({"model": {"sd": unfolded}}, tmp_path / "liif.pth")
    found, again = read_encoder(tmp_path / "liif.pth")
    assert (found.num_blocks, found.filters) == (16, 64)
    for path, array in again.items():
        np.testing.assert_allclose(array, arrays[path], atol=1e-4)
