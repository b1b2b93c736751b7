"""The facts of a network and the operations of its scales, against the Keras models and against what they mean."""

import numpy as np
import pytest
from reference import conv2d, depth_to_space, images, pair, pixel_shuffle

from keras_edsr import EDSR, MDSR
from keras_edsr.network import (
    About,
    Add,
    Convolve,
    Network,
    Shift,
    check_arrays,
    count_parameters,
    default_residual_scaling,
    halo,
    operations,
    weights,
)
from keras_edsr.network.arrays import weight_shapes
from keras_edsr.network.graph import INPUT, cut_end
from keras_edsr.network.merge import end_stages, merge_stages

MODELS = {
    **{f"x{scale}": lambda scale=scale: EDSR(scale, 2, 4, 0.5) for scale in (1, 2, 3, 4, 8)},
    **{f"direct x{s}": lambda s=s: EDSR(s, 2, 4, 0.5, upsampler="direct", mean=0) for s in (1, 2, 3, 4)},
    "direct, mean": lambda: EDSR(2, 1, 4, 1.0, upsampler="direct", mean=(1, 2, 3)),
    "gray": lambda: EDSR(2, 1, 4, 1.0, image_shape=(None, None, 1)),
    "MDSR": lambda: MDSR((2, 4), 1, 4, 0.5),
    "own tails": lambda: MDSR((2, 3), 1, 4, shared_tail=False, mean=(1, 2, 3)),
    "branch": lambda: MDSR((2, 3), 1, 4, shared_tail=False).branch(3),
}


def run(made, arrays, x):
    """The operations in NumPy and double precision."""
    results = {made[0].inputs[0]: x}
    for operation in made:
        x, *others = (results[name] for name in operation.inputs)
        if isinstance(operation, Shift):
            x = x + np.array(operation.offsets)
        elif isinstance(operation, Convolve):
            x = conv2d(x, *weights(operation, arrays))
            x = np.maximum(x, 0) if operation.relu else x
        elif isinstance(operation, Add):
            x = x + others[0]
        else:
            x = depth_to_space(x, operation.factor)
        results[operation.name] = x
    return x


def random_arrays(network):
    rng = np.random.default_rng(0)
    return {path: rng.normal(0, 0.3, shape).astype(np.float32) for path, shape in weight_shapes(network).items()}


@pytest.mark.parametrize("kind", MODELS)
def test_the_operations_are_what_the_keras_model_computes(kind):
    model = MODELS[kind]()
    network, arrays = pair(model)
    check_arrays(network, arrays)
    x = images(1, 9, 7, network.channels)
    sr = model(x)
    for scale in network.scales:
        expected = sr[f"x{scale}"] if isinstance(sr, dict) else sr
        np.testing.assert_allclose(run(operations(network, scale), arrays, x[0].astype(float)), expected[0], atol=1e-3)
    assert count_parameters(network) == model.count_params()


@pytest.mark.parametrize("kind", MODELS)
def test_a_config_gives_the_network_and_the_model_again(kind):
    model = MODELS[kind]()
    network = Network.from_config(type(model).__name__, model.get_config())
    assert network == model.network
    assert network.config() == model.get_config()
    again = type(model).from_network(*pair(model))
    assert again.name == model.name
    for path, array in again.get_arrays().items():
        np.testing.assert_array_equal(array, model.get_arrays()[path])


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        *((Network("EDSR", (scale,), 3, 4), 10) for scale in (2, 3, 4, 8)),
        (Network("EDSR", (1,), 3, 4), 9),
        (Network("EDSR", (3,), 3, 4, upsampler="direct"), 9),
        (Network("MDSR", (2, 3, 4), 3, 4), 18),
    ],
    ids=str,
)
def test_the_halo_is_how_far_a_pixel_is_seen(network, expected):
    assert halo(network) == expected
    arrays = random_arrays(network)
    size = 2 * expected + 3
    x = np.random.default_rng(1).uniform(0, 255, (size, size, 3))
    for scale in network.scales:
        made = operations(network, scale)
        middle = np.s_[(expected + 1) * scale : (expected + 2) * scale]
        seen = []
        for row in (0, 1):  # one pixel beyond the halo, and the last within it
            other = x.copy()
            other[row] += 50
            seen.append(not np.array_equal(run(made, arrays, other)[middle], run(made, arrays, x)[middle]))
        assert seen == [False, True]


