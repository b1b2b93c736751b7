"""LR images for a folder of HR images, as files, as DIV2K and the benchmarks have them."""

import os
from collections.abc import Callable
from pathlib import Path

from ..image_io import find_images, read_image, write_image
from ..image_ops import crop_to_multiple
from ..imresize import imresize
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

    `0801.png` becomes `0801x2.png`, in the same place of the tree; `match_images` and the `--lr` of every command find
    it. An HR image is cropped at the bottom and right to a multiple of the scale first.

    Args:
        hr_folder: Folder of HR images; folders in it are searched too.
        lr_folder: Folder to write to; made where it does not exist.
        scale: 2, 3, 4 or 8.
        overwrite: Whether files that exist may be replaced.
        progress: Function `(done, total)` of images.

    Returns:
        The files written.

    Raises:
        ValueError: The folder has no images, or one cannot be read or is too small.
        FileExistsError: A file exists, and `overwrite` is False.
    """
    (scale,) = check_scales(scale)
    sources = find_images(hr_folder)
    written = []
    for source in sources:
        lr = imresize(crop_to_multiple(read_image(source), scale), 1 / scale)
        target = Path(lr_folder, source.relative_to(hr_folder)).with_name(f"{source.stem}x{scale}.png")
        target.parent.mkdir(parents=True, exist_ok=True)
        write_image(target, lr, overwrite=overwrite)
        written.append(target)
        if progress:
            progress(len(written), len(sources))
    return written
