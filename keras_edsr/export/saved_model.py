"""A SavedModel for TensorFlow Serving: `OUT/<version>/`, for any batch and any size of images."""

import contextlib
import json
import logging
import math
import numbers
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .._version import __version__
from ..files import reason
from ..network.about import FORMAT
from ..renaming import renamed_argument
from ..runtimes import open_runtime
from ..runtimes.saved_model import ABOUT
from .signatures import build_module
from .target import whole_target
from .verify import check_export, read_photo
from .warmup import WARMUP, write_warmup

logger = logging.getLogger("keras_edsr")

# What a request may take of a server's memory, by the runtime's estimate, if `max_pixels` is not given.
_MEMORY = 4e9


@renamed_argument("quantised", "uint8_output")
def export_saved_model(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    version: int = 1,
    self_ensemble: bool = False,
    uint8_output: bool = False,
    max_pixels: int | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes a model as a SavedModel, runs it again in a new process, and compares.

    Images are RGB (or of the model's channels). The signatures:

    * `serving_default`: `images`, float32 `(b, h, w, 3)` in 0..255, to `sr`, float32 `(b, s*h, s*w, 3)`, neither
      clipped nor rounded;
    * `upscale_uint8`: `images` and `sr` are uint8, and equal what `upscale` makes, to the bit;
    * `upscale_bytes`: `image_bytes`, a vector of PNG or JPEG files of any sizes, to `sr_bytes`, PNG files, and
      `status`, "ok" or a fault for each. The PNG of a faulty image is empty, and the others are unaffected. Results
      have 8 bits, no alpha and no metadata, and EXIF does not rotate them. Gray and RGB models have this signature.

    An MDSR has each of them for each scale, `x2_float`, `x2_upscale_uint8`, `x2_upscale_bytes`, …, which compute only
    that scale's branch; the three names above are the first scale of the model.

    It needs TensorFlow only. `assets.extra` has warm-up requests for TensorFlow Serving, and `keras_edsr.json`, from
    which `upscale` reads the size of tiles.

    Args:
        model: An `EDSR`, an `MDSR` or a branch of one.
        path: Path of the folder for the versions; made if it is missing.
        version: Integer, the version's number; TensorFlow Serving loads the highest.
        self_ensemble: Boolean, whether signatures average the eight flips and rotations ("EDSR+"), in eight times as
            long.
        uint8_output: Boolean, whether the float signature also returns uint8: a quarter of the bytes.
        max_pixels: The largest number of LR pixels of one request, all images together. Larger requests fail, with
            encoded images before decoding. A batch of the server counts as one request. Defaults to as many as need
            4 GB at the largest scale.
        overwrite: Boolean, whether an existing version may be replaced.

    Returns:
        The path of the version.

    Raises:
        ValueError: If an argument is not valid, the target exists or cannot be written, or the export differs from the
            model. The message has one line, and no file is left.
    """
    _check_count("version", version)
    runtime = open_runtime(model, "tensorflow", "cpu")
    if max_pixels is None:
        max_pixels = int(_MEMORY / max(runtime.bytes_per_pixel(scale) for scale in runtime.scales))
    _check_count("max_pixels", max_pixels)
    photo_size = _photo_size(max_pixels)
    target = Path(path) / str(version)
    with _folder(target.parent), whole_target(target, overwrite, _is_version) as part:
        module, signatures = build_module(model, self_ensemble, uint8_output, max_pixels)
        _save(module, part, signatures)
        about = {
            "format": FORMAT,
            "keras_edsr": __version__,
            "scales": runtime.scales,
            "halo": runtime.halo,
            "channels": runtime.channels,
            "filters": runtime.filters,
            "self_ensemble": self_ensemble,
            "quantised": uint8_output,  # the format has the name of its first version
            "max_pixels": int(max_pixels),
        }
        (part / ABOUT).write_text(json.dumps(about, indent=1) + "\n")
        write_warmup(part / WARMUP, target.parent.name, _warmup_requests(signatures, runtime.channels, photo_size))
        check_export(
            part,
            model,
            self_ensemble=self_ensemble,
            size=photo_size,
            signatures=_uint8_signatures(runtime.scales),
        )
    logger.info("%s: requests of up to %d pixels.", target, max_pixels)
    return target


def _check_count(name, value):
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}.")


def _is_version(folder):
    return (folder / "saved_model.pb").is_file()


@contextlib.contextmanager
def _folder(folder: Path) -> Iterator[None]:
    """Makes the folder of the versions, and takes away again what it made if nothing came into it."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"Cannot write {folder}: {reason(error)}.") from error
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for path in made:
                path.rmdir()
        raise


def _save(module, folder, signatures):
    with _no_new_logging():
        tf.saved_model.save(module, os.fspath(folder), signatures)
    (folder / ABOUT).parent.mkdir()


@contextlib.contextmanager
def _no_new_logging():
    """While it saves, TensorFlow writes by absl, which gives the root logger a handler for good if it has none."""
    handler = logging.NullHandler()
    logging.root.addHandler(handler)
    try:
        yield
    finally:
        logging.root.removeHandler(handler)


def _uint8_signatures(scales):
    return [f"x{scale}_upscale_uint8" if len(scales) > 1 else "upscale_uint8" for scale in scales]


def _photo_size(max_pixels):
    """Height and width of the photograph that is sent: the whole of it, or less if a request may not have that."""
    height, width, _ = read_photo().shape
    if height * width <= max_pixels:
        return None
    side = math.isqrt(max_pixels)
    return min(height, side), min(width, side)


def _warmup_requests(signatures, channels, photo_size):
    """One request of a small photograph for each signature."""
    photo = read_photo(channels, photo_size)
    requests: dict[str, dict[str, Any]] = {}
    for name in signatures:
        if name.endswith("_bytes"):
            requests[name] = {"image_bytes": [tf.io.encode_png(photo).numpy()]}
        else:
            requests[name] = {"images": photo[None].astype(np.uint8 if name.endswith("_uint8") else np.float32)}
    return requests
