"""The trainer of a model of several scales, for the backend in use."""

import keras

if keras.backend.backend() == "tensorflow":
    from .scales_tensorflow import ScaleTrainer
elif keras.backend.backend() == "jax":
    from .scales_jax import ScaleTrainer
else:
    from .scales_torch import ScaleTrainer

__all__ = ["ScaleTrainer"]
