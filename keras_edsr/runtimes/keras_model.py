"""A Keras model as a runtime: TensorFlow, the reference that other runtimes are compared with."""

import threading

import keras
import numpy as np
import tensorflow as tf


class KerasRuntime:
    """Runs tiles through EDSR, MDSR or a branch of it, each scale traced once for all sizes.

    Args:
        model: A Keras model with `scales`, `halo` and `image_shape`.
        device: "cpu" or "gpu"; None for where TensorFlow puts it.

    Raises:
        ValueError: If the model lacks one of them, or TensorFlow has no GPU.
    """

    def __init__(self, model, device=None):
        missing = [name for name in ("scales", "halo", "image_shape") if not hasattr(model, name)]
        if missing:
            raise ValueError(
                f"`model` must be an EDSR, an MDSR or a branch of one. Received: {type(model).__name__} "
                f"{model.name!r}, which has no {', '.join(missing)}. A clone by keras.models.clone_model loses "
                "them: use type(model).from_config(model.get_config())."
            )
        gpus = tf.config.list_logical_devices("GPU")
        if device == "gpu" and not gpus:
            raise ValueError("TensorFlow finds no GPU. Omit `device`, or pass runtime='ncnn' to use Vulkan.")
        self._device = device and f"/{device}:0"
        self.device_name = "the GPU" if gpus and device != "cpu" else "the CPU"
        self.scales = model.scales
        self.halo = model.halo
        self.channels = model.image_shape[-1]
        self.filters = model.get_layer("head").filters
        # Layers, not the model, are held here: a cache keyed by the model must not keep it alive.
        self._functions = {scale: _trace(branch, self.channels) for scale, branch in branch_functions(model).items()}
        # One run at a time, which takes all cores anyway, and the memory of one.
        self._lock = threading.Lock()

    def bytes_per_pixel(self, scale):
        """Memory that TensorFlow takes per LR pixel, from the sizes of the tensors alive in the upsampler.

        Before the last convolution there are `filters * scale**2` values in the shuffled features and as many before
        the shuffle; the body keeps about four tensors of `filters`. Measured: 2.3 kB for 64 filters x2, this says 3.
        """
        return 4 * self.filters * (2 * scale**2 + 4)

    def free_memory(self):
        """None: not known of a GPU."""

    def run(self, tiles, scale):
        """Returns the SR tiles: float32 `(n, h, w, c)` to `(n, s*h, s*w, c)`, in 0..255 but not clipped."""
        with tf.device(self._device), self._lock:
            return np.asarray(self._functions[scale](tf.constant(tiles, tf.float32)))


def branch_functions(model: keras.Model) -> dict[int, keras.Function]:
    """Returns the function of each scale of an `EDSR`, an `MDSR` or a branch, which computes no other scale."""
    outputs = model.output if isinstance(model.output, dict) else {f"x{model.scale}": model.output}
    return {scale: keras.Function(model.input, outputs[f"x{scale}"]) for scale in model.scales}


def _trace(function, channels):
    signature = [tf.TensorSpec([None, None, None, channels], tf.float32)]
    return tf.function(function, input_signature=signature, autograph=False)
