"""Chooses the network of the package for an image, if the caller names none."""

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..image_io import jpeg_quality
from ..presets import locate, preset_names, read_config
from .streams import is_input_stream

KINDS = ("auto", "photo", "clean")
EFFORTS = ("fast", "best")
# A JPEG of this quality or more has no visible blocks, and the network for clean images gives sharper results.
CLEAN_QUALITY = 90

logger = logging.getLogger("keras_edsr")


@dataclass(frozen=True)
class Choice:
    """The networks of the package for one size.

    Attributes:
        clean: Preset for clean images.
        photo: Preset for images that lost quality; None if the package has none for the size.
    """

    clean: str
    photo: str | None

    def preset(self, source: str | os.PathLike, kind: str = "auto") -> str:
        """Returns the preset for an image.

        Args:
            source: Path of the image.
            kind: `"photo"`, `"clean"`, or `"auto"`: `photo` for a JPEG of a quality below `CLEAN_QUALITY`. For standard
                input, whose bytes are still unknown, auto means `clean`.
        """
        if kind == "clean" or self.photo is None or (kind == "auto" and not _is_compressed(Path(source))):
            return self.clean
        return self.photo


def choose(scale: float | None = None, other_size: bool = False, effort: str = "fast") -> Choice:
    """Returns the networks of the package for a size.

    Args:
        scale: Number, the requested scale; None for 2.
        other_size: Boolean, whether the request is a size in pixels, which needs a network with all scales.
        effort: `"fast"` for the compact networks, `"best"` for the larger ones, if the package has them.
    """
    one_scale = scale in (None, 2, 3, 4) and not other_size
    suffix = f"x{scale or 2:.0f}"
    compact = f"edsr_compact_{suffix}" if one_scale else "mdsr_compact"
    larger = {"clean": f"edsr_liif_{suffix}", "photo": f"edsr_photo_liif_{suffix}"}
    smaller = {"clean": compact, "photo": f"edsr_photo_{suffix}"}
    found = {}
    for kind in ("clean", "photo"):
        names = [larger[kind], smaller[kind]] if effort == "best" else [smaller[kind]]
        found[kind] = next((name for name in names if _ships(name) and (one_scale or name == compact)), None)
    return Choice(found["clean"] or compact, found["photo"])


def choose_for(
    sources: Iterable[str | os.PathLike],
    scale: float | None = None,
    other_size: bool = False,
    kind: str = "auto",
    effort: str = "fast",
) -> dict[str, list[Path]]:
    """Returns the presets to use, each with its images, and logs the choice with its reason.

    Args:
        sources: Paths of the images.
        scale: As `choose` takes it.
        other_size: As `choose` takes it.
        kind: As `Choice.preset` takes it.
        effort: As `choose` takes it.
    """
    choice = choose(scale, other_size, effort)
    groups: dict[str, list[Path]] = {}
    for source in sources:
        groups.setdefault(choice.preset(source, kind), []).append(Path(source))
    if kind == "photo" and choice.photo is None:
        logger.warning("Using the network for clean images: the package has none for photographs at this size.")
    for preset, images in groups.items():
        logger.info("Model: %s, %s.", preset, _why(preset, images, choice, kind))
    if effort == "best":
        _log_time(groups, scale, other_size)
    return groups


def _is_compressed(source: Path) -> bool:
    quality = None if is_input_stream(source) else jpeg_quality(source)
    return quality is not None and quality < CLEAN_QUALITY


def _why(preset: str, images: list[Path], choice: Choice, kind: str) -> str:
    if kind != "auto" or preset != choice.photo:
        return f"the default for this size{f' and --kind {kind}' if kind != 'auto' else ''}"
    qualities = sorted(quality for image in images if (quality := jpeg_quality(image)) is not None)
    shown = f"quality {qualities[0]}" if len(images) == 1 else f"qualities {qualities[0]} to {qualities[-1]}"
    what = "a JPEG" if len(images) == 1 else f"{len(images)} JPEGs"
    return f"for {what} of about {shown} (--kind clean selects {choice.clean})"


def _log_time(groups: dict[str, list[Path]], scale: float | None, other_size: bool) -> None:
    fast = choose(scale, other_size, "fast")
    for preset in groups:
        smaller = fast.photo if preset == choose(scale, other_size, "best").photo else fast.clean
        if smaller is None or smaller == preset:
            logger.warning("Ignoring --effort best: the package has no larger network for this size.")
        else:
            ratio = _weights(preset) / _weights(smaller)
            logger.info("Expect about %.0f times the time of %s (--effort fast).", ratio, smaller)


def _weights(preset: str) -> int:
    """Returns the number of weights. Nearly all are in convolutions of LR pixels, so the time is proportional."""
    return int(read_config(Path(str(locate(preset))))["parameters"])


def _ships(preset: str) -> bool:
    return preset in preset_names()
