"""The graphs of a SavedModel: what is run for a request, in operations of TensorFlow alone.

Nothing of Keras or of this package is in them, so that a server needs neither.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from ..image_ops import NUM_DIHEDRAL, PEAK
from ..trainer.scales_base import branch_functions

OK = "ok"
UNREADABLE = "unreadable: not a PNG or JPEG image, or a damaged one"

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"  # APP14: version 100, no flags, no transform (CMYK)
_COMPRESSION = 3  # as `write_image` has it: half the time of 6, for 6 % more bytes

_Network = Callable[[tf.Tensor], tf.Tensor]


def build_module(
    model: keras.Model, self_ensemble: bool, uint8_output: bool, max_pixels: int
) -> tuple[tf.Module, dict[str, Any]]:
    """Makes what `tf.saved_model.save` takes.

    Args:
        model: An `EDSR`, an `MDSR` or a branch of one.
        self_ensemble: Whether each network averages the eight flips and rotations.
        uint8_output: Whether what gives floats gives whole gray levels as uint8 instead.
        max_pixels: The most LR pixels of a request.

    Returns:
        A module and the signatures. The module has the weights and, as `x2`, `x3`, …, the network of each scale without
        a limit, float32 `(b, h, w, c)` to `(b, s*h, s*w, c)`: what `SavedModelRuntime` runs. The signatures, by name,
        are `serving_default`, `upscale_uint8` and, of gray and RGB, `upscale_bytes`; an MDSR has `x2_float`,
        `x2_upscale_uint8`, `x2_upscale_bytes`, … as well, and the three without a scale are its first.
    """
    signatures: dict[str, Any] = {}
    module = tf.Module()
    module.weights = [weight.value for weight in model.weights]  # what a module does not have, is not saved
    channels = model.image_shape[-1]
    for scale, network in branch_functions(model).items():
        run = _ensemble(network, scale, channels) if self_ensemble else network
        spec = _images(tf.float32, channels)
        setattr(module, f"x{scale}", tf.function(_quantized(run) if uint8_output else run, [spec], autograph=False))
        own = _signatures(run, uint8_output, channels, max_pixels)
        if scale == model.scales[0]:
            signatures |= {"serving_default" if name == "float" else name: function for name, function in own.items()}
        if len(model.scales) > 1:
            signatures |= {f"x{scale}_{name}": function for name, function in own.items()}
    return module, signatures


def _images(dtype, channels):
    return tf.TensorSpec([None, None, None, channels], dtype, "images")


def _signatures(run: _Network, uint8_output, channels, max_pixels):
    def upscale_float(images):
        with tf.control_dependencies([_check_pixels(images, max_pixels)]):
            sr = run(tf.identity(images))
        return {"sr": quantize(sr) if uint8_output else sr}

    def upscale_uint8(images):
        with tf.control_dependencies([_check_pixels(images, max_pixels)]):
            return {"sr": quantize(run(tf.cast(images, tf.float32)))}

    def upscale_bytes(image_bytes):
        return _upscale_each(image_bytes, run, channels, max_pixels)

    functions = {
        "float": (upscale_float, _images(tf.float32, channels)),
        "upscale_uint8": (upscale_uint8, _images(tf.uint8, channels)),
    }
    if channels in (1, 3):
        functions["upscale_bytes"] = (upscale_bytes, tf.TensorSpec([None], tf.string, "image_bytes"))
    return {
        name: tf.function(function, input_signature=[spec], autograph=False).get_concrete_function()
        for name, (function, spec) in functions.items()
    }


# === Networks ===


def quantize(sr: tf.Tensor) -> tf.Tensor:
    """As `image_ops.quantize`: clips, rounds half to even, casts to uint8."""
    return tf.cast(tf.round(tf.clip_by_value(sr, 0.0, PEAK)), tf.uint8)


def _quantized(network: _Network) -> _Network:
    return lambda images: quantize(network(images))


def _ensemble(network: _Network, scale, channels) -> _Network:
    """The mean of the results for the eight flips and rotations, as `upscale` has it to the bit.

    A loop, not eight copies: one network in the graph, one at a time in memory, and the sums in this order.
    """

    def run(images):
        batch, height, width, _ = tf.unstack(tf.shape(images))
        total = tf.zeros(tf.stack([batch, scale * height, scale * width, channels]))

        def add(k, total):
            return k + 1, total + inverse_dihedral(network(dihedral(images, k)), k)

        shape = tf.TensorShape([None, None, None, channels])
        _, total = tf.while_loop(
            lambda k, total: k < NUM_DIHEDRAL,
            add,
            [tf.constant(0), total],
            shape_invariants=[tf.TensorShape([]), shape],
            parallel_iterations=1,
        )
        return total / NUM_DIHEDRAL

    return run


def dihedral(images: tf.Tensor, k: tf.Tensor) -> tf.Tensor:
    """As `image_ops.dihedral`, of a batch and with `k` known only when the graph is run."""
    images = _flipped(images, k)
    return tf.cond(k & 4 > 0, lambda: tf.transpose(images, [0, 2, 1, 3]), lambda: images)


def inverse_dihedral(images: tf.Tensor, k: tf.Tensor) -> tf.Tensor:
    """As `image_ops.inverse_dihedral`: undoes `dihedral`."""
    images = tf.cond(k & 4 > 0, lambda: tf.transpose(images, [0, 2, 1, 3]), lambda: images)
    return _flipped(images, k)


def _flipped(images, k):
    images = tf.cond(k & 1 > 0, lambda: tf.reverse(images, [2]), lambda: images)
    return tf.cond(k & 2 > 0, lambda: tf.reverse(images, [1]), lambda: images)


# === Encoded images ===


def _upscale_each(image_bytes, run: _Network, channels, max_pixels):
    """One image after another, since their sizes differ; a bad one has its status and leaves the others alone."""
    count = tf.size(image_bytes)
    limit = tf.constant(max_pixels, tf.int64)

    def step(i, used, results, statuses):
        pixels, image = _read(image_bytes[i], limit - used, channels)
        fits = (pixels >= 0) & (used + pixels <= limit)
        refused = tf.where(pixels < 0, UNREADABLE, _too_large(used + pixels, max_pixels))
        result = tf.cond(
            fits, lambda: _png(quantize(run(tf.cast(image, tf.float32)[None]))[0]), lambda: tf.constant(b"")
        )
        return (
            i + 1,
            used + tf.where(fits, pixels, 0),
            results.write(i, result),
            statuses.write(i, tf.where(fits, OK, refused)),
        )

    arrays = [tf.TensorArray(tf.string, count, element_shape=[]) for _ in range(2)]
    state = [tf.constant(0), tf.constant(0, tf.int64), *arrays]
    _, _, results, statuses = tf.while_loop(lambda i, *_: i < count, step, state, parallel_iterations=1)
    return {"sr_bytes": results.stack(), "status": statuses.stack()}


def _read(data, left, channels):
    """Returns the number of pixels, or -1 for an invalid image, and the image, which is empty above `left` pixels.

    An error of TensorFlow's decoders would fail the whole request, and no operation predicts it. `ignore_errors` of
    tf.data solves this: it drops a damaged image, and the placeholder after it is used. The header's size is checked
    first, because a file of some kilobytes may decompress to gigabytes.
    """

    def decode(data, left):
        pixels = _count_pixels(data)
        image = tf.cond(pixels <= left, lambda: _decode(data, channels), lambda: _no_image(channels))
        return pixels, tf.ensure_shape(image, [None, None, channels])

    nothing = tf.data.Dataset.from_tensors((tf.constant(-1, tf.int64), _no_image(channels)))
    images = tf.data.Dataset.from_tensors((data, left)).map(decode).ignore_errors().concatenate(nothing).take(1)
    return images.get_single_element()


def _no_image(channels):
    return tf.zeros([0, 0, channels], tf.uint8)


def _is_png(data):
    return tf.strings.substr(data, 0, len(_PNG)) == _PNG


def _count_pixels(data):
    """Reads the header; raises InvalidArgumentError for other formats."""
    known = _is_png(data) | (tf.strings.substr(data, 0, len(_JPEG)) == _JPEG)
    with tf.control_dependencies([tf.debugging.Assert(known, [UNREADABLE])]):
        size = tf.cond(_is_png(data), lambda: _png_size(data), lambda: _jpeg_size(data))
    return tf.reduce_prod(size)


def _png_size(data):
    """Returns width times height from the header, IHDR: four bytes each, big-endian."""
    digits = tf.io.decode_raw(tf.strings.substr(data, 16, 8), tf.uint8)
    return tf.reduce_sum(tf.cast(tf.reshape(digits, [2, 4]), tf.int64) * [1 << 24, 1 << 16, 1 << 8, 1], axis=1)


def _jpeg_size(data):
    return tf.cast(tf.image.extract_jpeg_shape(data)[:2], tf.int64)


def _decode(data, channels):
    return tf.cond(
        _is_png(data),
        lambda: tf.io.decode_png(data, channels),
        # libjpeg's exact transform, which Pillow has as well; TensorFlow's default is up to 11 gray levels off
        lambda: tf.io.decode_jpeg(_with_adobe_marker(data), channels, dct_method="INTEGER_ACCURATE"),
    )


def _with_adobe_marker(data):
    """Marks a JPEG of CMYK as Adobe's, whose ink is stored inverted.

    All CMYK JPEGs are stored so, and viewers and Pillow read them so, with the marker or without. `tf.io.decode_jpeg`
    takes a file without it for not inverted. Where the file has its own marker, that comes later and counts.
    """
    marked = tf.strings.join([tf.strings.substr(data, 0, 2), _ADOBE, tf.strings.substr(data, 2, -1)])
    return tf.where(tf.image.extract_jpeg_shape(data)[2] == 4, marked, data)


def _png(image):
    return tf.io.encode_png(image, _COMPRESSION)


# === The limit ===


def _check_pixels(images, max_pixels):
    pixels = tf.reduce_prod(tf.shape(images, tf.int64)[:3])
    return tf.debugging.Assert(pixels <= max_pixels, [_too_large(pixels, max_pixels)])


def _too_large(pixels, max_pixels):
    rest = f" pixels, and this model takes {max_pixels}"
    return tf.strings.join(["too large: the request comes to ", tf.strings.as_string(pixels), rest])
