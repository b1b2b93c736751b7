"""Operations on arrays of pixels: rounding, luma, borders, and the eight dihedral transforms.

They need NumPy only.
"""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

# Rec. ITU-R BT.601, studio range, in the digits of MATLAB's rgb2ycbcr: RGB 0..255 becomes Y 16..235.
LUMA_WEIGHTS = (65.481, 128.553, 24.966)
LUMA_OFFSET = 16.0

PEAK = 255.0

# Mean RGB of DIV2K's training images in 0..255, from the official code.
DIV2K_MEAN = (0.4488 * 255, 0.4371 * 255, 0.4040 * 255)

NUM_DIHEDRAL = 8


def channel_mean(channels: int) -> tuple[float, ...]:
    """Returns DIV2K's mean for images of so many channels: its RGB for three, otherwise its gray for each.

    The gray is BT.601's, 0.299 R + 0.587 G + 0.114 B, as Pillow and TensorFlow convert RGB to gray.
    """
    if channels == 3:
        return DIV2K_MEAN
    gray = sum(w * value for w, value in zip((0.299, 0.587, 0.114), DIV2K_MEAN, strict=True))
    return (gray,) * channels


def quantize(image: NDArray[Any], dtype: DTypeLike = np.uint8) -> NDArray[Any]:
    """Clips an image to the range of `dtype`, rounds half to even and casts.

    This is the only rounding between a network and a file. The official code rounds half to even (`torch.round`), too;
    `imresize` rounds half up, because MATLAB does.

    Args:
        image: Array of any shape, integer or float, in the units of `dtype`: 0..255 for uint8,
            0..65535 for uint16.
        dtype: `uint8` or `uint16`. Defaults to `uint8`.

    Returns:
        A new array of the same shape, of type `dtype`.

    Raises:
        ValueError: If `dtype` is another type, or the image contains NaN.

    Examples:
        >>> import numpy as np
        >>> quantize(np.array([-3.0, 0.5, 1.5, 254.6, 300.0]))
        array([  0,   0,   2, 255, 255], dtype=uint8)
    """
    dtype = np.dtype(dtype)
    if dtype not in (np.uint8, np.uint16):
        raise ValueError(f"`dtype` must be uint8 or uint16. Received: dtype={dtype}.")
    image = np.asarray(image)
    if image.dtype == np.float16:
        image = image.astype(np.float32)  # float16 cannot express 65535
    clipped = np.clip(image, 0, np.iinfo(dtype).max)
    if np.issubdtype(image.dtype, np.floating):
        if image.size and np.isnan(clipped.min()):
            raise ValueError(
                "`image` must hold numbers. Received: NaN. "
                "The model that made it has diverged, or half precision overflowed."
            )
        np.rint(clipped, out=clipped)
    return clipped.astype(dtype)


def luma(image: NDArray[Any]) -> NDArray[np.float64]:
    """Computes the Y of BT.601's YCbCr, in double precision and without rounding.

    `Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255`

    Args:
        image: Array `(height, width, 3)`, RGB in 0..255, of any type; or `(height, width)` or `(height, width, 1)`,
            whose values are returned unchanged, as in the authors' MATLAB script for the benchmarks.

    Returns:
        Array `(height, width)` float64, in 16..235 for an RGB image.

    Raises:
        ValueError: If the image has another shape.

    Examples:
        >>> import numpy as np
        >>> luma(np.array([[[0, 0, 0], [255, 255, 255]]])).round(3)
        array([[ 16., 235.]])
    """
    image = np.asarray(image)
    if image.ndim == 2:
        return image.astype(np.float64)
    if image.ndim == 3 and image.shape[-1] == 1:
        return image[..., 0].astype(np.float64)
    if image.ndim == 3 and image.shape[-1] == 3:
        return image.astype(np.float64) @ (np.array(LUMA_WEIGHTS) / 255) + LUMA_OFFSET
    raise ValueError(
        "`image` must be (height, width), (height, width, 1) or (height, width, 3). "
        f"Received: shape={image.shape}. "
        "Remove an alpha channel first; pass a batch one image at a time."
    )


