"""Picture: everything in an image file that the package keeps."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .metadata import Metadata


@dataclass(frozen=True, eq=False)
class Picture:
    """A still image or an animation, with what belongs to it.

    Args:
        frames: Arrays of one shape and type, at least one: uint8 or uint16, (height, width) gray,
            or (height, width, channels) with 2 channels (gray and alpha), 3 (RGB) or 4 (RGB and
            alpha). Alpha is not premultiplied.
        durations: Milliseconds that each frame is shown; empty for a still image.
        plays: Number of times that the animation is shown; 0 is endless.
        exif: The EXIF block, its `Exif` mark included. Its orientation is 1, because `frames` are upright.
        icc: The ICC profile that the colors are in; None means sRGB, unless `metadata` has others.
        metadata: Further metadata: density, the meaning of colors without a profile, XMP, texts.

    Raises:
        ValueError: If the frames are not such arrays, or there are not as many durations.
    """

    frames: Sequence[np.ndarray]
    durations: Sequence[float] = ()
    plays: int = 0
    exif: bytes | None = None
    icc: bytes | None = None
    metadata: Metadata = field(default_factory=Metadata)

    def __post_init__(self) -> None:
        for frame in self.frames:
            _check_frame(frame)
        kinds = {(frame.shape, frame.dtype) for frame in self.frames}
        if len(kinds) != 1:
            raise ValueError(f"A picture must have frames of one shape and type. Received: {len(kinds)} kinds of them.")
        if len(self.durations) != (len(self.frames) if len(self.frames) > 1 else 0):
            raise ValueError(
                f"`durations` must hold one number for each frame of an animation, and none for a still image. "
                f"Received: {len(self.durations)} for {len(self.frames)} frames."
            )

    @property
    def image(self) -> np.ndarray:
        """The first frame."""
        return self.frames[0]

    @property
    def height(self) -> int:
        """Height of every frame, in pixels."""
        return self.image.shape[0]

    @property
    def width(self) -> int:
        """Width of every frame, in pixels."""
        return self.image.shape[1]

    @property
    def bit_depth(self) -> int:
        """Bits a channel: 8 or 16."""
        return 8 * self.image.dtype.itemsize

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is alpha."""
        return self.image.ndim == 3 and self.image.shape[2] in (2, 4)

    @property
    def is_gray(self) -> bool:
        """Whether there is one channel of color."""
        return self.image.ndim == 2 or self.image.shape[2] == 2

    @property
    def is_animated(self) -> bool:
        """Whether there are several frames."""
        return len(self.frames) > 1


def _check_frame(frame: np.ndarray) -> None:
    if frame.dtype not in (np.uint8, np.uint16) or frame.shape[2:] not in ((), (2,), (3,), (4,)) or 0 in frame.shape:
        raise ValueError(
            "A frame must be uint8 or uint16, of shape (height, width) or (height, width, 2, 3 or 4), and not empty. "
            f"Received: {frame.dtype} of shape {frame.shape}."
        )
