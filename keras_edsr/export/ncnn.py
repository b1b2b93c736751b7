"""A folder with a model of ncnn, for ncnn itself and for the programs built on Real-ESRGAN-ncnn-vulkan."""

import os
from pathlib import Path

import keras

from ..runtimes.ncnn import is_installed
from ..runtimes.ncnn_format import is_ncnn, ncnn_files, ncnn_networks
from .model import in_float32, network_of
from .target import whole_target
from .verify import check_export

# Winograd's sums are 1e-3 of a gray level off, which may round to the next one.
_TOLERANCE = 1


def export_ncnn(model: keras.Model, folder: str | os.PathLike, *, overwrite: bool = False) -> Path:
    """Writes a model as a folder of ncnn's files, runs it again in a new process by ncnn, and compares.

    For each scale `NAME-x2.param`, `.bin` and `.json`, where NAME is the folder's. The blobs are `data` and `output`,
    RGB planes in [0, 1]: `realesrgan-ncnn-vulkan -m FOLDER -n NAME-x2 -s 2` runs them. That and Upscayl, which takes
    the folder for its custom models, need neither the JSON nor keras_edsr; the program wants `models` in FOLDER. The
    JSON has the halo, by which `upscale` knows the tiles it needs.

    Args:
        model: An `EDSR`, an `MDSR` or a branch of one.
        folder: Path of the folder, which is made.
        overwrite: Whether a folder that is already there may be replaced, if it holds a model of ncnn.

    Returns:
        The folder's path.

    Raises:
        ValueError: If ncnn is not installed, the target exists or cannot be written, or what was written differs from
            the model; one line. Nothing is left then.
    """
    target = Path(folder)
    network, arrays = network_of(model)
    if not is_installed():
        raise ValueError("A model of ncnn is run again when it is written: pip install 'keras-edsr[ncnn]'")
    with whole_target(target, overwrite, is_ncnn) as part:
        part.mkdir()
        for name, content in ncnn_files(ncnn_networks(network, arrays), _stem(target, network.scales)).items():
            (part / name).write_bytes(content)
        check_export(part, in_float32(model), tolerance=_TOLERANCE)
    return target


def _stem(folder, scales):
    """What the files' names begin with: of `photo-x2` for x2 alone `photo`, since the scale is put after it."""
    name = folder.resolve().name
    return name.removesuffix(f"-x{scales[0]}") if len(scales) == 1 else name
