"""Upscales one image of any size and kind, and rounds once, at the end."""

import logging
import math

import numpy as np
from PIL import Image

from .._imresize import imresize
from ..image_io import eight_bits, from_pillow, to_pillow
from ..runtimes import open_runtime
from .alpha import fill_hidden, keep_extremes
from .network import check_tile_size, gain, run_network
from .sizes import plan_size

logger = logging.getLogger("keras_edsr")


def upscale(
    model,
    image,
    scale=None,
    tile_size="auto",
    self_ensemble=False,
    progress=None,
    *,
    width=None,
    height=None,
    fit=None,
    runtime="auto",
    device=None,
):
    """Upscales an image by `scale` with the network.

    The function cuts the image into tiles that carry `model.halo` LR pixels of true context on each side. A pixel of
    the result depends on no more than that, so the result equals that of the whole image at once, except for the order
    of float32 sums. In TensorFlow these differ by up to 3e-5 of a gray level near the lower edge. One uint8 value in a
    million may then differ by one (measured on an AMD EPYC). For ncnn see `NcnnRuntime`.

    If the size is not a scale of the model, the network makes the next larger one that it can, in several passes if
    needed, and `imresize` reduces it; the log shows how. The network also upscales transparency, as a gray image.
    Opaque and clear areas stay exact, and the colors below transparency do not bleed.

    Memory holds the image, the result and one tile. `tile_size="auto"` gives a tile 0.6 GB. It gives 1.2, 2.4 or 4.8 GB
    if the halos would otherwise add more than 14 % to the work, but at most a quarter of the free memory. For example,
    a 6000x4000 JPEG to a PNG of 96 megapixels, with 8 blocks of 32 filters, peaks at 1.03 GB resident with ncnn and at
    1.62 GB with TensorFlow. Of these the image takes 0.07 GB and the result 0.29 GB, which grow with the pixels. The
    rest does not grow, except for Pillow's copy of the result while it writes.

    Args:
        model: An `EDSR`, an `MDSR` or one of its branches, the name of a preset, the path of a model file, or a
            runtime.
        image: Array `(h, w)` for gray, `(h, w, c)`, or a batch `(n, h, w, c)`; c is 1 or the model's channels, plus 1
            for alpha (not premultiplied). The dtype is uint8, uint16, or float in [0, 1]. An RGB model gets gray as
            three equal channels and returns gray. Or a `PIL.Image.Image`: the result is one, too, with the EXIF and the
            color profile in `info`. As in Pillow itself, EXIF does not rotate it.
        scale: Number above 1. Optional if the model has one scale.
        tile_size: Integer, the side of a tile's core in LR pixels; None for the whole image at once; or `"auto"`, the
            default, for the fastest size within the memory described above.
        self_ensemble: Boolean, whether to average the results for the eight flips and rotations ("EDSR+"). It takes
            eight times as long and gains about 0.1 dB.
        progress: Function `(done, total)` of LR pixels, called after each tile. An exception that it raises stops the
            work.
        width: Integer, pixels of the result, instead of `scale`; without `height` the aspect ratio is kept.
        height: Integer, pixels of the result, instead of `scale`; without `width` the aspect ratio is kept.
        fit: `(width, height)`, instead of `scale`: the largest result that fits, with the aspect ratio kept.
        runtime: As `open_runtime` takes it: `"auto"`, `"tensorflow"` or `"ncnn"`.
        device: As `open_runtime` takes it: None, `"cpu"` or `"gpu"`.

    Returns:
        Array of the input's dtype and number of dimensions, clipped to its range and rounded once (half to even).
        Several threads may share one model.

    Raises:
        ValueError: If an argument does not match the description above. The message names it and what is valid.

    Examples:
        >>> import numpy as np
        >>> from keras_edsr import EDSR, upscale
        >>> model = EDSR(scale=2, num_blocks=1, filters=4)
        >>> image = np.zeros((6, 5, 3), "uint8")
        >>> upscale(model, image).shape
        (12, 10, 3)
        >>> upscale(model, image, scale=3.5).shape  # x2 twice, then down
        (21, 18, 3)
        >>> upscale(model, image, fit=(100, 30)).shape
        (30, 25, 3)
        >>> rgba = np.zeros((8, 6, 5, 4), "uint16")  # a batch with alpha
        >>> upscale(model, rgba, self_ensemble=True, progress=lambda done, total: None).shape
        (8, 12, 10, 4)

    Reference: self-ensemble, [Lim et al., 2017](https://arxiv.org/abs/1707.02921), section 3.4.
    """
    runtime = open_runtime(model, runtime, device)
    options = {"tile_size": tile_size, "self_ensemble": self_ensemble}
    size = {"scale": scale, "width": width, "height": height, "fit": fit}
    if isinstance(image, Image.Image):
        sr = to_pillow(upscale(runtime, from_pillow(image), progress=progress, **size, **options))
        sr.info = _lasting(image)
        return sr
    image = np.asarray(image)
    check_tile_size(tile_size)
    _check_image(image, runtime.channels)
    batch = _as_batch(image)
    plan = plan_size(runtime.scales, batch.shape[1:3], **size)
    if not plan.passes and not plan.leads_beyond(*batch.shape[1:3]):
        logger.info("%s: the image has this size.", plan.describe(*batch.shape[1:3]))
        return image.copy()
    if len(plan.passes) != 1 or plan.leads_beyond(*batch.shape[1:3]):
        logger.info("%s.", plan.describe(*batch.shape[1:3]))
    sr = _upscale_batch(runtime, batch, plan, progress, options)
    if image.ndim == 4:
        return sr
    return sr[0] if image.ndim == 3 else sr[0, ..., 0]


