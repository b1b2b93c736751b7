"""Training by the paper's recipe: `TrainConfig` describes a run, `train` runs it."""

from typing import TYPE_CHECKING, Any

from .config import TrainConfig

if TYPE_CHECKING:
    from ._train import Stopped, train

__all__ = ["Stopped", "TrainConfig", "train"]


def __getattr__(name: str) -> Any:
    """Imports what trains, and TensorFlow, when it is first used: the command's help needs `TrainConfig` alone."""
    if name in __all__:
        from . import _train

        return getattr(_train, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
