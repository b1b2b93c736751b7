"""Any folder of images as a dataset to train or validate on."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .degradation import Degradation
from .pairs import ImagePairs
from .patches import pair_dataset

if TYPE_CHECKING:
    import tensorflow as tf


def image_pairs(
    hr_folder: str | os.PathLike,
    scale: int | Sequence[int],
    lr_folder: str | os.PathLike | None = None,
    *,
    degradation: "str | os.PathLike | Degradation | None" = None,
    patch_size: int | None = 48,
    batch_size: int = 16,
    augment: bool = True,
    seed: int = 0,
    start_step: int = 0,
    steps: int | None = None,
    channels: int = 3,
    cache_dir: str | os.PathLike | None = None,
    max_ram_bytes: int | None = None,
    weights: Sequence[float] | None = None,
) -> "tf.data.Dataset":
    """Makes a dataset of (lr, hr) from a folder of images.

    Args:
        hr_folder: Folder of HR images; folders in it are searched too.
        scale: 2, 3, 4 or 8; or several, for MDSR: then each batch has one of them, drawn as
            `ScaleBatchSampler` describes.
        lr_folder: Folder of LR images, in DIV2K's or the benchmarks' naming. Defaults to making
            them by MATLAB's bicubic `imresize`.
        degradation: How LR images are made, as `Degradation.load` takes it: `"photo"`, another name, or a JSON file.
            All but bicubic ones are made anew for each patch; whole images by `seed` and their names.
        patch_size: Height and width of an LR patch. `None`: whole images, one by one, in order, in
            batches of one, to validate on; `augment`, `steps` and the like then have no meaning.
        batch_size: Patches in a batch.
        augment: Whether to flip and turn patches (all eight ways).
        seed: Integer; batch k is a pure function of (seed, k).
        start_step: k of the first batch, to go on with a run.
        steps: How many batches. Defaults to no end: `fit(dataset, steps_per_epoch=1000,
            epochs=300)`.
        channels: 3 for RGB, 1 for gray.
        cache_dir: Folder where LR images are kept. Defaults to `$KERAS_EDSR_CACHE`, else the user's
            own.
        max_ram_bytes: Larger sets are mapped from the cache. Defaults to half of the memory.
        weights: For several scales, in what proportion they are drawn. Defaults to equal shares.

    Returns:
        Dataset of uint8 in [0, 255]: lr (batch_size, patch_size, patch_size, channels) and hr
        (batch_size, scale * patch_size, scale * patch_size, channels); whole images are
        (1, height, width, channels).

    Raises:
        ValueError: If a folder is empty or missing, a file is corrupt, an image is smaller than a
            patch, or LR and HR don't match; the file is named. Or an argument is not as described.

    Example:
        >>> train = image_pairs("photos", scale=2)
        >>> model.fit(train, steps_per_epoch=1000, epochs=300)
        >>> for_real_photographs = image_pairs("photos", scale=2, degradation="photo")
    """
    pairs = ImagePairs.from_folder(
        hr_folder,
        scale,
        lr_folder,
        degradation=degradation,
        seed=seed,
        channels=channels,
        cache_dir=cache_dir,
        max_ram_bytes=max_ram_bytes,
    )
    return pair_dataset(
        pairs,
        patch_size=patch_size,
        batch_size=batch_size,
        augment=augment,
        seed=seed,
        start_step=start_step,
        steps=steps,
        weights=weights,
    )
