"""Upscales image files: decides on the names, and goes on after a file that fails."""

import dataclasses
import glob
import logging
import mimetypes
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from ..files import follow_link, reason, why_not_a_file
from ..image_io import (
    MAX_PIXELS,
    READ_SUFFIXES,
    SUFFIXES,
    Picture,
    check_fits,
    decode_picture,
    encode_picture,
    find_entries,
    is_called_like_an_image,
    read_picture,
    suffix_of,
    unreadable_folder,
    write_picture,
)
from ..runtimes import open_runtime
from .image import upscale
from .sizes import check_size, plan_size
from .streams import STDOUT, is_input_stream, is_stdout, read_stream

logger = logging.getLogger("keras_edsr")

Pair = tuple[Path, Path]


def plan_files(
    inputs: Iterable[str | os.PathLike],
    output: str | os.PathLike,
    overwrite: bool = False,
    *,
    skip_existing: bool = False,
    suffix: str = "",
) -> list[Pair]:
    """Decides which target each source file gets, before any work.

    `output` is a folder if it exists as one, ends in a separator, or if there are several inputs: files, a folder or a
    pattern. A file keeps its name there, and images from a folder keep their places in its tree. If `output` lies in
    an input folder, its files are not inputs. The same holds for the files that an earlier run made with `suffix`.
    Any other `output` must have an image's suffix, and takes one input file.

    A source that cannot be read does not stop the others: `upscale_files` reports it.

    Args:
        inputs: Files, folders, and patterns such as `photos/**/*.jpg`, whose files keep their places below the part
            without a pattern; or `streams.STDIN`.
        output: A file or a folder, or `streams.STDOUT`, which takes one image.
        overwrite: Boolean, whether existing files may be replaced.
        skip_existing: Boolean, whether to leave existing targets as they are, and out of the result.
        suffix: Text to add to the names in a folder: `_x2` makes `a_x2.jpg` of `a.jpg`, `.png` makes `a.png`, and
            `_x2.png` makes `a_x2.png`. For standard output only a format, such as `.png`.

    Returns:
        Pairs (source, target). The target of standard input may lack its suffix, because the image's format decides it.

    Raises:
        ValueError: If no input exists or a folder has no images, two inputs would get one name, a target exists
            or would overwrite a source, or `output` or `suffix` names a format that cannot be written.
    """
    inputs = [Path(path) for path in inputs]
    if is_stdout(Path(output)):
        pairs = [_to_stdout(inputs, suffix)]
    elif _is_folder(output, inputs):
        found = [pair for path in inputs for pair in _into_folder(path, Path(output))]
        pairs = _renamed(found, suffix, set(inputs))
    else:
        pairs = [_to_file(inputs, Path(output), suffix)]
    pairs = list(dict.fromkeys(pairs))
    _check_pairs(pairs, overwrite or skip_existing)
    if not skip_existing:
        return pairs
    left = [(source, target) for source, target in pairs if is_stdout(target) or not os.path.exists(target)]
    if len(left) < len(pairs):
        logger.info("Skipping %d of %d images, whose outputs exist.", len(pairs) - len(left), len(pairs))
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
    stdout: BinaryIO | None = None,
    **options,
) -> list[tuple[Path, Exception]]:
    """Upscales each source file to its target, with an atomic write.

    The target keeps what its source holds: gray, alpha, 16 bits, EXIF, color profile, frames and their durations. If
    the target's format cannot store something, the file fails before the work or the logger warns: see `write_picture`.

    Args:
        pairs: As `plan_files` returns.
        model: As `upscale` takes it.
        scale: As `upscale` takes it.
        width: As `upscale` takes it.
        height: As `upscale` takes it.
        fit: As `upscale` takes it.
        report: Function `(target, error)`, called after each file; the error is None if the file was written.
        progress: Function `(source, done, total)` of LR pixels, called after each tile.
        overwrite: Boolean, whether existing files may be replaced.
        max_pixels: The largest number of pixels that a source may have, all frames together.
        write_options: As `write_picture` takes them, such as `{"quality": 90}`.
        runtime: As `upscale` takes it.
        device: As `upscale` takes it.
        stdout: Stream for the image that `plan_files` sends to standard output.
        **options: Passed to `upscale`: `tile_size`, `self_ensemble`.

    Returns:
        Pairs (source, error) of the files that failed.

    Raises:
        ValueError: If the model cannot be read or cannot make this size. No file is processed then.
        BrokenPipeError: If the reader of standard output has closed it.
    """
    opened = open_runtime(model, runtime, device)
    size = {"scale": scale, "width": width, "height": height, "fit": fit}
    check_size(opened.scales, **size)
    failed: list[tuple[Path, Exception]] = []
    for source, target in pairs:
        error: Exception | None = None
        try:
            picture, target = _read(source, target, max_pixels)
            plan = plan_size(opened.scales, (picture.height, picture.width), **size)
            check_fits(target, picture, (plan.height, plan.width))
            if not is_stdout(target):
                _make_folder(target)
            frames = _upscale_frames(
                opened,
                picture.frames,
                progress=progress and (lambda *done, source=source: progress(source, *done)),
                **size,
                **options,
            )
            picture = dataclasses.replace(picture, frames=frames)
            if stdout is not None and is_stdout(target):
                stdout.write(encode_picture(picture, target, **write_options or {}))
            else:
                write_picture(target, picture, overwrite=overwrite, **write_options or {})
        except MemoryError:
            error = ValueError("memory is not sufficient for it")
        except BrokenPipeError:
            raise
        except (ValueError, OSError) as raised:
            error = raised
        if error is not None:
            failed.append((source, error))
        if report:
            report(target, error)
    return failed


