"""Canvas: the frames of an animation drawn one upon another, as GIF89a and PNG (third edition) define it."""

import enum

import numpy as np

_BLOCK = 1 << 18  # pixels blended at a time, which bounds the memory of the wider numbers


class Disposal(enum.Enum):
    """What happens to a frame's area before the next frame is drawn."""

    KEEP = 0
    CLEAR = 1
    RESTORE = 2


class Canvas:
    """An image with straight alpha, fully transparent at first.

    Args:
        height: Height in pixels.
        width: Width in pixels.
        channels: 2 (gray and alpha) or 4 (RGB and alpha).
        dtype: uint8 or uint16.
    """

    def __init__(self, height: int, width: int, channels: int, dtype: np.dtype) -> None:
        self._pixels = np.zeros((height, width, channels), dtype)

    def draw(
        self,
        frame: np.ndarray,
        *,
        top: int = 0,
        left: int = 0,
        over: bool = True,
        disposal: Disposal = Disposal.KEEP,
    ) -> np.ndarray:
        """Draws a frame and disposes of it for the next.

        Args:
            frame: Array of the canvas's type and channels; parts beyond the canvas are cropped.
            top: Row of the canvas at which the frame begins.
            left: Column of the canvas at which the frame begins.
            over: Boolean, whether the canvas is visible through transparent pixels of the frame, instead of being
                replaced.
            disposal: What happens to the frame's area after it was shown.

        Returns:
            A copy of what the canvas showed with the frame on it.
        """
        height, width = self._pixels.shape[:2]
        frame = frame[: max(0, height - top), : max(0, width - left)]
        area = self._pixels[top : top + frame.shape[0], left : left + frame.shape[1]]
        before = area.copy() if disposal is Disposal.RESTORE else None
        if over:
            _blend(area, frame)
        else:
            area[...] = frame
        shown = self._pixels.copy()
        if disposal is Disposal.CLEAR:
            area[...] = 0
        elif before is not None:
            area[...] = before
        return shown


def _blend(below: np.ndarray, above: np.ndarray) -> None:
    """The operator `over` on straight alpha, in place: alpha is `a + b (1 - a)`, colors are weighted by alpha."""
    if not above.size:
        return
    limit = np.iinfo(above.dtype).max
    opaque = above[..., -1:] == limit
    if np.all(opaque | (above[..., -1:] == 0)):
        np.copyto(below, above, where=opaque)
        return
    rows = max(1, _BLOCK // above.shape[1])
    for start in range(0, above.shape[0], rows):
        block, b = above[start : start + rows], below[start : start + rows]
        weight_above = block[..., -1:].astype(np.float64) * limit
        weight_below = b[..., -1:].astype(np.float64) * (limit - block[..., -1:].astype(np.float64))
        alpha = weight_above + weight_below
        color = (block[..., :-1] * weight_above + b[..., :-1] * weight_below) / np.maximum(alpha, 1)
        b[..., :-1] = np.rint(color)
        b[..., -1:] = np.rint(alpha / limit)
