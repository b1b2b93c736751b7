"""What an exported file says about the network in it: a JSON within the file, so that no second one can be lost."""

import json
from pathlib import Path
from typing import NamedTuple

KEY = "keras_edsr"  # the name of the entry in the file's metadata
FORMAT = 1


class About(NamedTuple):
    """What a runtime has to know of a network.

    Attributes:
        family: "edsr" or "mdsr".
        scales: Tuple of integers.
        halo: LR pixels of context that a tile needs.
        channels: Of the images.
        filters: Channels of the body.
        num_blocks: Residual blocks in the body.
        parameters: How many weights the model has.
    """

    family: str
    scales: tuple[int, ...]
    halo: int
    channels: int
    filters: int
    num_blocks: int
    parameters: int

    def to_json(self) -> str:
        """The text that `read_about` takes."""
        return json.dumps({"format": FORMAT, **self._asdict()})


def about_model(model) -> About:
    """Tells it of a Keras model.

    Args:
        model: An `EDSR`, an `MDSR` or a branch of one.

    Raises:
        ValueError: It is something else.
    """
    names = {layer.name for layer in getattr(model, "layers", ())}
    if not hasattr(model, "scales") or not {"sub_mean", "head", "body_0", "body_conv"} <= names:
        raise ValueError(
            "Only an EDSR, an MDSR or a branch of one can be exported. "
            f"Received: {type(model).__name__} {getattr(model, 'name', '')!r}."
        )
    return About(
        family="mdsr" if any(name.startswith("pre_x") for name in names) else "edsr",
        scales=tuple(model.scales),
        halo=model.halo,
        channels=len(model.get_layer("sub_mean").mean),
        filters=model.get_layer("head").filters,
        num_blocks=sum(name.startswith("body_") for name in names - {"body_conv"}),
        parameters=model.count_params(),
    )


def read_about(text: str | bytes | None, path: Path, kind: str) -> About:
    """Reads what `About.to_json` wrote.

    Args:
        text: The JSON; None if the file has none.
        path: Path of the file, to be named in an error.
        kind: String, what the file is, as well.

    Raises:
        ValueError: There is none, it is damaged, or of a newer version; one line.
    """
    problem = "it was not exported by keras_edsr" if text is None else "what it says about itself is damaged"
    try:
        fields = json.loads(text or "")
        if fields.pop("format") == FORMAT:
            about = About(**{**fields, "scales": tuple(fields["scales"])})
            counts = (*about.scales, *about[2:])
            if about.scales and all(isinstance(count, int) and count > 0 for count in counts):
                return about
        else:
            problem = "it was exported by another version of keras_edsr"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise ValueError(f"{path} is {kind} that does not tell its scales and halo: {problem}. Use `keras-edsr export`.")
