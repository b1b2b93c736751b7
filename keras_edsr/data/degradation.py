"""How to make an LR image from an HR image: blur, downscaling, noise and compression, drawn from a seed.

The module needs NumPy and Pillow only, so that it works without TensorFlow.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..image_ops import crop_to_multiple, quantize
from .degradation_steps import (
    Blur,
    Compress,
    Downscale,
    Drawn,
    Either,
    Noise,
    Resize,
    Step,
    apply_steps,
    check_steps,
    draw_steps,
    step_to_dict,
)

__all__ = ["BICUBIC", "PRESETS", "Blur", "Compress", "Degradation", "Downscale", "Either", "Noise", "Resize"]

BICUBIC = "bicubic"  # the degradation of the benchmarks, and the default


@dataclass(frozen=True)
class Degradation:
    """Makes an LR image from an HR image, with the losses of real images.

    An object has ranges and probabilities; every call draws numbers from them. The result is a pure function of the
    arguments: the same image, scale and seed give the same pixels in any process (and, with the same codecs, on any
    machine).

    Args:
        steps: The steps in their order: `Blur`, `Resize`, `Downscale`, `Noise`, `Compress`, `Either`, or dictionaries
            in the JSON format. Every path through them has one `Downscale`, and no `Resize` after it.
        name: Name in reports. Defaults to `"custom"`.

    Raises:
        ValueError: If a step or the order is not valid.

    Example:
        >>> photo = Degradation.load("photo")
        >>> lr = photo(hr, scale=2, seed=0)
        >>> mine = Degradation([Blur(sigma=(0.2, 2)), Downscale(), Compress(quality=(40, 60))])
        >>> mine.save("mine.json")
    """

    steps: tuple[Step, ...]
    name: str = "custom"

    def __init__(self, steps: Sequence[Step | Mapping[str, Any]], name: str = "custom") -> None:
        object.__setattr__(self, "steps", check_steps(steps))
        object.__setattr__(self, "name", str(name))
        for way in _ways(self.steps):
            _check_order(way)

    def __call__(
        self,
        hr: NDArray[np.uint8],
        scale: int,
        seed: int | np.random.Generator = 0,
    ) -> NDArray[np.uint8]:
        """Makes the LR image.

        An image is mirrored at its border. For a part of a larger image, pass some more pixels on each side and crop
        the result.

        Args:
            hr: Array, uint8, `(height, width)`, `(height, width, 1)` or `(height, width, 3)` in RGB. The method first
                crops it at the bottom and right to a multiple of the scale.
            scale: Integer, 1 or more. With 1 the LR image has the size of the HR image.
            seed: Integer from 0 to 2**64 - 1, or a NumPy generator, from which the method draws the seed.

        Returns:
            Array, uint8, of shape `(height // scale, width // scale[, channels])`.

        Raises:
            ValueError: If an argument is not valid.
        """
        hr = _check_image(hr)
        cropped = crop_to_multiple(hr, scale)
        image = cropped[..., None] if hr.ndim == 2 else cropped
        lr_shape = (image.shape[0] // scale, image.shape[1] // scale)
        rng = _random(seed)
        lr = apply_steps(self.steps, image, draw_steps(self.steps, rng), lr_shape, rng)
        lr = np.array(lr) if lr.dtype == np.uint8 else quantize(lr)
        return lr[..., 0] if hr.ndim == 2 else lr

    def draw(self, seed: int | np.random.Generator = 0) -> list[Drawn | None]:
        """Returns what a call with this seed draws: for each step its parameters, or None if it is skipped."""
        return draw_steps(self.steps, _random(seed))

    @classmethod
    def load(cls, source: "str | os.PathLike | Mapping[str, Any] | Degradation") -> "Degradation":
        """Returns a degradation by its name, from a JSON file or from the contents of such a file.

        Args:
            source: A name of `PRESETS`; `jpeg-` and a quality, such as `jpeg-40` (bicubic, then JPEG of that quality);
                the path of a JSON file, which ends in `.json`; a dictionary; or a `Degradation`, which is returned.

        Raises:
            ValueError: If there is no such name or file, or it is not a valid degradation.
        """
        if isinstance(source, Degradation):
            return source
        if isinstance(source, Mapping):
            return cls.from_dict(source)
        text = os.fspath(source)
        if text.lower().endswith(".json"):
            return cls._read(Path(text))
        named = _named(text)
        if named is None:
            raise ValueError(
                f"A degradation must be one of {tuple(PRESETS)}, 'jpeg-' and a quality, or a .json file. "
                f"Received: {text!r}."
            )
        return named

    @classmethod
    def _read(cls, path: Path) -> "Degradation":
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ValueError(f"Cannot read the degradation {path}: {error.strerror}.") from error
        except ValueError as error:
            raise ValueError(f"The degradation {path} is not valid JSON: {error}.") from error
        return cls.from_dict(values, name=path.stem)

    def save(self, path: str | os.PathLike) -> None:
        """Writes a JSON file that `load` reads."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], name: str = "custom") -> "Degradation":
        """Makes the degradation that `to_dict` described.

        Args:
            values: Dictionary with `steps` and, optionally, `name`.
            name: Name if `values` has none.

        Raises:
            ValueError: If it is not a valid degradation.
        """
        if not isinstance(values, Mapping) or "steps" not in values or set(values) - {"name", "steps"}:
            raise ValueError(
                "A degradation must be a JSON object with `steps`, a list, and optionally `name`. "
                f"Received: {sorted(values) if isinstance(values, Mapping) else values!r}."
            )
        return cls(values["steps"], values.get("name", name))

    def to_json(self) -> str | dict[str, Any]:
        """Returns the name, if `load` knows it by that, else what `to_dict` returns; `load` takes either."""
        return self.name if _named(self.name) == self else self.to_dict()

    def to_dict(self) -> dict[str, Any]:
        """Returns the degradation in the JSON format."""
        return {"name": self.name, "steps": [step_to_dict(step) for step in self.steps]}


