"""How the published codes name the tensors of EDSR and MDSR (facts of each: its repository's state dict)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

LAYOUTS = ("edsr-pytorch", "basicsr", "super-image")

MEAN_NAMES = ("sub_mean.weight", "sub_mean.bias", "add_mean.weight", "add_mean.bias")


@dataclass(frozen=True)
class Convolution:
    """One convolution, in Keras' names and PyTorch's shapes.

    Attributes:
        layer: The Keras layer that has it, such as "body_3".
        index: Which of that layer's convolutions it is.
        shape: Of its PyTorch kernel, `(out, in, height, width)`.
        shuffle: The factor of the pixel shuffle that follows; 1 where none does.
    """

    layer: str
    index: int
    shape: tuple[int, int, int, int]
    shuffle: int = 1


@dataclass(frozen=True)
class Network:
    """What a state dict is, as far as names and shapes tell. Residual scaling and mean are not among them.

    Attributes:
        family: "EDSR" or "MDSR".
        layout: One of `LAYOUTS`.
        scales: The scales, in the order of the file.
        num_blocks: Residual blocks in the body.
        filters: Channels of the body.
        channels: Of the images.
    """

    family: str
    layout: str
    scales: tuple[int, ...]
    num_blocks: int
    filters: int
    channels: int = 3

    def __str__(self) -> str:
        scales = f"scale={self.scales[0]}" if self.family == "EDSR" else f"scales={self.scales}"
        return f"{self.family}({scales}, num_blocks={self.num_blocks}, filters={self.filters})"

    @property
    def parameters(self) -> int:
        """How many weights it has, the mean's not counted."""
        return sum(math.prod(shape) for shape in self.shapes().values())

    @property
    def halo(self) -> int:
        """LR pixels of context that a tile needs on each side, as the Keras models have it."""
        return 2 * self.num_blocks + (4 if self.family == "EDSR" else 12)

    def convolutions(self) -> dict[str, Convolution]:
        """Every convolution of the network, by the name that the layout gives it."""
        named = _name_basicsr(self) if self.layout == "basicsr" else _name_edsr_pytorch(self)
        return dict(named)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor that a file of this network has; the means', which it may lack, not among them."""
        shapes: dict[str, tuple[int, ...]] = {}
        for name, convolution in self.convolutions().items():
            shapes[f"{name}.weight"] = convolution.shape
            shapes[f"{name}.bias"] = convolution.shape[:1]
        return shapes


def _head(net: Network) -> Convolution:
    return Convolution("head", 0, (net.filters, net.channels, 3, 3))


def _inner(net: Network, layer: str, index: int = 0, kernel_size: int = 3) -> Convolution:
    return Convolution(layer, index, (net.filters, net.filters, kernel_size, kernel_size))


def _upsample(net: Network, layer: str, scale: int) -> Iterator[Convolution]:
    stages = (3,) if scale == 3 else (2,) * (scale.bit_length() - 1)
    for index, factor in enumerate(stages):
        yield Convolution(layer, index, (net.filters * factor**2, net.filters, 3, 3), factor)


def _tail(net: Network) -> Convolution:
    return Convolution("tail", 0, (net.channels, net.filters, 3, 3))


def _name_edsr_pytorch(net: Network) -> Iterator[tuple[str, Convolution]]:
    # nn.Sequential counts the layers without weights too: a ReLU or a PixelShuffle lies between the convolutions.
    yield "head.0", _head(net)
    if net.family == "MDSR":
        for i, scale in enumerate(net.scales):
            for block in range(2):
                for half in range(2):
                    conv = _inner(net, f"pre_x{scale}_{block}", half, kernel_size=5)
                    yield f"pre_process.{i}.{block}.body.{2 * half}", conv
    for block in range(net.num_blocks):
        for half in range(2):
            yield f"body.{block}.body.{2 * half}", _inner(net, f"body_{block}", half)
    yield f"body.{net.num_blocks}", _inner(net, "body_conv")
    if net.family == "EDSR":
        for stage, conv in enumerate(_upsample(net, "upsample", net.scales[0])):
            yield f"tail.0.{2 * stage}", conv
        yield "tail.1", _tail(net)
        return
    for i, scale in enumerate(net.scales):
        for stage, conv in enumerate(_upsample(net, f"upsample_x{scale}", scale)):
            yield f"upsample.{i}.{2 * stage}", conv
    yield "tail.0", _tail(net)


def _name_basicsr(net: Network) -> Iterator[tuple[str, Convolution]]:
    yield "conv_first", _head(net)
    for block in range(net.num_blocks):
        for half in range(2):
            yield f"body.{block}.conv{half + 1}", _inner(net, f"body_{block}", half)
    yield "conv_after_body", _inner(net, "body_conv")
    for stage, conv in enumerate(_upsample(net, "upsample", net.scales[0])):
        yield f"upsample.{2 * stage}", conv
    yield "conv_last", _tail(net)
