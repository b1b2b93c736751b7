"""How the published codes name the tensors of EDSR and MDSR (facts of each: its repository's state dict)."""

from ..image_ops import DIV2K_MEAN
from ..network import Convolve, Network
from ..network import convolutions as convolutions_by_path
from .tensors import CheckpointError

LAYOUTS = ("edsr-pytorch", "basicsr", "super-image")
WRITABLE = LAYOUTS[:2]

MEAN_NAMES = ("sub_mean.weight", "sub_mean.bias", "add_mean.weight", "add_mean.bias")

# The parts of a network in the order of its state dict.
_ORDER = ("head", "pre", "body", "upsample", "tail")


def convolutions(network: Network, layout: str) -> dict[str, Convolve]:
    """Returns every convolution of a network by the name that a layout gives it, in the order of the state dict."""
    name = _name_basicsr if layout == "basicsr" else _name_edsr_pytorch
    by_path = convolutions_by_path(network)
    ordered = sorted(by_path, key=lambda path: _ORDER.index(path.partition("/")[0].partition("_")[0]))
    return {name(network, *_split(path)): by_path[path] for path in ordered}


def shapes(network: Network, layout: str) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every tensor that a file of a network has; the means', which it may lack, not among them."""
    found: dict[str, tuple[int, ...]] = {}
    for name, convolution in convolutions(network, layout).items():
        height, width, ins, out = convolution.shape
        found[f"{name}.weight"] = (out, ins, height, width)
        found[f"{name}.bias"] = (out,)
    return found


def check_layout(network: Network, layout: str) -> None:
    """Makes sure that a layout has a place for a network; for the mean, see `means`.

    Raises:
        CheckpointError: If it does not. The message is half a line.
    """
    if network.family == "MDSR" and layout == "basicsr":
        raise CheckpointError("BasicSR has no MDSR; use the layout edsr-pytorch")
    if network.upsampler == "direct" and layout == "basicsr":
        raise CheckpointError("BasicSR's EDSR has no direct upsampler; use the layout edsr-pytorch")
    if not network.shared_tail and len(network.scales) > 1:
        raise CheckpointError("EDSR-PyTorch's MDSR has one last convolution for all scales, this model one for each")
    if network.family == "MDSR" and network.residual_scaling != 1:
        raise CheckpointError(
            f"EDSR-PyTorch's MDSR does not scale its residuals, this model by {network.residual_scaling}"
        )
    is_div2k = all(abs(a - b) <= 1e-4 for a, b in zip(network.shift, DIV2K_MEAN, strict=False))  # but for rounding
    if layout == "basicsr" and (network.channels != 3 or not is_div2k):
        raise CheckpointError(
            "BasicSR's files hold no mean, and its networks take that of DIV2K. "
            f"This model's is {network.mean}; use the layout edsr-pytorch"
        )


def _split(path: str) -> tuple[str, int]:
    """A path such as "body_3/conv_2" as the layer and the index of its convolution, from 0 on."""
    layer, _, number = path.partition("/conv_")
    return layer, int(number or 1) - 1


def _name_edsr_pytorch(network: Network, layer: str, index: int) -> str:
    # nn.Sequential counts the layers without weights too: a ReLU or a PixelShuffle lies between the convolutions.
    part, *rest = layer.split("_")
    if part == "head":
        return "head.0"
    if layer == "body_conv":
        return f"body.{network.num_blocks}"
    if part == "body":
        return f"body.{rest[0]}.body.{2 * index}"
    if part == "tail":
        has_upsampler = network.family == "EDSR" and network.upsampler == "subpixel"
        return "tail.1" if has_upsampler else "tail.0"
    if network.family == "EDSR":
        return f"tail.0.{2 * index}"
    place = network.scales.index(int(rest[0][1:]))
    if part == "upsample":
        return f"upsample.{place}.{2 * index}"
    return f"pre_process.{place}.{rest[1]}.body.{2 * index}"


def _name_basicsr(network: Network, layer: str, index: int) -> str:
    if layer.startswith("body_") and layer != "body_conv":
        return f"body.{layer.removeprefix('body_')}.conv{index + 1}"
    named = {"head": "conv_first", "body_conv": "conv_after_body", "tail": "conv_last"}
    return named.get(layer, f"upsample.{2 * index}")
