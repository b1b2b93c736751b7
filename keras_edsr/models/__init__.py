"""EDSR and MDSR as functional Keras models, and their weights on disk."""

from ..trainer import HalvingAdam, paper_optimizer
from .edsr import EDSR
from .load import build, load_keras, load_model, load_torch, save_keras, save_torch
from .mdsr import MDSR, MDSRBranch
from .tail_fit import FIT_BATCHES, fit_tail
from .warm_start import copy_weights, start_from

__all__ = [
    "EDSR",
    "FIT_BATCHES",
    "MDSR",
    "HalvingAdam",
    "MDSRBranch",
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
