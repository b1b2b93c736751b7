"""What TensorBoard shows of a run: scalars, and pictures of the validation images."""

import os
from pathlib import Path

import numpy as np
import tensorflow as tf

from ..imresize import imresize

PICTURES = 4  # validation images at each scale; more would make the log files large
SIDE = 64  # LR pixels of a picture's side
BLOCK = 16  # HR pixels: the place is sought on a grid as coarse as this


class Board:
    """Writes the scalars and pictures of each epoch under `logs`; opened when there is something to write.

    Args:
        logs: Folder for `tensorboard --logdir`.
    """

    def __init__(self, logs: Path):
        self._logs = logs
        self._writer: tf.summary.SummaryWriter | None = None

    def write(self, row: dict[str, float], images_per_second: float, pictures: dict[str, np.ndarray]) -> None:
        """Writes one epoch.

        Args:
            row: Values by name; "step" is where they belong.
            images_per_second: Patches trained a second.
            pictures: uint8 `(h, w, 3)` by name.

        Raises:
            OSError: The files cannot be written.
        """
        try:
            self._write(row, images_per_second, pictures)
        except tf.errors.OpError as error:
            raise OSError(f"{self._logs} cannot be written: {error.message}") from error

    def _write(self, row, images_per_second, pictures):
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(os.fsencode(self._logs))  # bytes: it need not be UTF-8
        scalars = {**row, "images_per_second": images_per_second}
        step = scalars.pop("step")
        with self._writer.as_default(step=step):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)
            for name, picture in pictures.items():
                tf.summary.image(_in_utf8(name), picture[None])
        self._writer.flush()


def _in_utf8(name: str) -> str:
    """A file's name as TensorBoard can show it: bytes that are not UTF-8 are escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


def comparison(lr: np.ndarray, sr: np.ndarray, hr: np.ndarray) -> np.ndarray:
    """Returns LR, bicubic, SR, HR and |SR - HR| side by side, at the place that bicubic fails most.

    The place depends on `lr` and `hr` alone, so it is the same in each epoch. The error is shown four times as large.

    Args:
        lr: uint8 `(h, w, c)`, as are the others.
        sr: At the scale times its size.
        hr: At the scale times its size.

    Returns:
        uint8 `(side, 5 * side, c)`, side at most `SIDE * scale`.
    """
    scale = hr.shape[0] // lr.shape[0]
    bicubic = imresize(lr, scale)
    enlarged = lr.repeat(scale, axis=0).repeat(scale, axis=1)
    error = np.abs(sr.astype(int) - hr) * 4
    panels = [enlarged, bicubic, sr, hr, error.clip(0, 255).astype(np.uint8)]
    top, left = _worst_place(np.abs(bicubic.astype(int) - hr).mean(axis=-1), SIDE * scale)
    window = slice(top, top + SIDE * scale), slice(left, left + SIDE * scale)
    return np.concatenate([panel[window] for panel in panels], axis=1)


def _worst_place(error: np.ndarray, side: int) -> tuple[int, int]:
    """Returns the corner of the window of `side` pixels with the largest sum, to within `BLOCK` pixels."""
    corners = [
        (top, left)
        for top in range(0, max(1, error.shape[0] - side + 1), BLOCK)
        for left in range(0, max(1, error.shape[1] - side + 1), BLOCK)
    ]
    return max(corners, key=lambda at: error[at[0] : at[0] + side, at[1] : at[1] + side].sum())
