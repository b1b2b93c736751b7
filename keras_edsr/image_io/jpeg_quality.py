"""How much a JPEG was compressed, from the quantization tables in its header."""

import os

import numpy as np
from PIL import Image

from ..files import open_file

# ITU-T T.81, table K.1: the luma steps that libjpeg calls quality 50, row by row.
_LUMA_50 = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
_LARGEST_STEP = 255
# What is seen is lost at the low frequencies: where a program's table has another shape, these decide.
_WEIGHTS = 1.0 / (1 + np.add.outer(np.arange(8), np.arange(8))) ** 2


def jpeg_quality(path: str | os.PathLike) -> int | None:
    """Estimates the quality at which a JPEG was saved, on libjpeg's scale of 1 to 100.

    It is the quality whose luma table is nearest to the file's. Of a program with tables of its own, such as a camera,
    that is the quality of libjpeg that takes about as much away.

    Args:
        path: Path of any file; its content counts, not its suffix.

    Returns:
        The quality; None if the file is not a JPEG, or cannot be read.
    """
    try:
        with open_file(path) as file, Image.open(file, formats=("JPEG", "MPO")) as image:
            tables = getattr(image, "quantization", {})
            table = np.array(tables[0], float).reshape(8, 8)
    except (OSError, ValueError, KeyError, SyntaxError, Image.DecompressionBombError):
        return None
    # Pixels are lost by the ratio of steps, so that is what is compared: a step of 2 for 1 is as much as 20 for 10.
    distances = [np.sum(_WEIGHTS * np.abs(np.log(table / _luma_table(quality)))) for quality in range(1, 101)]
    return 1 + int(np.argmin(distances))


def _luma_table(quality: int) -> np.ndarray:
    """The table of libjpeg's jpeg_set_quality."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((_LUMA_50 * percent + 50) // 100, 1, _LARGEST_STEP)
