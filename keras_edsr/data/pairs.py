"""ImagePairs: whole (lr, hr) images, decoded once, in memory or in a memory map."""

import hashlib
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np

from ..files import delete_old_leftovers, open_file
from ..image_io import decode_image, find_images, read_size
from ..imresize import imresize
from ..machine import cache_folder, count_cores, total_memory
from .cache import open_pack, write_pack
from .degradation import BICUBIC, PRESETS, Degradation
from .lr_images import Degraded, LrImages, Stored, read_only
from .sampler import check_scales
from .sources import match_images

HR = 1  # the "scale" of an HR image: with it (index, scale) names every image of a set
_EDGE = "replicate"
_CACHE_VERSION = 1  # raise it when the same files would give other arrays

Key = tuple[int, int]
Files = Callable[[Sequence[int]], Iterable["EncodedImage"]]
_In = TypeVar("_In")
_Out = TypeVar("_Out")


class ImagePairs:
    """A set of whole images in pairs, LR and HR, for one scale or several.

    Every file is decoded once; from then on the pixels lie in memory as uint8, or, if they are more
    than a bound, in a memory map on disk. Training cuts its patches from here, validation takes
    whole images.

    Args:
        names: What each image is called in reports and errors.
        hr: uint8 arrays (height, width, channels), one for each name.
        lr: For each scale, the uint8 arrays (height // scale, width // scale, channels), in the
            order of `names`; or `LrImages`, such as `Degraded`, which make them.
        origin: Where the images are from, for errors.

    Attributes:
        names: Tuple of the images' names: paths below the HR folder, sorted.
        scales: Tuple of the scales.
        channels: 1 or 3.
        origin: Where the images are from.

    Raises:
        ValueError: If there is no image, or the shapes don't match.

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
        """Reads the images of a folder, and the LR images of another, or makes them.

        An LR image is made as the benchmarks' were: MATLAB's bicubic `imresize` of the HR image,
        cropped at the bottom and right to a multiple of the scale. It is kept in the cache under a
        key of the HR file's content, so the next run finds it, wherever the file was moved.

        Args:
            hr_folder: Folder of HR images; folders in it are searched too.
            scales: Integer or integers, of 2, 3, 4, 8.
            lr_folder: Folder of LR images, named as `keras_edsr.data.sources.match_images` says,
                such as DIV2K's `DIV2K_train_LR_bicubic` with `X2/0001x2.png`. Defaults to making
                them.
            degradation: How LR images are made, as `Degradation.load` takes it, such as `"photo"`. All but bicubic ones
                are made anew each time: nothing of them is kept, and each patch of `PatchSampler` differs.
            seed: Integer, for the degradation of whole images, such as those to validate on.
            channels: 3 for RGB, 1 for gray.
            cache_dir: Folder of the cache. Defaults to `$KERAS_EDSR_CACHE`, else the user's own.
            max_ram_bytes: Sets that are larger when decoded are mapped from a file in the cache
                instead of being held in memory. Defaults to half of the machine's memory.

        Raises:
            ValueError: If a folder is empty or missing, a file is corrupt, an image is smaller than
                one LR pixel, or an LR image is missing or has the wrong size; the file is named.
        """
        scales = check_scales(scales)
        root = Path(hr_folder)
        paths = {HR: find_images(root)}
        if lr_folder is not None and degradation is not None:
            raise ValueError(
                "Give either `lr_folder` or `degradation`: LR images that are there are not degraded. "
                f"Received: lr_folder={os.fspath(lr_folder)!r} with a degradation."
            )
        if lr_folder is not None:
            paths |= {scale: match_images(paths[HR], lr_folder, scale) for scale in scales}
        return cls.from_paths(paths, scales, root, channels, cache_dir, max_ram_bytes, degradation, seed)

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
        """Reads files: `paths[1]` are HR, `paths[scale]` their LR; what is missing is made."""
        made = None if degradation is None else Degradation.load(degradation)
        made = None if made == PRESETS[BICUBIC] else made  # bicubic ones are kept

        def files(kinds: Sequence[int]) -> Iterator[EncodedImage]:
            # By pairs, so that an LR folder that doesn't fit is found out at the first one.
            for index in range(len(paths[HR])):
                for scale in kinds:
                    if scale in paths:
                        path = paths[scale][index]
                        yield EncodedImage(index, scale, str(path), _opener(path))

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
        """Makes a set of what `Reader.read` returns; with a degradation, of its HR images alone."""
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
        """Whether LR images are made by a degradation each time that they are asked for."""
        return any(isinstance(images, Degraded) for images in self._lr.values())

    def lr_size(self, index: int, scale: int) -> tuple[int, int]:
        """Returns height and width of `lr(index, scale)`."""
        return self._lr[scale].size(index)

    def patch(self, index: int, scale: int, top: int, left: int, size: int, seed: int) -> np.ndarray:
        """Returns the square of `size` pixels of `lr(index, scale)` that begins at row `top` and column `left`.

        Args:
            index: Place of the image.
            scale: Integer.
            top: Integer, first row in the LR image.
            left: Integer, first column.
            size: Integer, rows and columns.
            seed: Integer, for what is drawn for each patch; of images that are there nothing is.
        """
        return self._lr[scale].patch(index, top, left, size, seed)

    def head(self, count: int) -> "ImagePairs":
        """Returns the first `count` pairs, or all if there are fewer; the arrays are shared."""
        return self._select(range(min(count, len(self))))

    def at_least(self, patch_size: int) -> "ImagePairs":
        """Returns the pairs whose LR images hold a patch of that size at every scale.

        Raises:
            ValueError: If none does.
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


