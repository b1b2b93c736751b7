"""Finds which file of one folder belongs to which file of another."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..image_io import find_images


def match_images(hr_paths: Sequence[str | os.PathLike], folder: str | os.PathLike, scale: int) -> list[Path]:
    """Finds the LR or SR image of every HR image in a folder.

    A file belongs to `0801.png` at scale 2 if it has the same stem, or one of the usual names: `0801x2` (DIV2K),
    `0801_x2`, `0801_LR`, `0801_LR_x2`, `0801_x2_LR`, `0801_LRBI_x2`, `0801_SR` and so on. The HR file itself may be
    `0801_HR` or `0801_x2_HR`. Suffixes may differ. The function ignores folders of other scales, such as `X3` or
    `LR_bicubic_X3`. If several folders of the tree have a stem, the file in folders of the same names counts.

    Args:
        hr_paths: Paths of the HR images.
        folder: Folder to search with its subfolders.
        scale: Integer, scale of the files in `folder`.

    Returns:
        Paths in `folder`, one for each of `hr_paths`, in their order; all different.

    Raises:
        ValueError: If an HR image has no such file, or several, or shares one with another. The message names the
            files.
    """
    hr_files = [Path(path) for path in hr_paths]
    taken = {path.resolve() for path in hr_files}  # one folder may hold both HR and LR
    root = Path(folder)
    files = [
        path
        for path in find_images(root)
        if _fits_scale(path.relative_to(root).parts[:-1], scale) and path.resolve() not in taken
    ]
    index = _Index(root, files, scale)
    matches = [index.find(path) for path in hr_files]
    _check_distinct(hr_files, matches, scale)
    return matches


class _Index:
    """The images of a folder by their stem, and by their stem without the marks of scale and kind."""

    def __init__(self, root: Path, files: Iterable[Path], scale: int) -> None:
        self.root = root
        self.scale = scale
        self.by_stem: dict[str, list[Path]] = defaultdict(list)
        self.by_base: dict[str, list[Path]] = defaultdict(list)
        for path in files:
            self.by_stem[path.stem].append(path)
            self.by_base[_without_marks(path.stem, scale, "LRBI|LRBD|LR|SR")].append(path)

    def find(self, hr_path: Path) -> Path:
        """Returns the one file that belongs to an HR image, or raises ValueError."""
        base = _without_marks(hr_path.stem, self.scale, "HR")
        same, similar = self.by_stem.get(hr_path.stem, []), self.by_base.get(base, [])
        # A benchmark's folder holds HR and LR together: `bird_HR` is not the LR image beside `bird_LR`.
        found = (similar or same) if _is_called_hr(hr_path.stem) else (same or similar)
        if not found:
            raise ValueError(
                f"No image in {self.root} belongs to {hr_path} at scale {self.scale}. Expected "
                f"{hr_path.stem}, {base}x{self.scale}, {base}_LR_x{self.scale} or a similar name."
            )
        nearest = self._nearest(hr_path, found)
        if len(nearest) > 1:
            names = " or ".join(str(path) for path in nearest)
            raise ValueError(f"Several images could belong to {hr_path} at scale {self.scale}: {names}.")
        return nearest[0]

    def _nearest(self, hr_path: Path, found: list[Path]) -> list[Path]:
        if len(found) == 1:
            return found
        best = max(self._shared_folders(hr_path, path) for path in found)
        return [path for path in found if self._shared_folders(hr_path, path) == best]

    def _shared_folders(self, hr_path: Path, path: Path) -> int:
        """Returns how many folders of the tree have the same names for both files; -1 if other folders lead to one."""
        parts = path.relative_to(self.root).parts[:-1]
        folders = [part for part in parts if _scale_of_folder(part) is None]
        same = not folders or list(hr_path.parent.parts[-len(folders) :]) == folders
        return len(folders) if same else -1


def _without_marks(stem: str, scale: int, kinds: str) -> str:
    """Strips the marks of scale and kind from the end of a stem: `0801x2`, `bird_x2_LR`."""
    mark = rf"(?:[_-]?x{scale}|[_-](?:{kinds}))"
    return re.sub(rf"(?<=.){mark}+$", "", stem, flags=re.IGNORECASE)


def _is_called_hr(stem: str) -> bool:
    return re.search(r"[_-]HR(?:[_-]?x\d+)?$", stem, flags=re.IGNORECASE) is not None


def _fits_scale(folders: Iterable[str], scale: int) -> bool:
    return all(_scale_of_folder(name) in (None, scale) for name in folders)


def _scale_of_folder(name: str) -> int | None:
    """Reads the scale from a folder's name: `X2`, `x4`, `LR_bicubic_X3`, `LRx2`; None without a scale."""
    found = re.search(r"(?:^|[_-]|LR)x(\d+)$", name, flags=re.IGNORECASE)
    return int(found[1]) if found else None


def _check_distinct(hr_files: Sequence[Path], matches: Sequence[Path], scale: int) -> None:
    owners: dict[Path, Path] = {}
    for hr_path, path in zip(hr_files, matches, strict=True):
        other = owners.setdefault(path, hr_path)
        if other is not hr_path:
            raise ValueError(f"{path} belongs to both {other} and {hr_path} at scale {scale}.")