def _read(source: Path, target: Path, max_pixels: int) -> tuple[Picture, Path]:
    """Reads a source after checking that its target can be written; returns it and the target with its suffix."""
    if is_input_stream(source):
        data = read_stream(source, 16 * max_pixels + _LARGEST_HEADER)
        if target.suffix.lower() not in SUFFIXES:
            target = target.with_name(target.name + suffix_of(data, source))
        _check_target(target)
        return decode_picture(data, source, max_pixels), target
    if os.path.isdir(source):
        raise ValueError(f"Cannot read the folder {source}: {unreadable_folder(source) or 'it is not an image'}.")
    _check_target(target)
    return read_picture(source, max_pixels), target


_LARGEST_HEADER = 2**26  # bytes that a file may have in addition to its pixels of at most 8 bytes each


def _check_target(target: Path) -> None:
    if target.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"Cannot write {target}: its suffix must be one of {', '.join(SUFFIXES)}. "
            "Add one to the names, such as --suffix .png."
        )
    if not is_stdout(target):
        follow_link(target)


def _upscale_frames(model, frames, **options):
    """Upscales all frames of an animation as one batch, which needs a last axis."""
    if len(frames) == 1:
        return [upscale(model, frames[0], **options)]
    batch = np.stack([frame[..., None] if frame.ndim == 2 else frame for frame in frames])
    sr = upscale(model, batch, **options)
    return list(sr[..., 0] if frames[0].ndim == 2 else sr)


