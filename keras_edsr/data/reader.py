"""Decodes image files once, on all cores, into arrays in memory or in a memory map on disk."""

import hashlib
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np

from .._imresize import imresize
from ..files import delete_old_leftovers, open_file
from ..image_io import decode_image, read_size
from ..machine import count_cores, total_memory
from .cache import open_pack, write_pack

HR = 1  # the "scale" of an HR image: (index, scale) then identifies every image of a set
_EDGE = "replicate"
_CACHE_VERSION = 1  # increase it if the same files would give other arrays

Key = tuple[int, int]
Files = Callable[[Sequence[int]], Iterable["EncodedImage"]]
_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True)
class EncodedImage:
    """An image of a set that is not decoded yet.

    Attributes:
        index: Position in the set.
        scale: The scale of an LR image; `HR` for an HR image.
        name: Name for errors.
        open: Function that opens the encoded bytes for reading.
    """

    index: int
    scale: int
    name: str
    open: Callable[[], BinaryIO]


class Reader:
    """Decodes the images of a set, on all cores, into memory or into a memory map.

    Args:
        channels: 3 for RGB, 1 for gray.
        make_scales: Scales whose LR images the reader makes from HR images.
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
        """Decodes all files, with little more memory than the result needs.

        Args:
            files: Function of the wanted scales (`HR` for the HR images) that yields the existing files of these, each
                HR image before its LR images.
            scales: The scales of the set.
            max_ram_bytes: As in `ImagePairs.from_folder`.

        Returns:
            uint8 arrays (height, width, channels) by (index, scale).

        Raises:
            ValueError: If `ImagePairs.from_folder` raises it.
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
        """Reads the LR image from the cache, or makes it and stores it there."""
        height, width = hr.shape[0] // scale, hr.shape[1] // scale
        if not height or not width:
            raise ValueError(f"{name} is too small for scale {scale}: {hr.shape[0]}x{hr.shape[1]}.")
        key = f"{digest}-x{scale}-{_EDGE}-{self.channels}-v{_CACHE_VERSION}"
        path = self.cache / "lr" / key[:2] / f"{key}.pack"
        kept = (open_pack(path) or {}).get((scale,))
        if kept is not None and kept.shape == (height, width, self.channels):
            return np.array(kept)  # copies, because otherwise thousands of maps stay open
        lr = imresize(hr[: height * scale, : width * scale], 1 / scale, edge=_EDGE)
        lr = lr.reshape(height, width, self.channels)
        self._keep(path, scale, lr)
        return lr

    def _keep(self, path: Path, scale: int, lr: np.ndarray) -> None:
        try:
            write_pack(path, [((scale,), lr)])
        except OSError as error:
            warnings.warn(
                f"Cannot write LR images to {self.cache} ({error.strerror}), so the next run makes them again. "
                "Set `cache_dir` or KERAS_EDSR_CACHE.",
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
                    f"The images do not fit into `max_ram_bytes`, and {path} cannot be written ({error.strerror}). "
                    "Set `cache_dir` or KERAS_EDSR_CACHE to a folder with more space."
                ) from error
            arrays = open_pack(path)
        if arrays is None:
            raise ValueError(f"Cannot read {path} back after writing it. Check the disk.")
        return {(index, scale): array for (index, scale), array in arrays.items()}

    def _digest(self, files: Iterable[EncodedImage]) -> str:
        """Returns a name for the set that depends on the content of all its files."""
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
    """Raises ValueError if the LR image (or shape) does not have the HR's size divided by the scale."""
    hr_shape, lr_shape = (tuple(getattr(image, "shape", image)) for image in (hr, lr))
    if (hr_shape[0] // scale, hr_shape[1] // scale, *hr_shape[2:]) != lr_shape:
        raise ValueError(
            f"LR and HR do not match at scale {scale}: {lr_name} is {_size(lr_shape)}, but "
            f"{hr_name} is {_size(hr_shape)}, which needs {hr_shape[0] // scale}x{hr_shape[1] // scale}."
        )


def half_of_memory() -> int:
    """Returns half of the memory that this process may use, in bytes."""
    return total_memory() // 2


def _map_in_threads(work: Callable[[_In], _Out], items: Iterable[_In]) -> Iterator[_Out]:
    """Runs the work on all cores, in order, with few items ahead of the consumer."""
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


def opener(path: Path) -> Callable[[], BinaryIO]:
    """Returns the function that opens a file."""
    return lambda: open_file(path)


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
