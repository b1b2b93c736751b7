"""One pass of the network over a batch of images: exact tiles, self-ensemble, one rounding at the end."""

import numbers
from collections.abc import Callable

import numpy as np

from ..image_ops import NUM_DIHEDRAL, dihedral, inverse_dihedral, quantize
from .tiling import BUDGETS, fit_tiles, tiles, windows


def run_network(runtime, batch, scale, tile_size, self_ensemble, dtype, report: Callable[[int], None]):
    """Upscales images with the network.

    Args:
        runtime: As `open_runtime` returns it.
        batch: `(n, h, w, c)` with c the runtime's channels or 1; uint8, uint16, or float in [0, 1].
        scale: Integer, one of the runtime's.
        tile_size: As `upscale` takes it; a runtime with a `window` uses that instead.
        self_ensemble: Boolean.
        dtype: Dtype of the result, one of those of `batch`.
        report: Function of a number of LR pixels, called each time that the network has processed these.

    Returns:
        `(n, scale * h, scale * w, c)` of `dtype`, clipped to its range.
    """
    count, height, width, channels = batch.shape
    window = getattr(runtime, "window", None)
    core_size = window or _core_size(tile_size, runtime, scale, height, width)
    together = _images_together(core_size, runtime, scale)
    run = _eight_times(runtime) if self_ensemble else runtime.run
    if window is None:
        parts = list(tiles(height, width, core_size, runtime.halo))
    else:
        parts = list(windows(height, width, window, runtime.halo))
        if self_ensemble and window[0] != window[1]:
            raise ValueError(
                "`self_ensemble` rotates tiles, which must be square. Export the model with a square input size."
            )
    result = np.empty((count, scale * height, scale * width, channels), dtype)
    for start in range(0, count, together):
        group = slice(start, start + together)
        for core, context in parts:
            sr = run(_to_network(batch[group, *context], runtime.channels), scale)
            sr = sr[:, *_within(core, context, scale)]
            result[group, *_times(core, scale)] = _from_network(sr, channels, dtype)
            report(sr.shape[0] * sr.shape[1] * sr.shape[2] // scale**2)
    if core_size != (height, width) and hasattr(runtime, "release"):
        runtime.release()  # of a large image, before the next step takes memory; small ones may come one by one
    return result


def gain(dtype):
    """Returns the value of one unit of `dtype` in the network's range 0..255.

    Raises:
        ValueError: If it is not a valid dtype of images.
    """
    dtype = np.dtype(dtype)
    gains = {np.dtype(np.uint8): 1.0, np.dtype(np.uint16): 1 / 257}
    if np.issubdtype(dtype, np.floating):
        return np.float32(255)
    if dtype not in gains:
        raise ValueError(f"`image` must be uint8, uint16 or float in [0, 1]. Received: dtype {dtype}.")
    return np.float32(gains[dtype])


def check_tile_size(tile_size):
    """Raises ValueError unless `tile_size` is a value that `upscale` takes."""
    if tile_size is None or (isinstance(tile_size, str) and tile_size == "auto"):
        return
    is_integer = isinstance(tile_size, numbers.Integral) and not isinstance(tile_size, bool)
    if not is_integer or tile_size < 1:
        raise ValueError(
            '`tile_size` must be a positive integer, "auto" or None (the whole image). '
            f"Received: tile_size={tile_size!r}."
        )


def _core_size(tile_size, runtime, scale, height, width):
    if tile_size is None:
        return height, width
    if isinstance(tile_size, str):
        return fit_tiles(height, width, runtime.halo, runtime.bytes_per_pixel(scale), runtime.free_memory())
    return tile_size, tile_size


def _images_together(core_size, runtime, scale):
    """Returns how many images' tiles fit in the smallest budget, because a call for each small image is slow."""
    height, width = (side + 2 * runtime.halo for side in core_size)
    free = runtime.free_memory()
    budget = BUDGETS[0] if free is None else min(BUDGETS[0], free / 4)
    return max(1, int(budget / (height * width * runtime.bytes_per_pixel(scale))))


def _within(core, context, scale):
    return tuple(
        slice(scale * (inner.start - outer.start), scale * (inner.stop - outer.start))
        for inner, outer in zip(core, context, strict=True)
    )


def _times(core, scale):
    return tuple(slice(scale * span.start, scale * span.stop) for span in core)


def _eight_times(runtime):
    def run(tiles, scale):
        results = (
            inverse_dihedral(runtime.run(np.ascontiguousarray(dihedral(tiles, k)), scale), k)
            for k in range(NUM_DIHEDRAL)
        )
        return sum(results) / NUM_DIHEDRAL  # a power of two: exact

    return run


# === Between the image and the network's RGB in 0..255 ===


def _to_network(batch, channels):
    pixels = batch.astype(np.float32)
    if (unit := gain(batch.dtype)) != 1:
        pixels *= unit
    return np.repeat(pixels, channels, axis=-1) if pixels.shape[-1] < channels else pixels  # (n, h, w, channels)


def _from_network(sr, channels, dtype):
    if channels < sr.shape[-1]:
        sr = (sr @ _gray_weights(sr.shape[-1]))[..., None]
    if (unit := gain(dtype)) != 1:
        sr = sr / unit
    return np.clip(sr, 0, 1) if np.issubdtype(dtype, np.floating) else quantize(sr, dtype)


def _gray_weights(channels):
    """Returns BT.601's weights, which sum to one, so that equal channels give their value back."""
    weights = (0.299, 0.587, 0.114) if channels == 3 else (1 / channels,) * channels
    return np.array(weights, np.float32)
