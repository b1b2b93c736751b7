"""DIV2K: from TensorFlow Datasets, the published zips, or the unpacked folders."""

import contextlib
import hashlib
import io
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..image_io import find_images
from .degradation import BICUBIC, Degradation
from .reader import HR, EncodedImage
from .sources import match_images

# The published tracks of LR images and their scales.
_TRACKS = {
    BICUBIC: (2, 3, 4, 8),
    "unknown": (2, 3, 4),
    "mild": (4,),
    "difficult": (4,),
    "wild": (4,),
}
# Tracks of NTIRE 2018, whose files have a letter after the scale, as in 0001x4m.png.
_REALISTIC = {"mild": "m", "difficult": "d", "wild": "w"}
_TREE_SPLITS = {"train": "train", "validation": "valid", "valid": "valid"}


def track_of(degradation: "str | os.PathLike | Degradation", scales: Sequence[int]) -> tuple[str, Degradation | None]:
    """Returns DIV2K's track, and the degradation that makes other LR images, or None.

    Raises:
        ValueError: If it is neither a track nor a degradation, or DIV2K does not have the track at these scales.
    """
    if is_track(degradation):
        track, made = str(degradation), None
    else:
        try:
            track, made = BICUBIC, Degradation.load(degradation)
        except ValueError as error:
            raise ValueError(f"`degradation` must be one of DIV2K's, {tuple(_TRACKS)}, or another. {error}") from error
    if not set(scales) <= set(_TRACKS[track]):
        raise ValueError(f"DIV2K has degradation {track!r} at scales {_TRACKS[track]}. Received: {scales}.")
    return track, made


def prepared_records(
    scales: Sequence[int],
    split: str,
    track: str,
    data_dir: str | os.PathLike | None,
    download: bool,
    manual_dir: str | os.PathLike | None,
) -> "_Records":
    """Returns the files of the prepared dataset, for `Reader`; prepares it if necessary.

    Raises:
        ValueError: If it is not prepared and cannot be prepared.
    """
    config = f"realistic_{track}" if track in _REALISTIC else track
    builders = {scale: _prepared(f"{config}_x{scale}", data_dir, download, manual_dir) for scale in scales}
    return _Records(builders, "validation" if split == "valid" else split)


def is_track(degradation: Any) -> bool:
    """Whether `degradation` names LR images of the published DIV2K."""
    return isinstance(degradation, str) and degradation in _TRACKS


def find_tree(data_dir: str | os.PathLike | None) -> Path | None:
    """Returns the folder that contains `DIV2K_train_HR` or `DIV2K_valid_HR`, or None."""
    if data_dir is None:
        return None
    for root in (Path(data_dir), Path(data_dir, "DIV2K")):
        if any((root / f"DIV2K_{split}_HR").is_dir() for split in _TREE_SPLITS.values()):
            return root
    return None


def tree_paths(root: Path, split: str, scales: Sequence[int], degradation: str) -> dict[int, list[Path]]:
    """Returns the paths of the HR images under `HR`, and of the existing LR images under their scales.

    Raises:
        ValueError: If there is no such split, or LR images are missing.
    """
    if split not in _TREE_SPLITS:
        raise ValueError(
            f"`split` of the folders in {root} must be 'train' or 'validation'. Received: split={split!r}."
        )
    prefix = f"DIV2K_{_TREE_SPLITS[split]}"
    hr_paths = find_images(root / f"{prefix}_HR")
    if degradation in _REALISTIC and scales:
        return _realistic_paths(hr_paths, root / f"{prefix}_LR_{degradation}", degradation)
    paths = {HR: hr_paths}
    for scale in scales:
        folders = [root / f"{prefix}_LR_{degradation}" / f"X{scale}"]
        if degradation == BICUBIC:
            folders.append(root / f"{prefix}_LR_x{scale}")  # as the x8 images were published
        found = [folder for folder in folders if folder.is_dir()]
        if found:
            paths[scale] = match_images(hr_paths, found[0], scale)
        elif degradation != BICUBIC:  # missing bicubic images are made
            raise ValueError(f"DIV2K's LR images for scale {scale} are missing: {folders[0]}.")
    return paths


