"""Upscaling image files: what becomes what, and one bad file does not stop the others."""

import dataclasses
import glob
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..files import reason
from ..image_io import MAX_PIXELS, SUFFIXES, check_fits, find_images, read_picture, write_picture
from ..runtimes import open_runtime
from .image import upscale
from .sizes import check_size, plan_size

logger = logging.getLogger("keras_edsr")

Pair = tuple[Path, Path]


def plan_files(
    inputs: Iterable[Path],
    output: Path,
    overwrite: bool = False,
    *,
    skip_existing: bool = False,
    suffix: str = "",
) -> list[Pair]:
    """Decides which file becomes which, before anything is done.

    One input file goes to `output` if that has an image's suffix. Otherwise `output` is a folder: a file keeps its
    name there, and a folder's images keep their places in its tree. If `output` lies in an input folder, what it
    holds is no input; nor is what an earlier run has made by `suffix`.

    Args:
        inputs: Files, folders, and patterns such as `photos/**/*.jpg`, whose files keep their places below the part
            without a pattern.
        output: A file or a folder.
        overwrite: Whether files that exist may be replaced.
        skip_existing: Whether files that exist are left as they are, and not in the result.
        suffix: What is added to the names in a folder: `_x2` makes `a_x2.jpg` of `a.jpg`, `.png` makes `a.png`, and
            `_x2.png` `a_x2.png`.

    Returns:
        Pairs (source, target).

    Raises:
        ValueError: An input does not exist or is a folder without images, two inputs would get one name, a target
            exists already or would overwrite a source, or has a suffix that cannot be written.
    """
    inputs, output = [Path(path) for path in inputs], Path(output)
    if output.is_dir() or not _is_image_name(output):
        if output.is_file():
            raise ValueError(f"{output} is a file that is no image. Name a folder or an image.")
        found = [pair for path in inputs for pair in _into_folder(path, output)]
        pairs = _renamed(found, suffix, set(inputs))
    elif suffix:
        raise ValueError(f"`suffix` is for names in a folder, and {output} is one image. Leave it out.")
    elif len(inputs) == 1 and not inputs[0].is_dir():
        [pattern] = inputs
        sources = _matches(pattern)
        if len(sources) > 1:
            raise ValueError(f"Several images cannot become one file, {output}. Name a folder.")
        pairs = [(sources[0], output)]
    else:
        raise ValueError(f"Several images cannot become one file, {output}. Name a folder.")
    pairs = list(dict.fromkeys(pairs))
    _check_pairs(pairs, overwrite or skip_existing)
    if not skip_existing:
        return pairs
    left = [(source, target) for source, target in pairs if not target.exists()]
    if len(left) < len(pairs):
        logger.info("%d of %d images are there already.", len(pairs) - len(left), len(pairs))
    return left


def upscale_files(
    pairs: Iterable[Pair],
    model,
    scale: float | None = None,
    *,
    width: int | None = None,
    height: int | None = None,
    fit: tuple[int, int] | None = None,
    report: Callable[[Path, Exception | None], None] | None = None,
    progress: Callable[[Path, int, int], None] | None = None,
    overwrite: bool = False,
    max_pixels: int = MAX_PIXELS,
    write_options: dict[str, Any] | None = None,
    runtime: str | None = "auto",
    device: str | None = None,
    **options,
) -> list[tuple[Path, Exception]]:
    """Upscales each source file to its target, which appears whole or not at all.

    What a file holds is kept: gray, alpha, 16 bits, EXIF, colour profile, frames and their durations. What the
    target's format can't hold is refused before the work, or said by the logger, see `write_picture`.

    Args:
        pairs: As `plan_files` returns.
        model: As `upscale` takes.
        scale: As `upscale` takes.
        width: As `upscale` takes.
        height: As `upscale` takes.
        fit: As `upscale` takes.
        report: Function `(target, error)`, called after each file; the error is None when it was written.
        progress: Function `(source, done, total)` of LR pixels, called after each tile.
        overwrite: Whether files that exist may be replaced.
        max_pixels: The most that a source may have, all frames together.
        write_options: As `write_picture` takes them, such as `{"quality": 90}`.
        runtime: As `upscale` takes.
        device: As `upscale` takes.
        **options: Passed to `upscale`: `tile_size`, `self_ensemble`.

    Returns:
        Pairs (source, error) of the files that failed.

    Raises:
        ValueError: The model cannot be read, or cannot make this size: no file is tried.
    """
    opened = open_runtime(model, runtime, device)
    size = {"scale": scale, "width": width, "height": height, "fit": fit}
    check_size(opened.scales, **size)
    failed: list[tuple[Path, Exception]] = []
    for source, target in pairs:
        error: Exception | None = None
        try:
            picture = read_picture(source, max_pixels)
            plan = plan_size(opened.scales, (picture.height, picture.width), **size)
            check_fits(target, picture, (plan.height, plan.width))
            _make_folder(target)
            frames = _upscale_frames(
                opened,
                picture.frames,
                progress=progress and (lambda *done, source=source: progress(source, *done)),
                **size,
                **options,
            )
            picture = dataclasses.replace(picture, frames=frames)
            write_picture(target, picture, overwrite=overwrite, **write_options or {})
        except MemoryError:
            error = ValueError("there is not enough memory for it")
        except (ValueError, OSError) as raised:
            error = raised
        if error is not None:
            failed.append((source, error))
        if report:
            report(target, error)
    return failed


