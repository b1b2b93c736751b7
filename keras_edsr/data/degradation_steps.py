"""The steps of a degradation: blur, resize, downscale, noise, compress, either. They need NumPy and Pillow only.

Every step first draws its parameters and then applies them. Between steps an image is uint8 until a step makes
fractions; from then on it is float32 in [0, 255].
"""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .._imresize import imresize
from ..image_ops import PEAK, quantize
from .kernels import (
    convolve,
    convolve_separable,
    gaussian_kernel,
    gaussian_weights,
    plateau_kernel,
    sinc_kernel,
)

Drawn = dict[str, Any]
Shape = tuple[int, int]
Random = np.random.RandomState

BLURS = ("isotropic", "anisotropic", "generalized", "plateau", "sinc")
METHODS = ("bicubic", "area", "bilinear", "lanczos")
NOISES = ("gaussian", "poisson")
CODECS = ("jpeg", "webp")
SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")

# Chroma at half the resolution has blocks of 16x16 image pixels.
_GRID = 16
# The published code adds Poisson noise as if white were 256 photons, one for each gray level.
_PHOTONS = 256.0
_SINC_SIZE = 21  # the largest size in the published code
# A window of fewer pixels cannot represent a lower frequency; the published code has the same bound.
_SMALL_SINC, _LOWEST_CUTOFF_OF_SMALL = 13, math.pi / 3
_PILLOW_METHODS = {
    "area": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class Blur:
    """Convolves with a kernel drawn at random.

    Args:
        probability: Probability of the step.
        kinds: Probability of each kind of kernel: `isotropic`, `anisotropic` (Gaussians), `generalized` (Gaussian of
            another shape), `plateau`, `sinc` (rings at edges).
        sigma: Range of the standard deviation, in pixels of the step's input. An anisotropic kernel draws two, and
            an angle.
        beta: Range of the shape of a generalized Gaussian.
        plateau_beta: Range of the shape of a plateau.
        cutoff: Range of the cutoff of a sinc, in radians per pixel.
        kernel_size: Range of the kernel's odd side. Defaults to the size that sigma needs.
        anisotropic_share: Probability that a generalized or plateau kernel is anisotropic.
        linear: Probability that the step works in linear light instead of on sRGB values.
    """

    name: ClassVar[str] = "blur"
    probability: float = 1.0
    kinds: Mapping[str, float] = field(default_factory=lambda: {"isotropic": 1.0})
    sigma: tuple[float, float] = (0.2, 1.0)
    beta: tuple[float, float] = (0.5, 4.0)
    plateau_beta: tuple[float, float] = (1.0, 2.0)
    cutoff: tuple[float, float] = (math.pi / 3, math.pi)
    kernel_size: tuple[int, int] | None = None
    anisotropic_share: float = 0.5
    linear: float = 0.0

    def __post_init__(self) -> None:
        _set(self, probability=_probability(self, "probability"), kinds=_shares(self, "kinds", BLURS))
        for name in ("sigma", "beta", "plateau_beta"):
            _set(self, **{name: _range(self, name, low=0.01, high=100)})
        _set(self, cutoff=_range(self, "cutoff", low=0.1, high=math.pi + 1e-9))
        if self.kernel_size is not None:
            _set(self, kernel_size=_integers(self, "kernel_size", low=3, high=99))
        for name in ("anisotropic_share", "linear"):
            _set(self, **{name: _probability(self, name)})

    def draw(self, rng: Random) -> Drawn:
        """Draws a kernel's kind and parameters."""
        kind = _pick(rng, self.kinds)
        drawn: Drawn = {"kind": kind}
        if kind == "sinc":
            drawn["kernel_size"] = size = self._size(rng, default=_SINC_SIZE)
            low, high = self.cutoff
            drawn["cutoff"] = _uniform(rng, (max(low, _LOWEST_CUTOFF_OF_SMALL) if size < _SMALL_SINC else low, high))
            return drawn | _draw_linear(rng, self.linear)
        turned = kind == "anisotropic" or (
            kind in ("generalized", "plateau") and rng.random_sample() < self.anisotropic_share
        )
        first = _uniform(rng, self.sigma)
        drawn["sigma"] = (first, _uniform(rng, self.sigma) if turned else first)
        drawn["angle"] = _uniform(rng, (-math.pi, math.pi)) if turned else 0.0
        drawn["beta"] = 1.0
        if kind in ("generalized", "plateau"):
            drawn["beta"] = _uniform(rng, self.beta if kind == "generalized" else self.plateau_beta)
        if kind != "isotropic" or self.kernel_size is not None:
            drawn["kernel_size"] = self._size(rng, default=2 * math.ceil(3 * max(drawn["sigma"])) + 1)
        return drawn | _draw_linear(rng, self.linear)

    def _size(self, rng: Random, default: int) -> int:
        if self.kernel_size is None:
            return default
        low, high = (size // 2 for size in self.kernel_size)
        return 2 * _integer(rng, (low, high)) + 1

    def apply(self, image: NDArray[Any], drawn: Drawn, lr_shape: Shape, rng: Random) -> NDArray[Any]:
        """Blurs."""
        return _in_light(self._blur, image, drawn)

    def _blur(self, image: NDArray[np.float32], drawn: Drawn) -> NDArray[np.float32]:
        if drawn["kind"] == "sinc":
            return convolve(image, sinc_kernel(drawn["kernel_size"], drawn["cutoff"]))
        if "kernel_size" not in drawn:
            return convolve_separable(image, gaussian_weights(drawn["sigma"][0]))
        make = plateau_kernel if drawn["kind"] == "plateau" else gaussian_kernel
        return convolve(image, make(drawn["kernel_size"], drawn["sigma"], drawn["angle"], drawn["beta"]))


@dataclass(frozen=True)
class Resize:
    """Resizes to an intermediate size; a later `Downscale` resizes to the LR size.

    Args:
        probability: Probability of the step.
        factor: Range of the factor. Values below 1 shrink, values above 1 enlarge.
        enlarge: Probability of a factor above 1. Defaults to that of a uniform draw from the range.
        keep: Probability of the factor 1.
        of: Size that the factor refers to: `image`, the step's input, or `lr`, the LR size.
        methods: Probability of each of `bicubic`, `area`, `bilinear`, `lanczos`.
        linear: Probability that the step works in linear light instead of on sRGB values.
    """

    name: ClassVar[str] = "resize"
    probability: float = 1.0
    factor: tuple[float, float] = (0.5, 1.0)
    enlarge: float | None = None
    keep: float = 0.0
    of: str = "image"
    methods: Mapping[str, float] = field(default_factory=lambda: {"bicubic": 1.0})
    linear: float = 0.0

    def __post_init__(self) -> None:
        _set(self, probability=_probability(self, "probability"), methods=_shares(self, "methods", METHODS))
        _set(self, factor=_range(self, "factor", low=0.05, high=20), linear=_probability(self, "linear"))
        if self.of not in ("image", "lr"):
            raise ValueError(f"`of` of the step 'resize' must be 'image' or 'lr'. Received: {self.of!r}.")
        _set(self, keep=_probability(self, "keep"))
        if self.enlarge is None:
            return
        _set(self, enlarge=_probability(self, "enlarge"))
        if self.enlarge + self.keep > 1 or not self.factor[0] <= 1 <= self.factor[1]:
            raise ValueError(
                "With `enlarge` of the step 'resize', `factor` must reach from 1 or less to 1 or more, and the sum of "
                f"`enlarge` and `keep` must be 1 or less. Received: factor={list(self.factor)}, "
                f"enlarge={self.enlarge}, keep={self.keep}."
            )

    def draw(self, rng: Random) -> Drawn:
        """Draws a factor and a method."""
        low, high = self.factor
        share = rng.random_sample()
        if share < self.keep:
            low = high = 1.0
        elif self.enlarge is not None:
            low, high = (1.0, high) if share < self.keep + self.enlarge else (low, 1.0)
        drawn: Drawn = {"factor": _uniform(rng, (low, high)), "method": _pick(rng, self.methods)}
        return drawn | _draw_linear(rng, self.linear)

    def apply(self, image: NDArray[Any], drawn: Drawn, lr_shape: Shape, rng: Random) -> NDArray[Any]:
        """Resizes by the factor, with sides of at least one pixel."""
        height, width = image.shape[:2] if self.of == "image" else lr_shape
        factor = drawn["factor"]
        return resize(image, (max(1, round(factor * height)), max(1, round(factor * width))), drawn)


@dataclass(frozen=True)
class Downscale:
    """Resizes to the size of the LR image.

    Args:
        methods: Probability of each of `bicubic` (MATLAB's, by `imresize`), `area`, `bilinear`, `lanczos`; all of them
            antialias.
        linear: Probability that the step works in linear light instead of on sRGB values.
    """

    name: ClassVar[str] = "downscale"
    probability: ClassVar[float] = 1.0
    methods: Mapping[str, float] = field(default_factory=lambda: {"bicubic": 1.0})
    linear: float = 0.0

    def __post_init__(self) -> None:
        _set(self, methods=_shares(self, "methods", METHODS), linear=_probability(self, "linear"))

    def draw(self, rng: Random) -> Drawn:
        """Draws a method."""
        return {"method": _pick(rng, self.methods)} | _draw_linear(rng, self.linear)

    def apply(self, image: NDArray[Any], drawn: Drawn, lr_shape: Shape, rng: Random) -> NDArray[Any]:
        """Resizes to the LR size."""
        return resize(image, lr_shape, drawn)


@dataclass(frozen=True)
class Noise:
    """Adds noise.

    Args:
        probability: Probability of the step.
        kinds: Probability of each of `gaussian` and `poisson` (shot noise, stronger in bright areas).
        sigma: Range of the Gaussian noise's standard deviation, in gray levels.
        poisson: Range of the factor of the Poisson noise: with 1 its standard deviation is 16 gray levels at white and
            8 at a quarter of white.
        gray: Probability that all channels get the same noise.
        linear: Probability that the step works in linear light instead of on sRGB values.
    """

    name: ClassVar[str] = "noise"
    probability: float = 1.0
    kinds: Mapping[str, float] = field(default_factory=lambda: {"gaussian": 1.0})
    sigma: tuple[float, float] = (0.0, 8.0)
    poisson: tuple[float, float] = (0.0, 0.5)
    gray: float = 0.4
    linear: float = 0.0

    def __post_init__(self) -> None:
        _set(self, probability=_probability(self, "probability"), kinds=_shares(self, "kinds", NOISES))
        _set(self, sigma=_range(self, "sigma", low=0, high=255), poisson=_range(self, "poisson", low=0, high=100))
        _set(self, gray=_probability(self, "gray"), linear=_probability(self, "linear"))

    def draw(self, rng: Random) -> Drawn:
        """Draws the kind and the strength."""
        kind = _pick(rng, self.kinds)
        strength = (
            {"sigma": _uniform(rng, self.sigma)} if kind == "gaussian" else {"factor": _uniform(rng, self.poisson)}
        )
        drawn: Drawn = {"kind": kind, **strength, "gray": bool(rng.random_sample() < self.gray)}
        return drawn | _draw_linear(rng, self.linear)

    def apply(self, image: NDArray[Any], drawn: Drawn, lr_shape: Shape, rng: Random) -> NDArray[Any]:
        """Adds the noise and clips."""

        def add(image: NDArray[np.float32], drawn: Drawn) -> NDArray[np.float32]:
            noisy = image + (_gaussian(image, drawn, rng) if drawn["kind"] == "gaussian" else _shot(image, drawn, rng))
            return np.clip(noisy, 0, np.float32(PEAK), out=noisy)

        return _in_light(add, image, drawn)


@dataclass(frozen=True)
class Compress:
    """Encodes and decodes with Pillow's JPEG or WebP.

    Args:
        probability: Probability of the step.
        codecs: Probability of each of `jpeg` and `webp`.
        quality: Range of the quality, integers from 1 to 100.
        subsampling: Probability of each of JPEG's `4:4:4`, `4:2:2`, `4:2:0`; WebP only has the last.
        shift: Probability that the grid of blocks is shifted, as after a crop. Use 1 for patches of larger
            images.
    """

    name: ClassVar[str] = "compress"
    probability: float = 1.0
    codecs: Mapping[str, float] = field(default_factory=lambda: {"jpeg": 1.0})
    quality: tuple[int, int] = (30, 95)
    subsampling: Mapping[str, float] = field(default_factory=lambda: {"4:4:4": 0.3, "4:2:2": 0.1, "4:2:0": 0.6})
    shift: float = 1.0

    def __post_init__(self) -> None:
        _set(self, probability=_probability(self, "probability"), codecs=_shares(self, "codecs", CODECS))
        _set(self, quality=_integers(self, "quality", low=1, high=100), shift=_probability(self, "shift"))
        _set(self, subsampling=_shares(self, "subsampling", SUBSAMPLINGS))

    def draw(self, rng: Random) -> Drawn:
        """Draws codec, quality, subsampling and the position of the grid."""
        codec = _pick(rng, self.codecs)
        drawn: Drawn = {"codec": codec, "quality": _integer(rng, self.quality)}
        if codec == "jpeg":
            drawn["subsampling"] = _pick(rng, self.subsampling)
        shifted = rng.random_sample() < self.shift
        drawn["shift"] = tuple(_integer(rng, (0, _GRID - 1)) for _ in range(2)) if shifted else (0, 0)
        return drawn

    def apply(self, image: NDArray[Any], drawn: Drawn, lr_shape: Shape, rng: Random) -> NDArray[Any]:
        """Rounds, encodes and decodes."""
        image = image if image.dtype == np.uint8 else quantize(image)
        top, left = drawn["shift"]
        padded = np.pad(image, ((top, 0), (left, 0), (0, 0)), mode="edge")
        gray = image.shape[-1] == 1
        picture = Image.fromarray(padded[..., 0] if gray else padded)
        options: dict[str, Any] = {"quality": drawn["quality"]}
        if drawn["codec"] == "webp":
            options["method"] = 2  # half the time of the default, and the artifacts are the same
        elif not gray:
            options["subsampling"] = drawn["subsampling"]
        file = io.BytesIO()
        picture.save(file, drawn["codec"].upper(), **options)
        decoded = np.asarray(Image.open(file).convert(picture.mode)).reshape(padded.shape)
        return decoded[top:, left:]


@dataclass(frozen=True)
class Either:
    """Takes one of several sequences of steps, each as likely as any other.

    Args:
        options: The sequences.
    """

    name: ClassVar[str] = "either"
    probability: ClassVar[float] = 1.0
    options: tuple[tuple["Step", ...], ...] = ()

    def __post_init__(self) -> None:
        options = self.options
        if isinstance(options, str) or not isinstance(options, Sequence) or not options:
            raise ValueError(f"`options` of the step 'either' must be lists of steps. Received: {options!r}.")
        _set(self, options=tuple(check_steps(option) for option in options))

    def draw(self, rng: Random) -> Drawn:
        """Draws one of the sequences, and what its steps draw."""
        option = _integer(rng, (0, len(self.options) - 1))
        return {"option": option, "steps": draw_steps(self.options[option], rng)}

    def apply(self, image: NDArray[Any], drawn: Drawn, lr_shape: Shape, rng: Random) -> NDArray[Any]:
        """Applies the steps of the sequence that was drawn."""
        return apply_steps(self.options[drawn["option"]], image, drawn["steps"], lr_shape, rng)


Step = Blur | Resize | Downscale | Noise | Compress | Either
_STEPS: dict[str, Any] = {step.name: step for step in (Blur, Resize, Downscale, Noise, Compress, Either)}


def draw_steps(steps: Sequence[Step], rng: Random) -> list[Drawn | None]:
    """Draws the parameters of all steps; None for a step that is not applied."""
    return [step.draw(rng) if rng.random_sample() < step.probability else None for step in steps]


def apply_steps(
    steps: Sequence[Step],
    image: NDArray[Any],
    drawn: Sequence[Drawn | None],
    lr_shape: Shape,
    rng: Random,
) -> NDArray[Any]:
    """Applies the steps that were drawn, one after the other."""
    for step, parameters in zip(steps, drawn, strict=True):
        if parameters is not None:
            image = step.apply(image, parameters, lr_shape, rng)
    return image


def check_steps(steps: Any) -> tuple[Step, ...]:
    """Returns the steps as a tuple; those given as dictionaries, as `step_to_dict` writes them, are made.

    Raises:
        ValueError: If one is not a valid step.
    """
    if isinstance(steps, (str, Mapping)) or not isinstance(steps, Sequence):
        raise ValueError(f"`steps` must be a list of steps. Received: {steps!r}.")
    return tuple(step if isinstance(step, Step) else _step_from_dict(step) for step in steps)


def step_to_dict(step: Step) -> dict[str, Any]:
    """Returns a step in the JSON format: its name as `step`, and its arguments."""
    values: dict[str, Any] = {"step": step.name}
    if isinstance(step, Either):
        return values | {"options": [[step_to_dict(inner) for inner in option] for option in step.options]}
    for argument in fields(step):
        value = getattr(step, argument.name)
        values[argument.name] = list(value) if isinstance(value, tuple) else value
    return values


def _step_from_dict(values: Any) -> Step:
    if not isinstance(values, Mapping) or values.get("step") not in list(_STEPS):  # a list compares what has no hash
        raise ValueError(f"A step must be a JSON object with `step`, one of {tuple(_STEPS)}. Received: {values!r}.")
    kind = _STEPS[values["step"]]
    arguments = {name: value for name, value in values.items() if name != "step"}
    known = {argument.name for argument in fields(kind)}
    for name in arguments:
        if name not in known:
            raise ValueError(f"The step {kind.name!r} has no argument {name!r}. Its arguments are {sorted(known)}.")
    return kind(**arguments)


def resize(image: NDArray[Any], shape: Shape, drawn: Drawn) -> NDArray[Any]:
    """Resizes by a method, with antialiasing; uint8 stays uint8 unless the light is linear."""
    if image.shape[:2] == shape:
        return image
    if drawn.get("linear"):
        return _in_light(lambda light, _: _resize(light, shape, drawn["method"]), image, drawn)
    return _resize(image, shape, drawn["method"])


def _resize(image: NDArray[Any], shape: Shape, method: str) -> NDArray[Any]:
    if method == "bicubic":
        return imresize(image, output_shape=shape)
    size, resample = (shape[1], shape[0]), _PILLOW_METHODS[method]
    if image.dtype == np.uint8 and image.shape[-1] == 3:
        return np.asarray(Image.fromarray(image).resize(size, resample))
    channels = [np.asarray(Image.fromarray(image[..., c]).resize(size, resample)) for c in range(image.shape[-1])]
    return np.stack(channels, axis=-1)


def _gaussian(image: NDArray[np.float32], drawn: Drawn, rng: Random) -> NDArray[np.float32]:
    channels = 1 if drawn["gray"] else image.shape[-1]
    return np.float32(drawn["sigma"]) * rng.standard_normal((*image.shape[:2], channels)).astype(np.float32)


def _shot(image: NDArray[np.float32], drawn: Drawn, rng: Random) -> NDArray[np.float32]:
    """Returns the noise of a photon count times a factor, as the published code does."""
    bright = np.mean(image, axis=-1, keepdims=True) if drawn["gray"] else image
    photons = np.clip(bright, 0, PEAK).astype(np.float64) * (_PHOTONS / PEAK)
    noise = (rng.poisson(photons) - photons) * (drawn["factor"] * PEAK / _PHOTONS)
    return noise.astype(np.float32)


def _in_light(work: Any, image: NDArray[Any], drawn: Drawn) -> NDArray[np.float32]:
    """Runs the work on float32, in linear light if the step drew that."""
    if not drawn.get("linear"):
        return work(image.astype(np.float32, copy=False), drawn)
    return _to_srgb(work(_to_linear(image), drawn))


def _to_linear(image: NDArray[Any]) -> NDArray[np.float32]:
    """Converts sRGB values to linear light, both in [0, 255], by IEC 61966-2-1."""
    value = np.clip(image.astype(np.float32) / PEAK, 0, 1)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32) * PEAK


def _to_srgb(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Converts linear light to sRGB values."""
    value = np.clip(light / PEAK, 0, 1)
    return np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055).astype(np.float32) * PEAK


def _draw_linear(rng: Random, share: float) -> Drawn:
    return {"linear": bool(rng.random_sample() < share)}


def _uniform(rng: Random, bounds: tuple[float, float]) -> float:
    return float(bounds[0] + (bounds[1] - bounds[0]) * rng.random_sample())


def _integer(rng: Random, bounds: tuple[int, int]) -> int:
    """Returns an integer between the bounds, both included."""
    return int(bounds[0] + math.floor((bounds[1] - bounds[0] + 1) * rng.random_sample()))


def _pick(rng: Random, shares: Mapping[str, float]) -> str:
    names = list(shares)
    bounds = np.cumsum([shares[name] for name in names])
    return names[int(np.searchsorted(bounds[:-1], bounds[-1] * rng.random_sample(), side="right"))]


def _set(step: Any, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(step, name, value)  # the usual way in a frozen dataclass's __post_init__


def _probability(step: Any, name: str) -> float:
    value = getattr(step, name)
    if not _is_number(value) or not 0 <= value <= 1:
        raise ValueError(f"`{name}` of the step {step.name!r} must be a number from 0 to 1. Received: {value!r}.")
    return float(value)


def _range(step: Any, name: str, low: float, high: float) -> tuple[float, float]:
    value = getattr(step, name)
    bounds = (value, value) if _is_number(value) else value
    if (
        isinstance(bounds, (str, Mapping))
        or not isinstance(bounds, Sequence)
        or len(bounds) != 2
        or not all(_is_number(bound) for bound in bounds)
        or not low <= bounds[0] <= bounds[1] <= high
    ):
        raise ValueError(
            f"`{name}` of the step {step.name!r} must be a number or [lowest, highest], from {low:g} to {high:g}. "
            f"Received: {value!r}."
        )
    return float(bounds[0]), float(bounds[1])


def _integers(step: Any, name: str, low: int, high: int) -> tuple[int, int]:
    bounds = _range(step, name, low, high)
    if any(bound != int(bound) for bound in bounds):
        raise ValueError(f"`{name}` of the step {step.name!r} must be integers. Received: {list(bounds)}.")
    return int(bounds[0]), int(bounds[1])


def _shares(step: Any, name: str, known: Sequence[str]) -> dict[str, float]:
    """Returns the probability of each name; a name alone is always drawn, a list in equal shares."""
    value = getattr(step, name)
    given = {value: 1.0} if isinstance(value, str) else value
    if isinstance(given, Sequence) and all(isinstance(key, str) for key in given):
        given = dict.fromkeys(given, 1.0)
    if (
        not isinstance(given, Mapping)
        or not given
        or any(key not in known for key in given)
        or any(not _is_number(share) or share < 0 for share in given.values())
        or not sum(given.values())
    ):
        raise ValueError(
            f"`{name}` of the step {step.name!r} must have shares, 0 or more and not all 0, for names of "
            f"{tuple(known)}. "
            f"Received: {value!r}."
        )
    return {key: float(share) for key, share in given.items()}


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, (int, float, np.integer, np.floating))
        and not isinstance(value, bool)
        and math.isfinite(value)
    )
