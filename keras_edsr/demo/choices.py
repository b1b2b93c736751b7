"""Selects the models that the page offers: the presets available on this machine, or those that the caller named."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..presets import Official, find_file, locate, preset_names, read_network, weights_folder
from ..runtimes import open_runtime

logger = logging.getLogger("keras_edsr")


@dataclass(frozen=True)
class Choice:
    """A model that the user of the page can choose.

    Attributes:
        label: The name shown on the page.
        model: The name of a preset or a path, as `upscale` takes it.
        scales: The scales of the model.
    """

    label: str
    model: str
    scales: tuple[int, ...]


def list_choices(models: Iterable[str] = ()) -> list[Choice]:
    """Lists the named models; without names, lists the presets whose weights are on this machine. Downloads nothing.

    Args:
        models: Names of presets and paths of models. The function loads each, so that a bad one fails at once.

    Raises:
        ValueError: If a model cannot be read, or if none is named and no preset is available.
        OSError: If a named preset cannot be downloaded.
    """
    models = list(dict.fromkeys(models))
    if models:
        labels = [Path(model).name for model in models]
        if len(set(labels)) < len(labels):
            labels = models
        return [Choice(*pair, open_runtime(pair[1], "auto").scales) for pair in zip(labels, models, strict=True)]
    choices = [choice for name in preset_names() if (choice := _preset(name))]
    if not choices:
        raise ValueError(
            f"The demo needs a model, and this machine has no preset's weights. Pass --model, or put weights into "
            f"{weights_folder()} (or into another folder, named by KERAS_EDSR_WEIGHTS)."
        )
    return choices


def scales_of(choices: Iterable[Choice]) -> list[int]:
    """Returns the scales that at least one of the models has, in increasing order."""
    return sorted({scale for choice in choices for scale in choice.scales})


def _preset(name: str) -> Choice | None:
    """Returns a preset as its config.json describes it (loading all takes long); None if it is missing or damaged."""
    found = locate(name)
    if isinstance(found, Official):
        return Choice(name, name, found.network.scales) if find_file(found) else None
    try:
        return Choice(name, name, read_network(Path(found or name)).scales)
    except ValueError as error:
        logger.warning("Skipping the preset %s: %s", name, error)
        return None
