"""What training EDSR and MDSR needs beyond Keras' own trainer."""

from .average import WeightAverage
from .guard import LossSpikeGuard
from .loop import TrainingLoop
from .recipe import HalvingAdam, paper_optimizer

__all__ = ["HalvingAdam", "LossSpikeGuard", "TrainingLoop", "WeightAverage", "paper_optimizer"]
