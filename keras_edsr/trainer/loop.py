"""The loop of `keras-edsr train`, for the backend in use."""

import keras

if keras.backend.backend() == "tensorflow":
    from .loop_tensorflow import TrainingLoop
elif keras.backend.backend() == "jax":
    from .loop_jax import TrainingLoop  # type: ignore[assignment]
else:
    from .loop_torch import TrainingLoop  # type: ignore[assignment]

__all__ = ["TrainingLoop"]
