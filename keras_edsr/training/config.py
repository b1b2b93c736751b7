"""The settings of a training run, with the rule, the default and the help of each."""

import dataclasses
import json
import math
import numbers
import os
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..files import atomic_file
from ..network import PAPER_SIZES, default_residual_scaling

# By the names that `model` has; the baselines are 16 blocks of 64 filters.
_PAPER = {family.lower(): sizes for family, sizes in PAPER_SIZES.items()}


# === Kinds of settings ===


@dataclasses.dataclass(frozen=True)
class Setting:
    """The rule and the help of a setting, beside its name and its default.

    Attributes:
        kind: Type of the value: a type, "path", "scales", or a tuple of the strings to choose from.
        must_be: Completes "`name` must be".
        fits: Function that returns whether a value follows the rule.
        help: Text for both the class and the command, with other settings in backticks.
        default: The default in words, if None or a number does not explain it.
        of_command: The default of the command, if it differs.
    """

    kind: Any
    must_be: str
    fits: Callable[[Any], bool]
    help: str
    default: str | None = None
    of_command: Any = None


def settings() -> dict[str, Setting]:
    """Returns all settings of `TrainConfig` by name."""
    return {field.name: field.metadata["setting"] for field in dataclasses.fields(TrainConfig)}


def _setting(default, kind, must_be, fits, help, shown=None, of_command=None):
    explained_by_its_name = default is None or default is False or default is dataclasses.MISSING
    words = shown if shown or explained_by_its_name else in_words(default)
    about = Setting(kind, must_be, fits, help, words, of_command)
    return dataclasses.field(default=default, metadata={"setting": about})


def in_words(default: str | float) -> str:
    """Returns a default as the help shows it."""
    return default if isinstance(default, str) else f"{default:.9g}".replace("e-0", "e-")


def _path(help, default=None, shown=None):
    return _setting(default, "path", "a path", lambda value: isinstance(value, str), help, shown)


def _flag(help):
    return _setting(False, bool, "true or false", lambda value: isinstance(value, bool), help)


def _choice(default, choices, help):
    return _setting(default, choices, " or ".join(choices), lambda value: value in choices, help)


def _integer(default, must_be, fits, help, **about):
    return _setting(default, int, must_be, lambda value: _is_integer(value) and fits(value), help, **about)


def _count(default, help, **about):
    return _integer(default, "a positive integer", lambda value: value > 0, help, **about)


def _number(default, must_be, fits, help, **about):
    def is_number(value):
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and fits(value)

    return _setting(default, float, must_be, is_number, help, **about)


def _positive(default, help):
    return _number(default, "positive", lambda value: 0 < value < math.inf, help)


def _fraction(default, help, **about):
    return _number(default, "in [0, 1)", lambda value: 0 <= value < 1, help, **about)


