"""The folder of a run, with its configuration, its checkpoint and its weights."""

import contextlib
import dataclasses
import datetime
import importlib.metadata
import json
import logging
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..files import atomic_file, is_lock, leftovers, locked, reason
from .config import TrainConfig

logger = logging.getLogger("keras_edsr")

# These change where a run ends and where it is stored, not the steps that it has taken.
_MAY_CHANGE = {"output", "steps"}


@dataclasses.dataclass
class Progress:
    """The state of a run beside its variables. The checkpoint has all of it, so a resumed run continues exactly.

    Attributes:
        step: Number of batches drawn so far, including skipped ones.
        history: One dictionary for each epoch of `checkpoint_every` steps.
        best: The best validation PSNR (dB) so far; None before the first validation.
    """

    step: int = 0
    history: list[dict] = dataclasses.field(default_factory=list)
    best: float | None = None


class RunFolder:
    """The files of a run.

    `config.json`; `starts.jsonl`, with a line for each start (command, date and versions); `checkpoint.npz` (weights,
    optimizer, metrics and progress in one file, replaced by an atomic write); `history.json`; `best.keras`;
    `last.keras`; and `logs/` for TensorBoard.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.starts = self.path / "starts.jsonl"
        self.checkpoint = self.path / "checkpoint.npz"
        self.history = self.path / "history.json"
        self.best = self.path / "best.keras"
        self.last = self.path / "last.keras"
        self.logs = self.path / "logs"

    def check(self, config: TrainConfig) -> None:
        """Checks that the folder can take the run of `config`, before anything that takes time.

        Raises:
            ValueError: If the folder contains another run or other files.
        """
        if self.config.exists():
            _check_same(TrainConfig.load(self.config), config, self.path)
        elif self.path.is_dir() and self._holds_other_files():
            raise ValueError(
                f"`output` must be a new folder or one that holds a run. Received: {self.path}, "
                "which holds other files. Name another folder."
            )
        elif self.path.exists() and not self.path.is_dir():
            raise ValueError(f"`output` must be a folder. Received: {self.path}, which is a file.")

    def held(self) -> contextlib.AbstractContextManager[None]:
        """Makes the folder, and keeps other processes from training in it until the block ends.

        Does not work on file systems without locks.

        Raises:
            ValueError: If another process trains in the folder.
        """
        message = f"Another process trains in {self.path}. Wait until it ends, or name another folder."
        return locked(self.path, message)

    def open(self, config: TrainConfig, workers: int = 1) -> None:
        """Makes the folder or reuses it, and records this start. The caller must hold the folder.

        Args:
            config: The run.
            workers: Number of processes that train it together.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        for path in leftovers(self.path):
            path.unlink(missing_ok=True)
        config.save(self.config)
        with self.starts.open("a") as file:
            file.write(json.dumps({**_this_start(), "workers": workers}) + "\n")

    def _holds_other_files(self) -> bool:
        return not all(is_lock(path) for path in set(self.path.iterdir()) - set(leftovers(self.path)))

    def save(self, arrays: dict[str, list], progress: Progress) -> None:
        """Writes the checkpoint atomically: the earlier one stays until the new one is complete."""
        values: dict[str, Any] = {
            f"{group}/{i}": np.asarray(array) for group, members in arrays.items() for i, array in enumerate(members)
        }
        values["progress"] = np.array(json.dumps(dataclasses.asdict(progress)))
        with atomic_file(self.checkpoint, sync=True) as file:
            np.savez(file, **values)
        self._save_history(progress)

    def load(self, variables: dict[str, list], mend: bool = True) -> Progress:
        """Reads the checkpoint into `variables`, the groups that the caller passed to `save`.

        Args:
            variables: Groups of variables.
            mend: Boolean, whether to write history.json again: the last process may have died before it wrote that
                file.

        Raises:
            ValueError: If there is a checkpoint that cannot be read, or one of another model.
        """
        if not self.checkpoint.exists():
            return Progress()
        progress, values = self._read()
        wanted = {f"{group}/{i}": v for group, vs in variables.items() for i, v in enumerate(vs)}
        if set(wanted) != set(values) or any(values[k].shape != wanted[k].shape for k in wanted):
            raise ValueError(f"{self.checkpoint} is of another model or recipe than its config.json.")
        for name, variable in wanted.items():
            variable.assign(values[name])
        if mend:
            self._save_history(progress)
        return progress

    def _read(self) -> tuple[Progress, dict[str, np.ndarray]]:
        try:
            with self.checkpoint.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                values = dict(arrays)
            return Progress(**json.loads(str(values.pop("progress")))), values
        except Exception as error:  # numpy, zipfile, zlib and json raise many kinds
            raise ValueError(
                f"{self.checkpoint} cannot be read: {reason(error)}. "
                "Delete it to start again from the first step, or name another folder."
            ) from error

    def _save_history(self, progress: Progress) -> None:
        with atomic_file(self.history) as file:
            file.write(json.dumps(progress.history, indent=1).encode() + b"\n")


def _this_start() -> dict:
    packages = ("keras_edsr", "keras", keras.backend.backend(), "numpy")
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def _check_same(old: TrainConfig, new: TrainConfig, path: Path) -> None:
    before, after = dataclasses.asdict(old), dataclasses.asdict(new)
    may_change = _MAY_CHANGE if new.schedule == "halving" else _MAY_CHANGE - {"steps"}
    changed = [
        f"{name} {before[name]} -> {after[name]}"
        for name in before
        if name not in may_change and before[name] != after[name]
    ]
    if changed:
        raise ValueError(
            f"`output` holds a run with other settings: {path}. Changed: {', '.join(changed)}. "
            "Pass the same settings to resume it, or name another folder."
        )
