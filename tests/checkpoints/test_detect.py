"""What a state dict is taken for, from names and shapes alone."""

import math

import pytest

from keras_edsr.checkpoints import CheckpointError
from keras_edsr.checkpoints.detect import check, detect, find_state
from keras_edsr.checkpoints.layouts import MEAN_NAMES, shapes
from keras_edsr.checkpoints.tensors import Storage, Tensor, contiguous
from keras_edsr.network import Network


def tensor(*shape):
    return Tensor(Storage("float32", math.prod(shape)), 0, shape, contiguous(shape))


def tensors(shapes):
    return {name: tensor(*shape) for name, shape in shapes.items()}


def edsr(scale=2, num_blocks=3, filters=8, **options):
    return Network("EDSR", (scale,), num_blocks, filters, **options)


def mdsr(scales=(2, 3, 4), num_blocks=3, filters=8):
    return Network("MDSR", scales, num_blocks, filters)


def shapes_of(network, layout="edsr-pytorch"):
    return shapes(network, layout)


def means():
    return {name: tensor(3, 3, 1, 1) if name.endswith("weight") else tensor(3) for name in MEAN_NAMES}


# The tables of the published state dicts (facts 4.1 to 4.3), for one block.
PUBLISHED = {
    (edsr(2, 1, 64), "edsr-pytorch"): {
        "head.0": (64, 3, 3, 3),
        "body.0.body.0": (64, 64, 3, 3),
        "body.0.body.2": (64, 64, 3, 3),
        "body.1": (64, 64, 3, 3),
        "tail.0.0": (256, 64, 3, 3),
        "tail.1": (3, 64, 3, 3),
    },
    (edsr(3, 1, 64), "basicsr"): {
        "conv_first": (64, 3, 3, 3),
        "body.0.conv1": (64, 64, 3, 3),
        "body.0.conv2": (64, 64, 3, 3),
        "conv_after_body": (64, 64, 3, 3),
        "upsample.0": (576, 64, 3, 3),
        "conv_last": (3, 64, 3, 3),
    },
    (mdsr((2, 3, 4), 1, 64), "edsr-pytorch"): {
        "head.0": (64, 3, 3, 3),
        **{f"pre_process.{s}.{b}.body.{c}": (64, 64, 5, 5) for s in range(3) for b in range(2) for c in (0, 2)},
        "body.0.body.0": (64, 64, 3, 3),
        "body.0.body.2": (64, 64, 3, 3),
        "body.1": (64, 64, 3, 3),
        "upsample.0.0": (256, 64, 3, 3),
        "upsample.1.0": (576, 64, 3, 3),
        "upsample.2.0": (256, 64, 3, 3),
        "upsample.2.2": (256, 64, 3, 3),
        "tail.0": (3, 64, 3, 3),
    },
}


@pytest.mark.parametrize(("network", "layout"), PUBLISHED, ids=str)
def test_names_and_shapes_are_those_published(network, layout):
    expected = {}
    for name, shape in PUBLISHED[network, layout].items():
        expected |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    assert shapes(network, layout) == expected


@pytest.mark.parametrize(
    ("network", "count", "parameters"),
    [
        (edsr(2, 16, 64), 72, 1_369_859),
        (edsr(3, 16, 64), 72, 1_554_499),
        (edsr(4, 16, 64), 74, 1_517_571),
        (edsr(8, 16, 64), 76, 1_665_283),
        (edsr(2, 32, 256), 136, 40_729_603),
        (edsr(4, 32, 256), 138, 43_089_923),
        (mdsr(num_blocks=16, filters=64), 102, 3_227_203),
        (mdsr(num_blocks=80, filters=64), 358, 7_953_987),
    ],
    ids=str,
)
def test_counts_are_those_published(network, count, parameters):
    found = shapes_of(network)
    assert len(found) == count
    assert sum(map(math.prod, found.values())) == parameters


NETWORKS = [
    *(edsr(scale) for scale in (1, 2, 3, 4, 8)),
    *(edsr(scale, upsampler="direct") for scale in (1, 2, 3, 4, 8)),
    edsr(2, 1, 1),
    edsr(2, 32, 256),
    edsr(4, 12, 5),
    mdsr(),
    mdsr((4, 2)),
    mdsr((3,)),
    mdsr((8, 2, 3, 4), 80, 64),
    edsr(2, 2, 4, image_shape=(None, None, 1)),
    edsr(4, 2, 4, image_shape=(None, None, 1), upsampler="direct"),
]
BASICSR = [network for network in NETWORKS if network.family == "EDSR" and network.upsampler == "subpixel"]


@pytest.mark.parametrize(
    ("network", "layout"),
    [*((network, "edsr-pytorch") for network in NETWORKS), *((network, "basicsr") for network in BASICSR)],
    ids=str,
)
def test_a_network_is_found_by_its_names_and_shapes(network, layout):
    state = tensors(shapes(network, layout))
    assert detect(state) == (network, layout)
    check(state, network, layout)


