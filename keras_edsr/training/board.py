"""Writes a run's scalars and pictures of the validation images for TensorBoard."""

import os
from pathlib import Path

import numpy as np
import tensorflow as tf

from .._imresize import imresize

PICTURES = 4  # validation images at each scale; more would make the log files large
SIDE = 64  # LR pixels of a picture's side
BLOCK = 16  # HR pixels: step of the grid on which the place is searched


class Board:
    """Writes the scalars and pictures of each epoch under `logs`; creates the files with the first epoch.

    Args:
        logs: Folder for `tensorboard --logdir`.
    """

    def __init__(self, logs: Path):
        self._logs = logs
        self._writer: tf.summary.SummaryWriter | None = None

    def write(self, row: dict[str, float], images_per_second: float, pictures: dict[str, np.ndarray]) -> None:
        """Writes one epoch.

        Args:
            row: Values by name; "step" is their step.
            images_per_second: Patches per second of training.
            pictures: Arrays, uint8 `(h, w, 3)`, by name.

        Raises:
            OSError: If the files cannot be written.
        """
        try:
            self._write(row, images_per_second, pictures)
        except tf.errors.OpError as error:
            raise OSError(f"{self._logs} cannot be written: {error.message}") from error

    def _write(self, row, images_per_second, pictures):
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(os.fsencode(self._logs))  # the path may not be UTF-8
        scalars = {**row, "images_per_second": images_per_second}
        step = scalars.pop("step")
        with self._writer.as_default(step=step):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)
            for name, picture in pictures.items():
                tf.summary.image(_in_utf8(name), picture[None])
        self._writer.flush()


def _in_utf8(name: str) -> str:
    """Escapes the bytes of a file's name that are not UTF-8, so that TensorBoard shows it."""
    return name.encode("utf-8", "backslashreplace").decode()


def comparison(lr: np.ndarray, sr: np.ndarray, hr: np.ndarray) -> np.ndarray:
    """Returns LR, bicubic, SR, HR and |SR - HR| side by side, at the place with the largest bicubic error.

    The place depends only on `lr` and `hr`, so it is the same in each epoch. The error is multiplied by four.

    Args:
        lr: Array, uint8 `(h, w, c)`.
        sr: Array, uint8, of `scale` times the size of `lr`.
        hr: Array, uint8, of `scale` times the size of `lr`.

    Returns:
        Array, uint8 `(side, 5 * side, c)`, with a side of at most `SIDE * scale`.
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
