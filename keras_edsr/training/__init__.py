"""Training as the paper did it: `TrainConfig` says what, `train` does it."""

from .config import TrainConfig
from .train import Stopped, train

__all__ = ["Stopped", "TrainConfig", "train"]
