"""What a network is: its facts, the operations of each scale, its weights by Keras path. NumPy only.

Whatever reads, writes, builds or translates a network does it from a pair `(Network, Arrays)`.
"""

from .about import About
from .arrays import Arrays, as_arrays, check_arrays, count_parameters, shuffle_order, torch_weights, weights
from .graph import Add, Convolve, Operation, Shift, Shuffle, convolutions, halo, operations
from .network import PAPER_SIZES, Network, default_residual_scaling

__all__ = [
    "PAPER_SIZES",
    "About",
    "Add",
    "Arrays",
    "Convolve",
    "Network",
    "Operation",
    "Shift",
    "Shuffle",
    "as_arrays",
    "check_arrays",
    "convolutions",
    "count_parameters",
    "default_residual_scaling",
    "halo",
    "operations",
    "shuffle_order",
    "torch_weights",
    "weights",
]
