"""Which models the page offers: the presets that are here, or those that were named."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..presets import Official, find_file, locate, preset_names, read_config, weights_folder
from ..runtimes import open_runtime

logger = logging.getLogger("keras_edsr")


@dataclass(frozen=True)
class Choice:
    """A model that can be chosen.

    Attributes:
        label: What the page calls it.
        model: A preset's name or a path, as `upscale` takes.
        scales: Those that it has.
    """

    label: str
    model: str
    scales: tuple[int, ...]


def list_choices(models: Iterable[str] = ()) -> list[Choice]:
    """Lists the models that were named; if none were, the presets whose weights are here. Nothing is downloaded.

    Args:
        models: Presets' names and paths of models. These are loaded, so that a bad one is found at once.

    Raises:
        ValueError: A model cannot be read, or none was named and no preset is here.
        OSError: A preset that was named could not be downloaded.
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
            f"The demo needs a model, and no preset's weights are here. Pass --model, or put weights into "
            f"{weights_folder()} (or another folder, which KERAS_EDSR_WEIGHTS names)."
        )
    return choices


def scales_of(choices: Iterable[Choice]) -> list[int]:
    """The scales that any of them has, from the smallest on."""
    return sorted({scale for choice in choices for scale in choice.scales})


def _preset(name: str) -> Choice | None:
    """A preset, by what its config.json says: loading them all would take long; None if it is not here or damaged."""
    found = locate(name)
    if isinstance(found, Official):
        return Choice(name, name, found.network.scales) if find_file(found) else None
    try:
        config = read_config(Path(found or name))["config"]
        return Choice(name, name, (config["scale"],) if "scale" in config else tuple(config["scales"]))
    except (ValueError, KeyError, TypeError) as error:
        logger.warning("The preset %s is left out: %s", name, error)
        return None
