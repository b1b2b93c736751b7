"""DIV2K: from TensorFlow Datasets, the zips as they were published, or the unpacked folders."""

import contextlib
import hashlib
import io
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..image_io import find_images
from ..machine import cache_folder
from .degradation import BICUBIC, Degradation
from .pairs import HR, EncodedImage, ImagePairs, Reader
from .patches import pair_dataset
from .sampler import check_scales
from .sources import match_images

if TYPE_CHECKING:
    import tensorflow as tf

# The published LR images and their scales.
_TRACKS = {
    BICUBIC: (2, 3, 4, 8),
    "unknown": (2, 3, 4),
    "mild": (4,),
    "difficult": (4,),
    "wild": (4,),
}
# NTIRE 2018's tracks; their files have a letter behind the scale, as in 0001x4m.png.
_REALISTIC = {"mild": "m", "difficult": "d", "wild": "w"}
_TREE_SPLITS = {"train": "train", "validation": "valid", "valid": "valid"}


def div2k(
    scale: int | Sequence[int],
    split: str = "train",
    data_dir: str | os.PathLike | None = None,
    *,
    degradation: "str | os.PathLike | Degradation" = BICUBIC,
    download: bool = False,
    manual_dir: str | os.PathLike | None = None,
    patch_size: int | None = 48,
    batch_size: int = 16,
    augment: bool = True,
    seed: int = 0,
    start_step: int = 0,
    steps: int | None = None,
    channels: int = 3,
    cache_dir: str | os.PathLike | None = None,
    max_ram_bytes: int | None = None,
    weights: Sequence[float] | None = None,
) -> "tf.data.Dataset":
    """Makes a dataset of (lr, hr) from DIV2K, which the paper trained on.

    Args:
        scale: 2, 3, 4 or 8; or several, for MDSR: then each batch has one of them, drawn as
            `ScaleBatchSampler` describes.
        split: `"train"` (0001 to 0800) or `"validation"` (0801 to 0900); of a prepared dataset also
            a part, such as `"train[:10%]"`, in TFDS's order.
        data_dir: Where DIV2K lies: the folder that holds `DIV2K_train_HR`,
            `DIV2K_train_LR_bicubic/X2` and so on; or TFDS's folder. Defaults to TFDS's own.
        degradation: Which published LR images: `"bicubic"`, `"unknown"` (scales 2, 3, 4), or `"mild"`, `"difficult"`,
            `"wild"` (scale 4; four LR images of an HR image in the last one's training set). If the folders hold no
            bicubic LR images, they are made from the HR: `imresize` gives the same. Or how LR images are made, as in
            `image_pairs`: `"photo"` and so on.
        download: Whether DIV2K may be downloaded if it is not there: 4 GB and more for a scale.
        manual_dir: Folder with the published zips under their own names, such as
            `DIV2K_train_HR.zip`: the dataset is prepared from them, with no network.
        patch_size: As in `image_pairs`; so are all other arguments.
        batch_size: See `image_pairs`.
        augment: See `image_pairs`.
        seed: See `image_pairs`.
        start_step: See `image_pairs`.
        steps: See `image_pairs`.
        channels: See `image_pairs`.
        cache_dir: See `image_pairs`.
        max_ram_bytes: See `image_pairs`. Decoded, DIV2K's training images at one scale take 8 GB.
        weights: See `image_pairs`.

    Returns:
        Dataset of (lr, hr), as `image_pairs` returns.

    Raises:
        ValueError: If DIV2K is not there and may not be downloaded, and what to do; or as
            `image_pairs`.

    Example:
        >>> train = div2k(2, data_dir="DIV2K")
        >>> validation = div2k(2, "validation", data_dir="DIV2K", patch_size=None)
        >>> model.fit(train, steps_per_epoch=1000, epochs=300, validation_data=validation)
    """
    pairs = div2k_pairs(
        scale,
        split,
        data_dir,
        degradation=degradation,
        download=download,
        manual_dir=manual_dir,
        channels=channels,
        cache_dir=cache_dir,
        max_ram_bytes=max_ram_bytes,
        seed=seed,
    )
    return pair_dataset(
        pairs,
        patch_size=patch_size,
        batch_size=batch_size,
        augment=augment,
        seed=seed,
        start_step=start_step,
        steps=steps,
        weights=weights,
    )


