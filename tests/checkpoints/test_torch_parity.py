"""Conversion against PyTorch itself, where it is installed."""

import io

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="needs torch: pip install torch==2.13.0")

import torch_reference as reference  # noqa: E402
from torch_pickles import VALUES, legacy, number, protocol_2, state, storage, tensor, text  # noqa: E402
from torch_pictures import PICTURE, TOLERANCE, assert_same_picture, perturbed, run  # noqa: E402

from keras_edsr.checkpoints import CheckpointError  # noqa: E402
from keras_edsr.checkpoints.description import open_checkpoint  # noqa: E402
from keras_edsr.checkpoints.reader import parse  # noqa: E402
from keras_edsr.checkpoints.state import to_arrays  # noqa: E402
from keras_edsr.models import EDSR, MDSR, build, load_torch, save_torch  # noqa: E402

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def saved(value, zipped=True, **options):
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=zipped, **options)
    return file.getvalue()


def write(path, value, zipped=True):
    path.write_bytes(saved(value, zipped))
    return path


# === The same picture ===


@pytest.mark.parametrize(
    ("scale", "num_blocks", "filters", "scaling", "zipped"),
    [
        (2, 1, 4, 1.0, True),
        (2, 16, 32, 1.0, False),
        (3, 5, 12, 0.1, False),
        (4, 3, 16, 1.0, True),
        (4, 8, 32, 0.1, False),
        (8, 2, 8, 1.0, True),
    ],
)
def test_edsr_gives_what_pytorch_gives(scale, num_blocks, filters, scaling, zipped, tmp_path):
    module = reference.seeded(lambda: reference.EDSR(scale, num_blocks, filters, scaling))
    model = load_torch(write(tmp_path / "x.pt", module.state_dict(), zipped), residual_scaling=scaling)
    assert_same_picture(run(model), reference.run(module, PICTURE))


def test_256_filters_are_scaled_without_being_told(tmp_path):
    module = reference.seeded(lambda: reference.EDSR(2, 2, 256, 0.1))
    model = load_torch(write(tmp_path / "x.pt", module.state_dict()))
    assert_same_picture(run(model), reference.run(module, PICTURE))


@pytest.mark.parametrize(("scales", "zipped"), [((2, 3, 4), False), ((4, 2), True)])
def test_mdsr_gives_what_pytorch_gives(scales, zipped, tmp_path):
    module = reference.seeded(lambda: reference.MDSR(scales, 3, 8))
    outputs = run(load_torch(write(tmp_path / "x.pt", module.state_dict(), zipped)))
    assert list(outputs) == [f"x{scale}" for scale in scales]
    for scale in scales:
        assert_same_picture(outputs[f"x{scale}"], reference.run(module, PICTURE, scale=scale))


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_basicsr_gives_what_pytorch_gives(scale, tmp_path):
    module = reference.seeded(lambda: reference.BasicSREDSR(scale, 2, 8))
    model = load_torch(write(tmp_path / "x.pth", {"params": module.state_dict()}))
    assert_same_picture(run(model), 255 * reference.run(module, PICTURE / 255))


def test_a_network_for_0_to_1_gives_what_pytorch_gives(tmp_path):
    module = reference.seeded(lambda: reference.EDSR(2, 3, 8, rgb_range=1))
    model = load_torch(write(tmp_path / "x.pt", module.state_dict()))
    assert_same_picture(run(model), 255 * reference.run(module, PICTURE / 255))


def test_moving_255_into_the_kernels_costs_no_accuracy(tmp_path):
    module = reference.seeded(lambda: reference.SuperImageEDSR(2, 8, 32))
    path = write(tmp_path / "pytorch_model_2x.pt", module.state_dict())
    state, found = open_checkpoint(path)
    unfolded = build(found.network, to_arrays(found.network, found.layout, state, value_range=255))
    exact = torch.from_numpy(PICTURE / 255).permute(2, 0, 1)[None]
    with torch.no_grad():
        exact = 255 * module.double()(exact)[0].permute(1, 2, 0).numpy()
    folded_error = np.abs(run(load_torch(path)) - exact).max()
    unfolded_error = np.abs(255 * run(unfolded, PICTURE / 255) - exact).max()
    assert folded_error < TOLERANCE
    assert folded_error < 1.5 * unfolded_error


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_papers_model_gives_what_pytorch_gives_on_a_picture(scale, shared_data, tmp_path):
    picture = np.array(Image.open(shared_data / "eval" / "Set5" / "bird.png").convert("RGB"))[:72, :96]
    module = reference.seeded(lambda: reference.EDSR(scale, 32, 256, 0.1))
    model = load_torch(write(tmp_path / "x.pt", module.state_dict()))
    assert_same_picture(run(model, picture), reference.run(module, picture))


@pytest.mark.slow
def test_the_papers_mdsr_gives_what_pytorch_gives_on_a_picture(shared_data, tmp_path):
    picture = np.array(Image.open(shared_data / "eval" / "Set5" / "bird.png").convert("RGB"))[:72, :96]
    module = reference.seeded(lambda: reference.MDSR((2, 3, 4), 80, 64))
    model = load_torch(write(tmp_path / "x.pt", module.state_dict(), zipped=False))
    for key, sr in run(model, picture).items():
        assert_same_picture(sr, reference.run(module, picture, scale=int(key[1:])))