@dataclass(frozen=True)
class EncodedImage:
    """An image of a set that is not decoded yet.

    Attributes:
        index: Its place in the set.
        scale: The scale at which it is LR; `HR` if it is the HR image.
        name: What to call it in an error.
        open: Opens its bytes for reading.
    """

    index: int
    scale: int
    name: str
    open: Callable[[], BinaryIO]


class Reader:
    """Decodes the images of a set, on all cores, into memory or into a memory map.

    Args:
        channels: 3 for RGB, 1 for gray.
        make_scales: Scales whose LR images are made from the HR.
        cache: Folder of the cache.
    """

    def __init__(self, channels: int, make_scales: Sequence[int], cache: Path) -> None:
        if channels not in (1, 3):
            raise ValueError(f"`channels` must be 1 or 3. Received: channels={channels}.")
        self.channels = channels
        self.make_scales = tuple(make_scales)
        self.cache = cache

    def read(
        self,
        files: Files,
        scales: Sequence[int],
        max_ram_bytes: int | None = None,
    ) -> dict[Key, np.ndarray]:
        """Decodes all files, holding few more than the result.

        Args:
            files: Called with the scales that are wanted (`HR` for the HR images), gives the files
                of these that there are, each HR image before its LR images.
            scales: The scales of the set.
            max_ram_bytes: As in `ImagePairs.from_folder`.

        Returns:
            uint8 arrays (height, width, channels) by (index, scale).

        Raises:
            ValueError: As `ImagePairs.from_folder`.
        """
        bound = half_of_memory() if max_ram_bytes is None else max_ram_bytes
        if self._decoded_bytes(files((HR,)), scales) <= bound:
            return dict(self._decode(files((HR, *scales))))
        return self._map(lambda: files((HR, *scales)))

    def _decoded_bytes(self, files: Iterable[EncodedImage], scales: Sequence[int]) -> int:
        pixels = 0
        for file in files:
            with file.open() as data:
                height, width = read_size(data, file.name)
            pixels += height * width
        return int(pixels * self.channels * (1 + sum(1 / scale**2 for scale in scales)))

    def _decode(self, files: Iterable[EncodedImage]) -> Iterator[tuple[Key, np.ndarray]]:
        hr_images: dict[int, tuple[str, tuple[int, ...]]] = {}
        for file, images in _map_in_threads(self._decode_one, files):
            for scale, image in images.items():
                if scale == HR:
                    hr_images[file.index] = file.name, image.shape
                else:
                    hr_name, hr_shape = hr_images[file.index]
                    check_sizes(hr_shape, image.shape, scale, hr_name, file.name)
                yield (file.index, scale), image

    def _decode_one(self, file: EncodedImage) -> tuple[EncodedImage, dict[int, np.ndarray]]:
        with file.open() as opened:
            data = opened.read()
        image = decode_image(data, file.name, self.channels)
        image = image.reshape(*image.shape[:2], self.channels)
        images = {file.scale: image}
        if file.scale == HR and self.make_scales:
            digest = hashlib.sha256(data).hexdigest()
            images |= {s: self._shrink(image, s, digest, file.name) for s in self.make_scales}
        return file, images

    def _shrink(self, hr: np.ndarray, scale: int, digest: str, name: str) -> np.ndarray:
        """Takes the LR image out of the cache, or makes it and puts it there."""
        height, width = hr.shape[0] // scale, hr.shape[1] // scale
        if not height or not width:
            raise ValueError(f"The image {name} is too small for scale {scale}: {hr.shape[0]}x{hr.shape[1]}.")
        key = f"{digest}-x{scale}-{_EDGE}-{self.channels}-v{_CACHE_VERSION}"
        path = self.cache / "lr" / key[:2] / f"{key}.pack"
        kept = (open_pack(path) or {}).get((scale,))
        if kept is not None and kept.shape == (height, width, self.channels):
            return np.array(kept)  # a copy, or thousands of maps stay open
        lr = imresize(hr[: height * scale, : width * scale], 1 / scale, edge=_EDGE)
        lr = lr.reshape(height, width, self.channels)
        self._keep(path, scale, lr)
        return lr

    def _keep(self, path: Path, scale: int, lr: np.ndarray) -> None:
        try:
            write_pack(path, [((scale,), lr)])
        except OSError as error:
            warnings.warn(
                f"LR images are not kept, so the next run makes them again: {self.cache} can't be "
                f"written ({error.strerror}). Set `cache_dir` or KERAS_EDSR_CACHE.",
                RuntimeWarning,
                stacklevel=2,
            )

    def _map(self, files: Callable[[], Iterable[EncodedImage]]) -> dict[Key, np.ndarray]:
        path = self.cache / "sets" / f"{self._digest(files())}.pack"
        arrays = open_pack(path)
        if arrays is None:
            delete_old_leftovers(path.parent)
            try:
                write_pack(path, self._decode(files()))
            except OSError as error:
                raise ValueError(
                    f"The images don't fit into `max_ram_bytes`, and can't be kept in {path} "
                    f"({error.strerror}). Set `cache_dir` or KERAS_EDSR_CACHE to a place with "
                    "more room."
                ) from error
            arrays = open_pack(path)
        if arrays is None:
            raise ValueError(f"{path} can't be read back after it was written. Is the disk sound?")
        return {(index, scale): array for (index, scale), array in arrays.items()}

    def _digest(self, files: Iterable[EncodedImage]) -> str:
        """Names the set after the content of all its files."""
        total = hashlib.sha256(f"{_CACHE_VERSION} {_EDGE} {self.channels} {self.make_scales}".encode())
        for file, digest in _map_in_threads(_file_digest, files):
            total.update(f"\n{file.index} {file.scale} {digest}".encode())
        return total.hexdigest()