@pytest.mark.parametrize(
    "network",
    [
        *(Network("EDSR", (scale,), 1, 4, mean=(1, 2, 3)) for scale in (1, 2, 3, 4, 8)),
        Network("EDSR", (3,), 1, 4, upsampler="direct"),
    ],
    ids=str,
)
def test_the_merged_end_is_the_end_but_for_the_outermost_pixel(network):
    arrays, (scale,) = random_arrays(network), network.scales
    _, end = cut_end(operations(network, scale))
    features = np.random.default_rng(1).normal(size=(7, 6, 4))
    kernel, bias, factor = merge_stages(end_stages(end, arrays))
    assert factor == scale
    merged = pixel_shuffle(conv2d(features, kernel.transpose(2, 3, 1, 0), bias), scale)
    inside = np.s_[scale:-scale, scale:-scale]
    np.testing.assert_allclose(merged[inside], run(end, arrays, features)[inside], atol=1e-9)


def test_the_mean_zero_is_no_operation():
    made = operations(Network("EDSR", (2,), 1, 4, mean=0), 2)
    assert not any(isinstance(operation, Shift) for operation in made)
    assert made[0].inputs == (INPUT,)


@pytest.mark.parametrize(
    ("family", "filters", "scaling"),
    [("EDSR", 64, 1.0), ("EDSR", 255, 1.0), ("EDSR", 256, 0.1), ("EDSR", 512, 0.1), ("MDSR", 256, 1.0)],
)
def test_the_default_residual_scaling_is_the_papers(family, filters, scaling):
    assert default_residual_scaling(family, filters) == scaling
    assert Network(family, (2,), 1, filters).residual_scaling == scaling


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "RCAN"}, "`family` must be one of"),
        ({"scales": ()}, "`scales` must be a tuple of different scales"),
        ({"scales": (2, 2)}, "`scales` must be a tuple of different scales"),
        ({"scales": (2, 3)}, "`scale` of an EDSR must be one integer"),
        ({"scales": (5,)}, "`scale` must be one of"),
        ({"scales": (True,)}, "`scale` must be one of"),
        ({"family": "MDSR", "scales": (1, 2)}, "`scale` must be one of"),
        ({"num_blocks": 0}, "`num_blocks` must be a positive integer"),
        ({"filters": 1.5}, "`filters` must be a positive integer"),
        ({"residual_scaling": "1"}, "`residual_scaling` must be a number"),
        ({"image_shape": (3,)}, "`image_shape` must be"),
        ({"mean": (1, 2)}, "`mean` must have one value for each of the 3 channels"),
        ({"mean": ("a", 1, 2)}, "`mean` must be a number"),
        ({"upsampler": "nearest"}, "`upsampler` must be one of"),
        ({"family": "MDSR", "upsampler": "direct"}, "`upsampler` must be one of"),
        ({"is_branch": True}, "A branch must be one scale of an MDSR"),
    ],
)
def test_what_is_not_a_network_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Network(**{"family": "EDSR", "scales": (2,), "num_blocks": 1, "filters": 4, **changes})


@pytest.mark.parametrize(
    "config", [{}, {"num_blocks": 1, "filters": 4}, {"scale": 2, "num_blocks": 1, "filters": 4, "color": 1}, [], None]
)
def test_what_is_not_a_config_is_refused(config):
    with pytest.raises(ValueError, match="its config is not that of an EDSR"):
        Network.from_config("EDSR", config)


def test_an_exports_description_is_read_again(tmp_path):
    about = About.of(Network("EDSR", (3,), 2, 4, upsampler="direct"))
    assert about.halo == 7
    assert About.from_json(about.to_json(), tmp_path, "a file") == about


@pytest.mark.parametrize(
    ("class_name", "config", "sizes"), [("EDSR", {"scale": 2}, (32, 256)), ("MDSR", {"scales": (2, 3)}, (80, 64))]
)
def test_a_config_without_sizes_is_the_papers_network(class_name, config, sizes):
    network = Network.from_config(class_name, config)
    assert (network.num_blocks, network.filters) == sizes