# === Back ===


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("layout", ["edsr-pytorch", "basicsr"])
def test_pytorch_reads_what_we_write_and_gives_what_we_give(scale, layout, tmp_path):
    model = perturbed(EDSR(scale, 2, 4, 0.5))
    save_torch(model, tmp_path / "x.pt", layout=layout)
    loaded = torch.load(tmp_path / "x.pt", weights_only=True, mmap=True)
    if layout == "basicsr":
        module = reference.BasicSREDSR(scale, 2, 4, 0.5)
        module.load_state_dict(loaded["params"], strict=True)
        theirs = 255 * reference.run(module, PICTURE / 255)
    else:
        module = reference.EDSR(scale, 2, 4, 0.5)
        module.load_state_dict(loaded, strict=True)
        theirs = reference.run(module, PICTURE)
    assert_same_picture(run(model), theirs)


def test_pytorch_reads_the_mdsr_we_write(tmp_path):
    model = perturbed(MDSR((2, 3, 4), 2, 4))
    save_torch(model, tmp_path / "x.pt")
    module = reference.MDSR((2, 3, 4), 2, 4)
    module.load_state_dict(torch.load(tmp_path / "x.pt", weights_only=True), strict=True)
    for key, sr in run(model).items():
        assert_same_picture(sr, reference.run(module, PICTURE, scale=int(key[1:])))


@FORMATS
@pytest.mark.parametrize(
    "make", [lambda: reference.EDSR(4, 2, 4), lambda: reference.MDSR((2, 3), 1, 4)], ids=["edsr", "mdsr"]
)
def test_round_trip_is_the_same_to_the_bit(make, zipped, tmp_path):
    module = reference.seeded(make)
    save_torch(load_torch(write(tmp_path / "x.pt", module.state_dict(), zipped)), tmp_path / "y.pt")
    before, after = module.state_dict(), torch.load(tmp_path / "y.pt", weights_only=True)
    assert list(before) == list(after)
    for name in before:
        assert before[name].numpy().tobytes() == after[name].numpy().tobytes(), name


# === The reader against torch.load ===


def assorted():
    base = torch.randn(4, 6)
    return {
        "transposed": base.t(),
        "view": base[1:3, ::2],
        "expanded": base[:, :1].clone().expand(4, 1),
        "half": torch.randn(3).half(),
        "bfloat16": torch.randn(5).bfloat16(),
        "double": torch.randn(2).double(),
        "long": torch.arange(5),
        "int": torch.arange(5, dtype=torch.int32),
        "byte": torch.tensor([1, 255], dtype=torch.uint8),
        "bool": torch.tensor([True, False]),
        "scalar": torch.tensor(3.0),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.randn(3, 3)),
    }


@FORMATS
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_kind_of_tensor_is_read_as_torch_reads_it(protocol, zipped):
    values = assorted()
    tree = parse(saved(values, zipped, pickle_protocol=protocol))[1]
    for name, value in values.items():
        expected = value.detach().float() if value.dtype == torch.bfloat16 else value.detach()
        found = tree[name].read()
        assert found.dtype == expected.numpy().dtype
        assert found.tobytes() == expected.contiguous().numpy().tobytes(), name


@FORMATS
def test_a_training_checkpoint_is_read(zipped, tmp_path):
    module = reference.seeded(lambda: reference.EDSR(2, 1, 4))
    optimizer = torch.optim.Adam(module.parameters())
    reference_loss = module(torch.rand(1, 3, 4, 4)).mean()
    reference_loss.backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 2])
    checkpoint = {
        "epoch": 7,
        "best": np.float64(31.5),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "state_dict": torch.nn.DataParallel(module).state_dict(),
    }
    model = load_torch(write(tmp_path / "x.pt", checkpoint, zipped))
    assert_same_picture(run(model), reference.run(module, PICTURE))


def test_a_file_without_check_sums_is_read(tmp_path):
    from torch.utils.serialization import config

    module = reference.seeded(lambda: reference.EDSR(2, 1, 4))
    with config.patch({"save.compute_crc32": False}):
        path = write(tmp_path / "x.pt", module.state_dict())
    assert_same_picture(run(load_torch(path)), reference.run(module, PICTURE))


def test_a_part_of_a_storage_is_what_torch_takes_for_it():
    part = b"(" + text("1") + number(2) + number(4) + b"t"
    data = legacy(protocol_2(state(w=tensor(storage(6, part=part), (2, 2), (2, 1)))))
    theirs = torch.load(io.BytesIO(data), weights_only=True)["w"]
    np.testing.assert_array_equal(parse(data)[1]["w"].read(), theirs.numpy())
    assert theirs[0, 0] == VALUES[2]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_safetensors_are_read_as_the_library_wrote_them(dtype, tmp_path):
    library = pytest.importorskip("safetensors.torch", reason="needs safetensors: pip install safetensors")
    values = {"a": torch.randn(3, 4).to(getattr(torch, dtype)), "b": torch.randn(2).to(getattr(torch, dtype))}
    library.save_file(values, tmp_path / "x.safetensors", metadata={"format": "pt"})
    tree = parse((tmp_path / "x.safetensors").read_bytes())[1]
    for name, value in values.items():
        expected = value.float() if dtype == "bfloat16" else value
        np.testing.assert_array_equal(tree[name].read(), expected.numpy())


@FORMATS
def test_a_whole_module_is_refused_with_the_way_out(zipped):
    with pytest.raises(CheckpointError, match="state_dict"):
        parse(saved(reference.EDSR(2, 1, 4), zipped))


@FORMATS
def test_a_file_cut_off_anywhere_is_refused(zipped):
    data = saved(reference.EDSR(2, 1, 2).state_dict(), zipped)
    for length in range(0, len(data), 101):
        with pytest.raises(CheckpointError):
            parse(data[:length])
