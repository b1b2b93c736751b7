"""The operations of one scale of a network, in the order in which they run: what every export translates.

They are what the Keras models compute, but for two things that are exact: the factor on a block's branch belongs to
its second convolution, and the mean that is added at the end to the bias of the last convolution, since nothing is
padded after it. The mean that is taken off stays an operation of its own: zero padding comes after it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .network import Network

INPUT = "lr"  # the name of the images
FEATURES = "skip"  # the result after which all is linear
MEAN = "sub_mean"  # the result without the mean
COMMON = (MEAN, "head")  # what the scales of an MDSR have in common before they part


@dataclass(frozen=True)
class Shift:
    """Adds a constant to each channel.

    Attributes:
        name: The name of the result.
        inputs: The name of what it takes, in a tuple.
        offsets: One float for each channel.
    """

    name: str
    inputs: tuple[str]
    offsets: tuple[float, ...]


@dataclass(frozen=True)
class Convolve:
    """A zero-padded convolution that keeps the size, and perhaps a ReLU.

    Attributes:
        name: The name of the result; that of its Keras layer, but the same for every scale of an MDSR.
        inputs: The name of what it takes, in a tuple.
        path: The weights' place in Keras, such as "body_3/conv_1".
        shape: Of the kernel, `(height, width, in, out)`.
        relu: Whether what is negative becomes 0.
        gain: Factor on kernel and bias.
        offsets: What the bias gets on top, one float for each output; () for nothing.
        factor: Of the `Shuffle` that follows at once; 1 where none does.
    """

    name: str
    inputs: tuple[str]
    path: str
    shape: tuple[int, int, int, int]
    relu: bool = False
    gain: float = 1.0
    offsets: tuple[float, ...] = ()
    factor: int = 1


@dataclass(frozen=True)
class Add:
    """The sum of two results.

    Attributes:
        name: The name of the result.
        inputs: The names of the two.
    """

    name: str
    inputs: tuple[str, str]


@dataclass(frozen=True)
class Shuffle:
    """Channels to pixels, as `depth_to_space` takes them: the place in the block first, then the feature.

    Attributes:
        name: The name of the result.
        inputs: The name of what it takes, in a tuple.
        factor: How many times the height and the width grow.
    """

    name: str
    inputs: tuple[str]
    factor: int


Operation = Shift | Convolve | Add | Shuffle


def operations(network: Network, scale: int) -> list[Operation]:
    """Returns the operations of one scale; the first takes `INPUT`, the last makes the result.

    Raises:
        ValueError: If the network has no such scale.
    """
    if scale not in network.scales:
        raise ValueError(f"`scale` must be one of the network's, {network.scales}. Received: scale={scale!r}.")
    made: list[Operation] = []

    def add(operation: Operation) -> str:
        made.append(operation)
        return operation.name

    def convolve(name: str, x: str, ins: int, out: int, size: int = 3, own: bool = False, **options) -> str:
        layer, _, rest = name.partition("/")
        if own and network.family == "MDSR":  # an MDSR has some of its layers once per scale
            layer = f"{layer}_x{scale}"
        path = f"{layer}/{rest}" if rest else layer
        return add(Convolve(name, (x,), path, (size, size, ins, out), **options))

    def block(name: str, x: str, size: int, gain: float) -> str:
        y = convolve(f"{name}/conv_1", x, filters, filters, size, relu=True)
        y = convolve(f"{name}/conv_2", y, filters, filters, size, gain=gain)
        return add(Add(name, (x, y)))

    filters, channels, mean = network.filters, network.channels, network.shift
    x = add(Shift(MEAN, (INPUT,), tuple(-value for value in mean))) if any(mean) else INPUT
    x = convolve("head", x, channels, filters)
    for i in range(2 if network.family == "MDSR" else 0):
        x = block(f"pre_x{scale}_{i}", x, 5, 1.0)
    skip = x
    for i in range(network.num_blocks):
        x = block(f"body_{i}", x, 3, network.residual_scaling)
    x = convolve("body_conv", x, filters, filters)
    x = add(Add(FEATURES, (x, skip)))
    offsets = mean if any(mean) else ()
    if network.upsampler == "direct":
        x = convolve("tail", x, filters, channels * scale**2, offsets=offsets * scale**2, factor=scale)
        if scale > 1:
            add(Shuffle("shuffle_1", (x,), scale))
        return made
    for i, factor in enumerate(stages(scale), start=1):
        x = convolve(f"upsample/conv_{i}", x, filters, filters * factor**2, own=True, factor=factor)
        x = add(Shuffle(f"shuffle_{i}", (x,), factor))
    convolve("tail", x, filters, channels, own=not network.shared_tail, offsets=offsets)
    return made


def stages(scale: int) -> tuple[int, ...]:
    """Returns the factors by which a sub-pixel upsampler reaches a scale: 3 at once, 4 and 8 by twos, 1 by none."""
    return (3,) if scale == 3 else (2,) * (scale.bit_length() - 1)


def convolutions(network: Network) -> dict[str, Convolve]:
    """Returns the convolutions of all scales by the path of their weights; each once, however many scales share it."""
    found = (operation for scale in network.scales for operation in operations(network, scale))
    return {one.path: one for one in found if isinstance(one, Convolve)}


def receptive_radius(made: Sequence[Operation]) -> int:
    """Returns how many LR pixels away from a pixel of the result the input can change it.

    From the end to the beginning: a convolution looks half a kernel further; of pixels that were shuffled, those up to
    r away lie in blocks up to r / factor away, rounded up.
    """
    reach = {made[-1].name: 0}
    for operation in reversed(made):
        radius = reach[operation.name]
        if isinstance(operation, Convolve):
            radius += operation.shape[0] // 2
        elif isinstance(operation, Shuffle):
            radius = -(-radius // operation.factor)
        for name in operation.inputs:
            reach[name] = max(radius, reach.get(name, 0))
    return reach[INPUT]


def halo(network: Network) -> int:
    """Returns how many LR pixels of context a tile needs on each side to give the whole image's values."""
    return max(receptive_radius(operations(network, scale)) for scale in network.scales)


def cut_end(made: Sequence[Operation]) -> tuple[list[Operation], list[Operation]]:
    """Cuts the operations after `FEATURES`: what comes then has no activation, so that it is one linear map."""
    cut = 1 + next(i for i, operation in enumerate(made) if operation.name == FEATURES)
    return list(made[:cut]), list(made[cut:])