def _make_folder(target):
    """Makes the folder, and checks before the work that it is writable."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"Cannot write {target}: {reason(error)}.") from error
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise ValueError(f"Cannot write {target}: its folder is not writable.")


# === Names ===


def _is_file_name(path):
    """Whether a path that does not exist is meant as a file: has the suffix of an image, a video or a sound."""
    if path.suffix.lower() in {*READ_SUFFIXES, *Image.registered_extensions()}:
        return True
    kind, _ = _MEDIA.guess_type(path.name)
    return kind is not None and kind.startswith(("image/", "video/", "audio/"))


_MEDIA = mimetypes.MimeTypes()  # Python's own list, which is the same on every machine


def _is_pattern(path):
    return glob.has_magic(str(path)) and not os.path.lexists(path)


def _are_several(inputs):
    return len(inputs) != 1 or os.path.isdir(inputs[0]) or _is_pattern(inputs[0])


def _is_folder(output, inputs):
    path = Path(output)
    if os.path.isdir(path):
        return True
    if not os.fspath(output).endswith((os.sep, os.altsep or os.sep)) and (
        _is_file_name(path) or not _are_several(inputs)
    ):
        return False
    if os.path.lexists(path):
        raise ValueError(f"`output` must be a folder for several images, and {path} is a file. Name a folder.")
    return True


def _only(inputs, output):
    """Returns the one image that may become one file."""
    found = _matches(inputs[0]) if len(inputs) == 1 and not os.path.isdir(inputs[0]) else inputs
    if len(inputs) != 1 or os.path.isdir(inputs[0]) or len(found) != 1:
        raise ValueError(f"`output` must be a folder for several images. Received: {output}. Name a folder.")
    return found[0]


def _to_file(inputs, output, suffix):
    source = _only(inputs, output)
    if output.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"Cannot write {output}: its suffix must be one of {', '.join(SUFFIXES)}. "
            f"For a folder of that name, write {output}{os.sep} with the separator."
        )
    if suffix:
        raise ValueError(f"`suffix` is for names in a folder, and {output} is one image. Omit it.")
    return source, output


def _to_stdout(inputs, suffix):
    if suffix and suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"`suffix` must be a format for standard output: one of {', '.join(SUFFIXES)}. Received: suffix={suffix!r}."
        )
    source = _only(inputs, "standard output")
    return source, STDOUT.with_suffix(suffix or ("" if is_input_stream(source) else source.suffix))


def _matches(path):
    """Returns a pattern's files with an image's suffix, and unreadable folders on the way; another path as it is."""
    if not _is_pattern(path):
        return [path]
    names = sorted(glob.glob(str(path), recursive=True))
    sources = [Path(name) for name in names if is_called_like_an_image(name) and not os.path.isdir(name)]
    sources += _unreadable_on_the_way(path)
    if not sources:
        raise ValueError(f"No images to read: no file that matches {path} is an image.")
    return sources


def _unreadable_on_the_way(pattern):
    """Returns the folders that `glob` had to search for a pattern and skipped silently."""
    fixed = _fixed_part(pattern)
    parents = [parent for parent in pattern.parents if parent.is_relative_to(fixed)]
    searched = {Path(name) for parent in parents for name in glob.glob(str(parent), recursive=True)}
    return sorted(path for path in searched if os.path.isdir(path) and unreadable_folder(path))


def _fixed_part(pattern):
    parts = pattern.parts
    return Path(*parts[: next(i for i, part in enumerate(parts) if glob.has_magic(part))])


def _into_folder(path, folder):
    if _is_pattern(path):
        root, sources = _fixed_part(path), _matches(path)
    elif os.path.isdir(path):
        root, sources = path, find_entries(path)
    else:
        return [(path, folder / ("stdin" if is_input_stream(path) else path.name))]
    return [(source, _place(source, root, folder)) for source in _outside(sources, folder, root)]


def _place(source, root, folder):
    place = folder / source.relative_to(root)
    return place / source.name if os.path.isdir(source) else place  # a stand-in for an unlistable folder's files


def _outside(sources, folder, root):
    """Excludes files in the output folder, which an earlier run may have made, if that lies within the input."""
    return [source for source in sources if folder == root or not source.is_relative_to(folder)]


def _renamed(pairs, suffix, named):
    if not suffix:
        return pairs
    if any(separator and separator in suffix for separator in (os.sep, os.altsep, "\0")):
        raise ValueError(f"`suffix` is added to names and must not contain a separator. Received: suffix={suffix!r}.")
    name = Path(f"a{suffix}")
    kind = name.suffix if _is_file_name(name) else ""
    if kind and kind.lower() not in SUFFIXES:
        raise ValueError(f"Cannot write *{kind}: its suffix must be one of {', '.join(SUFFIXES)}.")
    text = name.name.removesuffix(kind)[1:]
    renamed = [(source, target.with_name(f"{target.stem}{text}{kind or target.suffix}")) for source, target in pairs]
    made = {target for source, target in renamed if target != source}
    # In one folder, a file that an earlier run made of the images there is not a source, unless the caller named it.
    return [(source, target) for source, target in renamed if not text or source in named or source not in made]


def _check_pairs(pairs, may_exist):
    if not pairs:
        raise ValueError("No image to read: all images lie in the output folder. Name another output.")
    repeated = [target for target, count in Counter(target for _, target in pairs).items() if count > 1]
    if repeated:
        sources = ", ".join(str(source) for source, target in pairs if target == repeated[0])
        raise ValueError(f"Several inputs would become {repeated[0]}: {sources}. Upscale them separately.")
    _check_some_source(pairs)
    taken = {os.path.realpath(source) for source, _ in pairs}
    for source, target in pairs:
        if is_stdout(target) or os.path.isdir(source):
            continue
        if _is_same_file(source, target):
            raise ValueError(f"{target} would overwrite its own source. Name another output.")
        if os.path.realpath(target) in taken:
            raise ValueError(f"{target}, made of {source}, would overwrite another input. Name another output.")
        if os.path.isdir(target):
            raise ValueError(f"Cannot write {target}: it is a folder.")
        if os.path.exists(target) and not may_exist:
            raise ValueError(f"{target} already exists. Name another output, or pass --overwrite or --skip-existing.")


def _check_some_source(pairs):
    """Rejects a request that cannot succeed, before a model is loaded."""
    problems = []
    for source, _ in pairs:
        if is_input_stream(source) or os.path.isfile(source):
            return
        found = unreadable_folder(source) if os.path.isdir(source) else why_not_a_file(source)
        problems.append(f"{source} does not exist" if found is None else f"{source}: {found}")
    others = f", nor the {len(problems) - 1} others" if len(problems) > 1 else ""
    raise ValueError(f"No image to read: {problems[0]}{others}.")


def _is_same_file(source, target):
    try:
        return os.path.samefile(source, target)
    except OSError:  # one is missing, or cannot be reached
        return False
