"""The facts of a network: what it is, without its weights."""

import numbers
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from ..image_ops import channel_mean
from .checks import SCALES, check_choice, check_image_shape, check_number, check_positive, check_scale

FAMILIES = ("EDSR", "MDSR")
CLASSES = (*FAMILIES, "MDSRBranch")  # of Keras models
UPSAMPLERS = ("subpixel", "direct")

# The final models of the paper (Lim et al., 2017, table 1): what a config without sizes stands for.
PAPER_SIZES = {"EDSR": {"num_blocks": 32, "filters": 256}, "MDSR": {"num_blocks": 80, "filters": 64}}


def default_residual_scaling(family: str, filters: int) -> float:
    """Returns the factor on a block's branch with which networks of this size are trained.

    0.1 from 256 filters on, as in the paper's large EDSR, whose training is not stable without it (Lim et al., 2017,
    section 3.2). An MDSR has none: the official code does not pass its factor to MDSR's blocks.
    """
    return 0.1 if family == "EDSR" and filters >= 256 else 1.0


@dataclass(frozen=True)
class Network:
    """What an EDSR, an MDSR or a branch of one is, without its weights.

    Args:
        family: "EDSR" or "MDSR".
        scales: Tuple of integers out of 2, 3, 4 and 8; one for EDSR, which may also be 1.
        num_blocks: Integer, residual blocks in the body.
        filters: Integer, channels of the body.
        residual_scaling: Float, factor on each block's branch; None for `default_residual_scaling`.
        image_shape: Tuple `(height, width, channels)` of the images, None for any height or width.
        mean: Floats in 0..255, one per channel, or one number for all; None for the mean of DIV2K.
        upsampler: "subpixel", or, of an EDSR, "direct".
        shared_tail: Boolean, whether one last convolution serves all scales.
        is_branch: Boolean, whether it is one scale of an MDSR, as a network with a single output.
        dtype: Dtype policy of the convolutions in Keras, such as "mixed_bfloat16".
        name: String, the name of the model in Keras.

    Raises:
        ValueError: If an argument is not as above.
    """

    family: str
    scales: tuple[int, ...]
    num_blocks: int
    filters: int
    residual_scaling: Any = None
    _: KW_ONLY
    image_shape: tuple[Any, Any, int] = (None, None, 3)
    mean: Any = None
    upsampler: str = "subpixel"
    shared_tail: bool = True
    is_branch: bool = False
    dtype: str | None = field(default=None, compare=False)
    name: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        check_choice("family", self.family, FAMILIES)
        put("scales", _check_scales(self.family, self.scales))
        for name in ("num_blocks", "filters"):
            put(name, check_positive(name, getattr(self, name)))
        if self.residual_scaling is None:
            put("residual_scaling", default_residual_scaling(self.family, self.filters))
        check_number("residual_scaling", self.residual_scaling)
        put("image_shape", check_image_shape(self.image_shape))
        put("mean", _check_mean(self.mean, self.channels))
        check_choice("upsampler", self.upsampler, UPSAMPLERS if self.family == "EDSR" else UPSAMPLERS[:1])
        for name in ("shared_tail", "is_branch"):
            put(name, bool(getattr(self, name)))
        if self.is_branch and (self.family != "MDSR" or len(self.scales) != 1):
            raise ValueError(f"A branch must be one scale of an MDSR. Received: {self.family}, scales={self.scales}.")

    def __str__(self) -> str:
        scales = f"scale={self.scales[0]}" if self.family == "EDSR" else f"scales={self.scales}"
        direct = ", upsampler='direct'" if self.upsampler == "direct" else ""
        return f"{self.family}({scales}, num_blocks={self.num_blocks}, filters={self.filters}{direct})"

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return self.image_shape[-1]

    @property
    def shift(self) -> tuple[float, ...]:
        """The mean in numbers: what is taken off the input and added to the output, in 0..255."""
        return channel_mean(self.channels) if self.mean is None else self.mean

    # === The config of its Keras class ===

    @property
    def class_name(self) -> str:
        """The name of its Keras class."""
        return "MDSRBranch" if self.is_branch else self.family

    def config(self) -> dict[str, Any]:
        """Returns what `get_config` of its Keras class returns; `from_config` takes it."""
        sizes = {name: getattr(self, name) for name in ("num_blocks", "filters", "residual_scaling")}
        rest = {name: getattr(self, name) for name in ("image_shape", "mean", "dtype", "name")}
        if self.family == "EDSR":
            return {"scale": self.scales[0], **sizes, "upsampler": self.upsampler, **rest}
        config = {"scales": self.scales, **sizes, "shared_tail": self.shared_tail, **rest}
        return {"mdsr": config, "scale": self.scales[0]} if self.is_branch else config

    @classmethod
    def from_config(cls, class_name: str, config: Mapping[str, Any]) -> "Network":
        """Returns the network of a config that `get_config` of a Keras class returned.

        Args:
            class_name: "EDSR", "MDSR" or "MDSRBranch".
            config: The config; lists may stand for tuples.

        Raises:
            ValueError: If it is not such a config; half a line.
        """
        if class_name not in CLASSES:
            raise ValueError(f"its class must be one of {', '.join(CLASSES)}. Received: {class_name!r}")
        is_branch = class_name == "MDSRBranch"
        family = "EDSR" if class_name == "EDSR" else "MDSR"
        try:
            fields: dict[str, Any] = {**PAPER_SIZES[family], **(config["mdsr"] if is_branch else config)}
            fields.pop("compile", None)  # of the Keras model, not of the network
            if family == "EDSR":
                fields["scales"] = (fields.pop("scale"),)
            elif is_branch:
                fields["scales"] = (config["scale"],)
            return cls(family, is_branch=is_branch, **fields)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"its config is not that of an {class_name} ({error})") from error


def _check_scales(family: str, scales: Any) -> tuple[int, ...]:
    if not isinstance(scales, tuple | list) or not scales or len(set(map(repr, scales))) != len(scales):
        raise ValueError(f"`scales` must be a tuple of different scales, such as (2, 3, 4). Received: {scales!r}.")
    if family == "EDSR" and len(scales) > 1:
        raise ValueError(f"`scale` of an EDSR must be one integer. Received: {scales!r}.")
    return tuple(check_scale(scale, (1, *SCALES) if family == "EDSR" else SCALES) for scale in scales)


def _check_mean(mean: Any, channels: int) -> tuple[float, ...] | None:
    if mean is None:
        return None
    values = (mean,) * channels if isinstance(mean, numbers.Real) else tuple(mean)
    if len(values) != channels:
        raise ValueError(f"`mean` must have one value for each of the {channels} channels. Received: mean={mean!r}.")
    return tuple(float(check_number("mean", value)) for value in values)
