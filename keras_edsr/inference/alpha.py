"""Transparency: keeps hidden colors from bleeding, and opaque and clear areas exact."""

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 16  # pixels at a time: their gathered neighbors fit in the processor's cache


def fill_hidden(color: NDArray, alpha: NDArray, reach: int) -> NDArray:
    """Gives transparent pixels near visible ones the colors of those.

    The color of a transparent pixel is invisible and often black, but the network would draw it into the edge.
    Ring by ring outwards, each pixel gets the mean of those neighbors that have a color.

    Args:
        color: (height, width, channels).
        alpha: (height, width); 0 is transparent.
        reach: Number of rings, in pixels: how far a visible pixel of the result depends on others.

    Returns:
        `color` itself if all or no pixels are transparent, else a new array.
    """
    height, width = alpha.shape
    known = np.ones((height + 2, width + 2), np.int8)  # 1: has a color, 0: has none, -1: lies outside the image
    known[1:-1, 1:-1] = alpha > 0
    if known.all() or not known[1:-1, 1:-1].any():
        return color
    known[[0, -1]] = known[:, [0, -1]] = -1
    filled = np.pad(color, ((1, 1), (1, 1), (0, 0)))
    flat, state = filled.reshape(-1, color.shape[2]), known.reshape(-1)
    around = np.array([-width - 3, -width - 2, -width - 1, -1, 1, width + 1, width + 2, width + 3])
    ring = _first_ring(known)
    for _ in range(reach):
        if not len(ring):
            break
        for start in range(0, len(ring), _CHUNK):
            part = ring[start : start + _CHUNK]
            flat[part] = _mean(flat, state, part[:, None] + around)
        state[ring] = 1
        beside = (ring[:, None] + around).reshape(-1)
        ring = np.unique(beside[state[beside] == 0])
    return filled[1:-1, 1:-1]


def keep_extremes(lr: NDArray, sr: NDArray, scale: int) -> NDArray:
    """Makes alpha exactly opaque, or exactly transparent, where all LR pixels within a distance of two are.

    The network does not reproduce a constant plane exactly, and 1 % of transparency would spoil a photograph.

    Args:
        lr: (height, width), alpha before upscaling.
        sr: (scale * height, scale * width), alpha after upscaling; changed in place.
        scale: Integer.

    Returns:
        `sr`.
    """
    for value, extreme in ((0, np.maximum), (_highest(lr.dtype), np.minimum)):
        plane = _over_window(lr, extreme) == value
        target = 0 if value == 0 else _highest(sr.dtype)
        views = sr.reshape(lr.shape[0], scale, lr.shape[1], scale)
        np.copyto(views, np.asarray(target, sr.dtype), where=plane[:, None, :, None])
    return sr


def _first_ring(known: NDArray) -> NDArray:
    """Returns the flat positions of the pixels without a color that touch one with a color."""
    touched = np.zeros_like(known, bool)
    inner = touched[1:-1, 1:-1]
    height, width = known.shape
    for row in range(3):
        for column in range(3):
            inner |= known[row : height - 2 + row, column : width - 2 + column] == 1
    return np.flatnonzero(touched & (known == 0))


def _mean(flat: NDArray, state: NDArray, neighbors: NDArray) -> NDArray:
    """Returns the mean color of those neighbors (pixels, 8) that have one, in the dtype of `flat`."""
    has = (state[neighbors] == 1)[..., None]
    total = np.where(has, flat[neighbors], 0).sum(axis=1, dtype=np.float64)
    mean = total / has.sum(axis=1)
    return mean if np.issubdtype(flat.dtype, np.floating) else np.rint(mean)


def _over_window(plane: NDArray, extreme: np.ufunc) -> NDArray:
    """Returns the maximum or minimum over 5x5 pixels, with the border repeated."""
    for axis in (0, 1):
        padded = np.pad(plane.swapaxes(0, axis), ((2, 2), (0, 0)), mode="edge")
        length = plane.shape[axis]
        result = padded[:length].copy()
        for i in range(1, 5):
            extreme(result, padded[i : i + length], out=result)
        plane = result.swapaxes(0, axis)
    return plane


def _highest(dtype: np.dtype) -> float:
    return 1.0 if np.issubdtype(dtype, np.floating) else np.iinfo(dtype).max