def _upscale_batch(runtime, batch, plan, progress, options):
    color, alpha = _split(batch, runtime.channels)
    # PSNR of alpha by the network (8 blocks of 32 filters, x2) and by bicubic: 31.7 and 26.1 dB on drawn shapes and
    # letters, 22.9 and 19.8 dB on hair, 57.2 and 58.1 dB where all edges are soft.
    drawn = alpha is not None and alpha.min() != alpha.max()  # a constant needs no network
    report = _counter(progress, plan.pixels(*batch.shape[1:3]) * len(batch) * (2 if drawn else 1))
    if drawn:
        reach = _reach(runtime.halo, plan, *batch.shape[1:3])
        color = np.stack([fill_hidden(c, a[..., 0], reach) for c, a in zip(color, alpha, strict=True)])
    sr = _make(runtime, color, plan, report, options)
    if alpha is None:
        return sr
    if drawn:
        alpha = _make(runtime, alpha, plan, report, options, is_alpha=True)
    else:
        alpha = np.full((*sr.shape[:3], 1), alpha[0, 0, 0, 0])
    return np.concatenate([sr, alpha], axis=-1)


def _make(runtime, planes, plan, report, options, is_alpha=False):
    """Resizes planes `(n, h, w, c)` as planned."""
    dtype = planes.dtype
    beyond = plan.leads_beyond(*planes.shape[1:3])
    once = len(plan.passes) == 1 and not beyond
    # Rounding happens once, last: intermediate 8-bit images have 16 bits, which take half the memory of floats.
    working = dtype if once else _finer(dtype)
    for scale in plan.passes:
        lr, planes = planes, run_network(runtime, planes, scale, dtype=working, report=report, **options)
        if is_alpha:
            for before, after in zip(lr, planes, strict=True):
                keep_extremes(before[..., 0], after[..., 0], scale)
    if beyond:
        planes = np.stack([imresize(_cast(p, working), output_shape=(plan.height, plan.width)) for p in planes])
    return _cast(planes, dtype)


def _reach(halo, plan, height, width):
    """Returns how many LR pixels away a hidden color can affect a visible pixel of the result."""
    shrink = max(1, height / plan.height, width / plan.width)
    by_imresize = 2 * math.ceil(2 * shrink)  # through the colors, and through the alpha that shows them
    # Each further pass reaches as many pixels in an image at least twice as large: twice the halo in all.
    return halo * min(2, len(plan.passes)) + by_imresize + 2


def _finer(dtype):
    if np.issubdtype(dtype, np.floating):
        return np.dtype(np.float32) if dtype == np.float16 else dtype  # sums need more than half precision
    return np.dtype(np.uint16)


def _cast(planes, dtype):
    if planes.dtype == dtype:
        return planes
    if np.issubdtype(dtype, np.floating):
        return planes.astype(dtype)
    return eight_bits(planes) if dtype == np.uint8 else planes.astype(np.uint16) * np.uint16(257)


def _counter(progress, total):
    done = 0

    def report(pixels):
        nonlocal done
        done += pixels
        if progress:
            progress(done, total)

    return report


# === Checks of the image ===


def _check_image(image, channels):
    if image.ndim not in (2, 3, 4) or 0 in image.shape:
        raise ValueError(
            "`image` must be an array (h, w), (h, w, channels) or (n, h, w, channels) that is not empty. "
            f"Received: shape {image.shape}."
        )
    if image.ndim > 2 and image.shape[-1] not in (1, 2, channels, channels + 1):
        raise ValueError(
            f"`image` must have the model's {channels} channels, or one, and may have alpha after them. "
            f"Received: shape {image.shape}."
        )
    gain(image.dtype)
    if np.issubdtype(image.dtype, np.floating):
        _check_range(image)


def _check_range(image):
    low, high = image.min(), image.max()  # NaN if the image has one
    if not np.isfinite([low, high]).all():
        raise ValueError(
            "`image` must hold finite numbers. Received: NaN or infinity. Replace them first with `np.nan_to_num`."
        )
    if low < 0 or high > 1:
        raise ValueError(
            f"`image` of floats must lie in [0, 1]. Received: values from {low:g} to {high:g}. "
            "Convert it first: `image / 255` if it lies in [0, 255], `np.clip(image, 0, 1)` if it overshoots."
        )


def _as_batch(image):
    if image.ndim == 2:
        image = image[..., None]
    return image if image.ndim == 4 else image[None]


def _split(batch, channels):
    """Returns the colors and the alpha, or None without alpha."""
    if batch.shape[-1] in (1, channels):
        return batch, None
    return batch[..., :-1], batch[..., -1:]


def _lasting(image):
    """Returns what Pillow keeps in `info` that also holds for the upscaled image."""
    keys = {"exif", "icc_profile", "dpi"} - ({"icc_profile"} if image.mode == "CMYK" else set())
    return {key: value for key, value in image.info.items() if key in keys}
