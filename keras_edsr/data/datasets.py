"""Datasets of (lr, hr) in one call."""

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
        hr_folder: Folder of HR images; folders in it are searched too.
        scale: 2, 3, 4 or 8; or several, for MDSR: then each batch has one of them, drawn as
            `ScaleBatchSampler` describes.
        lr_folder: Folder of LR images, in DIV2K's or the benchmarks' naming. Defaults to making
            them by MATLAB's bicubic `imresize`.
        **options: Of `ImagePairs.from_folder`: `degradation`, `channels`, `cache_dir`, `max_ram_bytes`; of
            `ImagePairs.patches`: `patch_size`, `batch_size`, `augment`, `start_step`, `steps`, `scale_weights`; of
            both: `seed`.

    Returns:
        Dataset of uint8 in [0, 255], as `ImagePairs.patches` returns it.

    Raises:
        ValueError: As `ImagePairs.from_folder` and `ImagePairs.patches`.

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
        scale: 2, 3, 4 or 8; or several, for MDSR: then each batch has one of them, drawn as
            `ScaleBatchSampler` describes.
        split: `"train"` (0001 to 0800) or `"validation"` (0801 to 0900); or as `ImagePairs.from_div2k`.
        data_dir: Where DIV2K lies: the folder that holds `DIV2K_train_HR`, or TFDS's folder. Defaults to TFDS's own.
        **options: Of `ImagePairs.from_div2k`: `degradation`, `download`, `manual_dir`, `channels`, `cache_dir`,
            `max_ram_bytes`; and those of `ImagePairs.patches`, as in `image_pairs`.

    Returns:
        Dataset of (lr, hr), as `image_pairs` returns.

    Raises:
        ValueError: As `ImagePairs.from_div2k` and `ImagePairs.patches`.

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
    """The options of the images, and those of the patches; `seed` is both's."""
    of_pairs = {name: value for name, value in options.items() if name not in _OF_PATCHES or name == "seed"}
    return of_pairs, {name: value for name, value in options.items() if name in _OF_PATCHES}
