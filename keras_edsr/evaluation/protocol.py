"""Scores networks over image files by the paper's protocol.

`scores` defines what is compared and how. The means are over images.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .._imresize import imresize
from ..data.degradation import Degradation, image_seed
from ..data.sources import match_images
from ..files import naming
from ..image_io import find_images, read_image
from ..image_ops import crop_to_multiple
from ..scores import Image, Scores, check_request, means, score

BICUBIC = "bicubic"

PathLike = str | os.PathLike[str]
Progress = Callable[[int, int], None]
Upscaler = Callable[[Image], Image]  # an LR image to its SR image, both 8 bits
Pair = tuple[tuple[Path, ...], Image, Image]  # the files (HR first), the SR or LR image, the HR image


def evaluate(
    model: Any,
    hr: PathLike | Sequence[PathLike],
    scale: int,
    lr: PathLike | None = None,
    protocol: str = "benchmark",
    *,
    degradation: "str | os.PathLike | Degradation | None" = None,
    seed: int = 0,
    self_ensemble: bool = False,
    tile_size: int | str | None = "auto",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Upscales LR images with a model and scores the results against the HR images.

    The HR image is cropped to a multiple of the scale, from the top left. Its 8-bit LR image is read from `lr`, or made
    by `imresize` with edge `"replicate"`, as the official LR images were. A file of one channel stays gray: its LR
    image is gray and the result is compared as gray.

    Args:
        model: `"bicubic"` for MATLAB's bicubic, the baseline of every table; else a model as `upscale` takes it: an
            `EDSR`, an `MDSR` or one of its branches, or the path of a model file.
        hr: A folder of images (and of folders of images), one file, or a sequence of files.
        scale: Integer.
        lr: Folder of the LR images, named as DIV2K's or as the HR files, see `match_images`. By default the function
            makes them from the HR images.
        protocol: `"benchmark"` or `"div2k"`, see above.
        degradation: How to make LR images instead, as `Degradation.load` takes it: `"photo"`, another name, or a JSON
            file.
        seed: Integer, seed of the degradation. An LR image depends only on the seed and on its file's name, so it is
            the same for every model and for any selection of images.
        self_ensemble: Boolean, whether to average eight flips and rotations ("EDSR+").
        tile_size: As `upscale` takes it. The scores do not depend on it.
        progress: Function `(done, total)` of images, called after each.

    Returns:
        Dictionary with `psnr` and `ssim` (means over images), `images` (a list of dictionaries with
        `name`, `psnr`, `ssim`, in the order of the files), `protocol` and `scale`. With a degradation it also has
        `degradation`, the degradation's settings and its seed. All values can be written as JSON: an image without any
        error has 100 dB.

    Raises:
        ValueError: If there are no images, an LR image is missing or of another size than HR/scale,
            an image is too small for the border, `protocol` is unknown, or the model does not have this
            scale. The message names the file.
    """
    check_request(scale, protocol)
    if isinstance(model, str) and model == BICUBIC and self_ensemble:
        raise ValueError(
            "`self_ensemble` averages what a network makes of an image. Received: "
            'self_ensemble=True, model="bicubic". Omit it.'
        )
    names, originals = read_originals(hr, scale, lr, degradation, seed)
    run = upscaler(model, scale, self_ensemble, tile_size)

    def pairs() -> Iterator[Pair]:
        for files, lr_image, hr_image in originals:
            with naming(*files):
                sr_image = run(lr_image)
            yield files[:1], sr_image, hr_image

    return _table(names, pairs(), scale, protocol, progress) | about_degradation(degradation, seed)


