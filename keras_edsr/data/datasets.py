"""Makes datasets of (lr, hr) in one call."""

import inspect
import os
from collections.abc import Sequence
from typing import Any

from .pairs import ImagePairs

_OF_PATCHES = set(inspect.signature(ImagePairs.patches).parameters) - {"self"} | {"weights"}


def image_pairs(
    hr_folder: str | os.PathLike,
    scale: int | Sequence[int],
    lr_folder: str | os.PathLike | None = None,
    **options: Any,
) -> Any:
    """Makes a dataset of (lr, hr) from a folder of images: `ImagePairs.from_folder(...).patches(...)`.

    Args:
        hr_folder: Folder of HR images, searched with its subfolders.
        scale: 2, 3, 4 or 8; or several, for MDSR: each batch then has one of them, drawn as
            `ScaleBatchSampler` describes.
        lr_folder: Folder of LR images, with the names of DIV2K or of the benchmarks. By default the function makes
            them with MATLAB's bicubic `imresize`.
        **options: Options of `ImagePairs.from_folder` (`degradation`, `channels`, `cache_dir`, `max_ram_bytes`), of
            `ImagePairs.patches` (`patch_size`, `batch_size`, `augment`, `start_step`, `steps`, `scale_weights`), and
            `seed`, which both take.

    Returns:
        Dataset of uint8 in [0, 255], as `ImagePairs.patches` returns it.

    Raises:
        ValueError: If `ImagePairs.from_folder` or `ImagePairs.patches` raises it.

    Example:
        >>> train = image_pairs("photos", scale=2)
        >>> model.fit(train, steps_per_epoch=1000, epochs=300)
        >>> for_real_photographs = image_pairs("photos", scale=2, degradation="photo")
    """
    of_pairs, of_patches = _split(options)
    return ImagePairs.from_folder(hr_folder, scale, lr_folder, **of_pairs).patches(**of_patches)


def div2k(
    scale: int | Sequence[int],
    split: str = "train",
    data_dir: str | os.PathLike | None = None,
    **options: Any,
) -> Any:
    """Makes a dataset of (lr, hr) from DIV2K: `ImagePairs.from_div2k(...).patches(...)`.

    Args:
        scale: 2, 3, 4 or 8; or several, for MDSR: each batch then has one of them, drawn as
            `ScaleBatchSampler` describes.
        split: `"train"` (0001 to 0800) or `"validation"` (0801 to 0900); or as `ImagePairs.from_div2k`.
        data_dir: Folder that contains `DIV2K_train_HR`, or TFDS's folder. Defaults to TFDS's default.
        **options: Options of `ImagePairs.from_div2k` (`degradation`, `download`, `manual_dir`, `channels`, `cache_dir`,
            `max_ram_bytes`) and those of `ImagePairs.patches`, as in `image_pairs`.

    Returns:
        Dataset of (lr, hr), as `image_pairs` returns.

    Raises:
        ValueError: If `ImagePairs.from_div2k` or `ImagePairs.patches` raises it.

    Example:
        >>> train = div2k(2, data_dir="DIV2K")
        >>> validation = div2k(2, "validation", data_dir="DIV2K", patch_size=None)
        >>> model.fit(train, steps_per_epoch=1000, epochs=300, validation_data=validation)
    """
    of_pairs, of_patches = _split(options)
    return ImagePairs.from_div2k(scale, split, data_dir, **of_pairs).patches(**of_patches)


def div2k_pairs(*args: Any, **options: Any) -> ImagePairs:
    """Reads DIV2K as whole images: `ImagePairs.from_div2k`."""
    return ImagePairs.from_div2k(*args, **options)


def _split(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Separates the options of the images from those of the patches; `seed` belongs to both."""
    of_pairs = {name: value for name, value in options.items() if name not in _OF_PATCHES or name == "seed"}
    return of_pairs, {name: value for name, value in options.items() if name in _OF_PATCHES}