def _named(name: str) -> Degradation | None:
    """Returns the degradation that has a name, if one has."""
    if found := re.fullmatch(r"jpeg-(\d{1,3})", name):
        quality = int(found[1])
        return Degradation(
            [Downscale(), Compress(quality=(quality, quality), subsampling={"4:2:0": 1.0}, shift=0)],
            name,
        )
    return PRESETS.get(name)


def image_seed(seed: int, name: str) -> int:
    """Returns the seed of one image of a set, which depends on its name, but not on the other images.

    Args:
        seed: Integer, the seed of the set.
        name: Path or name of the image; only its last part without the suffix matters.
    """
    text = f"{seed} {Path(name).stem}".encode("utf-8", "surrogateescape")  # a file's name may contain any bytes
    digest = hashlib.blake2b(text, digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _random(seed: int | np.random.Generator) -> np.random.RandomState:
    """Returns a RandomState, whose distributions NumPy froze: a seed gives the same numbers in every release."""
    if isinstance(seed, np.random.Generator):
        seed = int(seed.integers(2**63))
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**64:
        raise ValueError(f"`seed` must be an integer from 0 to 2**64 - 1. Received: seed={seed!r}.")
    return np.random.RandomState(np.random.Philox(key=int(seed)))


def _check_image(hr: NDArray[Any]) -> NDArray[np.uint8]:
    hr = np.asarray(hr)
    if hr.dtype != np.uint8 or hr.ndim not in (2, 3) or (hr.ndim == 3 and hr.shape[-1] not in (1, 3)):
        raise ValueError(
            "`hr` must be uint8 of shape (height, width), (height, width, 1) or (height, width, 3). "
            f"Received: {hr.dtype} of shape {hr.shape}."
        )
    return hr


def _ways(steps: Sequence[Step]) -> list[list[Step]]:
    """Returns all sequences of plain steps that are possible, one for each choice of the `Either`s."""
    ways: list[list[Step]] = [[]]
    for step in steps:
        options: list[list[Step]] = [[step]]
        if isinstance(step, Either):
            options = [way for option in step.options for way in _ways(option)]
        ways = [way + option for way in ways for option in options]
    return ways


def _check_order(way: Sequence[Step]) -> None:
    names = [step.name for step in way]
    if names.count("downscale") != 1 or "resize" in names[names.index("downscale") :]:
        raise ValueError(
            f"`steps` must have 'downscale' once, and no 'resize' after it. Received: {', '.join(names) or 'no steps'}."
        )


def _photo() -> Degradation:
    """Returns the degradation of photographs from cameras, phones or web pages: a soft lens, some noise, JPEG."""
    return Degradation(
        [
            Blur(probability=0.5, kinds={"isotropic": 0.7, "anisotropic": 0.3}, sigma=(0.2, 1.0)),
            Downscale({"bicubic": 0.55, "area": 0.15, "bilinear": 0.15, "lanczos": 0.15}),
            Noise(0.4, {"gaussian": 0.6, "poisson": 0.4}, sigma=(0.0, 8.0), poisson=(0.0, 0.5), gray=0.4),
            Compress(0.8, {"jpeg": 0.95, "webp": 0.05}, quality=(30, 95)),
        ],
        "photo",
    )


def _realesrgan() -> Degradation:
    """Returns the second-order degradation of Real-ESRGAN, with the ranges of its published training options.

    Differences from the published code: resizing antialiases; JPEG is a real codec, which rounds to 8 bits; Poisson
    noise is that of 256 gray levels for every image; the HR image is not sharpened first.

    Reference: [Wang et al., 2021](https://arxiv.org/abs/2107.10833), section 3 and appendix A; the options are
    `options/train_realesrnet_x4plus.yml` of https://github.com/xinntao/Real-ESRGAN.
    """
    methods = {"area": 1.0, "bilinear": 1.0, "bicubic": 1.0}
    noise = {"gaussian": 0.5, "poisson": 0.5}
    blur = Blur(
        # The published shares of six kinds of Gaussian (0.45, 0.25, 0.12, 0.03, 0.12, 0.03) in nine of ten cases.
        kinds={"isotropic": 0.405, "anisotropic": 0.225, "generalized": 0.135, "plateau": 0.135, "sinc": 0.1},
        anisotropic_share=0.2,
        sigma=(0.2, 3.0),
        cutoff=(math.pi / 5, math.pi),
        kernel_size=(7, 21),
    )
    back = (Downscale(methods), Blur(0.8, {"sinc": 1.0}, kernel_size=(7, 21), cutoff=(math.pi / 3, math.pi)))
    jpeg = Compress(quality=(30, 95))
    return Degradation(
        [
            blur,
            Resize(factor=(0.15, 1.5), enlarge=0.2, keep=0.1, methods=methods),
            Noise(1.0, noise, sigma=(1.0, 30.0), poisson=(0.05, 3.0), gray=0.4),
            jpeg,
            replace(blur, probability=0.8, sigma=(0.2, 1.5)),
            Resize(factor=(0.3, 1.2), enlarge=0.3, keep=0.3, of="lr", methods=methods),
            Noise(1.0, noise, sigma=(1.0, 25.0), poisson=(0.05, 2.5), gray=0.4),
            Either(((*back, jpeg), (jpeg, *back))),
        ],
        "realesrgan",
    )


PRESETS: dict[str, Degradation] = {
    BICUBIC: Degradation([Downscale()], BICUBIC),
    "jpeg": Degradation([Downscale(), Compress(quality=(30, 95))], "jpeg"),
    "photo": _photo(),
    "realesrgan": _realesrgan(),
}
