"""The body of an EDSR without an upsampler: the encoder of LIIF, and of the networks that follow its code.

LIIF (Chen et al., CVPR 2021, https://github.com/yinboc/liif) trains the head and body of EDSR under a decoder. Its
encoder has the names of EDSR-PyTorch behind the prefix `encoder.`; the means that it holds are not used.
"""

import logging
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..network import Network
from .detect import find_state
from .layouts import MEAN_NAMES, convolutions
from .reader import naming, read_file
from .tensors import CheckpointError, Tensor, read_weights

_log = logging.getLogger("keras_edsr")

_PREFIX = "encoder."
_HALF = 127.5  # LIIF's networks see (x - 0.5) / 0.5 of images in 0..1


def read_encoder(path: str | os.PathLike) -> tuple[Network, dict[str, NDArray[np.float32]]] | None:
    """Reads head and body of a checkpoint that has them without an upsampler.

    Without batch normalization the network is homogeneous but for its biases: `127.5 f(x / 127.5)` is the network with
    the same kernels and 127.5 times the biases. The head's bias also takes the difference between 127.5 and the mean
    that a model of this package takes off. Inside an image the features are 127.5 times those of LIIF; at its border
    they differ a little, because zero padding is another color.

    Args:
        path: Path of the file.

    Returns:
        The network, as an EDSR of scale 1, and the weights of its head and body by path; None if the file is of
        another kind.

    Raises:
        CheckpointError: If the file cannot be read, or its encoder is not an EDSR to the last tensor; one line that
            names it.
    """
    path = Path(path)
    with naming(path):
        state, _ = find_state(read_file(path).tree)
        encoder = {name.removeprefix(_PREFIX): value for name, value in state.items() if name.startswith(_PREFIX)}
        if "head.0.weight" not in encoder or any(name.startswith(("tail.", "upsample.")) for name in encoder):
            return None
        network = _network(encoder)
        _log.warning("%s: it is a LIIF encoder, read as head and body of %s.", path.name, _shown(network))
        return network, _arrays(network, encoder)


def _shown(network: Network) -> str:
    return f"an EDSR with {network.num_blocks} blocks of {network.filters} filters, which has no upsampler"


def _network(encoder: dict[str, Tensor]) -> Network:
    numbers = [int(name.split(".")[1]) for name in encoder if name.startswith("body.") and name.count(".") == 2]
    shape = encoder["head.0.weight"].shape
    if len(shape) != 4 or not numbers or max(numbers) < 1:
        raise CheckpointError("its encoder is not an EDSR: it has no body of residual blocks")
    network = Network("EDSR", (1,), max(numbers), shape[0], image_shape=(None, None, shape[1]))
    expected = {f"{name}.{part}" for name in _named(network) for part in ("weight", "bias")}
    if odd := expected.symmetric_difference(set(encoder) - set(MEAN_NAMES)):
        raise CheckpointError(f"its encoder is not an EDSR: it has a tensor too many, or lacks one, {sorted(odd)[0]}")
    for name, convolution in _named(network).items():
        height, width, ins, out = convolution.shape
        if encoder[f"{name}.weight"].shape != (out, ins, height, width):
            raise CheckpointError(f"its encoder is not an EDSR: {name} has the shape {encoder[f'{name}.weight'].shape}")
    return network


def _named(network: Network) -> dict:
    found = convolutions(network, "edsr-pytorch")
    return {name: one for name, one in found.items() if not name.startswith("tail")}


def _arrays(network: Network, encoder: dict[str, Tensor]) -> dict[str, NDArray[np.float32]]:
    arrays = {}
    for name, convolution in _named(network).items():
        kernel, bias = (read_weights(f"{name}.{part}", encoder).astype(np.float64) for part in ("weight", "bias"))
        bias = _HALF * bias
        if convolution.name == "head":
            bias = bias + kernel.sum(axis=(2, 3)) @ (np.array(network.shift) - _HALF)
        arrays[f"{convolution.path}/kernel"] = kernel.transpose(2, 3, 1, 0).astype(np.float32)
        arrays[f"{convolution.path}/bias"] = bias.astype(np.float32)
    return arrays