def div2k_pairs(
    scales: int | Sequence[int],
    split: str = "train",
    data_dir: str | os.PathLike | None = None,
    *,
    degradation: "str | os.PathLike | Degradation" = BICUBIC,
    download: bool = False,
    manual_dir: str | os.PathLike | None = None,
    channels: int = 3,
    cache_dir: str | os.PathLike | None = None,
    max_ram_bytes: int | None = None,
    seed: int = 0,
) -> ImagePairs:
    """Reads DIV2K as whole images; `div2k` tells the arguments.

    The files of a folder keep their names (`DIV2K_valid_HR/0801.png`). TFDS keeps neither names nor
    order: there an image is called by its place in the prepared dataset (`0000`), which is not its
    number in DIV2K, and the LR images of several scales are joined by the content of their HR image.

    Returns:
        The images, at all the scales.

    Raises:
        ValueError: As `div2k`.
    """
    scales = check_scales(scales)
    made = None if is_track(degradation) else _load(degradation)
    track = BICUBIC if made else str(degradation)
    if not set(scales) <= set(_TRACKS[track]):
        raise ValueError(f"DIV2K has degradation {track!r} at scales {_TRACKS[track]}. Received: {scales}.")
    tree = _find_tree(data_dir)
    if tree is not None:
        paths = _tree_paths(tree, split, () if made else scales, track)
        return ImagePairs.from_paths(paths, scales, tree, channels, cache_dir, max_ram_bytes, made, seed)
    config = f"realistic_{track}" if track in _REALISTIC else track
    builders = {s: _prepared(f"{config}_x{s}", data_dir, download, manual_dir) for s in scales}
    records = _Records(builders, "validation" if split == "valid" else split)
    reader = Reader(channels, (), cache_folder(cache_dir))
    arrays = reader.read(records, () if made else scales, max_ram_bytes)
    origin = f"div2k/{made.name if made else track} {split}"
    return ImagePairs.from_arrays(records.names, arrays, scales, origin, made, seed)


def _load(degradation: "str | os.PathLike | Degradation") -> Degradation:
    try:
        return Degradation.load(degradation)
    except ValueError as error:
        raise ValueError(f"`degradation` must be one of DIV2K's, {tuple(_TRACKS)}, or another. {error}") from error


def is_track(degradation: Any) -> bool:
    """Whether that is the name of LR images that were published with DIV2K."""
    return isinstance(degradation, str) and degradation in _TRACKS


def _find_tree(data_dir: str | os.PathLike | None) -> Path | None:
    """Returns the folder that holds `DIV2K_train_HR` or `DIV2K_valid_HR`, if there is one."""
    if data_dir is None:
        return None
    for root in (Path(data_dir), Path(data_dir, "DIV2K")):
        if any((root / f"DIV2K_{split}_HR").is_dir() for split in _TREE_SPLITS.values()):
            return root
    return None


def _tree_paths(root: Path, split: str, scales: Sequence[int], degradation: str) -> dict[int, list[Path]]:
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
        elif degradation != BICUBIC:  # bicubic ones are made
            raise ValueError(f"DIV2K's LR images for scale {scale} are missing: {folders[0]}.")
    return paths


def _realistic_paths(hr_paths: Sequence[Path], folder: Path, degradation: str) -> dict[int, list[Path]]:
    """The paths of NTIRE 2018's tracks, which have but one scale; an HR image comes once for each of its LR images."""
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
                f"No image in {folder} belongs to {hr_path}: looked for "
                f"{hr_path.stem}x{scale}{_REALISTIC[degradation]} and the like."
            )
        for path in lr_paths[hr_path.stem]:
            paths[HR].append(hr_path)
            paths[scale].append(path)
    return paths


class _Records:
    """The examples of prepared datasets as files, their bytes as they were published."""

    def __init__(self, builders: Mapping[int, Any], split: str) -> None:
        self.builders = builders
        self.split = split
        self.names: list[str] = []

    def __call__(self, kinds: Sequence[int]) -> Iterator[EncodedImage]:
        """Gives the images of these scales; HR images come with the first scale's LR images."""
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
        # A part of a split holds other images at another scale, where the order is another.
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
    """Returns the TFDS builder of a config, prepared, or tells how to prepare it."""
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
    with contextlib.redirect_stdout(sys.stderr):  # the builder prints; stdout is for results
        try:
            builder.download_and_prepare(download_config=options)
        except Exception as error:
            if type(error).__name__ != "NonMatchingChecksumError":  # its module is private
                raise
            raise ValueError(f"A zip of DIV2K is not as it was published: {_one_line(error)}") from error
    return builder


@contextlib.contextmanager
def _quiet_absl() -> Iterator[None]:
    """Keeps TFDS from warning that what is not prepared is not there: we tell it better."""
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
