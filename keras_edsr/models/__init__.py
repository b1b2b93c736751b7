"""EDSR and MDSR as functional Keras models, their weights on disk, and what may accompany their training."""

from ..trainer import HalvingAdam, paper_optimizer
from .edsr import EDSR
from .load import build, load_keras, load_model, load_torch, save_keras, save_torch
from .loss_guard import LossSpikeGuard
from .mdsr import MDSR, MDSRBranch
from .tail_fit import FIT_BATCHES, fit_tail
from .warm_start import copy_weights, start_from
from .weight_average import WeightAverage

__all__ = [
    "EDSR",
    "FIT_BATCHES",
    "MDSR",
    "HalvingAdam",
    "LossSpikeGuard",
    "MDSRBranch",
    "WeightAverage",
    "build",
    "copy_weights",
    "fit_tail",
    "load_keras",
    "load_model",
    "load_torch",
    "paper_optimizer",
    "save_keras",
    "save_torch",
    "start_from",
]