@pytest.mark.parametrize("network", [edsr(), mdsr()], ids=str)
def test_the_mean_may_be_there_or_not(network):
    check(tensors(shapes_of(network)) | means(), network, "edsr-pytorch")


def test_super_image_is_told_by_the_caller():
    assert detect(tensors(shapes_of(edsr())) | means(), "super-image")[1] == "super-image"


@pytest.mark.parametrize(
    ("network", "own", "layout"),
    [
        (edsr(), "edsr-pytorch", "basicsr"),
        (edsr(), "basicsr", "edsr-pytorch"),
        (mdsr(), "edsr-pytorch", "super-image"),
    ],
)
def test_another_layout_than_the_callers_is_refused(network, own, layout):
    with pytest.raises(CheckpointError, match=f"not of {layout}"):
        detect(tensors(shapes(network, own)), layout)


OTHERS = {
    "RCAN": ["head.0.weight", "body.0.body.0.body.3.conv_du.0.weight", "tail.0.0.weight", "tail.1.weight"],
    "RCAN (BasicSR)": ["conv_first.weight", "body.0.residual_group.0.rcab.0.weight", "conv_after_body.weight"],
    "ESRGAN": ["conv_first.weight", "RRDB_trunk.0.RDB1.conv1.weight", "conv_last.weight"],
    "ESRGAN (BasicSR)": ["conv_first.weight", "body.0.rdb1.conv1.weight", "conv_body.weight"],
    "RDN": ["SFENet1.weight", "RDBs.0.convs.0.conv.0.weight"],
    "SwinIR": ["conv_first.weight", "conv_after_body.weight", "layers.0.attn.relative_position_bias_table"],
    "batch normalization": ["head.0.weight", "body.0.body.0.weight", "body.0.body.1.running_mean", "tail.0.0.weight"],
    "MSRResNet": ["conv_first.weight", "body.0.conv1.weight", "upconv1.weight", "conv_last.weight"],
    'super-image\'s "mdsr"': ["head.0.0.weight", "pre_process.2.0.body.0.0.weight", "tail.0.0.weight"],
    "BAM": ["head.0.weight", "body.0.attention.channel_att.gate_c.weight", "body.0.body.0.weight", "tail.0.0.weight"],
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_networks_are_named(name):
    with pytest.raises(CheckpointError, match=name.partition(" (")[0]):
        detect({key: tensor(4, 4, 3, 3) for key in OTHERS[name]})


def test_an_unknown_network_is_refused_with_its_names():
    with pytest.raises(CheckpointError, match=r"known layout .*2 tensors: conv\.weight, conv\.bias"):
        detect(tensors({"conv.weight": (1, 1, 1, 1), "conv.bias": (1,)}))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"body.3.weight": None, "body.3.bias": None}, r"body\.N\.weight"),
        ({"tail.0.0.weight": (24, 8, 3, 3)}, "one of x2, x3, x4, x8"),
        ({f"tail.0.{i}.weight": (32, 8, 3, 3) for i in (2, 4, 6)}, "4 convolutions"),
        ({"head.0.weight": (8,)}, "not a convolution"),
        ({"head.0.weight": (0, 3, 3, 3)}, "not a convolution"),
    ],
)
def test_a_network_without_measures_is_refused(change, says):
    state = shapes_of(edsr()) | change
    with pytest.raises(CheckpointError, match=says):
        detect(tensors({name: shape for name, shape in state.items() if shape is not None}))


def test_a_scale_that_comes_twice_is_refused():
    state = tensors(shapes_of(mdsr((2, 3))))
    state["upsample.1.0.weight"] = state["upsample.0.0.weight"]
    with pytest.raises(CheckpointError, match="one scale twice"):
        detect(state)


def test_no_blocks_are_no_network():
    names = ("head.0", "body.0", "tail.0.0", "tail.1")
    found = shapes_of(edsr()) | {"body.0.weight": (8, 8, 3, 3)}
    state = {f"{name}.weight": tensor(*found[f"{name}.weight"]) for name in names}
    with pytest.raises(CheckpointError, match="without residual blocks"):
        detect(state)


# === Strictness ===


def complaint(state, network, layout="edsr-pytorch"):
    with pytest.raises(CheckpointError) as caught:
        check(state, network, layout)
    return str(caught.value)


@pytest.mark.parametrize(
    ("network", "layout"), [(edsr(), "edsr-pytorch"), (edsr(), "basicsr"), (mdsr(), "edsr-pytorch")], ids=str
)
def test_every_tensor_that_is_missing_is_missed(network, layout):
    for name in shapes(network, layout):
        state = tensors(shapes(network, layout))
        del state[name]
        message = complaint(state, network, layout)
        assert f"not in the file (1): {name}" in message
        assert "not complete" in message


def test_a_tensor_too_many_is_named():
    message = complaint(tensors(shapes_of(edsr()) | {"body.9.body.0.weight": (8, 8, 3, 3)}), edsr())
    assert "not in the network (1): body.9.body.0.weight" in message


