"""A report for people: scores, crops, error maps and a slider on one HTML page, with its pictures beside it."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .._version import __version__
from ..data.degradation import Degradation
from ..data.sources import match_images
from ..files import atomic_path, naming
from ..image_io import write_image
from ..scores import Image, check_request
from . import crops
from .page import GENERATOR, About, Pictures, Shown, page
from .protocol import (
    BICUBIC,
    PathLike,
    Progress,
    Upscaler,
    about_degradation,
    find_hr,
    read_originals,
    read_sr,
    row,
    upscaler,
    with_means,
)

PAGE = "index.html"
IMAGES = "images"


def write_report(
    folder: PathLike,
    models: Mapping[str, Any],
    hr: PathLike | Sequence[PathLike],
    scale: int,
    lr: PathLike | None = None,
    protocol: str = "benchmark",
    *,
    degradation: "str | os.PathLike | Degradation | None" = None,
    seed: int = 0,
    sr: Mapping[str, PathLike] | None = None,
    self_ensemble: bool = False,
    tile_size: int | str | None = "auto",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[str, dict[str, Any]]:
    """Evaluates models side by side and writes the results as an HTML page.

    The page is `folder/index.html`, and its PNG files are in `folder/images`. It can be opened from disk and uses
    nothing from the network. The report always contains bicubic, the baseline. The function writes the folder
    atomically.

    Args:
        folder: Folder to write; it must be missing or empty.
        models: Label to a model as `evaluate` takes it.
        hr: As `evaluate` takes it.
        scale: Integer.
        lr: As `evaluate` takes it.
        protocol: `"benchmark"` or `"div2k"`.
        degradation: As `evaluate` takes it.
        seed: As `evaluate` takes it.
        sr: Label to a folder of images that another program made, as `evaluate_images` takes it.
        self_ensemble: As `evaluate` takes it; applies to networks, not to bicubic.
        tile_size: As `upscale` takes it.
        overwrite: Boolean, whether to replace a report in `folder`. The function never replaces anything else.
        progress: Function `(done, total)` of images, called after each.

    Returns:
        Label to the result of `evaluate` or `evaluate_images`, `"bicubic"` first.

    Raises:
        ValueError: If `evaluate` or `evaluate_images` raises it, two labels are the same, or the folder is not empty.
        OSError: If the folder cannot be written.
    """
    check_request(scale, protocol)
    folder = Path(folder).resolve()
    _check_folder(folder, overwrite)
    names, originals = read_originals(hr, scale, lr, degradation, seed)
    methods = _methods(models, sr or {}, find_hr(hr), scale, self_ensemble, tile_size)
    rows: dict[str, list[dict[str, Any]]] = {label: [] for label in methods}
    shown = []
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder) as part:
        (part / IMAGES).mkdir(parents=True)
        for number, (name, (files, lr_image, hr_image)) in enumerate(zip(names, originals, strict=True)):
            made = {label: method.image(number, lr_image, hr_image, scale) for label, method in methods.items()}
            for label, image in made.items():
                with naming(files[0], *methods[label].files[number : number + 1]):
                    rows[label].append(row(name, image, hr_image, scale, protocol))
            shown.append(_draw(part, number + 1, name, lr_image, made, hr_image, scale, protocol))
            if progress:
                progress(len(shown), len(names))
        how = about_degradation(degradation, seed)
        results = {label: with_means(images, scale, protocol) | how for label, images in rows.items()}
        about = About(
            sources={label: method.source for label, method in methods.items()},
            hr=_describe_hr(hr),
            lr=_describe_lr(lr, degradation, seed),
            notes=["self-ensemble of eight flips and rotations"] if self_ensemble else [],
            version=__version__,
            date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )
        # A file's name may hold bytes that are not valid characters.
        (part / PAGE).write_bytes(page(about, results, shown).encode("utf-8", "replace"))
    return results


def short_names(paths: Iterable[PathLike]) -> list[str]:
    """Makes labels for models: the last part of each path, or as many parts as distinguish them.

    The label of a training run's `best.keras` or `last.keras` includes the run's name.

    Args:
        paths: Names of presets and paths.

    Returns:
        One label for each path; two are the same only if the paths are.
    """
    given = [Path(path) for path in paths]
    names = []
    for path in given:
        others = [other.parts for other in given if other != path]
        length = _parts_that_tell(path)
        while any(path.parts[-length:] == parts[-length:] for parts in others) and length < len(path.parts):
            length += 1
        names.append(str(Path(*path.parts[-length:])))
    return names


def _parts_that_tell(path: Path) -> int:
    return 2 if path.name in ("best.keras", "last.keras") else 1


# === Sources of SR images ===


@dataclass(frozen=True)
class _Method:
    """One column of the report: a function that makes an SR image from an LR image, or a file for each HR image."""

    source: str
    upscale: Upscaler | None = None
    files: Sequence[Path] = ()

    def image(self, number: int, lr: Image, hr: Image, scale: int) -> Image:
        if self.upscale:
            return self.upscale(lr)
        return read_sr(self.files[number], hr, scale)


def _methods(
    models: Mapping[str, Any],
    folders: Mapping[str, PathLike],
    hr_files: Sequence[Path],
    scale: int,
    self_ensemble: bool,
    tile_size: int | str | None,
) -> dict[str, _Method]:
    networks = {label: model for label, model in models.items() if not (isinstance(model, str) and model == BICUBIC)}
    labels = [BICUBIC, *networks, *folders]
    if len(set(labels)) < len(labels):
        raise ValueError(f"Each model of a report needs its own label. Received: {', '.join(labels)}.")
    if self_ensemble and not networks:
        raise ValueError("`self_ensemble` needs a network, and this report has none. Omit it.")
    methods = {BICUBIC: _Method("MATLAB's imresize, the baseline", upscaler(BICUBIC, scale))}
    for label, model in networks.items():
        methods[label] = _Method(_describe(model), upscaler(model, scale, self_ensemble, tile_size))
    for label, folder in folders.items():
        methods[label] = _Method(f"images in {os.fspath(folder)}", files=match_images(hr_files, folder, scale))
    return methods


def _describe(model: Any) -> str:
    return os.fspath(model) if isinstance(model, str | os.PathLike) else f"{type(model).__name__} in memory"


def _describe_lr(lr: PathLike | None, degradation: "str | os.PathLike | Degradation | None", seed: int) -> str:
    if lr is not None:
        return f"read from {os.fspath(lr)}"
    if degradation is None:
        return "made of the HR images by imresize"
    return f"degraded from the HR images: {Degradation.load(degradation).name}, seed {seed}"


def _describe_hr(hr: PathLike | Sequence[PathLike]) -> str:
    return Path(hr).resolve().name if isinstance(hr, str | os.PathLike) else "chosen files"


# === Pictures ===


def _draw(
    part: Path, number: int, name: str, lr: Image, srs: Mapping[str, Image], hr: Image, scale: int, protocol: str
) -> Shown:
    """Writes the pictures of one image; the first of `srs` is the baseline."""
    baseline, *others = srs.values()
    region = crops.telling_region(baseline, others, hr, scale, protocol)
    height, width = hr.shape[:2]
    view = crops.view_around(region, height, width, scale)
    errors = {label: crops.error(region.of(sr), region.of(hr), protocol) for label, sr in srs.items()}
    gain = crops.choose_gain(next(iter(errors.values())))

    def write(what: str, image: Image) -> str:
        file = f"{IMAGES}/{number:03}-{what}.png"
        write_image(part / file, image)
        return file

    pictures = {}
    for label, slug in zip(srs, _slugs(srs), strict=True):
        pictures[label] = Pictures(
            crop=write(slug, region.of(srs[label])),
            view=write(f"{slug}-view", view.of(srs[label])),
            error=write(f"{slug}-error", crops.in_color(errors[label], gain)),
        )
    return Shown(
        name,
        width=width,
        height=height,
        region=region,
        view=view,
        gain=gain,
        lr=write("lr", region.of_lr(lr, scale)),
        hr=Pictures(write("hr", region.of(hr)), write("hr-view", view.of(hr))),
        srs=pictures,
    )


def _slugs(labels: Iterable[str]) -> list[str]:
    """Makes parts of file names from labels: without characters that need quotes, and all different."""
    slugs: list[str] = []
    for label in labels:
        slug = re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_")[:40] or "sr"
        taken = {"lr", "hr", *slugs}
        slugs.append(
            next(name for name in (slug, *(f"{slug}_{i}" for i in range(2, len(taken) + 3))) if name not in taken)
        )
    return slugs


# === The folder ===


def _check_folder(folder: Path, overwrite: bool) -> None:
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise ValueError(f"`folder` must be a folder or missing. Received: {folder}, which is a file.")
    entries = {entry.name for entry in folder.iterdir()}
    if entries and not overwrite:
        raise ValueError(f"{folder} is not empty. Pass another folder, or `overwrite` to replace a report in it.")
    if entries and not (entries <= {PAGE, IMAGES} and _is_report(folder / PAGE)):
        raise ValueError(
            f"{folder} contains other files than a report, which are never overwritten. Pass another folder."
        )


def _is_report(file: Path) -> bool:
    return file.is_file() and GENERATOR.encode() in file.read_bytes()
