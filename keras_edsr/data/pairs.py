"""ImagePairs: whole (lr, hr) images, decoded once, in memory or in a memory map."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..image_io import find_images
from ..machine import cache_folder
from ..renaming import renamed_argument
from .degradation import BICUBIC, PRESETS, Degradation
from .div2k_images import find_tree, prepared_records, track_of, tree_paths
from .lr_images import Degraded, LrImages, Stored, read_only
from .patches import PatchSampler, whole_images
from .reader import HR, EncodedImage, Key, Reader, check_sizes, opener
from .sampler import check_scales
from .sources import match_images


class ImagePairs:
    """A set of pairs of whole images, LR and HR, for one scale or several.

    Every file is decoded once. Its pixels then lie in memory as uint8 or, in a large set, in a memory map on disk.
    Training cuts patches from these images, and validation takes whole images.

    Args:
        names: Names of the images in reports and errors.
        hr: Arrays, uint8 (height, width, channels), one for each name.
        lr: For each scale, arrays, uint8 (height // scale, width // scale, channels), in the order of `names`; or
            `LrImages`, such as `Degraded`, which make them.
        origin: Source of the images, for errors.

    Attributes:
        names: Tuple of the images' names: paths below the HR folder, sorted.
        scales: Tuple of the scales.
        channels: 1 or 3.
        origin: Source of the images.

    Raises:
        ValueError: If there is no image, or the shapes do not match.

    Example:
        >>> pairs = ImagePairs.from_folder("photos", scales=(2, 3))
        >>> lr, hr = pairs.lr(0, scale=3), pairs.hr(0, scale=3)
    """

    def __init__(
        self,
        names: Sequence[str],
        hr: Sequence[np.ndarray],
        lr: Mapping[int, Sequence[np.ndarray] | LrImages],
        origin: str = "memory",
    ) -> None:
        if not names:
            raise ValueError(f"There are no images in {origin}.")
        self.names = tuple(names)
        self.scales = check_scales(tuple(lr))
        self.channels = hr[0].shape[-1]
        self.origin = origin
        self._hr = [read_only(image) for image in hr]
        self._lr: dict[int, LrImages] = {
            scale: Stored(images) if isinstance(images, Sequence) else images for scale, images in lr.items()
        }
        self._check()

    @classmethod
    def from_folder(
        cls,
        hr_folder: str | os.PathLike,
        scales: int | Sequence[int],
        lr_folder: str | os.PathLike | None = None,
        *,
        degradation: "str | os.PathLike | Degradation | None" = None,
        seed: int = 0,
        channels: int = 3,
        cache_dir: str | os.PathLike | None = None,
        max_ram_bytes: int | None = None,
    ) -> "ImagePairs":
        """Reads the images of a folder, and reads or makes their LR images.

        An LR image is made as those of the benchmarks were: by MATLAB's bicubic `imresize` from the HR image, cropped
        at the bottom and right to a multiple of the scale. The cache stores it under a key of the HR file's content, so
        the next run finds it even if the file was moved.

        Args:
            hr_folder: Folder of HR images, searched with its subfolders.
            scales: Integer or integers, of 2, 3, 4 and 8.
            lr_folder: Folder of LR images, named as `keras_edsr.data.sources.match_images` describes, such as DIV2K's
                `DIV2K_train_LR_bicubic` with `X2/0001x2.png`. By default the method makes the LR images.
            degradation: How to make LR images, as `Degradation.load` takes it, such as `"photo"`. Except for bicubic,
                they are made anew each time and not stored, and each patch of `PatchSampler` differs.
            seed: Integer, for the degradation of whole images, such as those for validation.
            channels: 3 for RGB, 1 for gray.
            cache_dir: Folder of the cache. Defaults to `$KERAS_EDSR_CACHE`, else the user's cache folder.
            max_ram_bytes: Sets that are larger when decoded are mapped from a file in the cache instead of being held
                in memory. Defaults to half of the machine's memory.

        Raises:
            ValueError: If a folder is empty or missing, a file is damaged, an image is smaller than one LR pixel, or
                an LR image is missing or has the wrong size. The message names the file.
        """
        scales = check_scales(scales)
        root = Path(hr_folder)
        paths = {HR: find_images(root)}
        if lr_folder is not None and degradation is not None:
            raise ValueError(
                "Pass either `lr_folder` or `degradation`: existing LR images are not degraded. "
                f"Received: lr_folder={os.fspath(lr_folder)!r} with a degradation."
            )
        if lr_folder is not None:
            paths |= {scale: match_images(paths[HR], lr_folder, scale) for scale in scales}
        return cls.from_paths(paths, scales, root, channels, cache_dir, max_ram_bytes, degradation, seed)

    @classmethod
    def from_div2k(
        cls,
        scales: int | Sequence[int],
        split: str = "train",
        data_dir: str | os.PathLike | None = None,
        *,
        degradation: "str | os.PathLike | Degradation" = BICUBIC,
        seed: int = 0,
        download: bool = False,
        manual_dir: str | os.PathLike | None = None,
        channels: int = 3,
        cache_dir: str | os.PathLike | None = None,
        max_ram_bytes: int | None = None,
    ) -> "ImagePairs":
        """Reads DIV2K, the paper's images, from TensorFlow Datasets, the published zips, or their folders.

        The files of a folder keep their names (`DIV2K_valid_HR/0801.png`). TFDS keeps neither names nor order: an
        image's name is then its position in the prepared dataset (`0000`), which is not its number in DIV2K. The
        content of their HR image joins the LR images of several scales.

        Args:
            scales: Integer or integers, of 2, 3, 4 and 8.
            split: `"train"` (0001 to 0800) or `"validation"` (0801 to 0900); for a prepared dataset also a part of a
                split, such as `"train[:10%]"`, in TFDS's order.
            data_dir: Folder that contains `DIV2K_train_HR`, `DIV2K_train_LR_bicubic/X2` and so on; or TFDS's folder.
                Defaults to TFDS's default.
            degradation: Published LR images: `"bicubic"`, `"unknown"` (scales 2, 3, 4), `"mild"`, `"difficult"` or
                `"wild"` (scale 4; the training set of the last has four LR images of each HR image). If the folders
                have no bicubic LR images, the method makes them with `imresize`, which gives the same. Or a way to
                make LR images, as in `from_folder`, such as `"photo"`.
            seed: As in `from_folder`.
            download: Boolean, whether to download DIV2K if it is missing: 4 GB or more for a scale.
            manual_dir: Folder with the published zips under their own names, such as `DIV2K_train_HR.zip`, from which
                to prepare the dataset without a network.
            channels: As in `from_folder`.
            cache_dir: As in `from_folder`.
            max_ram_bytes: As in `from_folder`. DIV2K's decoded training images at one scale take 8 GB.

        Raises:
            ValueError: If DIV2K is missing and must not be downloaded (the message explains what to do), or if
                `from_folder` raises it.
        """
        scales = check_scales(scales)
        track, made = track_of(degradation, scales)
        read = () if made else scales
        tree = find_tree(data_dir)
        if tree is not None:
            paths = tree_paths(tree, split, read, track)
            return cls.from_paths(paths, scales, tree, channels, cache_dir, max_ram_bytes, made, seed)
        records = prepared_records(scales, split, track, data_dir, download, manual_dir)
        arrays = Reader(channels, (), cache_folder(cache_dir)).read(records, read, max_ram_bytes)
        origin = f"div2k/{made.name if made else track} {split}"
        return cls.from_arrays(records.names, arrays, scales, origin, made, seed)

    @classmethod
    def from_paths(
        cls,
        paths: Mapping[int, Sequence[Path]],
        scales: Sequence[int],
        root: Path,
        channels: int = 3,
        cache_dir: str | os.PathLike | None = None,
        max_ram_bytes: int | None = None,
        degradation: "str | os.PathLike | Degradation | None" = None,
        seed: int = 0,
    ) -> "ImagePairs":
        """Reads files: `paths[1]` are HR, `paths[scale]` their LR; makes missing LR images."""
        made = None if degradation is None else Degradation.load(degradation)
        made = None if made == PRESETS[BICUBIC] else made  # the cache stores bicubic images

        def files(kinds: Sequence[int]) -> Iterator[EncodedImage]:
            # Pair by pair, so that an LR folder that does not match fails at its first image.
            for index in range(len(paths[HR])):
                for scale in kinds:
                    if scale in paths:
                        path = paths[scale][index]
                        yield EncodedImage(index, scale, str(path), opener(path))

        names = [path.relative_to(root).as_posix() for path in paths[HR]]
        read = () if made else scales
        missing = [scale for scale in read if scale not in paths]
        reader = Reader(channels, missing, cache_folder(cache_dir))
        arrays = reader.read(files, read, max_ram_bytes)
        return cls.from_arrays(names, arrays, scales, str(root), made, seed)

    @classmethod
    def from_arrays(
        cls,
        names: Sequence[str],
        arrays: Mapping[Key, np.ndarray],
        scales: Sequence[int],
        origin: str,
        degradation: Degradation | None = None,
        seed: int = 0,
    ) -> "ImagePairs":
        """Makes a set from what `Reader.read` returns; with a degradation, from its HR images alone."""
        read = (HR,) if degradation else (HR, *scales)
        for index, name in enumerate(names):
            for scale in read:
                if (index, scale) not in arrays:
                    raise ValueError(f"{name} in {origin} has no image for scale {scale}.")
        hr, *stored = ([arrays[i, scale] for i in range(len(names))] for scale in read)
        lr: dict[int, Sequence[np.ndarray] | LrImages] = dict(zip(scales, stored, strict=False))
        if degradation:
            lr = {scale: Degraded(names, hr, scale, degradation, seed) for scale in scales}
        return cls(names, hr, lr, origin)

    def __len__(self) -> int:
        return len(self.names)

    def lr(self, index: int, scale: int) -> np.ndarray:
        """Returns the LR image: uint8 (height, width, channels), read-only."""
        return self._lr[scale].image(index)

    def hr(self, index: int, scale: int) -> np.ndarray:
        """Returns the HR image: uint8, `scale` times the size of `lr(index, scale)`, read-only.

        It is a view from the top left of the file's image, which may be up to `scale - 1` pixels
        larger.
        """
        height, width = self.lr_size(index, scale)
        return self._hr[index][: height * scale, : width * scale]

    @property
    def is_degraded(self) -> bool:
        """Whether a degradation makes the LR images each time they are requested."""
        return any(isinstance(images, Degraded) for images in self._lr.values())

    def lr_size(self, index: int, scale: int) -> tuple[int, int]:
        """Returns height and width of `lr(index, scale)`."""
        return self._lr[scale].size(index)

    def patch(self, index: int, scale: int, top: int, left: int, size: int, seed: int) -> np.ndarray:
        """Returns the square of `size` pixels of `lr(index, scale)` that starts at row `top` and column `left`.

        Args:
            index: Position of the image.
            scale: Integer.
            top: Integer, first row in the LR image.
            left: Integer, first column.
            size: Integer, rows and columns.
            seed: Integer, for the random parameters of a degradation; stored images ignore it.
        """
        return self._lr[scale].patch(index, top, left, size, seed)

    @renamed_argument("weights", "scale_weights")
    def patches(
        self,
        *,
        patch_size: int | None = 48,
        batch_size: int = 16,
        augment: bool = True,
        seed: int = 0,
        start_step: int = 0,
        steps: int | None = None,
        scale_weights: Sequence[float] | None = None,
    ) -> Any:
        """Makes the dataset of patches for training, or of whole images for validation.

        Args:
            patch_size: Height and width of an LR patch. `None` gives whole images, one by one, in order, in batches of
                one; the other arguments then have no effect.
            batch_size: Number of patches in a batch.
            augment: Boolean, whether to flip and rotate patches (all eight ways).
            seed: Integer; batch k is a pure function of (seed, k).
            start_step: k of the first batch, to resume a run.
            steps: Number of batches. By default the dataset is endless:
                `fit(dataset, steps_per_epoch=1000, epochs=300)`.
            scale_weights: For several scales, the proportions in which they are drawn. Defaults to equal shares.

        Returns:
            Dataset of uint8 in [0, 255]: lr (batch_size, patch_size, patch_size, channels) and hr
            (batch_size, scale * patch_size, scale * patch_size, channels); whole images are
            (1, height, width, channels).

        Raises:
            ValueError: If an image is smaller than a patch (the message names it), or an argument is not valid.

        Example:
            >>> model.fit(pairs.patches(batch_size=32), steps_per_epoch=1000, epochs=300)
        """
        if patch_size is None:
            return whole_images(self)
        sampler = PatchSampler(
            self,
            patch_size=patch_size,
            batch_size=batch_size,
            augment=augment,
            seed=seed,
            scale_weights=scale_weights,
        )
        return sampler.dataset(start_step, steps)

    def head(self, count: int) -> "ImagePairs":
        """Returns the first `count` pairs, or all if there are fewer; the arrays are shared."""
        return self._select(range(min(count, len(self))))

    def at_least(self, patch_size: int) -> "ImagePairs":
        """Returns the pairs whose LR images contain a patch of that size at every scale.

        Raises:
            ValueError: If there is no such pair.
        """
        return self._select(
            [
                index
                for index in range(len(self))
                if all(min(self.lr_size(index, scale)) >= patch_size for scale in self.scales)
            ]
        )

    def _select(self, indices: Sequence[int]) -> "ImagePairs":
        names = [self.names[i] for i in indices]
        lr = {scale: images.select(indices) for scale, images in self._lr.items()}
        return ImagePairs(names, [self._hr[i] for i in indices], lr, self.origin)

    def _check(self) -> None:
        for scale, images in self._lr.items():
            if isinstance(images, Stored):
                for name, hr, lr in zip(self.names, self._hr, images.images, strict=True):
                    check_sizes(hr, lr, scale, f"{name} in {self.origin}", f"its LR for scale {scale}")
