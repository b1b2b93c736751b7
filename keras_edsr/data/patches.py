"""Patches of image pairs, cut and turned: every batch a pure function of (seed, step)."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..image_ops import NUM_DIHEDRAL, dihedral
from ..renaming import renamed_argument
from .backends import backend, map_ahead, py_dataset
from .sampler import (
    DEGRADATION_STREAM,
    PATCH_STREAM,
    ScaleBatchSampler,
    below,
    check_scales,
    check_seed,
    random_words,
)

if TYPE_CHECKING:
    from .pairs import ImagePairs

_THREADS = 8  # threads for degradations; more wait for each other


class PatchSampler:
    """Cuts batches of LR and HR patches from image pairs.

    For each patch the sampler draws an image and then a place in its LR image, both uniformly. The HR patch is exactly
    what lies below it. With `augment` it applies one of the eight transforms of the square to both. Everything is a
    pure function of (seed, step): any process can make any batch alone. For images with a degradation, it degrades each
    patch with its own seed.

    Args:
        pairs: The images.
        scales: Scales to draw from, of `pairs.scales`; all patches of a batch have one scale, drawn by
            `ScaleBatchSampler`. Defaults to `pairs.scales`.
        patch_size: Height and width of an LR patch. Defaults to the paper's 48.
        batch_size: Number of patches in a batch. Defaults to the paper's 16.
        augment: Boolean, whether to flip and rotate.
        seed: Integer from 0 to 2**64 - 1.
        scale_weights: As `ScaleBatchSampler` takes them.

    Raises:
        ValueError: If an image is smaller than a patch (the message names it), or an argument is not valid.

    Example:
        >>> sampler = PatchSampler(pairs, patch_size=48, batch_size=16, seed=0)
        >>> lr, hr = sampler.batch(step=1000)
        >>> model.fit(sampler.dataset(), steps_per_epoch=1000, epochs=300)
    """

    @renamed_argument("weights", "scale_weights")
    def __init__(
        self,
        pairs: "ImagePairs",
        scales: int | Sequence[int] | None = None,
        *,
        patch_size: int = 48,
        batch_size: int = 16,
        augment: bool = True,
        seed: int = 0,
        scale_weights: Sequence[float] | None = None,
    ) -> None:
        self.pairs = pairs
        self.scales = pairs.scales if scales is None else check_scales(scales)
        self.scale_sampler = ScaleBatchSampler(self.scales, scale_weights, seed)
        self.patch_size = check_positive("patch_size", patch_size)
        self.batch_size = check_positive("batch_size", batch_size)
        self.augment = augment
        self.seed = check_seed(seed)
        self._places = {scale: self._count_places(scale) for scale in self.scales}

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Makes the batch of a step, counted from 0.

        Returns:
            The LR and HR patches, uint8 of shape (batch_size, patch_size, patch_size, channels)
            and (batch_size, scale * patch_size, scale * patch_size, channels).
        """
        scale, size, count = self.scale_sampler(step), self.patch_size, self.batch_size
        words = random_words(self.seed, step, PATCH_STREAM, 4 * count).reshape(4, count)
        images = below(words[0], len(self.pairs))
        corners = below(words[1:3], self._places[scale][images].T)  # (2, n): top, left
        turns = below(words[3], NUM_DIHEDRAL if self.augment else 1)
        seeds = random_words(self.seed, step, DEGRADATION_STREAM, count).tolist()
        channels = self.pairs.channels
        lr = np.empty((count, size, size, channels), np.uint8)
        hr = np.empty((count, scale * size, scale * size, channels), np.uint8)
        for n, (image, top, left, turn) in enumerate(
            zip(images.tolist(), *corners.tolist(), turns.tolist(), strict=True)
        ):
            _put(self.pairs.patch(image, scale, top, left, size, seeds[n]), turn, out=lr[n])
            above, before = scale * top, scale * left
            crop = self.pairs.hr(image, scale)[above : above + scale * size, before : before + scale * size]
            _put(crop, turn, out=hr[n])
        return lr, hr

    def pairs_of(self, steps: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields the pairs (lr, hr) of the first `steps` batches, one patch after the other."""
        for step in range(steps):
            yield from zip(*self.batch(step), strict=True)

    def stream(self, start_step: int, steps: int) -> Iterable[tuple[Any, Any]]:
        """Makes the batches of some steps, the next ones while one is used: for a loop, not for `fit`.

        Args:
            start_step: The first step.
            steps: How many.

        Returns:
            With TensorFlow a `tf.data.Dataset`, else an iterator of arrays.
        """
        if backend() == "tensorflow":
            return self.dataset(start_step, steps)
        return map_ahead(self.batch, range(_check_step(start_step), start_step + steps), self._threads())

    def dataset(self, start_step: int = 0, steps: int | None = None) -> Any:
        """Streams the batches of `start_step`, `start_step + 1`, ... for `fit`.

        Args:
            start_step: The first step; a run that is resumed after step 999 starts at 1000.
            steps: Number of batches. By default the dataset is endless; then pass the length of an epoch to `fit`:
                `fit(dataset, steps_per_epoch=1000, epochs=300)`.

        Returns:
            With TensorFlow a `tf.data.Dataset`, else a `keras.utils.PyDataset`, of elements (lr, hr) as `batch` returns
            them. With several scales, the height and width of hr are unknown in the dataset's specification.
        """
        _check_step(start_step)
        if steps is not None:
            check_positive("steps", steps)
        if backend() != "tensorflow":
            return py_dataset(lambda number: self.batch(start_step + number), steps, self._threads())
        import tensorflow as tf  # not above, so that pairs and samplers are light

        scale = self.scales[0] if len(self.scales) == 1 else None
        hr_size = None if scale is None else scale * self.patch_size
        lr_shape = (self.batch_size, self.patch_size, self.patch_size, self.pairs.channels)
        hr_shape = (self.batch_size, hr_size, hr_size, self.pairs.channels)

        def load(step):
            lr, hr = tf.numpy_function(self.batch, [step], (tf.uint8, tf.uint8), stateful=False)
            return tf.ensure_shape(lr, lr_shape), tf.ensure_shape(hr, hr_shape)

        numbers = tf.data.Dataset.counter(start_step)
        if steps is not None:
            numbers = numbers.take(steps)
        batches = numbers.map(load, num_parallel_calls=self._threads(), deterministic=True)
        return batches.prefetch(tf.data.AUTOTUNE)

    def _threads(self) -> int:
        # Python code runs in one thread, but two can wait for pages of a memory map. NumPy and Pillow, which degrade,
        # release the lock for other threads.
        return min(os.cpu_count() or 2, _THREADS) if self.pairs.is_degraded else 2

    def _count_places(self, scale: int) -> np.ndarray:
        """Counts, for each image, the rows and columns where a patch may start: (images, 2)."""
        if scale not in self.pairs.scales:
            raise ValueError(f"`scales` must be among the pairs' scales, {self.pairs.scales}. Received: {scale}.")
        sizes = [self.pairs.lr_size(index, scale) for index in range(len(self.pairs))]
        places: np.ndarray = np.array(sizes) - self.patch_size + 1
        small = np.flatnonzero((places < 1).any(axis=1))
        if small.size:
            raise ValueError(self._too_small(int(small[0]), scale, small.size - 1))
        return places

    def _too_small(self, index: int, scale: int, others: int) -> str:
        height, width = self.pairs.hr(index, scale).shape[:2]
        need = scale * self.patch_size
        return (
            f"{self.pairs.names[index]} in {self.pairs.origin} is smaller than a patch: "
            f"{height}x{width}, and at scale {scale} `patch_size` {self.patch_size} needs "
            f"{need}x{need} (other images that are too small: {others}). "
            "Use a smaller `patch_size`, or skip small images (`ImagePairs.at_least`, `--skip-small`)."
        )


def whole_images(pairs: "ImagePairs") -> Any:
    """Streams whole images, one by one, in order: first all at one scale, then at the next.

    Args:
        pairs: The images.

    Returns:
        With TensorFlow a `tf.data.Dataset`, else a `keras.utils.PyDataset`: finite, of (lr, hr), uint8 of shape
        (1, height, width, channels).
    """
    if backend() != "tensorflow":
        return py_dataset(
            lambda number: _whole_image(pairs, number % len(pairs), pairs.scales[number // len(pairs)]),
            len(pairs) * len(pairs.scales),
        )
    import tensorflow as tf

    scales = tf.constant(pairs.scales, tf.int64)
    shape = (1, None, None, pairs.channels)

    def load_arrays(index: int, scale: int) -> tuple[np.ndarray, np.ndarray]:
        return _whole_image(pairs, index, scale)

    def load(number):
        index, scale = number % len(pairs), scales[number // len(pairs)]
        lr, hr = tf.numpy_function(load_arrays, [index, scale], (tf.uint8, tf.uint8), stateful=False)
        return tf.ensure_shape(lr, shape), tf.ensure_shape(hr, shape)

    numbers = tf.data.Dataset.range(len(pairs) * len(pairs.scales))
    return numbers.map(load).prefetch(1)


def _whole_image(pairs: "ImagePairs", index: int, scale: int) -> tuple[np.ndarray, np.ndarray]:
    return pairs.lr(index, scale)[None], np.ascontiguousarray(pairs.hr(index, scale))[None]


def check_positive(name: str, value: int) -> int:
    """Returns the value; raises ValueError if it is not an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}.")
    return int(value)


def _check_step(step: int) -> int:
    if not isinstance(step, (int, np.integer)) or step < 0:
        raise ValueError(f"`start_step` must be 0 or more. Received: start_step={step!r}.")
    return int(step)


def _put(crop: np.ndarray, turn: int, out: np.ndarray) -> None:
    turned = dihedral(crop, turn)
    if turned.strides[-2:] == crop.strides[-2:]:
        out[...] = turned  # whole rows are copied
        return
    # One channel at a time: NumPy would copy the three bytes of a pixel in an inner loop, four times slower. The crop
    # is copied first, because its rows are far apart in memory.
    turned = dihedral(np.ascontiguousarray(crop), turn)
    for channel in range(out.shape[-1]):
        out[..., channel] = turned[..., channel]
