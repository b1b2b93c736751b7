"""Writes the LR images of a folder of HR images as files, in the layout of DIV2K and the benchmarks."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from .._imresize import imresize
from ..files import atomic_file, naming
from ..image_io import find_images, read_image, write_image
from ..image_ops import crop_to_multiple
from .degradation import Degradation, image_seed
from .sampler import check_scales


def downscale(
    hr_folder: str | os.PathLike,
    lr_folder: str | os.PathLike,
    scale: int,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Writes the LR image of every image of a folder, by MATLAB's bicubic, as PNG.

    `0801.png` becomes `0801x2.png`, in the same place of the tree, where `match_images` and the `--lr` of every command
    find it. The function first crops an HR image at the bottom and right to a multiple of the scale.

    Args:
        hr_folder: Folder of HR images, searched with its subfolders.
        lr_folder: Folder to write to; made if it does not exist.
        scale: 2, 3, 4 or 8.
        overwrite: Boolean, whether existing files may be replaced.
        progress: Function `(done, total)` of images.

    Returns:
        Paths of the files that were written.

    Raises:
        ValueError: If the folder has no images, or one cannot be read or is too small.
        FileExistsError: If a file exists and `overwrite` is False.
    """
    (scale,) = check_scales(scale)

    def make(hr: np.ndarray, name: str) -> np.ndarray:
        return imresize(crop_to_multiple(hr, scale), 1 / scale)

    return _write_all(find_images(hr_folder), Path(hr_folder), Path(lr_folder), scale, make, overwrite, progress)


def degrade(
    hr: str | os.PathLike,
    lr_folder: str | os.PathLike,
    scale: int,
    degradation: "str | os.PathLike | Degradation",
    seed: int = 0,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Writes a degraded LR image of every image of a folder as PNG; `evaluate` with the same seed makes the same ones.

    The files have the names that `downscale` gives. `degradation.json` beside them records the degradation, the seed,
    and the parameters of each image.

    Args:
        hr: Folder of HR images, searched with its subfolders, or one file.
        lr_folder: Folder to write to; made if it does not exist.
        scale: Integer, 1 or more; with 1 the size stays.
        degradation: As `Degradation.load` takes it.
        seed: Integer from 0 to 2**64 - 1. The seed of an image depends on this one and the file's name.
        overwrite: Boolean, whether existing files may be replaced.
        progress: Function `(done, total)` of images.

    Returns:
        Paths of the images that were written.

    Raises:
        ValueError: If the folder has no images, one cannot be read or is too small, or the degradation is not valid.
        FileExistsError: If a file exists and `overwrite` is False.
    """
    made = Degradation.load(degradation)
    drawn = {}

    def make(image: np.ndarray, name: str) -> np.ndarray:
        own_seed = image_seed(seed, name)
        drawn[name] = made.draw(own_seed)
        return made(image, scale, own_seed)

    root, sources = (Path(hr).parent, [Path(hr)]) if Path(hr).is_file() else (Path(hr), find_images(hr))
    written = _write_all(sources, root, Path(lr_folder), scale, make, overwrite, progress)
    about = {"degradation": made.to_dict(), "scale": scale, "seed": seed, "images": drawn}
    with atomic_file(Path(lr_folder, "degradation.json")) as file:
        file.write(json.dumps(about, indent=1).encode() + b"\n")
    return written


def _write_all(
    sources: Sequence[Path],
    root: Path,
    lr_folder: Path,
    scale: int,
    make: Callable[[np.ndarray, str], np.ndarray],
    overwrite: bool,
    progress: Callable[[int, int], None] | None,
) -> list[Path]:
    written = []
    for source in sources:
        place = source.relative_to(root)
        with naming(source):
            lr = make(read_image(source), place.as_posix())
        target = (lr_folder / place).with_name(f"{source.stem}x{scale}.png")
        target.parent.mkdir(parents=True, exist_ok=True)
        write_image(target, lr, overwrite=overwrite)
        written.append(target)
        if progress:
            progress(len(written), len(sources))
    return written