def test_a_tensor_of_another_shape_is_named_with_both():
    state = tensors(shapes_of(edsr()) | {"body.1.body.2.weight": (8, 8, 5, 5)})
    assert "body.1.body.2.weight has (8, 8, 5, 5) and must have (8, 8, 3, 3)" in complaint(state, edsr())


def test_both_sides_are_listed_and_what_would_fit():
    state = tensors(shapes_of(edsr()))
    state["body.0.body.1.weight"] = state.pop("body.0.body.0.weight")
    message = complaint(state, edsr())
    assert "in the network, not in the file (1): body.0.body.0.weight" in message
    assert "in the file, not in the network (1): body.0.body.1.weight" in message
    assert "EDSR(scale=2, num_blocks=3, filters=8)" in message
    assert "20 tensors" in message


def test_some_of_the_mean_is_not_the_mean():
    state = tensors(shapes_of(edsr())) | means()
    del state["add_mean.bias"]
    assert "add_mean.bias" in complaint(state, edsr())


def test_many_names_are_not_all_listed():
    state = tensors(shapes_of(edsr(num_blocks=30))) | {f"x{i}": tensor(1) for i in range(1000)}
    message = complaint(state, edsr(num_blocks=30))
    assert "(995 more)" in message
    assert len(message) < 500


# === Where the state dict is ===


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.", "module.model.", "_orig_mod.module.model."])
@pytest.mark.parametrize("container", [(), ("state_dict",), ("params",), ("model", "state_dict"), ("net_g",)])
def test_containers_and_prefixes_are_taken_off(prefix, container):
    state = tensors(shapes_of(edsr()))
    tree = {prefix + name: value for name, value in state.items()}
    for key in reversed(container):
        tree = {"epoch": 3, key: tree, "note": "text"}
    found, where = find_state(tree)
    assert found == state
    assert "".join(where) == "".join(container) + prefix


def test_the_moving_average_is_preferred():
    state = {"w": tensor(1)}
    assert find_state({"params": {"w": tensor(2)}, "params_ema": state}) == (state, ("params_ema",))


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ([], "no state dict"),
        ({}, "no state dict"),
        ({"weights": {"w": 1}, 3: 4}, "it holds weights, 3"),
        ({"state": {}, "param_groups": []}, "optimizer"),
        ({"params": {}}, "no state dict"),
        ({"w": tensor(1), 7: tensor(1)}, "have no names, but 7"),
        ({"seed": tensor(2), "a": {"w": tensor(1, 1, 1, 1)}, "b": {"w": tensor(1, 1, 1, 1)}}, "not an EDSR"),
    ],
)
def test_what_holds_no_state_dict_is_refused(tree, says):
    with pytest.raises(CheckpointError, match=says):
        detect(find_state(tree)[0])


def counter(dtype="int64", shape=()):
    return Tensor(Storage(dtype, 1), 0, shape, (1,) * len(shape))


@pytest.mark.parametrize("key", ["model", "state_dict", "params", "params_ema", "generator", "network_of_mine"])
@pytest.mark.parametrize("beside", [tensor(5056), counter(), counter("float32"), counter("bool", (1,)), 3, [tensor(2)]])
def test_what_stands_beside_a_state_dict_is_no_part_of_it(key, beside):
    state = tensors(shapes_of(edsr()))
    optimizer = {"state": {0: {"exp_avg": tensor(3, 3, 3, 3)}}, "param_groups": []}
    tree = {"beside": beside, key: state, "optimizer": optimizer}
    assert find_state(tree) == (state, (key,))
    assert find_state({"checkpoint": tensor(1), "model": tree}) == (state, ("model", key))


@pytest.mark.parametrize(
    "counters",
    [
        {"n_averaged": counter()},
        {"step_counter": counter()},
        {"module.step_counter": counter("float32")},
        {"step_counter": counter("int32", (1,)), "epoch": 7, "note": "text"},
        {"decay": counter("float32"), "num_updates": counter("int32")},
        {"of_my_own": counter("uint8")},
    ],
)
@pytest.mark.parametrize("prefix", ["", "module.", "module.module."])
def test_counters_among_the_weights_are_left_out(counters, prefix):
    state = tensors(shapes_of(edsr()))
    tree = {**counters, **{prefix + name: value for name, value in state.items()}}
    assert find_state(tree)[0] == state
    assert find_state({"model": tree, "rng": tensor(16)})[0] == state


def test_a_number_that_may_belong_to_the_network_is_not_left_out():
    state = tensors(shapes_of(edsr())) | {"body.0.res_scale": counter("float32")}
    found, _ = find_state(state)
    assert "body.0.res_scale" in complaint(found, *detect(found))


def test_a_dict_that_is_met_again_and_again_is_looked_at_once():
    tree = {"w": 1}
    for _ in range(8):
        tree = dict.fromkeys(map(str, range(2000)), tree)
    with pytest.raises(CheckpointError, match="no state dict"):
        find_state({"model": tree})
