"""What an argument of a layer, a model or a network must be."""

import numbers
from typing import Any

SCALES = (2, 3, 4, 8)  # those that a sub-pixel upsampler exists for


def check_positive(name: str, value: Any) -> int:
    """Returns `value` as an int.

    Raises:
        ValueError: If it is not a positive integer.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}.")
    return int(value)


def check_number(name: str, value: Any) -> Any:
    """Returns `value`, a real number.

    Raises:
        ValueError: If it is not one.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ValueError(f"`{name}` must be a number. Received: {name}={value!r}.")
    return value  # unchanged: a config distinguishes 1 and 1.0


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> Any:
    """Returns `value`.

    Raises:
        ValueError: If it is not one of `choices`.
    """
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {choices}. Received: {name}={value!r}.")
    return value


def check_scale(scale: Any, scales: tuple[int, ...] = SCALES) -> int:
    """Returns `scale` as an int.

    Raises:
        ValueError: If it is not one of `scales`.
    """
    if isinstance(scale, bool) or not isinstance(scale, numbers.Integral) or scale not in scales:
        raise ValueError(
            f"`scale` must be one of {scales}. Received: scale={scale!r}. "
            "For other factors, upscale more and use `imresize`."
        )
    return int(scale)


def check_image_shape(image_shape: Any) -> tuple[Any, Any, int]:
    """Returns `image_shape` as a tuple.

    Raises:
        ValueError: If it is not a (height, width, channels).
    """
    if not isinstance(image_shape, tuple | list) or len(image_shape) != 3:
        raise ValueError(
            "`image_shape` must be (height, width, channels), such as (None, None, 3). "
            f"Received: image_shape={image_shape!r}."
        )
    return (*image_shape[:2], check_positive("image_shape[2]", image_shape[2]))
