"""Plans how a requested size is reached: how often the network runs, and what `imresize` does."""

import itertools
import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MOST_PASSES = 3


@dataclass(frozen=True)
class Plan:
    """How to reach a size.

    Attributes:
        passes: Scales of the network's passes, in order.
        height: Height of the result, which `imresize` makes if the passes make a larger image.
        width: Width of the result.
    """

    passes: tuple[int, ...]
    height: int
    width: int

    def leads_beyond(self, height: int, width: int) -> bool:
        """Whether the passes change an image of this size to another size than the result's."""
        factor = math.prod(self.passes)
        return (factor * height, factor * width) != (self.height, self.width)

    def pixels(self, height: int, width: int) -> int:
        """Returns how many pixels the network processes in all passes."""
        factors = itertools.accumulate((1, *self.passes[:-1]), lambda total, scale: total * scale)
        return sum(height * width * factor**2 for factor in factors) if self.passes else 0

    def describe(self, height: int, width: int) -> str:
        """Describes the plan in one line."""
        factor = math.prod(self.passes)
        way = f"{width}x{height}"
        if self.passes:
            way += f", by the network x{' x'.join(map(str, self.passes))} {factor * width}x{factor * height}"
        if self.leads_beyond(height, width):
            way += f", by imresize {self.width}x{self.height}"
        return way


def check_scale(scale: Any, scales: Sequence[int]) -> int:
    """Returns the scale if the model has it, or the model's only scale for None.

    Raises:
        ValueError: If the model does not have the scale, or if it is None and the model has several.
    """
    if scale is None and len(scales) == 1:
        return scales[0]
    if not isinstance(scale, numbers.Integral) or isinstance(scale, bool) or scale not in scales:
        raise ValueError(f"`scale` must be one of the model's scales, {tuple(scales)}. Received: scale={scale!r}.")
    return int(scale)


def check_size(
    scales: Sequence[int],
    scale: Any = None,
    width: Any = None,
    height: Any = None,
    fit: Any = None,
) -> None:
    """Raises ValueError unless the arguments of `plan_size` are consistent for an image of any size."""
    given = [*["scale"] * (scale is not None), *["width, height"] * (width is not None or height is not None)]
    given += ["fit"] * (fit is not None)
    if len(given) > 1:
        raise ValueError(f"Pass `scale`, or `width` and `height`, or `fit`. Received: {' and '.join(given)}.")
    if not given:
        check_scale(None, scales)
    if scale is not None and not (_is_number(scale) and 1 < scale < math.inf):
        raise ValueError(f"`scale` must be a number above 1. Received: scale={scale!r}. To shrink, use `imresize`.")
    sides = {"width": width, "height": height}
    if fit is not None:
        if not isinstance(fit, Sequence) or isinstance(fit, str) or len(fit) != 2:
            raise ValueError(f"`fit` must be (width, height). Received: fit={fit!r}.")
        sides = dict(zip(("fit[0]", "fit[1]"), fit, strict=True))
    for name, side in sides.items():
        if side is not None and not (_is_number(side) and isinstance(side, numbers.Integral) and int(side) > 0):
            raise ValueError(f"`{name}` must be a positive integer. Received: {name}={side!r}.")


def plan_size(
    scales: Sequence[int],
    size: tuple[int, int],
    scale: Any = None,
    width: Any = None,
    height: Any = None,
    fit: Any = None,
) -> Plan:
    """Plans how to resize an image.

    The network makes the smallest size that it can, at or above the request. It takes one pass, or several if its
    largest scale is too small: the smallest product that is sufficient. `imresize` reduces the rest. If the image
    is at least as large as the request, only `imresize` runs.

    Args:
        scales: The model's scales.
        size: (height, width) of the image.
        scale: Number above 1; sides are rounded. Defaults to the model's only scale if no other size is given.
        width: Width of the result in pixels; without `height` the aspect ratio is kept.
        height: Height of the result in pixels; without `width` the aspect ratio is kept.
        fit: (width, height) into which the largest result fits, with the aspect ratio kept.

    Raises:
        ValueError: If the arguments are inconsistent, or the network would need more than three passes.
    """
    check_size(scales, scale, width, height, fit)
    rows, columns = size
    if scale is None and width is None and height is None and fit is None:
        scale = scales[0]
    if fit is not None:
        scale = min(fit[0] / columns, fit[1] / rows)
    elif scale is None:
        ratio = height / rows if width is None else width / columns
        target = (int(height) if height is not None else _times(rows, ratio), int(width or 0) or _times(columns, ratio))
    if scale is not None:
        target = (_times(rows, scale), _times(columns, scale))
    factor = scale if scale in scales else max(target[0] / rows, target[1] / columns)
    return Plan(_passes(scales, factor), *target)


def _passes(scales: Sequence[int], factor: float) -> tuple[int, ...]:
    if factor <= 1:
        return ()
    for count in range(1, MOST_PASSES + 1):
        chains = itertools.combinations_with_replacement(sorted(scales), count)  # smaller scales first: less work
        long_enough = [chain for chain in chains if math.prod(chain) >= factor]
        if long_enough:
            return min(long_enough, key=math.prod)
    raise ValueError(
        f"A model of scale {', '.join(map(str, scales))} reaches {max(scales) ** MOST_PASSES} times the size in "
        f"{MOST_PASSES} passes. Received: {factor:g} times. Ask for a smaller size."
    )


def _times(side: int, factor: float) -> int:
    return max(1, math.floor(side * factor + 0.5))


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
