"""A Keras model as a runtime, in Keras' backend: TensorFlow is the reference that other runtimes are compared with."""

import contextlib
import threading
from typing import Any

import keras
import numpy as np

from ..trainer.scales_base import branch_functions


class KerasRuntime:
    """Runs tiles through EDSR, MDSR or a branch of it, each scale traced once for all sizes (JAX: for each size).

    Args:
        model: A Keras model with `scales`, `halo` and `image_shape`.
        device: "cpu" or "gpu"; None for where the backend puts it.

    Raises:
        ValueError: If the model lacks one of them, or the backend has no GPU.
    """

    def __init__(self, model, device=None):
        missing = [name for name in ("scales", "halo", "image_shape") if not hasattr(model, name)]
        if missing:
            raise ValueError(
                f"`model` must be an EDSR, an MDSR or a branch of one. Received: {type(model).__name__} "
                f"{model.name!r}, which has no {', '.join(missing)}. A clone by keras.models.clone_model loses "
                "them: use type(model).from_config(model.get_config())."
            )
        backend = _BACKENDS[keras.backend.backend()]()
        gpus = backend.has_gpu()
        if device == "gpu" and not gpus:
            raise ValueError(f"{backend.name} finds no GPU. Omit `device`, or pass runtime='ncnn' to use Vulkan.")
        self.name = backend.name
        self._on_device = lambda: backend.on(device)
        self.device_name = "the GPU" if gpus and device != "cpu" else "the CPU"
        self.scales = model.scales
        self.halo = model.halo
        self.channels = model.image_shape[-1]
        self.filters = model.get_layer("head").filters
        # Layers, not the model, are held here: a cache keyed by the model must not keep it alive.
        self._functions = {s: backend.trace(branch, self.channels) for s, branch in branch_functions(model).items()}
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
        with self._on_device(), self._lock:
            return np.asarray(self._functions[scale](np.asarray(tiles, np.float32)))


class _TensorFlow:
    name = "TensorFlow"

    def has_gpu(self):
        import tensorflow as tf

        return bool(tf.config.list_logical_devices("GPU"))

    def on(self, device):
        import tensorflow as tf

        return tf.device(device and f"/{device}:0")

    def trace(self, function, channels):
        import tensorflow as tf

        signature = [tf.TensorSpec([None, None, None, channels], tf.float32)]
        traced = tf.function(function, input_signature=signature, autograph=False)
        return lambda tiles: traced(tf.constant(tiles))


class _Jax:
    name = "JAX"

    def has_gpu(self):
        import jax

        return jax.default_backend() == "gpu"

    def on(self, device):
        import jax

        return contextlib.nullcontext() if device is None else jax.default_device(jax.devices(device)[0])

    def trace(self, function, channels):
        import jax

        variables = [v for op in function.operations if isinstance(op, keras.layers.Layer) for v in op.variables]

        def run(values, tiles):
            with keras.StatelessScope(list(zip(variables, values, strict=True))):
                return function(tiles)

        compiled = jax.jit(run)  # once for each size of tiles, of which an image has few
        return lambda tiles: compiled([variable.value for variable in variables], tiles)  # the values of now


class _Torch:
    name = "PyTorch"

    def has_gpu(self):
        import torch

        return torch.cuda.is_available()

    def on(self, device):
        return contextlib.nullcontext() if device is None else keras.device(f"{device}:0")

    def trace(self, function, channels):
        import torch

        def run(tiles):
            with torch.no_grad():
                return keras.ops.convert_to_numpy(function(keras.ops.convert_to_tensor(tiles)))

        return run


_BACKENDS: dict[str, Any] = {"tensorflow": _TensorFlow, "jax": _Jax, "torch": _Torch}