def crop_border(image: NDArray[Any], border: int) -> NDArray[Any]:
    """Removes `border` pixels from each of the four sides.

    Args:
        image: `(height, width)` or `(height, width, channels)`.
        border: Integer, 0 or more.

    Returns:
        A view, `(height - 2 * border, width - 2 * border[, channels])`.

    Raises:
        ValueError: If nothing would remain, `border` is not an integer of at least 0, or the image has another shape.
    """
    height, width = _size(image)
    if not _is_integer(border) or border < 0:
        raise ValueError(f"`border` must be an integer, 0 or more. Received: border={border!r}.")
    if min(height, width) <= 2 * border:
        raise ValueError(
            f"`image` must be larger than its two borders, {2 * border} pixels. "
            f"Received: an image of {height}x{width} and border={border}. Use a larger image."
        )
    return image[border : height - border, border : width - border]


def crop_to_multiple(image: NDArray[Any], scale: int) -> NDArray[Any]:
    """Crops the sides to multiples of `scale`; the top left corner stays in place.

    Args:
        image: `(height, width)` or `(height, width, channels)`.
        scale: Integer, 1 or more.

    Returns:
        A view with at most `scale - 1` fewer rows at the bottom and fewer columns at the right.

    Raises:
        ValueError: If nothing would remain, `scale` is not an integer of at least 1, or the image has another shape.
    """
    height, width = _size(image)
    if not _is_integer(scale) or scale < 1:
        raise ValueError(f"`scale` must be an integer, 1 or more. Received: scale={scale!r}.")
    if min(height, width) < scale:
        raise ValueError(
            f"`image` must have at least `scale` pixels a side. "
            f"Received: an image of {height}x{width} and scale={scale}. Use a larger image."
        )
    return image[: height - height % scale, : width - width % scale]


def dihedral(image: NDArray[Any], k: int) -> NDArray[Any]:
    """Applies one of the eight flips and quarter turns of the square.

    The order is: identity, left-right, up-down, both; then the transposes of these four. The self-ensemble of the
    official code (`forward_x8` in sanghyun-son/EDSR-PyTorch, src/model/__init__.py) has the same order.

    Args:
        image: `(..., height, width, channels)`: an image or a batch.
        k: Integer in 0..7. Bit 0 flips the width, bit 1 flips the height, bit 2 transposes last.

    Returns:
        A view; height and width are exchanged when `k` is 4 or more.

    Raises:
        ValueError: If `k` is out of range or the image has fewer than three dimensions.
    """
    _check_dihedral(image, k)
    if k & 1:
        image = image[..., :, ::-1, :]
    if k & 2:
        image = image[..., ::-1, :, :]
    return image.swapaxes(-3, -2) if k & 4 else image


def inverse_dihedral(image: NDArray[Any], k: int) -> NDArray[Any]:
    """Undoes `dihedral(image, k)`: `inverse_dihedral(dihedral(image, k), k)` is `image`.

    Args:
        image: `(..., height, width, channels)`: an image or a batch.
        k: Integer in 0..7, as it was given to `dihedral`.

    Returns:
        A view.

    Raises:
        ValueError: If `k` is out of range or the image has fewer than three dimensions.
    """
    _check_dihedral(image, k)
    if k & 4:
        image = image.swapaxes(-3, -2)  # the transposition came last, so it goes first here; the two flips commute
    return dihedral(image, k & 3)


def _size(image: NDArray[Any]) -> tuple[int, int]:
    if image.ndim not in (2, 3):
        raise ValueError(
            "`image` must be (height, width) or (height, width, channels). "
            f"Received: shape={image.shape}. Pass a batch one image at a time."
        )
    return image.shape[0], image.shape[1]


def _check_dihedral(image: NDArray[Any], k: int) -> None:
    if not _is_integer(k) or not 0 <= k < NUM_DIHEDRAL:
        raise ValueError(f"`k` must be an integer in 0..{NUM_DIHEDRAL - 1}. Received: k={k!r}.")
    if image.ndim < 3:
        raise ValueError(
            "`image` must be (..., height, width, channels). "
            f"Received: shape={image.shape}. Add a last axis to a gray image: image[..., None]."
        )


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
