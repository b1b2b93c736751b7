"""Cuts patches from any `tf.data` stream of whole images, such as `tfds.load` returns."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..image_ops import NUM_DIHEDRAL, dihedral
from .patches import check_positive
from .sampler import check_scales

if TYPE_CHECKING:
    import tensorflow as tf

# Patches of this many images are mixed, so that a batch rarely has two of one image.
_IMAGES_TO_MIX = 64


def random_patches(
    ds: "tf.data.Dataset",
    scale: int | None = None,
    *,
    patch_size: int = 48,
    batch_size: int = 16,
    augment: bool = True,
    seed: int = 0,
    patches_per_image: int = 16,
) -> "tf.data.Dataset":
    """Cuts random patches from a dataset of whole images, endlessly.

        ds = tfds.load("div2k/bicubic_x2", split="train", as_supervised=True)
        model.fit(random_patches(ds), steps_per_epoch=1000, epochs=300)

    Every pass over `ds` reads and decodes each image again, so the function cuts several patches from it and mixes them
    with those of other images. `div2k` and `image_pairs` decode once, draw each patch from any image, and are many
    times faster. This function is for data from elsewhere.

    Args:
        ds: Dataset of whole images, (lr, hr) or {"lr": lr, "hr": hr}, integer or float, of shapes
            (height, width, channels) and (scale * height, scale * width, channels). HR may be up to
            `scale - 1` pixels larger. The function repeats the dataset.
        scale: 2, 3, 4 or 8. Defaults to the scale of the first pair of `ds`.
        patch_size: Height and width of an LR patch.
        batch_size: Number of patches in a batch.
        augment: Boolean, whether to flip and rotate patches (all eight ways).
        seed: Integer; the same seed gives the same batches, if `ds` gives the same images in the
            same order.
        patches_per_image: Number of patches to cut from an image each time it is read.

    Returns:
        Endless dataset of (lr, hr) of the type of `ds` and shape (batch_size, patch_size,
        patch_size, channels) and (batch_size, scale * patch_size, scale * patch_size, channels).

    Raises:
        ValueError: If an argument is not valid, or `ds` does not have whole images.
        tf.errors.InvalidArgumentError: If an image is smaller than a patch, or LR and HR do not match; raised while
            iterating.
    """
    import tensorflow as tf

    ds = _as_pairs(ds)
    scale = _scale_of_first(ds) if scale is None else check_scales(scale)[0]
    size = check_positive("patch_size", patch_size)
    count = check_positive("patches_per_image", patches_per_image)
    lr_grid, hr_grid = _turned_grids(size), _turned_grids(scale * size)

    def cut(number, pair):
        lr, hr = pair
        with tf.control_dependencies(_checks(number, lr, hr, scale, size)):
            seeds = tf.unstack(tf.random.split(tf.stack([seed, number]), 3))
        places = tf.shape(lr)[:2] - size + 1
        top = tf.random.stateless_uniform([count], seeds[0], 0, places[0], tf.int32)
        left = tf.random.stateless_uniform([count], seeds[1], 0, places[1], tf.int32)
        turns = NUM_DIHEDRAL if augment else 1
        turn = tf.random.stateless_uniform([count], seeds[2], 0, turns, tf.int32)
        return _gather(lr, lr_grid, top, left, turn), _gather(hr, hr_grid, scale * top, scale * left, turn)

    patches = ds.repeat().enumerate().map(cut, num_parallel_calls=tf.data.AUTOTUNE).unbatch()
    mixed = patches.shuffle(_IMAGES_TO_MIX * count, seed, reshuffle_each_iteration=False)
    batches = mixed.batch(check_positive("batch_size", batch_size), drop_remainder=True)
    endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    return batches.apply(endless).prefetch(tf.data.AUTOTUNE)


def _as_pairs(ds: "tf.data.Dataset") -> "tf.data.Dataset":
    spec = ds.element_spec
    if isinstance(spec, dict) and {"lr", "hr"} <= set(spec):
        return _as_pairs(ds.map(lambda example: (example["lr"], example["hr"])))
    if not isinstance(spec, tuple) or len(spec) != 2 or any(_rank(part) != 3 for part in spec):
        raise ValueError(
            f"`ds` must have whole images, not batched: (lr, hr), each (height, width, channels). Received: {spec}."
        )
    return ds


def _rank(spec: Any) -> int | None:
    shape = getattr(spec, "shape", None)
    return None if shape is None else shape.rank


def _scale_of_first(ds: "tf.data.Dataset") -> int:
    for lr, hr in ds.take(1):
        scale = hr.shape[0] // lr.shape[0]
        if scale != hr.shape[1] // lr.shape[1]:
            raise ValueError(
                f"LR and HR do not match: {lr.shape} and {hr.shape}. `ds` must yield (lr, hr), in this order."
            )
        return check_scales(scale)[0]
    raise ValueError("`ds` must not be empty. Received: a dataset without images.")


def _checks(number: Any, lr: Any, hr: Any, scale: int, size: int) -> list[Any]:
    import tensorflow as tf

    lr_size, hr_size = tf.shape(lr)[:2], tf.shape(hr)[:2]
    small = f"an LR image is smaller than `patch_size` {size}; its number and size:"
    unlike = f"LR and HR do not match at scale {scale}; their number and sizes:"
    return [
        tf.debugging.Assert(tf.reduce_all(lr_size >= size), [small, number, lr_size]),
        tf.debugging.Assert(tf.reduce_all(hr_size // scale == lr_size), [unlike, number, lr_size, hr_size]),
    ]


def _turned_grids(size: int) -> np.ndarray:
    """Returns where each pixel of a rotated patch comes from: (8, size, size, 2), row and column."""
    grid = np.moveaxis(np.indices((size, size), np.int32), 0, -1)
    return np.stack([dihedral(grid, turn) for turn in range(NUM_DIHEDRAL)])


def _gather(image: Any, grids: np.ndarray, top: Any, left: Any, turn: Any) -> Any:
    """Cuts and rotates patches in one gather: (count, size, size, channels)."""
    import tensorflow as tf

    grid = tf.gather(grids, turn)  # (count, size, size, 2)
    rows = grid[..., 0] + top[:, None, None]
    columns = grid[..., 1] + left[:, None, None]
    pixels = tf.reshape(image, [-1, tf.shape(image)[-1]])
    patches = tf.gather(pixels, rows * tf.shape(image)[1] + columns)
    return tf.ensure_shape(patches, [None, *grids.shape[1:3], image.shape[-1]])
