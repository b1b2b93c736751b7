"""What an exported file says of its network."""

import json
from pathlib import Path
from typing import NamedTuple

from .arrays import count_parameters
from .graph import halo
from .network import Network

KEY = "keras_edsr"  # the name of the entry in a file's metadata
FORMAT = 1  # of the JSON


class About(NamedTuple):
    """What a file that was exported says of its network, in a JSON within it, so that no second file can be lost.

    Attributes:
        scales: Tuple of integers.
        halo: LR pixels of context that a tile needs.
        channels: Channels of the images.
        filters: Channels of the body.
        family: "edsr" or "mdsr"; None where the file does not tell, as with the next two.
        num_blocks: Residual blocks in the body.
        parameters: Number of the model's weights.
        value_range: The value of white in the images, 255 or 1; None if it follows from the format.
    """

    scales: tuple[int, ...]
    halo: int
    channels: int
    filters: int
    family: str | None = None
    num_blocks: int | None = None
    parameters: int | None = None
    value_range: int | None = None

    @classmethod
    def of(cls, network: Network) -> "About":
        """What the export of a network says."""
        return cls(
            network.scales,
            halo(network),
            network.channels,
            network.filters,
            network.family.lower(),
            network.num_blocks,
            count_parameters(network),
        )

    def to_json(self) -> str:
        """Returns the text that `from_json` takes."""
        return json.dumps({"format": FORMAT, **self._asdict()})

    @classmethod
    def from_json(cls, text: str | bytes | None, path: Path, kind: str) -> "About":
        """Reads what an export says.

        Args:
            text: The JSON; None if the file has none.
            path: Path of the file, for errors.
            kind: String, kind of the file, for errors.

        Raises:
            ValueError: If there is none, or it is damaged or of a newer version. The message has one line.
        """
        problem = "it was not exported by keras_edsr" if text is None else "its description is damaged"
        try:
            fields = json.loads(text or "")
            if fields["format"] == FORMAT:
                scales = fields["scales"] if "scales" in fields else [fields["scale"]]
                known = {name: fields[name] for name in cls._fields[1:] if fields.get(name) is not None}
                about = cls(tuple(scales), **known)
                counts = (*about.scales, about.halo, about.channels, about.filters)
                counts += tuple(count for count in about[5:] if count is not None)
                if about.scales and all(type(count) is int and count > 0 for count in counts):
                    return about
            else:
                problem = "it was exported by another version of keras_edsr"
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass
        raise ValueError(
            f"{path} is {kind} that does not contain its scales and halo: {problem}. Use `keras-edsr export`."
        )
