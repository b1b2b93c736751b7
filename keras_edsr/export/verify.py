"""Whether an export does what the model does: written, read again by a fresh process, run on a photograph, compared."""

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..inference import upscale
from ..runtimes import open_runtime
from ..scores import MAX_PSNR, psnr

logger = logging.getLogger("keras_edsr")

# 64x48 pixels of examples/images/test/astronaut.png, from (120, 366) on: NASA, public domain. It has text, fine lines,
# black, white and strong colors, and values from 2 to 255, at which a network overshoots.
PHOTO = Path(__file__).with_name("photo.png")
_RERUN = Path(__file__).with_name("rerun.py")


class Difference(NamedTuple):
    """Between what an export made and what the model made, in 8 bits.

    Attributes:
        largest: Gray levels.
        psnr: dB, over all channels, no border left out; `MAX_PSNR` of equal images.
    """

    largest: int
    psnr: float


def check_export(
    path: str | os.PathLike,
    model: keras.Model,
    *,
    tolerance: int = 0,
    min_psnr: float | None = None,
    self_ensemble: bool = False,
    size: tuple[int, int] | None = None,
    signatures: Sequence[str] = (),
) -> dict[int, Difference]:
    """Runs an export in a fresh process, on the CPU, and compares it with the model, at every scale that it has.

    Args:
        path: Path of what was written; `open_runtime` must be able to open it.
        model: The `EDSR`, `MDSR` or branch that it was made of.
        tolerance: The most gray levels that a value of the uint8 result may be off.
        min_psnr: Instead of `tolerance`: the least PSNR in dB, for what is rounded on purpose.
        self_ensemble: Whether the export averages the eight flips and rotations by itself.
        size: Height and width in LR pixels, for an export that takes no other; None for the photograph's.
        signatures: Of a SavedModel: the name of the uint8 signature for each scale of the model. These are run as well,
            where neither keras nor keras_edsr can be imported.

    Returns:
        The difference at each scale, the larger one where there were two.

    Raises:
        ValueError: If it cannot be run, or differs by more; one line with the figures.
    """
    photo = read_photo(model.image_shape[-1], size)
    reference = open_runtime(model, "tensorflow", "cpu")
    differences = {}
    with tempfile.TemporaryDirectory() as work:
        _run_again(Path(work), path, photo, reference.scales, signatures)
        for scale in reference.scales:
            expected = upscale(reference, photo, scale, tile_size=None, self_ensemble=self_ensemble)
            found = [_difference(np.load(file), expected) for file in Path(work).glob(f"*x{scale}.npy")]
            differences[scale] = Difference(max(d.largest for d in found), min(d.psnr for d in found))
    for scale, difference in differences.items():
        _check(scale, difference, tolerance, min_psnr)
    return differences


def read_photo(channels: int = 3, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """The photograph that exports are tried on: uint8 `(48, 64, channels)`, or of the height and width in `size`.

    A larger size mirrors it; where there are not three channels, they are taken in turn.
    """
    photo = np.array(Image.open(PHOTO))
    if size is not None:
        margins = [(0, max(0, wanted - side)) for wanted, side in zip(size, photo.shape[:2], strict=True)]
        photo = np.pad(photo, [*margins, (0, 0)], mode="symmetric")[: size[0], : size[1]]
    return np.ascontiguousarray(photo[..., [i % 3 for i in range(channels)]])


def _run_again(work, path, photo, scales, signatures):
    job = {
        "path": os.path.abspath(path),
        "scales": scales,
        "signatures": list(signatures),
        "sys_path": [os.path.abspath(entry) for entry in sys.path],
    }
    (work / "job.json").write_text(json.dumps(job))
    np.save(work / "photo.npy", photo)
    # This process may have all of a GPU's memory.
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    # -P: this folder's modules, such as onnx, must not hide the packages of that name.
    command = [sys.executable, "-P", str(_RERUN), str(work)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise ValueError(f"The export cannot be run in a new process: {lines[-1].rstrip('.')}. Nothing was kept.")


def _difference(found, expected):
    if found.shape != expected.shape:
        raise ValueError(
            f"The export differs from the model: it makes {found.shape}, the model {expected.shape}. Nothing was kept."
        )
    largest = np.abs(np.subtract(found, expected, dtype=np.int64)).max()
    return Difference(int(largest), min(MAX_PSNR, psnr(found, expected)))


def _check(scale, difference, tolerance, min_psnr):
    figures = f"up to {difference.largest} gray levels, PSNR {difference.psnr:.2f} dB"
    allowed = f"no more than {tolerance} gray levels" if min_psnr is None else f"no less than {min_psnr} dB"
    passes = difference.largest <= tolerance if min_psnr is None else difference.psnr >= min_psnr
    if not passes:
        raise ValueError(
            f"The export differs from the model at x{scale}: {figures}; {allowed} may be. Nothing was kept."
        )
    off = f"{figures} from the model's" if difference.largest else "equal to the model's"
    logger.info("x%d, of a photograph, run again in a new process: %s.", scale, off)
