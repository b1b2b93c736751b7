"""The mean that a network takes off its images, and the four tensors that hold it in a file."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..image_ops import DIV2K_MEAN, channel_mean
from ..network import Network
from .layouts import MEAN_NAMES
from .tensors import CheckpointError, Tensor, read_weights


def read_mean(state: Mapping[str, Tensor], network: Network) -> tuple[float, ...] | None:
    """Returns the mean that the four tensors of it hold, in the units of the file.

    Returns:
        One float per channel; None for the mean of DIV2K in 0..255, which a file without the tensors has.

    Raises:
        CheckpointError: If they do not subtract a mean and add it again.
    """
    if MEAN_NAMES[0] not in state:
        return None
    sub_weight, sub, add_weight, add = (read_weights(name, state).astype(np.float32) for name in MEAN_NAMES)
    eye = np.eye(network.channels, dtype=np.float32).reshape(sub_weight.shape)
    if not (np.array_equal(sub_weight, eye) and np.array_equal(add_weight, eye) and np.array_equal(sub, -add)):
        raise CheckpointError(
            "its sub_mean and add_mean do more than to take off a mean and add it again (they were trained, or divide "
            "by a deviation), which a keras_edsr model cannot do"
        )
    is_default = np.array_equal(add, stored_mean(None, network.channels))
    return None if is_default else tuple(float(value) for value in add)


def mean_tensors(mean: Sequence[float] | None, channels: int) -> dict[str, NDArray[np.float32]]:
    """Returns the four tensors of a model's mean."""
    stored = stored_mean(mean, channels)
    eye = np.eye(channels, dtype=np.float32).reshape(channels, channels, 1, 1)
    return dict(zip(MEAN_NAMES, (eye, -stored, eye.copy(), stored), strict=True))


def stored_mean(mean: Sequence[float] | None, channels: int) -> NDArray[np.float32]:
    """Returns the numbers that a file has for a model's mean; those of the official files, to the bit, for None."""
    if mean is None and channels == 3:
        # PyTorch multiplied in float32: the last bit differs from that of 0.4371 * 255 rounded.
        return np.float32(255) * (np.array(DIV2K_MEAN) / 255).astype(np.float32)
    return np.array(channel_mean(channels) if mean is None else mean, np.float32)
