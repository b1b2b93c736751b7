"""Writes a run's scalars and pictures of the validation images for TensorBoard."""

import io
import os
import socket
import time
from pathlib import Path

import numpy as np
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_FLOAT, DT_STRING
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.scalar import metadata as scalar_metadata
from tensorboard.summary.writer.record_writer import RecordWriter

from .._imresize import imresize

PICTURES = 4  # validation images at each scale; more would make the log files large
SIDE = 64  # LR pixels of a picture's side
BLOCK = 16  # HR pixels: step of the grid on which the place is searched


class Board:
    """Writes the scalars and pictures of each epoch under `logs`; creates the files with the first epoch.

    The files are those of `tf.summary`, written without TensorFlow.

    Args:
        logs: Folder for `tensorboard --logdir`.
    """

    def __init__(self, logs: Path):
        self._logs = logs
        self._path: Path | None = None

    def write(self, row: dict[str, float], images_per_second: float, pictures: dict[str, np.ndarray]) -> None:
        """Writes one epoch.

        Args:
            row: Values by name; "step" is their step.
            images_per_second: Patches per second of training.
            pictures: Arrays, uint8 `(h, w, 3)`, by name.

        Raises:
            OSError: If the files cannot be written.
        """
        scalars = {**row, "images_per_second": images_per_second}
        step = int(scalars.pop("step"))
        values = [
            *(_scalar(name, value) for name, value in scalars.items()),
            *(_picture(_in_utf8(name), picture) for name, picture in pictures.items()),
        ]
        events = [Event(wall_time=time.time(), step=step, summary=Summary(value=[value])) for value in values]
        if self._path is None:
            self._logs.mkdir(parents=True, exist_ok=True)
            name = f"events.out.tfevents.{time.time_ns():020d}.{socket.gethostname()}.{os.getpid()}.v2"
            self._path = self._logs / name
            events.insert(0, Event(wall_time=time.time(), file_version="brain.Event:2"))
        with self._path.open("ab") as file:
            writer = RecordWriter(file)
            for event in events:
                writer.write(event.SerializeToString())


def _scalar(name, value):
    tensor = TensorProto(dtype=DT_FLOAT, float_val=[value], tensor_shape=TensorShapeProto())
    metadata = scalar_metadata.create_summary_metadata(display_name="", description="")
    return Summary.Value(tag=name, tensor=tensor, metadata=metadata)


def _picture(name, picture):
    file = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(file, "PNG")
    height, width = picture.shape[:2]
    strings = [str(width).encode(), str(height).encode(), file.getvalue()]
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=len(strings))])
    tensor = TensorProto(dtype=DT_STRING, string_val=strings, tensor_shape=shape)
    metadata = image_metadata.create_summary_metadata(display_name="", description="", converted_to_tensor=True)
    return Summary.Value(tag=name, tensor=tensor, metadata=metadata)


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
