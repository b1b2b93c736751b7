"""MATLAB's bicubic `imresize`, reproduced to the bit. It needs NumPy only.

MATLAB made the low resolution images of DIV2K and of the benchmarks, and another bicubic is another degradation: one
value of eight differs in Pillow's, and those along the border differ in `tf.image.resize`. Two details matter. MATLAB
resizes one dimension after the other and rounds integer images after **each**, half up. Its rule at the border changed
between versions; see `edge`.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

EDGES = ("replicate", "symmetric")
DTYPES = ("uint8", "uint16", "float32", "float64")

KERNEL_WIDTH = 4  # width of the cubic kernel, in pixels of the coarser grid
BLOCK_VALUES = 1 << 16  # half a megabyte of doubles at a time fits in the processor's cache: twice as fast


def imresize(
    image: NDArray[Any],
    scale: float | None = None,
    edge: str = "replicate",
    *,
    output_shape: tuple[int, int] | None = None,
) -> NDArray[Any]:
    """Resizes as MATLAB's `imresize(image, scale, 'bicubic')` does, with antialiasing when it shrinks.

    `imresize(hr, 1 / scale)` makes the LR image of an HR image. If the HR image's sides are not multiples of `scale`,
    MATLAB (and so this function) rounds the size up and keeps the scale. LR and HR are then no longer aligned: crop the
    HR image first.

    Args:
        image: Array `(height, width)` or `(height, width, channels)`; uint8, uint16, float32 or float64.
        scale: Positive number; a number below 1 shrinks. The output has `ceil(scale * height)` rows.
        edge: Values beyond the border. `"replicate"`, the default, repeats the border's pixel, as the older MATLAB did
            that made the official LR images. `"symmetric"` mirrors the image, with the border's pixel doubled, as
            newer MATLAB does.
        output_shape: `(height, width)` instead of `scale`, as MATLAB's `imresize(image, [height width])` takes it. Each
            dimension then has its own scale, and the one with the smaller scale is resized first.

    Returns:
        A new array of the same type and number of dimensions. Integers are rounded half up and clipped to their range
        after each of the two passes. Floats are neither rounded nor clipped. Sums are in double precision for every
        type.

    Raises:
        ValueError: If the image has another type or shape, or no pixels; if `scale` is not a positive number, or
            `output_shape` not two positive integers; if both or neither are given; or if `edge` is unknown.

    Examples:
        >>> import numpy as np
        >>> ramp = np.arange(0, 160, 10, dtype="uint8").reshape(4, 4)
        >>> imresize(ramp, 1 / 2)
        array([[ 26,  46],
               [104, 124]], dtype=uint8)
        >>> imresize(ramp, 1.5).shape
        (6, 6)
        >>> imresize(ramp, output_shape=(3, 8)).shape
        (3, 8)

    Reference: [Keys, 1981](https://doi.org/10.1109/TASSP.1981.1163711), the kernel with a = -1/2.
    """
    image = np.asarray(image)
    _check_image(image)
    if edge not in EDGES:
        raise ValueError(f"`edge` must be one of {EDGES}. Received: edge={edge!r}.")
    scales, output_shape = _scales_and_shape(image.shape[:2], scale, output_shape)

    for axis in (0, 1) if scales[0] <= scales[1] else (1, 0):  # MATLAB: sort(scale), stable
        weights, sources = _contributions(image.shape[axis], output_shape[axis], scales[axis], edge)
        image = _resize_axis(image, axis, weights, sources)
    return image


def _contributions(
    in_size: int, out_size: int, scale: float, edge: str
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Returns the pixels that make each output pixel and their weights, as MATLAB's `contributions` does.

    Returns:
        Weights and source positions, both `(taps, out_size)`; each column of weights sums to 1.
    """
    shrink = min(scale, 1.0)  # antialiasing: the kernel spans four pixels of the coarser grid
    width = KERNEL_WIDTH / shrink
    # MATLAB counts pixels from 1; counting from 0 would round the centers differently in the last bit.
    centers = np.arange(1, out_size + 1) / scale + 0.5 * (1 - 1 / scale)
    taps = np.arange(math.ceil(width) + 2)[:, None]
    sources = np.floor(centers - width / 2) + taps  # (taps, out_size)

    weights = shrink * _cubic(shrink * (centers - sources))
    weights /= np.cumsum(weights, axis=0)[-1]  # adds in order; np.sum may add in pairs

    sources = sources.astype(np.intp) - 1
    if edge == "replicate":
        sources = np.clip(sources, 0, in_size - 1)
    else:
        sources %= 2 * in_size  # the period: the image, then the mirrored image
        sources = np.minimum(sources, 2 * in_size - 1 - sources)
    used = np.any(weights != 0, axis=1)
    return weights[used], sources[used]


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.abs(x)
    x2 = x * x
    x3 = x2 * x
    near = 1.5 * x3 - 2.5 * x2 + 1
    far = -0.5 * x3 + 2.5 * x2 - 4 * x + 2
    return near * (x <= 1) + far * ((x > 1) & (x <= 2))


def _resize_axis(
    image: NDArray[Any], axis: int, weights: NDArray[np.float64], sources: NDArray[np.intp]
) -> NDArray[Any]:
    # Both axes are resized as rows of a matrix: NumPy is fast along the last axis, and an image's last axis has only
    # three values. The two transpositions cost a tenth of the time.
    rows = np.moveaxis(image, axis, 0)
    resized = np.empty((weights.shape[1], math.prod(rows.shape[1:])), image.dtype)
    _resize_rows(rows.reshape(len(rows), -1), weights, sources, out=resized)
    resized = resized.reshape(-1, *rows.shape[1:])
    return np.ascontiguousarray(np.moveaxis(resized, 0, axis))


def _resize_rows(
    rows: NDArray[Any],
    weights: NDArray[np.float64],
    sources: NDArray[np.intp],
    out: NDArray[Any],
) -> None:
    """Writes `out[i] = sum over t of weights[t, i] * rows[sources[t, i]]`, rounded to its type.

    It adds the taps one after the other, in double precision: another order (a matrix product) sometimes gives the
    other side of .5.
    """
    step = max(1, BLOCK_VALUES // rows.shape[1])
    for start in range(0, len(out), step):
        block = slice(start, start + step)
        total = weights[0, block, None] * rows[sources[0, block]]  # (step, values) float64
        product = np.empty_like(total)
        for weight, source in zip(weights[1:, block, None], sources[1:, block], strict=True):
            np.multiply(weight, rows[source], out=product)
            total += product
        if np.issubdtype(out.dtype, np.integer):
            np.floor(np.add(total, 0.5, out=total), out=total)
            np.clip(total, 0, np.iinfo(out.dtype).max, out=total)
        out[block] = total


def _check_image(image: NDArray[Any]) -> None:
    if image.dtype not in DTYPES:
        raise ValueError(
            f"`image` must be one of {DTYPES}. Received: dtype={image.dtype}. "
            "Convert it first, as in image.astype('float64')."
        )
    if image.ndim not in (2, 3):
        raise ValueError(
            "`image` must be (height, width) or (height, width, channels). "
            f"Received: shape={image.shape}. Pass a batch one image at a time."
        )
    if image.size == 0:
        raise ValueError(f"`image` must have pixels. Received: shape={image.shape}.")


def _scales_and_shape(
    size: tuple[int, ...], scale: float | None, output_shape: tuple[int, int] | None
) -> tuple[tuple[float, float], tuple[int, int]]:
    """Returns the scale and the length of each of the two dimensions."""
    if (scale is None) == (output_shape is None):
        raise ValueError(
            "Pass either `scale` or `output_shape`, not both. "
            f"Received: scale={scale!r}, output_shape={output_shape!r}."
        )
    height, width = size
    if output_shape is not None:
        rows, columns = _check_output_shape(output_shape)
        return (rows / height, columns / width), (rows, columns)
    scale = _check_scale(scale)
    return (scale, scale), (math.ceil(scale * height), math.ceil(scale * width))


def _check_scale(scale: Any) -> float:
    number = np.ndim(scale) == 0 and np.asarray(scale).dtype.kind in "iuf"
    if not number or not 0 < scale < math.inf:
        raise ValueError(
            f"`scale` must be a positive number. Received: scale={scale!r}. "
            "For separate scales of the dimensions pass output_shape=(height, width)."
        )
    return float(scale)


def _check_output_shape(output_shape: Any) -> tuple[int, int]:
    shape = np.asarray(output_shape)
    if shape.shape != (2,) or shape.dtype.kind not in "iu" or shape.min() < 1:
        raise ValueError(
            f"`output_shape` must be two positive integers, (height, width). Received: output_shape={output_shape!r}."
        )
    return int(shape[0]), int(shape[1])