def _is_integer(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _of_paper(name):
    """Returns the paper's value of each model, in words."""
    return f"{_PAPER['edsr'][name]}, for mdsr {_PAPER['mdsr'][name]} (final models of the paper)"


# === The settings ===


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The settings of a training run. The defaults are the paper's recipe.

    Args:
        {settings}

    Raises:
        ValueError: If a value breaks its rule or would have no effect.
    """

    output: str = _path("Folder of the run. If it contains a run, training resumes it.", dataclasses.MISSING)
    hr: str | None = _path("Folder of HR images to train on.")
    div2k: str | None = _path(
        "Folder of DIV2K, the data folder of TensorFlow Datasets (TFDS), or the folder of the published zips; replaces "
        "`hr`. Without `validation`, training validates on images 0801 to 0810, as the official code does (on the "
        "first ten of TFDS, which does not store names)."
    )
    degradation: str | Mapping[str, Any] = _setting(
        "bicubic",
        str,
        "a name, or the path of a .json file",
        lambda value: isinstance(value, str | dict),
        "How LR images are made: bicubic, jpeg, photo, realesrgan, or a .json file; all but bicubic ones are made anew "
        "for each patch. Or a track of `div2k`: unknown, mild, difficult, wild.",
    )
    scale: int | tuple[int, ...] = _setting(
        2,
        "scales",
        "an integer, or several for an MDSR",
        lambda value: all(map(_is_integer, _as_tuple(value))),
        "Scale, one of 2, 3, 4 and 8; for mdsr several, such as 2,3,4. MDSR's training draws one for each batch.",
    )
    model: str = _choice("edsr", tuple(_PAPER), "Family of the network.")
    num_blocks: int | None = _count(None, "Number of residual blocks.", shown=_of_paper("num_blocks"))
    filters: int | None = _count(None, "Number of channels of the features.", shown=_of_paper("filters"))
    residual_scaling: float | None = _number(
        None,
        "a number",
        math.isfinite,
        "Factor on each residual.",
        shown="0.1 for an EDSR of 256 filters or more, otherwise 1",
    )
    lr: str | None = _path("Folder of the LR images of `hr`.", shown="LR images made by imresize")
    validation: str | None = _path("Folder of HR images for validation, which selects the best weights.")
    validation_lr: str | None = _path("Folder of the LR images of `validation`.", shown="LR images made by imresize")
    patch_size: int = _count(48, "Side of a patch in LR pixels.")
    skip_small: bool = _flag("Skip images that are smaller than a patch, instead of rejecting them.")
    batch_size: int = _count(16, "Number of patches in a batch.")
    steps: int = _count(300_000, "Number of updates in total.")
    learning_rate: float = _positive(1e-4, "Learning rate at the start.")
    schedule: str = _choice(
        "halving",
        ("halving", "cosine"),
        "Schedule of the learning rate: halved every `halve_every` updates, or a cosine down to `final_learning_rate`.",
    )
    halve_every: int = _count(200_000, "Number of updates between halvings, for schedule halving.")
    final_learning_rate: float = _number(
        0.0, "0 or more", lambda value: 0 <= value < math.inf, "Learning rate at the end, for schedule cosine."
    )
    beta_1: float = _fraction(0.9, "Adam's decay of the mean.")
    beta_2: float = _fraction(0.999, "Adam's decay of the mean square.")
    epsilon: float = _positive(1e-8, "Adam's term that avoids a division by zero.")
    clip_norm: float | None = _number(
        None,
        "positive",
        lambda value: value > 0,
        "Largest norm of all gradients together; larger ones are scaled down.",
        shown="none",
    )
    average: float | None = _fraction(
        None,
        "Decay of an exponential moving average of the weights; training then validates and saves the average.",
        shown="none",
    )
    loss_spike_factor: float | None = _number(
        None,
        "above 1, or 0 for no limit",
        lambda value: value > 1 or value == 0,
        "Factor on the running mean of the loss; steps with a larger or non-finite loss are skipped. 0 skips none.",
        of_command=3.0,
        shown="none",
    )
    seed: int = _integer(
        0,
        "an integer from 0 to 2**32 - 1",
        lambda value: 0 <= value < 2**32,
        "Seed of the first weights and of every batch.",
    )
    checkpoint_every: int = _count(1000, "Number of updates between checkpoints; each includes validation and a log.")
    init_from: str | None = _path(
        "Model whose matching weights are the initial ones: a .keras file, a PyTorch checkpoint, or a preset."
    )
    fit_tail: bool = _flag(
        "Fit the upsampler and the last convolution to the training images in closed form after `init_from`, so that a "
        "start from another scale begins above bicubic."
    )
    precision: str | None = _setting(
        None,
        str,
        "the name of a dtype policy",
        lambda value: isinstance(value, str),
        "Dtype policy, such as mixed_bfloat16.",
        "float32",
    )
    devices: int | None = _count(None, "Number of GPUs (or CPUs without GPUs) that share each batch.", shown="all GPUs")

    def __post_init__(self):
        for field in dataclasses.fields(self):
            name, value, about = field.name, getattr(self, field.name), field.metadata["setting"]
            if about.kind == "path" and isinstance(value, os.PathLike):
                value = os.fspath(value)
                object.__setattr__(self, name, value)
            if name == "degradation" and value is not None:
                value = _described(value, self.div2k is not None)
                object.__setattr__(self, name, value)
            if not (value is None and field.default is None) and not about.fits(value):
                raise ValueError(f"`{name}` must be {about.must_be}. Received: {name}={value!r}.")
        if (self.hr is None) == (self.div2k is None):
            raise ValueError(
                f"Pass either `hr`, a folder of HR images, or `div2k`. Received: hr={self.hr!r}, div2k={self.div2k!r}."
            )
        self._check_companions()
        self._set_defaults()

    def _check_companions(self):
        for name, of in {"lr": "hr", "validation_lr": "validation"}.items():
            if getattr(self, name) is not None and getattr(self, of) is None:
                raise ValueError(
                    f"`{name}` must come with `{of}`: it contains their LR images. "
                    f"Received: {name}={getattr(self, name)!r} alone."
                )
        if self.fit_tail and self.init_from is None:
            raise ValueError(
                "`fit_tail` must come with `init_from`: it fits the upsampler to a trained body. "
                "Received: fit_tail=True alone. Omit it, or name the model to start from."
            )
        for name, schedule in {"halve_every": "halving", "final_learning_rate": "cosine"}.items():
            if self.schedule != schedule and getattr(self, name) != getattr(TrainConfig, name):
                raise ValueError(
                    f"`{name}` needs schedule={schedule!r}. "
                    f"Received: schedule={self.schedule!r} with {name}={getattr(self, name)!r}. "
                    "Omit it, or pass that schedule."
                )
        if self.degradation != "bicubic" and self.lr is not None:
            raise ValueError(
                "`degradation` must be bicubic with `lr`: training does not degrade existing LR images. "
                f"Received: degradation={self.degradation!r}, lr={self.lr!r}. Omit one of them."
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
            given["residual_scaling"] = default_residual_scaling(self.model.upper(), given["filters"])
        for name, value in given.items():
            object.__setattr__(self, name, value)

    @property
    def scales(self) -> tuple[int, ...]:
        """Returns the scales as a tuple, for every model."""
        return self.scale if isinstance(self.scale, tuple) else (self.scale,)

    def save(self, path: Path) -> None:
        """Writes the configuration as JSON."""
        with atomic_file(path) as file:
            file.write(json.dumps(dataclasses.asdict(self), indent=2).encode() + b"\n")

    @classmethod
    def load(cls, path: Path, **changes) -> "TrainConfig":
        """Reads a configuration that `save` wrote; `changes` replace its values.

        Raises:
            ValueError: If the file is not a valid configuration, names an unknown setting, or a value breaks its rule.
        """
        try:
            values = {**json.loads(Path(path).read_text()), **changes}
            if changes.get("hr") and "degradation" not in changes and _is_track(values.get("degradation")):
                values["degradation"] = "bicubic"  # the track belongs to the DIV2K that it takes the place of
            unknown = set(values) - {field.name for field in dataclasses.fields(cls)}
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(f"{path} is not a valid training configuration: {error}") from error
        if "output" not in values:
            raise ValueError(f"{path} is not a valid training configuration: it has no `output`.")
        if unknown:
            raise ValueError(f"{path} has unknown settings: {', '.join(sorted(unknown))}.")
        return cls(**values)


def _is_track(degradation):
    from ..data import is_track

    return is_track(degradation)


def _described(degradation, from_div2k):
    """A degradation as config.json has it: a name, or all of it, so that a file that changes changes no run."""
    from ..data import Degradation, is_track  # here, since `--help` needs none of it

    if is_track(degradation):
        if not from_div2k and degradation != "bicubic":
            raise ValueError(
                f"`degradation` {degradation!r} is a track of DIV2K and must come with `div2k`. "
                "For your own images name another, such as 'photo', or pass LR images that you have as `lr`."
            )
        return degradation
    if not isinstance(degradation, str | os.PathLike | dict | Degradation):
        return degradation
    return Degradation.load(degradation).to_json()


def _as_tuple(scale):
    return tuple(scale) if isinstance(scale, list | tuple) else (scale,)


def _documented(name: str, about: Setting) -> str:
    text = about.help if about.default is None else f"{about.help} Defaults to {about.default}."
    return textwrap.fill(f"{name}: {text}", 120, initial_indent=" " * 8, subsequent_indent=" " * 12)


# Each setting has one help text, above.
TrainConfig.__doc__ = str(TrainConfig.__doc__).format(
    settings="\n".join(_documented(name, about) for name, about in settings().items()).lstrip()
)
