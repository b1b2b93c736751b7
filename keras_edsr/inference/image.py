"""Upscaling one image: any size, any kind, one rounding at the end."""

import logging
import math

import numpy as np
from PIL import Image

from ..image_io import eight_bits, from_pillow, to_pillow
from ..imresize import imresize
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
    """Returns `image` at `scale` times its size, as the network makes it.

    The image is cut into tiles that carry `model.halo` LR pixels of true context on each side, which is all that a
    pixel of the result depends on. The result is that of the whole image at once, but for the order of float32 sums:
    in TensorFlow up to 3e-5 of a grey level near the lower edge, so that one uint8 value in a million may differ, by
    one (measured on an AMD EPYC); in ncnn see `NcnnRuntime`.

    A size that is no scale of the model's is made by the next one that is, or by several passes, and taken down by
    `imresize`; the log says so. Transparency is upscaled by the network, too, as gray, and stays
    exactly opaque or clear where it was; the colours that it hides don't bleed.

    Memory is that of the image, of the result, and of one tile. `tile_size="auto"` gives a tile 0.6 GB, more where
    the halos would add more than 15 % to the work: 1.2, 2.4 or 4.8 GB, and never over a quarter of what is free. A
    6000x4000 JPEG to a PNG of 96 megapixels, 8 blocks of 32 filters: 1.03 GB resident at most with ncnn, 1.62 GB with
    TensorFlow. The image takes 0.07 GB of that, the result 0.29; they grow with the pixels, the rest does not, but for
    Pillow's copy of the result while it writes.

    Args:
        model: An `EDSR`, an `MDSR` or a branch of one, a preset's name, the path of a file of one, or a runtime.
        image: Array, `(h, w)` gray, `(h, w, c)` or a batch `(n, h, w, c)`, with c the model's channels or 1, and 1
            more for alpha, not premultiplied; uint8, uint16, or float in [0, 1]. Gray goes through an RGB model as
            three equal channels and comes back gray. Or a `PIL.Image.Image`, which comes back as one, with its EXIF
            and colour profile in `info`; as Pillow itself, it is not turned by its EXIF.
        scale: Number above 1. May be left out when the model has one.
        tile_size: Integer, the side of a tile's core in LR pixels; None for the whole image at once; "auto", the
            default, for what is fastest within some memory.
        self_ensemble: Boolean, whether to average the results for the eight flips and rotations ("EDSR+"), which
            takes eight times as long for about 0.1 dB.
        progress: Function `(done, total)` of pixels that the network was given, called after each tile. What it
            raises stops the work, and nothing is left behind.
        width: Integer, instead of `scale`: pixels of the result; without `height` the shape is kept.
        height: Integer, instead of `scale`: pixels of the result; without `width` the shape is kept.
        fit: `(width, height)`, instead of `scale`: the result is as large as fits in them, its shape kept.
        runtime: As `open_runtime` takes: "auto", "tensorflow" or "ncnn".
        device: As `open_runtime` takes: None, "cpu" or "gpu".

    Returns:
        Array of the input's dtype and number of dimensions, clipped to its range, rounded once (half to even).
        Several threads may upscale by one model at once.

    Raises:
        ValueError: An argument is not as above; the message says which and what fits.

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
        logger.info("%s already.", plan.describe(*batch.shape[1:3]))
        return image.copy()
    if len(plan.passes) != 1 or plan.leads_beyond(*batch.shape[1:3]):
        logger.info("%s.", plan.describe(*batch.shape[1:3]))
    sr = _upscale_batch(runtime, batch, plan, progress, options)
    if image.ndim == 4:
        return sr
    return sr[0] if image.ndim == 3 else sr[0, ..., 0]


def _upscale_batch(runtime, batch, plan, progress, options):
    colour, alpha = _split(batch, runtime.channels)
    # Alpha by the network, of 8 blocks of 32 filters at x2, against bicubic: 31.7 dB and 26.1 on drawn shapes and
    # letters, 22.9 and 19.8 on hair, 57.2 and 58.1 where all is soft.
    drawn = alpha is not None and alpha.min() != alpha.max()  # else it needs none
    report = _counter(progress, plan.pixels(*batch.shape[1:3]) * len(batch) * (2 if drawn else 1))
    if drawn:
        reach = _reach(runtime.halo, plan, *batch.shape[1:3])
        colour = np.stack([fill_hidden(c, a[..., 0], reach) for c, a in zip(colour, alpha, strict=True)])
    sr = _make(runtime, colour, plan, report, options)
    if alpha is None:
        return sr
    if drawn:
        alpha = _make(runtime, alpha, plan, report, options, is_alpha=True)
    else:
        alpha = np.full((*sr.shape[:3], 1), alpha[0, 0, 0, 0])
    return np.concatenate([sr, alpha], axis=-1)


def _make(runtime, planes, plan, report, options, is_alpha=False):
    """Takes planes `(n, h, w, c)` to the size of the plan."""
    dtype = planes.dtype
    beyond = plan.leads_beyond(*planes.shape[1:3])
    once = len(plan.passes) == 1 and not beyond
    # Rounding happens once, last: on the way 8 bits are 16, in half of the memory that floats would take.
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
    """How many LR pixels away what is hidden could be seen in a visible pixel of the result."""
    shrink = max(1, height / plan.height, width / plan.width)
    by_imresize = 2 * math.ceil(2 * shrink)  # of the colours, and of the alpha that shows them
    # Each further pass looks as many pixels around, in an image at least twice as large: twice the halo in all.
    return halo * min(2, len(plan.passes)) + by_imresize + 2


def _finer(dtype):
    if np.issubdtype(dtype, np.floating):
        return np.dtype(np.float32) if dtype == np.float16 else dtype  # half precision is not for sums
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


# === What an image may be ===


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
    low, high = image.min(), image.max()  # NaN, if there is one
    if not np.isfinite([low, high]).all():
        raise ValueError(
            "`image` must hold finite numbers. Received: NaN or infinity. Replace them first, as `np.nan_to_num` does."
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
    """Returns colours and alpha, which is None if there is none."""
    if batch.shape[-1] in (1, channels):
        return batch, None
    return batch[..., :-1], batch[..., -1:]


def _lasting(image):
    """What Pillow keeps in `info` that is true of the upscaled image, too."""
    keys = {"exif", "icc_profile", "dpi"} - ({"icc_profile"} if image.mode == "CMYK" else set())
    return {key: value for key, value in image.info.items() if key in keys}
