"""Draws the scale of a batch, and the random numbers for all other choices about it."""

import math
from collections.abc import Sequence

import numpy as np

from ..renaming import renamed_argument, warn_renamed

SCALES = (2, 3, 4, 8)

# Streams of `random_words`: choices about one step that must be independent.
SCALE_STREAM = 0
PATCH_STREAM = 1
DEGRADATION_STREAM = 2


class ScaleBatchSampler:
    """Draws the scale of each batch, as in the training of MDSR.

    MDSR has one body and, for every scale, a pre-processing and an upsampling branch. In training each batch has one
    scale, drawn at random, and the step computes and updates the shared body and that scale's branch alone (Lim et al.,
    section 3.3). Over many steps each branch sees its share of the batches, and the body sees all of them:

        step   0   1   2   3   4   5  ...
        scale  2   4   4   3   3   3  ...      ScaleBatchSampler((2, 3, 4), seed=0)

    The scale is a pure function of (seed, step); the object stores no state. Every worker of a distributed run thus
    draws the same scale at the same step without communication, and a resumed run continues as if it had not stopped.

    Args:
        scales: The scales to draw from. Defaults to the paper's.
        scale_weights: Numbers, one for each scale, proportional to how often it is drawn; their sum may differ from
            one. Defaults to equal shares.
        seed: Integer from 0 to 2**64 - 1. The patches of the same seed do not depend on the scale, nor the scale on
            the patches.

    Raises:
        ValueError: If a scale is unknown or repeated; if a weight is negative or not finite, or all are zero; or if
            the numbers of weights and scales differ.

    Example:
        >>> sampler = ScaleBatchSampler((2, 3, 4), scale_weights=(1, 1, 2), seed=0)
        >>> sampler(step=7) == sampler(step=7)
        True
    """

    @renamed_argument("weights", "scale_weights")
    def __init__(
        self,
        scales: Sequence[int] = (2, 3, 4),
        scale_weights: Sequence[float] | None = None,
        seed: int = 0,
    ) -> None:
        self.scales = check_scales(scales)
        self.scale_weights = _shares(scale_weights, len(self.scales))
        self.seed = check_seed(seed)
        self._bounds = np.cumsum(self.scale_weights)[:-1]

    @property
    def weights(self) -> tuple[float, ...]:
        """Old name of `scale_weights`."""
        warn_renamed("`weights`", "`scale_weights`")
        return self.scale_weights

    def __call__(self, step: int) -> int:
        """Returns the scale of the batch of a step, counted from 0."""
        word = random_words(self.seed, step, SCALE_STREAM, 1)[0]
        share = float(word >> np.uint64(11)) * 2.0**-53  # uniform in [0, 1), computed as in NumPy
        return self.scales[int(np.searchsorted(self._bounds, share, side="right"))]


def random_words(seed: int, step: int, stream: int, count: int) -> np.ndarray:
    """Returns the random numbers of one step, without computing those of earlier steps.

    Philox is a counter-based generator: block number `step` under the key `seed` takes one encryption. The function
    uses its raw output, because NumPy guarantees that this stays the same in all releases. NumPy does not guarantee
    this for its distributions (`Generator.integers`), so a run could not be resumed after an update of NumPy.

    Args:
        seed: Integer from 0 to 2**64 - 1.
        step: Integer from 0 to 2**63 - 1.
        stream: Small integer; streams of one step are independent of each other.
        count: Number of random numbers.

    Returns:
        uint64 array of shape (count,), uniform over all values.
    """
    key = np.array([seed, step], dtype=np.uint64)
    counter = np.array([0, 0, 0, stream], dtype=np.uint64)
    return np.asarray(np.random.Philox(key=key, counter=counter).random_raw(count))


def below(words: np.ndarray, bounds: np.ndarray | int) -> np.ndarray:
    """Converts random words to integers from 0 to bound - 1, for bounds below 2**32.

    It multiplies instead of taking the remainder (Lemire, 2019); the bias, bound / 2**32, is negligible here.
    """
    high = words >> np.uint64(32)
    return ((high * np.asarray(bounds, dtype=np.uint64)) >> np.uint64(32)).astype(np.int64)


def check_scales(scales: int | Sequence[int]) -> tuple[int, ...]:
    """Returns the scales as a tuple; raises ValueError if one is unknown or repeated."""
    given = (scales,) if isinstance(scales, (int, np.integer)) else tuple(scales)
    if not given or any(scale not in SCALES for scale in given):
        raise ValueError(f"`scale` must be one or several of {SCALES}. Received: {scales}.")
    if len(set(given)) < len(given):
        raise ValueError(f"`scales` must differ from each other. Received: {scales}.")
    return tuple(int(scale) for scale in given)


def check_seed(seed: int) -> int:
    """Returns the seed; raises ValueError if it is not an integer from 0 to 2**64 - 1."""
    if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**64:
        raise ValueError(f"`seed` must be an integer from 0 to 2**64 - 1. Received: seed={seed!r}.")
    return int(seed)


def _shares(weights: Sequence[float] | None, count: int) -> tuple[float, ...]:
    given = (1.0,) * count if weights is None else tuple(float(weight) for weight in weights)
    if len(given) != count:
        raise ValueError(
            f"`scale_weights` must be {count} numbers, one for each scale. Received: scale_weights={weights}."
        )
    if not all(math.isfinite(weight) and weight >= 0 for weight in given) or sum(given) == 0:
        raise ValueError(
            f"`scale_weights` must be finite, not negative, and not all zero. Received: scale_weights={weights}."
        )
    return tuple(weight / sum(given) for weight in given)
