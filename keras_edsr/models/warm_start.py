"""Starting one model from another's weights, as x3 and x4 start from a trained x2."""

import os
from pathlib import Path

from .. import checkpoints
from .load import load_model


def start_from(model, target):
    """Copies every weight that fits from a model's file or a preset.

    Args:
        model: A preset, or the path of a .keras, .pt, .pth or .safetensors file; also of a LIIF checkpoint, whose
            encoder is the head and body of an EDSR, without an upsampler.
        target: The model to start; its matching weights are overwritten.

    Returns:
        The names of the weights of `target` that did not change.

    Raises:
        ValueError: If the model cannot be read, or nothing of it fits.
    """
    path = Path(model)
    found = checkpoints.read_encoder(path) if path.suffix in checkpoints.SUFFIXES and os.path.isfile(path) else None
    if found is None:
        return copy_weights(load_model(model), target)
    network, arrays = found
    if network.filters != target.filters or network.channels != target.image_shape[-1]:
        raise ValueError(
            f"No kernel of {path} fits {target.name!r}: it has {network.filters} filters and {network.channels} "
            f"channels, the other {target.filters} and {target.image_shape[-1]}."
        )
    missed = []
    for weight in target.weights:
        if weight.path in arrays and arrays[weight.path].shape == tuple(weight.shape):
            weight.assign(arrays[weight.path])
        else:
            missed.append(weight.path)
    return missed


def copy_weights(source, target):
    """Copies every weight of `source` that `target` also has, by name and shape.

    An EDSR's `upsample` matches the `upsample_x{s}` of an MDSR at the same scale, in both directions. The x4 upsampler
    has two stages of x2: the first gets the weights of x2, and the second stays unchanged, as in the official port.

    Args:
        source: A trained `EDSR` or `MDSR`.
        target: The model to start; its matching weights are overwritten.

    Returns:
        The names of the weights of `target` that did not change.

    Raises:
        ValueError: If no kernel matches, or `source` is not a model of this package.

    Reference: [Lim et al., 2017](https://arxiv.org/abs/1707.02921), section 3.2 and figure 4.
    """
    if not hasattr(source, "scales"):
        raise ValueError(f"`source` must be an EDSR or an MDSR. Received: {type(source).__name__} {source.name!r}.")
    given = {name: weight for weight in source.weights for name in _names(source, weight)}
    found = {weight.path: _find(given, target, weight) for weight in target.weights}
    # The biases of two last convolutions fit whatever the models.
    if not any(kernel is not None and len(kernel.shape) > 1 for kernel in found.values()):
        raise ValueError(
            f"No kernel of {source.name!r} fits {target.name!r}: it has {source.get_layer('head').filters} filters, "
            f"the other {target.get_layer('head').filters}."
        )
    for weight in target.weights:
        if found[weight.path] is not None:
            weight.assign(found[weight.path])
    return [path for path, kernel in found.items() if kernel is None]


def _find(given, target, weight):
    """The weight of `given` that has the name and shape of the target's, or None."""
    named = (given[name] for name in _names(target, weight) if name in given)
    return next((found for found in named if found.shape == weight.shape), None)


def _names(model, weight):
    """The weight's path and, in a model of one scale, the path it has in an MDSR."""
    layer, _, rest = weight.path.partition("/")
    names = [weight.path]
    if layer in ("upsample", "tail") and len(model.scales) == 1:
        names.append(f"{layer}_x{model.scales[0]}/{rest}")
    return names
