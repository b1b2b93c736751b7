"""Cuts an image into tiles, and chooses their size."""

import itertools
import math
from collections.abc import Iterator

from ..machine import free_memory

# Memory for a tile: the first of these with which the halos add less than WASTE to the work, and at most a quarter of
# the free memory. Beyond about 96 pixels a side the cost of a pixel does not depend on the tile's size, in TensorFlow
# and in ncnn (measured at 32 and 64 filters), so that only the halo matters.
BUDGETS = (0.6e9, 1.2e9, 2.4e9, 4.8e9)
WASTE = 0.14

Slices = tuple[slice, slice]


def tiles(height: int, width: int, tile_size: tuple[int, int], halo: int) -> Iterator[tuple[Slices, Slices]]:
    """Yields pairs (core, context) of 2-D slices: cores tile the image, contexts are `halo` wider within it."""
    for core in itertools.product(_spans(height, tile_size[0]), _spans(width, tile_size[1])):
        rows, columns = (
            slice(max(0, span.start - halo), min(side, span.stop + halo))
            for span, side in zip(core, (height, width), strict=True)
        )
        yield core, (rows, columns)


def windows(height: int, width: int, window: tuple[int, int], halo: int) -> Iterator[tuple[Slices, Slices]]:
    """Yields what `tiles` does, for a network with a fixed input size: every context has the window's size.

    Raises:
        ValueError: If the image is smaller, or it is larger and the window leaves no room within the halo.
    """
    axes = []
    for side, size in zip((height, width), window, strict=True):
        if side < size or (side > size and size <= 2 * halo):
            takes = "cannot take another size" if side > size else "cannot take a smaller image"
            raise ValueError(
                f"The model was exported for images of {window[1]}x{window[0]} pixels and {takes}. "
                f"Received: {width}x{height}. Export it without an input size, or with another."
            )
        axes.append(_window_spans(side, size, halo))
    for pairs in itertools.product(*axes):
        (rows, outer_rows), (columns, outer_columns) = pairs
        yield (rows, columns), (outer_rows, outer_columns)


def fit_tiles(height: int, width: int, halo: int, bytes_per_pixel: float, free: float | None = None) -> tuple[int, int]:
    """Returns the height and width of the cores that cost the least work within the memory.

    Args:
        height: Height of the image in LR pixels.
        width: Width of the image in LR pixels.
        halo: LR pixels of context.
        bytes_per_pixel: Memory that the runtime needs for one LR pixel of a tile with its context.
        free: Free memory in bytes, such as a GPU's. Defaults to `free_memory()`.
    """
    free = free_memory() if free is None else free
    for budget in BUDGETS:
        pixels = min(budget, free / 4) / bytes_per_pixel
        work, core = min(_grids(height, width, halo, pixels), default=(math.inf, None))
        if work <= (1 + WASTE) * height * width:
            break
    if core is None:  # not even the halo fits; cores of twice the halo keep the excess small
        core = (2 * halo, 2 * halo)
    return core


def _grids(height, width, halo, pixels):
    """Yields (number of computed pixels, core) for each number of columns, with as few rows as fit."""
    for columns in range(1, width + 1):
        core_width = math.ceil(width / columns)
        core_height = _longest_core(height, halo, pixels // _with_halo(core_width, width, halo))
        if core_height < 1:
            continue
        rows = math.ceil(height / core_height)
        yield (
            (height + 2 * halo * (rows - 1)) * (width + 2 * halo * (columns - 1)),
            (math.ceil(height / rows), core_width),
        )


def _with_halo(core, side, halo):
    return min(side, core + halo * min(2, math.ceil(side / core) - 1))


def _longest_core(side, halo, longest):
    """Returns the longest core that fits in `longest` with its halo: on one side of two cores, on both of more."""
    if longest >= side:
        return side
    if longest - halo >= side / 2:
        return math.ceil(side / 2)
    return int(longest) - 2 * halo


def _spans(side, size):
    """Cuts `side` into the fewest spans of at most `size`, as equal as possible."""
    count = math.ceil(side / size)
    edges = [round(i * side / count) for i in range(count + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


def _window_spans(side, size, halo):
    """Cuts `side` into spans, each with its window. Window edges are `halo` away unless they are the image's."""
    pairs, start = [], 0
    while start < side:
        first = min(max(0, start - halo), side - size)
        stop = side if first + size == side else first + size - halo
        pairs.append((slice(start, stop), slice(first, first + size)))
        start = stop
    return pairs