def check_sizes(
    hr: np.ndarray | tuple[int, ...],
    lr: np.ndarray | tuple[int, ...],
    scale: int,
    hr_name: str,
    lr_name: str,
) -> None:
    """Raises ValueError if the LR image (or shape) is not the HR's, divided by the scale."""
    hr_shape, lr_shape = (tuple(getattr(image, "shape", image)) for image in (hr, lr))
    if (hr_shape[0] // scale, hr_shape[1] // scale, *hr_shape[2:]) != lr_shape:
        raise ValueError(
            f"LR and HR don't match at scale {scale}: {lr_name} is {_size(lr_shape)}, but "
            f"{hr_name} is {_size(hr_shape)}, so {hr_shape[0] // scale}x{hr_shape[1] // scale} "
            "is needed."
        )


def half_of_memory() -> int:
    """Returns half of the bytes of memory that this process may use at most."""
    return total_memory() // 2


def _map_in_threads(work: Callable[[_In], _Out], items: Iterable[_In]) -> Iterator[_Out]:
    """Does the work on all cores, in order, taking few more items than are asked for."""
    threads = min(count_cores(), 8)
    waiting: deque = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _file_digest(file: EncodedImage) -> tuple[EncodedImage, str]:
    with file.open() as data:
        return file, hashlib.sha256(data.read()).hexdigest()


def _opener(path: Path) -> Callable[[], BinaryIO]:
    return lambda: open_file(path)


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
