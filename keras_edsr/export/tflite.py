"""A .tflite file for phones: float32, float16, dynamic-range or 8 bits, of any or of one size."""

import contextlib
import logging
import numbers
import os
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..image_ops import PEAK
from ..network import About
from ..network.about import KEY
from ..runtimes.tflite import is_installed
from ..trainer.scales_base import branch_functions
from .int8 import balanced, calibration_crops, find_ranges, rounded_network
from .model import in_float32, network_of
from .target import whole_target
from .verify import check_export

QUANTIZE = (None, "float16", "dynamic", "int8")

# What the result may be off on a photograph: gray levels, or dB where much is rounded. edsr_compact_x2 has 54 dB by
# dynamic range and 49 dB in 8 bits.
_ALLOWED: dict[str | None, dict[str, Any]] = {
    None: {"tolerance": 1},
    "float16": {"tolerance": 2},
    "dynamic": {"min_psnr": 38.0},
    "int8": {"min_psnr": 35.0},
}

logger = logging.getLogger("keras_edsr")


def export_tflite(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    quantize: str | None = None,
    calibration: str | os.PathLike | None = None,
    input_size: int | tuple[int, int] | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes a model as a .tflite file, runs it again in a new process by LiteRT, and compares.

    There is a signature for each scale, `x2`, …, from `lr`, `(1, height, width, channels)`, RGB in 0..255, to `sr`,
    `(1, scale * height, scale * width, channels)`, clipped to 0..255. Only built-in operations are used. An MDSR has
    all its signatures in one file, in which they share the body's weights.

    The file's metadata has the scales and the halo, by which `upscale` knows the tiles it needs.

    Args:
        model: An `EDSR`, an `MDSR` or a branch of one.
        path: Path of the file, ending in .tflite.
        quantize: None for float32. "float16" and "dynamic" have smaller weights, of 16 and 8 bits, and float32 in and
            out. "int8" computes in whole numbers; in and out are uint8, the pixels as they are.
        calibration: Path of a folder of images like those to be upscaled, for "int8" alone: the ranges of what is in
            the network are taken from the middle of up to 64 of them.
        input_size: Height and width of the only images that the file takes, or one integer for both, as some
            accelerators need it; None for any size. `upscale` covers larger images by windows of this size, exactly
            if it is more than twice the halo.
        overwrite: Whether a file that is already there may be replaced.

    Returns:
        The path.

    Raises:
        ValueError: If an argument is not as above, a package is missing, the target exists or cannot be written, or
            what was written differs from the model; one line. Nothing is left then.
    """
    target = Path(path)
    if target.suffix != ".tflite":
        raise ValueError(f"Cannot write {target}: a TensorFlow Lite file must end in .tflite.")
    network, arrays = network_of(model)
    about = About.of(network)
    _check_quantize(quantize, calibration)
    size = _check_size(input_size)
    if not is_installed():
        raise ValueError("A .tflite file is run again when it is written: pip install 'keras-edsr[litert]'")
    with whole_target(target, overwrite) as part:
        model = in_float32(model)
        functions = _rounded(network, arrays, calibration) if quantize == "int8" else _exact(model)
        content = _convert(model, functions, about, size, quantize)
        part.write_bytes(finish(content, about))
        check_export(part, model, size=size, **_ALLOWED[quantize])
    if size and min(size) <= 2 * about.halo:
        logger.warning("%s takes images of %dx%d alone: the halo is %d.", target, *reversed(size), about.halo)
    return target


def finish(content: bytes, about: About) -> bytes:
    """Returns a .tflite file with `about` in its metadata, and with equal weights in it once.

    The converter writes what the scales of an MDSR share once for each of them.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    class Aligned(flatbuffers.Builder):
        """Python's builder does not know that the schema wants weights at multiples of 16 bytes."""

        def StartVector(self, elemSize, numElems, alignment):
            return super().StartVector(elemSize, numElems, max(16, alignment))

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    first: dict[bytes, int] = {}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            if data is not None and len(data):
                tensor.buffer = first.setdefault(bytes(data), tensor.buffer)
    for index, buffer in enumerate(model.buffers):
        if buffer.data is not None and first.get(bytes(buffer.data), index) != index:
            buffer.data = None
    model.metadata = [*(model.metadata or ()), schema.MetadataT(KEY, len(model.buffers))]
    model.buffers.append(schema.BufferT(np.frombuffer(about.to_json().encode(), np.uint8)))
    builder = Aligned(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


# === What is converted ===


def _exact(model):
    """For each scale the function `(1, h, w, c)` to `(1, s*h, s*w, c)`."""
    return {
        scale: lambda lr, branch=branch: tf.clip_by_value(branch(lr), 0.0, PEAK)
        for scale, branch in branch_functions(model).items()
    }


def _rounded(network, arrays, calibration):
    crops = list(calibration_crops(calibration, network.channels))
    arrays = balanced(network, arrays, crops)
    ranges = find_ranges(network, arrays, crops)
    return {scale: rounded_network(network, arrays, scale, ranges[scale]) for scale in network.scales}


def _convert(model, functions, about, size, quantize):
    module = tf.Module()
    spec = tf.TensorSpec([1, *(size or (None, None)), about.channels], tf.float32, name="lr")
    signatures = {}
    for scale, function in functions.items():
        traced = tf.function(lambda lr, function=function: {"sr": function(lr)}, autograph=False)
        signatures[f"x{scale}"] = traced.get_concrete_function(spec)
    module.tracked = [weight.value for weight in model.weights]  # else the file reads variables, and gives NaN
    with tempfile.TemporaryDirectory() as folder, _quiet():
        tf.saved_model.save(module, folder, signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(signatures))
        if quantize is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantize == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if quantize == "int8":
            converter.inference_input_type = converter.inference_output_type = tf.uint8
        return converter.convert()


@contextlib.contextmanager
def _quiet():
    """TensorFlow's logger without what it tells of its way, and the root's without the handler that it adds."""
    level, handlers = tf.get_logger().level, logging.root.handlers[:]
    tf.get_logger().setLevel(logging.ERROR)
    try:
        yield
    finally:
        tf.get_logger().setLevel(level)
        logging.root.handlers[:] = handlers


# === Arguments ===


def _check_quantize(quantize, calibration):
    if quantize not in QUANTIZE:
        raise ValueError(f"`quantize` must be one of {QUANTIZE}. Received: quantize={quantize!r}.")
    if (quantize == "int8") != (calibration is not None):
        raise ValueError(
            "`calibration`, a folder of images, is for quantize='int8', which needs it. "
            f"Received: quantize={quantize!r}, calibration={calibration!r}."
        )


def _check_size(input_size):
    if input_size is None:
        return None
    size = (input_size, input_size) if isinstance(input_size, numbers.Integral) else tuple(input_size)
    if len(size) != 2 or any(not isinstance(side, numbers.Integral) or side < 1 for side in size):
        raise ValueError(
            f"`input_size` must be a positive integer, or height and width. Received: input_size={input_size!r}."
        )
    return tuple(map(int, size))
