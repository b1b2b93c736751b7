"""Recognizes EDSR and MDSR by the shapes of their kernels, which every format keeps."""

import itertools
from collections import Counter
from collections.abc import Iterable

from ..network import Network
from ..network.checks import SCALES

Kernel = tuple[int, int, int, int]  # height, width, in, out


def recognize(kernels: Iterable[Kernel]) -> Network | None:
    """Returns the network that has exactly these kernels.

    Args:
        kernels: Kernel shapes of all convolutions, in any order, each as often as it occurs.

    Returns:
        The network; None if it is not an EDSR or an MDSR.
    """
    counts = Counter(kernels)
    # Try each kernel that could be the head if another is the tail: nothing else is ambiguous.
    for height, width, channels, filters in counts:
        if height == width == 3 and (3, 3, filters, channels) in counts:
            network = _measure(counts, channels, filters)
            if network is not None:
                return network
    return None


def _measure(counts: Counter[Kernel], channels: int, filters: int) -> Network | None:
    body = counts[3, 3, filters, filters]
    pre = counts[5, 5, filters, filters]
    stages = {factor: counts[3, 3, filters, filters * factor**2] for factor in (2, 3)}
    tails = counts[3, 3, filters, channels]
    num_scales = max(1, pre // 4)
    scales = _find_scales(num_scales, stages)
    others = counts.total() - body - pre - sum(stages.values()) - tails
    if scales is None or others != 1 or body % 2 == 0 or body < 3 or pre % 4 or tails not in (1, num_scales):
        return None
    family = "MDSR" if pre else "EDSR"
    return Network(family, scales, (body - 1) // 2, filters, image_shape=(None, None, channels))


def _find_scales(count: int, stages: dict[int, int]) -> tuple[int, ...] | None:
    """Returns `count` different scales whose upsamplers have exactly these stages in all."""
    for scales in itertools.combinations(SCALES, count):
        twos = sum(scale.bit_length() - 1 for scale in scales if scale != 3)
        if stages == {2: twos, 3: int(3 in scales)}:
            return scales
    return None
