"""The model that is exported: all float32."""

import dataclasses

import keras

from ..models import build
from ..models.base import NetworkModel
from ..network import Arrays, Network


def network_of(model: keras.Model) -> tuple[Network, Arrays]:
    """Returns the network of a model and its weights.

    Raises:
        ValueError: If it is not an EDSR, an MDSR or a branch of one. The message has one line.
    """
    if not isinstance(model, NetworkModel):
        raise ValueError(
            "Only an EDSR, an MDSR or a branch of one can be exported. "
            f"Received: {type(model).__name__} {getattr(model, 'name', '')!r}."
        )
    return model.network, model.get_arrays()


def in_float32(model: NetworkModel) -> NetworkModel:
    """Returns the model that computes in float32 what this one does; itself if it does.

    Mixed precision is for training: its weights are float32, and rounded at each use. What is exported is not, and is
    compared with a model that does not round either.

    Args:
        model: An `EDSR`, an `MDSR` or a branch of one.
    """
    if keras.dtype_policies.get(model.network.dtype).compute_dtype == "float32":
        return model
    return build(dataclasses.replace(model.network, dtype="float32"), model.get_arrays())