def _upscale_frames(model, frames, **options):
    """All frames of an animation as one batch; a batch needs its last axis."""
    if len(frames) == 1:
        return [upscale(model, frames[0], **options)]
    batch = np.stack([frame[..., None] if frame.ndim == 2 else frame for frame in frames])
    sr = upscale(model, batch, **options)
    return list(sr[..., 0] if frames[0].ndim == 2 else sr)


def _make_folder(target):
    """Makes the folder, and finds out before the work whether a file can be made in it."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"Cannot write {target}: {reason(error)}.") from error
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise ValueError(f"Cannot write {target}: its folder may not be written to.")


# === Names ===


def _is_image_name(path):
    """Whether a path that may not exist is meant as a file: by any suffix that Pillow knows."""
    return path.suffix.lower() in {*SUFFIXES, *Image.registered_extensions()}


def _is_pattern(path):
    return glob.has_magic(str(path)) and not path.exists()


def _matches(path):
    """The files of a pattern; a path that is none, as it is."""
    if not _is_pattern(path):
        return [path]
    found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
    sources = [found_ for found_ in found if found_.is_file() and found_.suffix.lower() in SUFFIXES]
    if not sources:
        raise ValueError(f"No images to read: nothing that fits {path} is an image.")
    return sources


def _into_folder(path, folder):
    if _is_pattern(path):
        parts = path.parts
        fixed = Path(*parts[: next(i for i, part in enumerate(parts) if glob.has_magic(part))])
        return [(source, folder / source.relative_to(fixed)) for source in _outside(_matches(path), folder, fixed)]
    if not path.is_dir():
        return [(path, folder / path.name)]
    return [(source, folder / source.relative_to(path)) for source in _outside(find_images(path), folder, path)]


def _outside(sources, folder, root):
    """Leaves out what an earlier run may have made in the output folder, if that lies within the input."""
    return [source for source in sources if folder == root or not source.is_relative_to(folder)]


def _renamed(pairs, suffix, named):
    if not suffix:
        return pairs
    if any(separator and separator in suffix for separator in (os.sep, os.altsep, "\0")):
        raise ValueError(f"`suffix` is added to names and must hold no separator. Received: suffix={suffix!r}.")
    name = Path(f"a{suffix}")
    kind = name.suffix if _is_image_name(name) else ""
    text = name.name.removesuffix(kind)[1:]
    renamed = [(source, target.with_name(f"{target.stem}{text}{kind or target.suffix}")) for source, target in pairs]
    made = {target for source, target in renamed if target != source}
    # In one folder, what an earlier run has made of the images there is no source, unless it was named.
    return [(source, target) for source, target in renamed if not text or source in named or source not in made]


def _check_pairs(pairs, may_exist):
    if not pairs:
        raise ValueError("No image to read: all that there are lie in the output folder.")
    repeated = [target for target, count in Counter(target for _, target in pairs).items() if count > 1]
    if repeated:
        sources = ", ".join(str(source) for source, target in pairs if target == repeated[0])
        raise ValueError(f"Several inputs would become {repeated[0]}: {sources}. Upscale them apart.")
    taken = {source.resolve() for source, _ in pairs}
    for source, target in pairs:
        if not source.exists():
            raise ValueError(f"No image to read: {source} does not exist.")
        if target.suffix.lower() not in SUFFIXES:
            raise ValueError(f"Cannot write {target}: its suffix must be one of {', '.join(SUFFIXES)}.")
        if target.exists() and target.samefile(source):
            raise ValueError(f"{target} would overwrite its own source. Name another output.")
        if target.resolve() in taken:
            raise ValueError(f"{target}, made of {source}, would overwrite another input. Name another output.")
        if target.is_dir():
            raise ValueError(f"Cannot write {target}: it is a folder.")
        if target.exists() and not may_exist:
            raise ValueError(f"{target} exists already. Name another output, or pass --overwrite, or --skip-existing.")
