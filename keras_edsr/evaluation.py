"""The paper's protocol: how near a network's images are to the originals, in double precision.

`benchmark` (Set5, Set14, B100, Urban100): BT.601's luma of the 8-bit images, not rounded; as many
pixels left out along the border as the scale. `div2k` (DIV2K 0801-0900): RGB, all channels in one
mean; scale + 6 pixels left out, as both official programs do (their README says + 2). PSNR with a
peak of 255 and SSIM (Gaussian 11x11, sigma 1.5, 'valid', channels averaged), the mean over images.
The paper's SSIM on DIV2K is another one, volumetric (facts §9.4), and can't be compared.
"""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data.sources import match_images
from .image_io import find_images, read_image
from .image_ops import (
    MAX_PSNR,
    PEAK,
    SSIM_C1,
    SSIM_C2,
    SSIM_WINDOW,
    crop_border,
    crop_to_multiple,
    luma,
    ssim_window,
)
from .imresize import imresize

PROTOCOLS = ("benchmark", "div2k")
BICUBIC = "bicubic"

SSIM_ROWS = 32  # at a time, so that the maps of a large image stay in the cache

Image = NDArray[Any]
PathLike = str | os.PathLike[str]
Progress = Callable[[int, int], None]
Pair = tuple[tuple[Path, ...], Image, Image]  # the files (HR first), the SR image, the HR image


