"""What training EDSR and MDSR needs beyond Keras' own trainer."""

from .recipe import HalvingAdam, paper_optimizer

__all__ = ["HalvingAdam", "paper_optimizer"]
