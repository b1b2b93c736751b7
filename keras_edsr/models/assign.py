"""Between a state dict and a Keras model: which weight is which tensor, in which order, of which range."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np
from numpy.typing import NDArray

from ..checkpoints import CheckpointError, Network
from ..checkpoints.layouts import Convolution
from ..checkpoints.means import is_div2k
from ..checkpoints.tensors import Tensor, read_weights
from ..layers import ScaledResBlock, SubpixelUpsample
from .edsr import EDSR
from .mdsr import MDSR, MDSRBranch


def shuffle_order(out_channels: int, factor: int) -> NDArray[np.intp]:
    """Where each output channel of a convolution before `depth_to_space` lies before PixelShuffle.

    PyTorch counts the feature first, then the place in the block of pixels; TensorFlow the place, then the feature.
    `kernel_of_tensorflow = kernel_of_torch[order]`; without that, colours and pixels mix.

    Args:
        out_channels: Channels of the convolution, a multiple of `factor**2`.
        factor: Of the shuffle; 1 leaves the order as it is.
    """
    return np.arange(out_channels).reshape(-1, factor**2).T.reshape(-1)


def build_model(
    network: Network, residual_scaling: float, mean: Sequence[float] | None, dtype: str | None = None
) -> EDSR | MDSR:
    """Builds the Keras model of a network, its weights still random."""
    options = {
        "num_blocks": network.num_blocks,
        "filters": network.filters,
        "residual_scaling": residual_scaling,
        "image_shape": (None, None, network.channels),
        "mean": mean,
        "dtype": dtype,
    }
    if network.family == "EDSR":
        return EDSR(network.scales[0], **options)
    return MDSR(network.scales, **options)


def set_weights(model, network: Network, state: Mapping[str, Tensor], value_range: float) -> None:
    """Gives a model the weights of a state dict that `detect.check` has passed.

    A network that was trained on images in 0..1 becomes one for 0..255 here. That is exact in real numbers, for only
    factors move: `conv(x / 255, k) + b = conv(x, k / 255) + b` at the head, and at the tail kernel and bias times 255.
    Zero padding is zero in both units. (What cannot move is an offset, the mean: see `MeanShift`.) The rounding of two
    kernels is all that changes: 16 blocks of 64 filters are 4.8e-4 grey levels from the sum in float64 that way,
    and 5.4e-4 with the division in the graph.

    Args:
        model: The Keras model, as `build_model` makes it.
        network: What the state dict is.
        state: The tensors by name.
        value_range: 255, or 1 when the tensors are for images in 0..1.

    Raises:
        CheckpointError: A weight is NaN, infinite, or too large for float32.
    """
    for name, convolution in network.convolutions().items():
        kernel, bias = (read_weights(f"{name}.{part}", state) for part in ("weight", "bias"))
        if value_range != 255 and convolution.layer == "head":
            kernel = kernel.astype(np.float64) * (value_range / 255)
        elif value_range != 255 and convolution.layer == "tail":
            kernel, bias = (values.astype(np.float64) * (255 / value_range) for values in (kernel, bias))
        order = shuffle_order(len(bias), convolution.shuffle)
        layer = find_layer(model, convolution)
        layer.kernel.assign(kernel[order].transpose(2, 3, 1, 0).astype(np.float32))
        layer.bias.assign(bias[order].astype(np.float32))


def get_weights(model, network: Network) -> dict[str, NDArray[np.float32]]:
    """Returns the state dict of a model, without the mean, in the layout of `network`."""
    state = {}
    for name, convolution in network.convolutions().items():
        layer = find_layer(model, convolution)
        bias = _as_float32(layer.bias)
        order = np.argsort(shuffle_order(len(bias), convolution.shuffle))
        state[f"{name}.weight"] = np.ascontiguousarray(_as_float32(layer.kernel).transpose(3, 2, 0, 1)[order])
        state[f"{name}.bias"] = bias[order]
    return state


def find_layer(model, convolution: Convolution) -> keras.layers.Conv2D:
    """Returns the Keras layer that a convolution is in a model."""
    name = convolution.layer
    if name == "tail" and not getattr(model, "shared_tail", True):
        name = f"tail_x{model.scales[0]}"  # with one scale, its own tail is the shared one
    layer = model.get_layer(name)
    if isinstance(layer, ScaledResBlock):
        return (layer.conv_1, layer.conv_2)[convolution.index]
    if isinstance(layer, SubpixelUpsample):
        return layer.convs[convolution.index]
    return layer


def network_of(model, layout: str) -> Network:
    """Returns what a model is in a layout.

    Raises:
        CheckpointError: The layout has no place for it.
    """
    if not isinstance(model, EDSR | MDSR | MDSRBranch):
        raise CheckpointError(f"`model` must be an EDSR, an MDSR or a branch of one. Received: {type(model).__name__}")
    config = model.get_config()
    config = config.get("mdsr", config)
    family = "EDSR" if isinstance(model, EDSR) else "MDSR"
    channels = config["image_shape"][-1]
    if family == "MDSR" and layout == "basicsr":
        raise CheckpointError("BasicSR has no MDSR; use the layout edsr-pytorch")
    if not config.get("shared_tail", True) and len(model.scales) > 1:
        raise CheckpointError("EDSR-PyTorch's MDSR has one last convolution for all scales, this model one for each")
    if family == "MDSR" and config["residual_scaling"] != 1:
        raise CheckpointError(
            f"EDSR-PyTorch's MDSR does not scale its residuals, this model by {config['residual_scaling']}"
        )
    if layout == "basicsr" and (channels != 3 or not is_div2k(config["mean"])):
        raise CheckpointError(
            "BasicSR's files hold no mean, and its networks take that of DIV2K. "
            f"This model's is {config['mean']}; use the layout edsr-pytorch"
        )
    return Network(family, layout, tuple(model.scales), config["num_blocks"], config["filters"], channels)


def _as_float32(variable) -> NDArray[np.float32]:
    return np.asarray(keras.ops.convert_to_numpy(variable), np.float32)