def _realistic_paths(hr_paths: Sequence[Path], folder: Path, degradation: str) -> dict[int, list[Path]]:
    """Returns the paths of NTIRE 2018's tracks, which have one scale; an HR image occurs once for each LR image."""
    (scale,) = _TRACKS[degradation]
    if not folder.is_dir():
        raise ValueError(f"DIV2K's LR images for scale {scale} are missing: {folder}.")
    lr_paths: dict[str, list[Path]] = {}
    for path in find_images(folder):
        if found := re.fullmatch(rf"(.+)x{scale}{_REALISTIC[degradation]}\d*", path.stem):
            lr_paths.setdefault(found[1], []).append(path)
    paths: dict[int, list[Path]] = {HR: [], scale: []}
    for hr_path in hr_paths:
        if hr_path.stem not in lr_paths:
            raise ValueError(
                f"No image in {folder} belongs to {hr_path}. Expected "
                f"{hr_path.stem}x{scale}{_REALISTIC[degradation]} or a similar name."
            )
        for path in lr_paths[hr_path.stem]:
            paths[HR].append(hr_path)
            paths[scale].append(path)
    return paths


class _Records:
    """The examples of prepared datasets as files, with their published bytes."""

    def __init__(self, builders: Mapping[int, Any], split: str) -> None:
        self.builders = builders
        self.split = split
        self.names: list[str] = []

    def __call__(self, kinds: Sequence[int]) -> Iterator[EncodedImage]:
        """Yields the images of these scales; HR images come with the first scale's LR images."""
        first, *others = self.builders
        places: dict[bytes, int] = {}
        self.names = []
        for index, example in enumerate(self._examples(first, self.split)):
            places[_digest(example["hr"])] = index
            name = f"{index:04}"
            self.names.append(name)
            yield _record(index, HR, name, example)
            if first in kinds:
                yield _record(index, first, name, example)
        # A part of a split has other images at another scale, where the order differs.
        whole_split = re.sub(r"\[[^]]*\]", "", self.split)
        for scale in others:
            for example in self._examples(scale, whole_split) if scale in kinds else ():
                place = places.get(_digest(example["hr"]))
                if place is not None:
                    yield _record(place, scale, self.names[place], example)

    def _examples(self, scale: int, split: str) -> Iterator[dict[str, Any]]:
        import tensorflow_datasets as tfds

        raw = tfds.decode.SkipDecoding()
        ds = self.builders[scale].as_dataset(
            split=split,
            decoders={"lr": raw, "hr": raw},
            read_config=tfds.ReadConfig(try_autocache=False),  # each example is read once
        )
        return iter(tfds.as_numpy(ds))


def _prepared(
    config: str,
    data_dir: str | os.PathLike | None,
    download: bool,
    manual_dir: str | os.PathLike | None,
) -> Any:
    """Returns the prepared TFDS builder of a config, or explains in an error how to prepare it."""
    import tensorflow_datasets as tfds

    with _quiet_absl():
        builder = tfds.builder(f"div2k/{config}", data_dir=data_dir)
        if builder.is_prepared():
            return builder
    zips = [url.rsplit("/", 1)[-1] for url in builder.builder_config.download_urls.values()]
    missing = [name for name in zips if manual_dir is None or not Path(manual_dir, name).is_file()]
    if missing and not download:
        raise ValueError(_how_to_prepare(config, builder.data_path, manual_dir, missing))
    options = tfds.download.DownloadConfig(manual_dir=manual_dir, try_download_gcs=download)
    with contextlib.redirect_stdout(sys.stderr):  # the builder prints to stdout, which is for results
        try:
            builder.download_and_prepare(download_config=options)
        except Exception as error:
            if type(error).__name__ != "NonMatchingChecksumError":  # its module is private
                raise
            raise ValueError(f"A zip of DIV2K differs from the published one: {_one_line(error)}") from error
    return builder


@contextlib.contextmanager
def _quiet_absl() -> Iterator[None]:
    """Suppresses TFDS's warning about an unprepared dataset: `_prepared` explains it better."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _how_to_prepare(config: str, place: Any, manual_dir: str | os.PathLike | None, missing: Sequence[str]) -> str:
    if manual_dir is not None:
        return (
            f"`manual_dir` {os.fspath(manual_dir)} lacks {', '.join(missing)}, and without "
            "download=True nothing is downloaded."
        )
    return (
        f"DIV2K is not prepared: {place} does not exist, and without download=True nothing is "
        "downloaded. If you have the unpacked images, pass as `data_dir` the folder that holds "
        f"DIV2K_train_HR; if you have {', '.join(missing)}, pass their folder as `manual_dir`."
    )


def _record(index: int, scale: int, name: str, example: Mapping[str, Any]) -> EncodedImage:
    kind = "hr" if scale == HR else "lr"
    data = example[kind]
    return EncodedImage(index, scale, f"{name} ({kind})", lambda: io.BytesIO(data))


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split("To debug")[0].split())