def evaluate(
    model: Any,
    hr: PathLike | Sequence[PathLike],
    scale: int,
    lr: PathLike | None = None,
    protocol: str = "benchmark",
    *,
    self_ensemble: bool = False,
    tile_size: int | str | None = "auto",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Upscales LR images with a model and scores the results against the HR images.

    The HR image is cropped to a multiple of the scale, from the top left. Its LR image, of 8 bits,
    is read from `lr`, or made by `imresize` with edge `"replicate"`, as the official ones were. A
    file of one channel stays one: its LR image is gray and the network's answer is compared as gray.

    Args:
        model: `"bicubic"` for MATLAB's bicubic, the baseline of every table; else what `upscale`
            takes: an `EDSR`, an `MDSR` or a branch of one, or the path of a `.keras` file.
        hr: A folder of images (and of folders of images), one file, or a sequence of files.
        scale: Integer.
        lr: Folder of the LR images, named as DIV2K's or as the HR files, see `match_images`. Made
            from the HR images when left out.
        protocol: `"benchmark"` or `"div2k"`, see above.
        self_ensemble: Boolean, whether to average eight flips and rotations ("EDSR+").
        tile_size: As `upscale` takes it. The scores don't depend on it.
        progress: Function `(done, total)` of images, called after each.

    Returns:
        Dictionary with `psnr` and `ssim` (means over images), `images` (a list of dictionaries with
        `name`, `psnr`, `ssim`, in the order of the files), `protocol` and `scale`. All of it can be
        written as JSON: an image without any error counts 100 dB.

    Raises:
        ValueError: If there are no images, an LR image is missing or of another size than HR/scale,
            an image is too small for the border, `protocol` is unknown, or the model can't do this
            scale. The message names the file.
    """
    _check_request(scale, protocol)
    if isinstance(model, str) and model == BICUBIC and self_ensemble:
        raise ValueError(
            "`self_ensemble` averages what a network makes of an image. Received: "
            'self_ensemble=True, model="bicubic". Leave it out.'
        )
    files = _hr_files(hr)
    lr_files = [None] * len(files) if lr is None else match_images(files, lr, scale)
    run = _upscaler(model, scale, self_ensemble, tile_size)

    def pairs() -> Iterator[Pair]:
        for file, lr_file in zip(files, lr_files, strict=True):
            hr_image = read_image(file)
            if lr_file is None:
                with _naming(file):
                    hr_image = crop_to_multiple(hr_image, scale)
                lr_image = imresize(hr_image, 1 / scale)
            else:
                lr_image = read_image(lr_file, channels=_channels(hr_image))
                with _naming(file, lr_file):
                    hr_image = _crop_to_lr(hr_image, lr_image, scale)
            yield (file,), run(lr_image), hr_image

    return _table(_names(files, hr), pairs(), scale, protocol, progress)


def evaluate_images(
    sr: PathLike,
    hr: PathLike | Sequence[PathLike],
    scale: int,
    protocol: str = "benchmark",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Scores images that another program has made.

    Args:
        sr: Folder of the SR images, named as the HR files or `bird_x2_SR.png` and the like, see
            `match_images`. A gray HR file makes its SR file be read as gray, too.
        hr: A folder of images, one file, or a sequence of files. An HR image is cropped to a
            multiple of the scale; its SR image has that size, or the whole image's.
        scale: Integer; the border that is left out depends on it.
        protocol: `"benchmark"` or `"div2k"`.
        progress: Function `(done, total)` of images, called after each.

    Returns:
        As `evaluate`.

    Raises:
        ValueError: If there are no images, an SR image is missing or has another size than its HR
            image, an image is too small for the border, or `protocol` is unknown. The message names
            the file.
    """
    _check_request(scale, protocol)
    files = _hr_files(hr)
    sr_files = match_images(files, sr, scale)

    def pairs() -> Iterator[Pair]:
        for file, sr_file in zip(files, sr_files, strict=True):
            hr_image = read_image(file)
            sr_image = read_image(sr_file, channels=_channels(hr_image))
            with _naming(file, sr_file):
                hr_image = crop_to_multiple(hr_image, scale)
                sr_image = crop_to_multiple(sr_image, scale)
            yield (file, sr_file), sr_image, hr_image

    return _table(_names(files, hr), pairs(), scale, protocol, progress)


def score(sr: Image, hr: Image, scale: int, protocol: str = "benchmark") -> tuple[float, float]:
    """PSNR and SSIM of one image by a protocol.

    Args:
        sr: `(height, width)` gray or `(height, width, 3)` RGB, uint8 in 0..255: after the rounding.
        hr: The original, of the same shape.
        scale: Integer; the border that is left out depends on it.
        protocol: `"benchmark"` or `"div2k"`.

    Returns:
        PSNR in dB, 100 at most (two equal images; infinity would drown every mean and is no JSON),
        and SSIM.

    Raises:
        ValueError: If the shapes differ, the image is too small for the border, or `protocol` is
            unknown.
    """
    _check_request(scale, protocol)
    _check_same_shape(sr, hr)
    if protocol == "benchmark":
        sr, hr = (crop_border(luma(image), scale) for image in (sr, hr))
    else:
        sr, hr = (crop_border(image, scale + 6) for image in (sr, hr))
    return min(psnr(sr, hr), MAX_PSNR), ssim(sr, hr)


def psnr(sr: Image, hr: Image) -> float:
    """Peak signal-to-noise ratio in dB: `10 log10(255^2 / MSE)`, over all pixels and channels.

    Args:
        sr: Array of any shape in 0..255.
        hr: Array of the same shape.

    Returns:
        Infinity for two equal images, as scikit-image.

    Raises:
        ValueError: If the shapes differ.
    """
    _check_same_shape(sr, hr)
    error = np.asarray(sr, np.float64) - np.asarray(hr, np.float64)
    mse = float(np.mean(np.square(error, out=error)))
    return 10 * math.log10(PEAK**2 / mse) if mse else math.inf


def ssim(sr: Image, hr: Image) -> float:
    """Structural similarity with a Gaussian window of 11x11, only where it lies within the image.

    Args:
        sr: `(height, width)` or `(height, width, channels)` in 0..255, 11 pixels a side at least.
        hr: Array of the same shape.

    Returns:
        The mean over pixels, and over channels, each compared on its own.

    Raises:
        ValueError: If the shapes differ or are smaller than the window.

    Reference: [Wang et al., 2004](https://doi.org/10.1109/TIP.2003.819861), section III.
    """
    _check_same_shape(sr, hr)
    height, width, *rest = np.shape(sr)
    channels = math.prod(rest)
    rows, columns = height - SSIM_WINDOW + 1, width - SSIM_WINDOW + 1
    if min(rows, columns) < 1:
        raise ValueError(
            f"SSIM needs {SSIM_WINDOW} pixels a side within the border. "
            f"Received: {height}x{width}. Take a larger image."
        )
    # Channels lie side by side: a step of one pixel along the width is `channels` values long.
    sr, hr = np.reshape(sr, (height, -1)), np.reshape(hr, (height, -1))
    total = 0.0
    for row in range(0, rows, SSIM_ROWS):
        strip = slice(row, row + SSIM_ROWS + SSIM_WINDOW - 1)
        total += float(np.sum(_ssim_map(sr[strip], hr[strip], channels)))
    return total / (rows * columns * channels)


def _ssim_map(x: Image, y: Image, channels: int) -> NDArray[np.float64]:
    x, y = x.astype(np.float64), y.astype(np.float64)

    def mean(image: Image) -> Image:
        return _window_mean(_window_mean(image, step=1).T, step=channels).T

    mean_x, mean_y = mean(x), mean(y)
    squares, product = mean_x**2 + mean_y**2, mean_x * mean_y
    variances = mean(x * x + y * y) - squares  # of x and of y: only their sum is needed
    covariance = mean(x * y) - product
    luminance = (2 * product + SSIM_C1) / (squares + SSIM_C1)
    return luminance * (2 * covariance + SSIM_C2) / (variances + SSIM_C2)


def _window_mean(image: Image, step: int) -> NDArray[np.float64]:
    """SSIM's window along the first axis: values `step` apart, `(n, m)` to `(n - 10 * step, m)`."""
    weights = ssim_window()
    middle = SSIM_WINDOW // 2
    length = len(image) - 2 * middle * step

    def shifted(taps: int) -> Image:
        return image[taps * step : taps * step + length]

    total = weights[middle] * shifted(middle)
    pair = np.empty_like(total)
    for i in range(middle):  # the window is symmetric: half the products
        np.add(shifted(i), shifted(SSIM_WINDOW - 1 - i), out=pair)
        pair *= weights[i]
        total += pair
    return total


# === Files and tables ===


def _upscaler(model: Any, scale: int, self_ensemble: bool, tile_size: int | str | None) -> Callable[[Image], Image]:
    if isinstance(model, str) and model == BICUBIC:
        return lambda lr: imresize(lr, scale)
    from .inference import upscale  # imports TensorFlow, which bicubic and --sr do without
    from .inference.sizes import check_scale
    from .runtimes import open_runtime

    # Not the fastest runtime but the model's own: TensorFlow is the reference.
    runtime = open_runtime(model)
    check_scale(scale, runtime.scales)  # `upscale` would make any other scale by way of imresize
    return lambda lr: upscale(runtime, lr, scale, tile_size=tile_size, self_ensemble=self_ensemble)


def _hr_files(hr: PathLike | Sequence[PathLike]) -> list[Path]:
    if isinstance(hr, (str, os.PathLike)):
        path = Path(hr)
        return [path] if path.is_file() else find_images(path)
    files = [Path(path) for path in hr]
    if not files:
        raise ValueError("`hr` must be a folder, a file or some files. Received: no files.")
    return files


def _names(files: Sequence[Path], hr: PathLike | Sequence[PathLike]) -> list[str]:
    """The files' names, with the folders below `hr` that tell files of one name apart."""
    if isinstance(hr, (str, os.PathLike)) and Path(hr).is_dir():
        return [file.relative_to(hr).as_posix() for file in files]
    return [file.name for file in files]


def _channels(image: Image) -> int:
    return 1 if image.ndim == 2 else 3


def _crop_to_lr(hr: Image, lr: Image, scale: int) -> Image:
    height, width = (scale * size for size in lr.shape[:2])
    spare = (hr.shape[0] - height, hr.shape[1] - width)
    if not all(0 <= pixels < scale for pixels in spare):
        raise ValueError(
            f"An LR image must have the size of its HR image divided by the scale, rounded down. "
            f"Received: LR of {lr.shape[0]}x{lr.shape[1]} and HR of {hr.shape[0]}x{hr.shape[1]} "
            f"with scale={scale}. Check the scale and the folder."
        )
    return hr[:height, :width]


def _table(
    names: Sequence[str],
    pairs: Iterable[Pair],
    scale: int,
    protocol: str,
    progress: Progress | None,
) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    for name, (files, sr, hr) in zip(names, pairs, strict=True):
        with _naming(*files):
            image_psnr, image_ssim = score(sr, hr, scale, protocol)
        images.append({"name": name, "psnr": image_psnr, "ssim": image_ssim})
        if progress:
            progress(len(images), len(names))
    means = {key: math.fsum(row[key] for row in images) / len(images) for key in ("psnr", "ssim")}
    return {**means, "images": images, "protocol": protocol, "scale": int(scale)}


@contextmanager
def _naming(*files: Path) -> Iterator[None]:
    """Puts the files' names before the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        names = " and ".join(str(file) for file in files)
        raise ValueError(f"{names}: {error}") from error


def _check_request(scale: Any, protocol: Any) -> None:
    whole = isinstance(scale, (int, np.integer)) and not isinstance(scale, bool)
    if not whole or scale < 1:
        raise ValueError(f"`scale` must be a positive integer. Received: scale={scale!r}.")
    if protocol not in PROTOCOLS:
        raise ValueError(f"`protocol` must be one of {PROTOCOLS}. Received: protocol={protocol!r}.")


def _check_same_shape(sr: Image, hr: Image) -> None:
    if np.shape(sr) != np.shape(hr):
        raise ValueError(
            f"Two images to compare must have one shape. Received: sr of {np.shape(sr)} and hr of "
            f"{np.shape(hr)}. Crop the HR image to a multiple of the scale."
        )
