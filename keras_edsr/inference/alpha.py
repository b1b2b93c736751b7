"""Transparency: colours under it that don't bleed, and edges of it that stay whole."""

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 16  # pixels at a time: what is gathered of their neighbours stays in the cache


def fill_hidden(colour: NDArray, alpha: NDArray, reach: int) -> NDArray:
    """Gives transparent pixels near visible ones these one's colours.

    What lies under transparency is seen by nobody and is often black; a network that looked at it would draw it into
    the edge. Ring by ring outwards, a pixel gets the mean of its neighbours that have a colour.

    Args:
        colour: (height, width, channels).
        alpha: (height, width); 0 is transparent.
        reach: How many rings, in pixels: what a visible pixel of the result depends on.

    Returns:
        `colour` itself if nothing or everything is transparent, else a new array.
    """
    height, width = alpha.shape
    known = np.ones((height + 2, width + 2), np.int8)  # 1 has a colour, 0 has none, -1 lies outside
    known[1:-1, 1:-1] = alpha > 0
    if known.all() or not known[1:-1, 1:-1].any():
        return colour
    known[[0, -1]] = known[:, [0, -1]] = -1
    filled = np.pad(colour, ((1, 1), (1, 1), (0, 0)))
    flat, state = filled.reshape(-1, colour.shape[2]), known.reshape(-1)
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
    """Makes alpha exactly opaque, or exactly transparent, where it is so two LR pixels around.

    The network is not exact on a plane, and a photograph that lets 1 % through is no photograph.

    Args:
        lr: (height, width) alpha, before.
        sr: (scale * height, scale * width) alpha, after; changed in place.
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
    """Flat positions of the pixels without a colour that touch one with."""
    touched = np.zeros_like(known, bool)
    inner = touched[1:-1, 1:-1]
    height, width = known.shape
    for row in range(3):
        for column in range(3):
            inner |= known[row : height - 2 + row, column : width - 2 + column] == 1
    return np.flatnonzero(touched & (known == 0))


def _mean(flat: NDArray, state: NDArray, neighbours: NDArray) -> NDArray:
    """The mean colour of those neighbours (pixels, 8) that have one, in the type of `flat`."""
    has = (state[neighbours] == 1)[..., None]
    total = np.where(has, flat[neighbours], 0).sum(axis=1, dtype=np.float64)
    mean = total / has.sum(axis=1)
    return mean if np.issubdtype(flat.dtype, np.floating) else np.rint(mean)


def _over_window(plane: NDArray, extreme: np.ufunc) -> NDArray:
    """The maximum (minimum) over 5x5 pixels, the border's repeated."""
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
