"""What a training run is: every number of it, in one place."""

import dataclasses
import json
import math
import numbers
import os
from pathlib import Path

from ..files import atomic_file

# The paper's final models; the baselines are 16 blocks of 64 filters.
_PAPER = {"edsr": {"num_blocks": 32, "filters": 256}, "mdsr": {"num_blocks": 80, "filters": 64}}

_PATHS = ("output", "hr", "lr", "div2k", "validation", "validation_lr", "init_from")
_COUNTS = (
    "num_blocks",
    "filters",
    "patch_size",
    "batch_size",
    "steps",
    "halve_every",
    "checkpoint_every",
    "devices",
)


def _is_integer(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _number(fits):
    return lambda value: isinstance(value, numbers.Real) and not isinstance(value, bool) and fits(value)


# What each setting must be, and whether a value is.
_RULES = {
    **dict.fromkeys(_PATHS, ("a path", lambda value: isinstance(value, str))),
    **dict.fromkeys(_COUNTS, ("a positive integer", lambda value: _is_integer(value) and value > 0)),
    "degradation": ("bicubic or unknown", lambda value: value in ("bicubic", "unknown")),
    "scale": ("an integer, or several for an MDSR", lambda value: all(map(_is_integer, _as_tuple(value)))),
    "model": ("edsr or mdsr", lambda value: value in tuple(_PAPER)),
    "schedule": ("halving or cosine", lambda value: value in ("halving", "cosine")),
    **dict.fromkeys(("skip_small", "fit_tail"), ("true or false", lambda value: isinstance(value, bool))),
    "precision": ("the name of a dtype policy", lambda value: isinstance(value, str)),
    "residual_scaling": ("a number", _number(math.isfinite)),
    "learning_rate": ("positive", _number(lambda value: 0 < value < math.inf)),
    "final_learning_rate": ("0 or more", _number(lambda value: 0 <= value < math.inf)),
    "beta_1": ("in [0, 1)", _number(lambda value: 0 <= value < 1)),
    "beta_2": ("in [0, 1)", _number(lambda value: 0 <= value < 1)),
    "epsilon": ("positive", _number(lambda value: 0 < value < math.inf)),
    "clip_norm": ("positive", _number(lambda value: value > 0)),
    "average": ("in [0, 1)", _number(lambda value: 0 <= value < 1)),
    "loss_spike_factor": ("above 1, or 0 for no limit", _number(lambda value: value > 1 or value == 0)),
    "seed": ("an integer from 0 to 2**32 - 1", lambda value: _is_integer(value) and 0 <= value < 2**32),
}


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A training run. The defaults are the paper's recipe.

    Args:
        output: Folder of the run. If it holds a run already, that run goes on where it stopped.
        hr: Folder of HR images to train on; or `div2k` instead.
        div2k: DIV2K's folder, TFDS's data folder, or the folder of the published zips: its training images are
            trained on and, without `validation`, 0801 to 0810 validated on, as the official code does
            (of TFDS, which keeps no names, the first ten).
        degradation: Of DIV2K: "bicubic" or "unknown".
        scale: Integer; for MDSR a tuple, one scale is drawn for each batch.
        model: "edsr" or "mdsr".
        num_blocks: Integer. Defaults to the paper's 32 (EDSR) and 80 (MDSR).
        filters: Integer. Defaults to the paper's 256 (EDSR) and 64 (MDSR).
        residual_scaling: Float. Defaults to 0.1 from 256 filters on, else 1.
        lr: Folder of LR images for `hr`; made by imresize where there is none.
        validation: Folder of HR images to validate on; without it the best weights are the last.
        validation_lr: Folder of LR images for `validation`.
        patch_size: Integer, LR pixels.
        skip_small: Whether to leave out images that are smaller than a patch, instead of refusing them.
        batch_size: Integer, patches.
        steps: Integer, updates in all.
        learning_rate: Float, the first.
        schedule: "halving" (every `halve_every` updates) or "cosine" (to `final_learning_rate` at the last update).
        halve_every: Integer, updates.
        final_learning_rate: Float, for "cosine".
        beta_1: Float, Adam's.
        beta_2: Float, Adam's.
        epsilon: Float, Adam's.
        clip_norm: Float, the largest norm of all gradients together; None for no limit.
        average: Float, the decay of an exponential moving average of the weights, which is then what is validated
            and saved; None for the weights themselves.
        loss_spike_factor: Float, a step whose loss is above so many times the running mean, or not finite, is
            skipped; None to take every step.
        seed: Integer, of the first weights and of every batch.
        checkpoint_every: Integer, updates between checkpoints; each comes with validation and TensorBoard's scalars.
        init_from: A model whose fitting weights are the first ones: the path of a `.keras` file or of PyTorch's
            checkpoint, or a preset's name.
        fit_tail: Whether to set the upsampler and the last convolution to the linear map that fits the training images
            best, once the weights of `init_from` are taken: a start from another scale then begins above bicubic.
        precision: Dtype policy, such as "mixed_bfloat16"; None for float32.
        devices: Integer, GPUs (CPUs where there are none) that share each batch; None for all GPUs.

    Raises:
        ValueError: A value is out of its range, or would be ignored.
    """

    output: str
    hr: str | None = None
    div2k: str | None = None
    degradation: str = "bicubic"
    scale: int | tuple[int, ...] = 2
    model: str = "edsr"
    num_blocks: int | None = None
    filters: int | None = None
    residual_scaling: float | None = None
    lr: str | None = None
    validation: str | None = None
    validation_lr: str | None = None
    patch_size: int = 48
    skip_small: bool = False
    batch_size: int = 16
    steps: int = 300_000
    learning_rate: float = 1e-4
    schedule: str = "halving"
    halve_every: int = 200_000
    final_learning_rate: float = 0.0
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    clip_norm: float | None = None
    average: float | None = None
    loss_spike_factor: float | None = None
    seed: int = 0
    checkpoint_every: int = 1000
    init_from: str | None = None
    fit_tail: bool = False
    precision: str | None = None
    devices: int | None = None

    def __post_init__(self):
        for name in _PATHS:
            if isinstance(getattr(self, name), os.PathLike):
                object.__setattr__(self, name, os.fspath(getattr(self, name)))
        optional = {field.name for field in dataclasses.fields(self) if field.default is None}
        for name, (wanted, fits) in _RULES.items():
            value = getattr(self, name)
            if not (value is None and name in optional) and not fits(value):
                raise ValueError(f"`{name}` must be {wanted}. Received: {name}={value!r}.")
        if (self.hr is None) == (self.div2k is None):
            raise ValueError(
                "Images to train on: give either `hr`, a folder of HR images, or `div2k`. "
                f"Received: hr={self.hr!r}, div2k={self.div2k!r}."
            )
        self._check_companions()
        self._set_defaults()

    def _check_companions(self):
        for name, of in {"lr": "hr", "validation_lr": "validation"}.items():
            if getattr(self, name) is not None and getattr(self, of) is None:
                raise ValueError(
                    f"`{name}` must come with `{of}`: it holds the LR images of those. "
                    f"Received: {name}={getattr(self, name)!r} alone."
                )
        if self.fit_tail and self.init_from is None:
            raise ValueError(
                "`fit_tail` must come with `init_from`: it fits the upsampler to a trained body. "
                "Received: fit_tail=True alone. Leave it out, or name the model to start from."
            )
        for name, schedule in {"halve_every": "halving", "final_learning_rate": "cosine"}.items():
            if self.schedule != schedule and getattr(self, name) != getattr(TrainConfig, name):
                raise ValueError(
                    f"`{name}` is for schedule={schedule!r}. "
                    f"Received: schedule={self.schedule!r} with {name}={getattr(self, name)!r}. "
                    "Leave it out, or pass that schedule."
                )
        if self.degradation != "bicubic" and self.div2k is None:
            raise ValueError(
                "`degradation` must be bicubic without `div2k`: LR images that are made are bicubic. "
                f"Received: degradation={self.degradation!r}. Pass LR images that you have as `lr`."
            )

    def _set_defaults(self):
        scales = _as_tuple(self.scale)
        if self.model == "edsr" and len(scales) != 1:
            raise ValueError(
                f"`scale` of an EDSR must be one integer. Received: scale={self.scale}. "
                "For several scales train an MDSR: model='mdsr'."
            )
        given = {"scale": scales if self.model == "mdsr" else scales[0]}
        for name, value in _PAPER[self.model].items():
            given[name] = value if getattr(self, name) is None else getattr(self, name)
        if self.residual_scaling is None:
            given["residual_scaling"] = 0.1 if given["filters"] >= 256 else 1.0
        for name, value in given.items():
            object.__setattr__(self, name, value)

    @property
    def scales(self) -> tuple[int, ...]:
        """The scales as a tuple, whatever the model."""
        return self.scale if isinstance(self.scale, tuple) else (self.scale,)

    def save(self, path: Path) -> None:
        """Writes the configuration as JSON."""
        with atomic_file(path) as file:
            file.write(json.dumps(dataclasses.asdict(self), indent=2).encode() + b"\n")

    @classmethod
    def load(cls, path: Path, **changes) -> "TrainConfig":
        """Reads a configuration that `save` wrote; `changes` replace its values.

        Raises:
            ValueError: The file is no such JSON, names something that is no setting, or a value is out of its range.
        """
        try:
            values = {**json.loads(Path(path).read_text()), **changes}
            unknown = set(values) - {field.name for field in dataclasses.fields(cls)}
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(f"{path} is no training configuration: {error}") from error
        if "output" not in values:
            raise ValueError(f"{path} is no training configuration: it names no output.")
        if unknown:
            raise ValueError(f"{path} names settings that do not exist: {', '.join(sorted(unknown))}.")
        return cls(**values)


def _as_tuple(scale):
    return tuple(scale) if isinstance(scale, list | tuple) else (scale,)