def evaluate_images(
    sr: PathLike,
    hr: PathLike | Sequence[PathLike],
    scale: int,
    protocol: str = "benchmark",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Scores images that another program made.

    Args:
        sr: Folder of the SR images, named as the HR files or `bird_x2_SR.png` and the like, see
            `match_images`. If an HR file is gray, its SR file is read as gray.
        hr: A folder of images, one file, or a sequence of files. An HR image is cropped to a
            multiple of the scale; its SR image has that size, or the whole image's.
        scale: Integer; the border that the protocol excludes depends on it.
        protocol: `"benchmark"` or `"div2k"`.
        progress: Function `(done, total)` of images, called after each.

    Returns:
        What `evaluate` returns.

    Raises:
        ValueError: If there are no images, an SR image is missing or has another size than its HR
            image, an image is too small for the border, or `protocol` is unknown. The message names
            the file.
    """
    check_request(scale, protocol)
    files = find_hr(hr)
    sr_files = match_images(files, sr, scale)

    def pairs() -> Iterator[Pair]:
        for file, sr_file in zip(files, sr_files, strict=True):
            hr_image = read_image(file)
            sr_image = read_sr(sr_file, hr_image, scale)
            with naming(file):
                hr_image = crop_to_multiple(hr_image, scale)
            yield (file, sr_file), sr_image, hr_image

    return _table(_names(files, hr), pairs(), scale, protocol, progress)


# === What is compared ===


def read_originals(
    hr: PathLike | Sequence[PathLike],
    scale: int,
    lr: PathLike | None = None,
    degradation: "str | os.PathLike | Degradation | None" = None,
    seed: int = 0,
) -> tuple[list[str], Iterator[Pair]]:
    """Finds the HR images and their LR images; reads or makes them one by one.

    Args:
        hr: As `evaluate` takes it.
        scale: Integer.
        lr: As `evaluate` takes it.
        degradation: As `evaluate` takes it.
        seed: As `evaluate` takes it.

    Returns:
        The images' names, and an iterator of `(files, lr image, hr image)`. The files are the HR file and the LR file,
        if one is read. The HR image is cropped to the LR image's size times the scale.

    Raises:
        ValueError: If there are no images or an LR image is missing; later, if one has the wrong size. The message
            names the file.
    """
    if lr is not None and degradation is not None:
        raise ValueError(
            "Pass either `lr` or `degradation`: existing LR images are not degraded. "
            f"Received: lr={os.fspath(lr)!r} with a degradation."
        )
    made = Degradation.load(BICUBIC if degradation is None else degradation)
    files = find_hr(hr)
    lr_files = [None] * len(files) if lr is None else match_images(files, lr, scale)

    def originals() -> Iterator[Pair]:
        for file, lr_file in zip(files, lr_files, strict=True):
            hr_image = read_image(file)
            if lr_file is None:
                with naming(file):
                    hr_image = crop_to_multiple(hr_image, scale)
                yield (file,), made(hr_image, scale, image_seed(seed, file.name)), hr_image
            else:
                lr_image = read_image(lr_file, channels=_channels(hr_image))
                with naming(file, lr_file):
                    hr_image = _crop_to_lr(hr_image, lr_image, scale)
                yield (file, lr_file), lr_image, hr_image

    return _names(files, hr), originals()


def about_degradation(degradation: "str | os.PathLike | Degradation | None", seed: int) -> dict[str, Any]:
    """Returns the entries about a degradation for the result of `evaluate`; without a degradation there are none."""
    return {} if degradation is None else {"degradation": {**Degradation.load(degradation).to_dict(), "seed": seed}}


def upscaler(model: Any, scale: int, self_ensemble: bool = False, tile_size: int | str | None = "auto") -> Upscaler:
    """Returns the function that makes an SR image from an LR image, by a model or by bicubic.

    Args:
        model: As `evaluate` takes it.
        scale: Integer.
        self_ensemble: As `evaluate` takes it; not valid for bicubic.
        tile_size: As `upscale` takes it.

    Raises:
        ValueError: If the model cannot be opened, or does not have this scale.
    """
    if isinstance(model, str) and model == BICUBIC:
        return lambda lr: imresize(lr, scale)
    from ..inference import upscale  # imports TensorFlow, which bicubic and --sr do not need
    from ..inference.sizes import check_scale
    from ..runtimes import open_runtime

    # The model's own runtime instead of the fastest: TensorFlow is the reference.
    runtime = open_runtime(model)
    check_scale(scale, runtime.scales)  # `upscale` would reach other scales with imresize
    return lambda lr: upscale(runtime, lr, scale, tile_size=tile_size, self_ensemble=self_ensemble)


def read_sr(file: Path, hr: Image, scale: int) -> Image:
    """Reads the SR image of an HR image: gray if the HR image is, cropped to a multiple of the scale."""
    image = read_image(file, channels=_channels(hr))
    with naming(file):
        return crop_to_multiple(image, scale)


def find_hr(hr: PathLike | Sequence[PathLike]) -> list[Path]:
    """Returns the HR files: the images of a folder, one file, or some files.

    Raises:
        ValueError: If there are none.
    """
    if isinstance(hr, (str, os.PathLike)):
        path = Path(hr)
        return [path] if path.is_file() else find_images(path)
    files = [Path(path) for path in hr]
    if not files:
        raise ValueError("`hr` must be a folder, a file or a sequence of files. Received: no files.")
    return files


def _names(files: Sequence[Path], hr: PathLike | Sequence[PathLike]) -> list[str]:
    """Returns the files' names, with their folders below `hr` to distinguish files of one name."""
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


# === Tables ===


def _table(
    names: Sequence[str],
    pairs: Iterable[Pair],
    scale: int,
    protocol: str,
    progress: Progress | None,
) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    for name, (files, sr, hr) in zip(names, pairs, strict=True):
        with naming(*files):
            images.append(row(name, sr, hr, scale, protocol))
        if progress:
            progress(len(images), len(names))
    return with_means(images, scale, protocol)


def row(name: str, sr: Image, hr: Image, scale: int, protocol: str) -> dict[str, Any]:
    """Returns the scores of one image, as in the `images` of `evaluate`."""
    return {"name": name, **score(sr, hr, scale, protocol)._asdict()}


def with_means(images: list[dict[str, Any]], scale: int, protocol: str) -> dict[str, Any]:
    """Returns the result of `evaluate` from its rows."""
    mean = means([Scores(row["psnr"], row["ssim"]) for row in images])
    return {**mean._asdict(), "images": images, "protocol": protocol, "scale": int(scale)}
