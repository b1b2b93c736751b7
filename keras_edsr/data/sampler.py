"""Which scale a batch has, and the random numbers that every choice about a batch is made of."""

import math
from collections.abc import Sequence

import numpy as np

from ..renaming import renamed_argument, warn_renamed

SCALES = (2, 3, 4, 8)

# Streams of `random_words`: choices about one step that must not hang together.
SCALE_STREAM = 0
PATCH_STREAM = 1
DEGRADATION_STREAM = 2


class ScaleBatchSampler:
    """Draws the scale of each batch, as MDSR is trained.

    MDSR has one body and, for every scale, a pre-processing and an upsampling branch. In training
    each batch has one scale, drawn at random, and the step computes and updates the shared body
    and that scale's branch alone (Lim et al., section 3.3). Over many steps each branch sees its
    share of the batches, and the body sees all of them:

        step   0   1   2   3   4   5  ...
        scale  2   4   4   3   3   3  ...      ScaleBatchSampler((2, 3, 4), seed=0)

    The scale is a pure function of (seed, step): nothing is remembered from one call to the next.
    So every worker of a distributed run draws the same scale at the same step without a word
    between them, and a run that is resumed at step 12,345 goes on as if it had never stopped.

    Args:
        scales: The scales to draw from. Defaults to the paper's.
        scale_weights: Numbers, one for each scale, in proportion to which it is drawn; they need not
            sum to one. Defaults to equal shares.
        seed: Integer from 0 to 2**64 - 1. The patches that are drawn with the same seed do not
            depend on the scale, nor the scale on them.

    Raises:
        ValueError: If a scale is not known or given twice, or a weight is negative or not finite,
            or all are zero, or there is not one for each scale.

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
        """The old name of `scale_weights`."""
        warn_renamed("`weights`", "`scale_weights`")
        return self.scale_weights

    def __call__(self, step: int) -> int:
        """Returns the scale of the batch of a step, counted from 0."""
        word = random_words(self.seed, step, SCALE_STREAM, 1)[0]
        share = float(word >> np.uint64(11)) * 2.0**-53  # uniform in [0, 1), as NumPy makes it
        return self.scales[int(np.searchsorted(self._bounds, share, side="right"))]


def random_words(seed: int, step: int, stream: int, count: int) -> np.ndarray:
    """Makes the random numbers of one step, without those of the steps before.

    Philox is a generator made for this: the block number `step` under the key `seed` is one
    encryption away. Its raw output is used, because NumPy promises that to stay the same from
    release to release, and its distributions (`Generator.integers`) not: a run can be resumed
    after NumPy was updated.

    Args:
        seed: Integer from 0 to 2**64 - 1.
        step: Integer from 0 to 2**63 - 1.
        stream: Small integer; streams of one step are independent of each other.
        count: How many.

    Returns:
        uint64 array of shape (count,), uniform over all values.
    """
    key = np.array([seed, step], dtype=np.uint64)
    counter = np.array([0, 0, 0, stream], dtype=np.uint64)
    return np.asarray(np.random.Philox(key=key, counter=counter).random_raw(count))


def below(words: np.ndarray, bounds: np.ndarray | int) -> np.ndarray:
    """Turns random words into integers from 0 to bound - 1, for bounds under 2**32.

    By multiplication instead of remainder (Lemire, 2019); the bias, bound / 2**32, is nothing here.
    """
    high = words >> np.uint64(32)
    return ((high * np.asarray(bounds, dtype=np.uint64)) >> np.uint64(32)).astype(np.int64)


def check_scales(scales: int | Sequence[int]) -> tuple[int, ...]:
    """Returns the scales as a tuple, or raises ValueError if one is not known or is given twice."""
    given = (scales,) if isinstance(scales, (int, np.integer)) else tuple(scales)
    if not given or any(scale not in SCALES for scale in given):
        raise ValueError(f"`scale` must be of {SCALES}, one or several. Received: {scales}.")
    if len(set(given)) < len(given):
        raise ValueError(f"`scales` must differ from each other. Received: {scales}.")
    return tuple(int(scale) for scale in given)


def check_seed(seed: int) -> int:
    """Returns the seed, or raises ValueError if it is no integer from 0 to 2**64 - 1."""
    if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**64:
        raise ValueError(f"`seed` must be an integer from 0 to 2**64 - 1. Received: seed={seed!r}.")
    return int(seed)


def _shares(weights: Sequence[float] | None, count: int) -> tuple[float, ...]:
    given = (1.0,) * count if weights is None else tuple(float(weight) for weight in weights)
    if len(given) != count:
        raise ValueError(f"`scale_weights` must be {count}, one for each scale. Received: scale_weights={weights}.")
    if not all(math.isfinite(weight) and weight >= 0 for weight in given) or sum(given) == 0:
        raise ValueError(
            f"`scale_weights` must be finite, not negative, and not all zero. Received: scale_weights={weights}."
        )
    return tuple(weight / sum(given) for weight in given)
