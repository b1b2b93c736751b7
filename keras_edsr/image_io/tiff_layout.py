"""What the samples of a TIFF's pixels are, and which of such layouts can be read."""

from dataclasses import dataclass

import numpy as np

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
_COLORS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3}  # channels, alpha not counted
_NOT_READ = {
    4: "a transparency mask",
    8: "CIELab colors",
    9: "ICCLab colors",
    10: "ITULab colors",
    32803: "raw sensor values (CFA)",
    32844: "LogL luminance",
    32845: "LogLuv colors",
    34892: "linear raw sensor values",
}
_ASSOCIATED = 1  # alpha that the colors are multiplied by
_ALPHA = (_ASSOCIATED, 2, 999)  # values of ExtraSamples; Corel Draw 10 writes 999


@dataclass(frozen=True)
class Layout:
    """What the samples of a pixel are.

    Args:
        photometric: Value of PhotometricInterpretation.
        bits: Bits per sample.
        channels: Samples per pixel.
        signed: Whether the samples are signed integers.
        extra: Values of ExtraSamples, one for each channel after the colors. None if the file has none.
        palette: Value of ColorMap, of shape (3, 2**bits) and in [0, 65535].
        inks: Values of InkSet and NumberOfInks.
        luma: Value of YCbCrCoefficients.
        black_and_white: Value of ReferenceBlackWhite.
    """

    photometric: int
    bits: int
    channels: int
    signed: bool = False
    extra: tuple[int, ...] | None = None
    palette: np.ndarray | None = None
    inks: tuple[int, int] = (1, 4)
    luma: tuple[float, ...] | None = None
    black_and_white: tuple[float, ...] | None = None

    def check(self) -> None:
        """Checks, before anything is decoded, that `to_pixels` can convert this layout.

        Raises:
            ValueError: If it cannot. The message has the reason.
        """
        if self.photometric not in _COLORS:
            unknown = f"of an unknown kind (PhotometricInterpretation {self.photometric})"
            what = _NOT_READ.get(self.photometric, unknown)
            raise ValueError(f"its pixels are {what}, which cannot be read; convert it to RGB")
        colors = self.colors
        if self.channels < colors:
            raise ValueError(f"its pixels need {colors} channels, and it has {self.channels}")
        numbers = self.photometric in (BLACK_IS_ZERO, RGB)  # of which the range is looked at
        if not (1 <= self.bits <= 16 or (self.bits == 32 and numbers)):
            raise ValueError(f"its channels have {self.bits} bits; 1 to 16 can be read")
        if self.signed and not (numbers and self.bits in (8, 16, 32)):
            raise ValueError("its pixels are signed integers, which have no known range")
        if self.photometric == CMYK and self.inks != (1, 4):
            raise ValueError("its inks are not cyan, magenta, yellow and black; convert it to RGB")
        if self.photometric == PALETTE and np.size(self.palette if self.palette is not None else ()) != 3 << self.bits:
            raise ValueError(f"its palette does not have {1 << self.bits} colors")
        if self.alpha is not None and self.is_premultiplied and self.photometric in (PALETTE, CMYK, YCBCR):
            raise ValueError("its alpha is premultiplied, which can be read of gray and RGB only")

    @property
    def colors(self) -> int:
        """The number of channels that are color."""
        return _COLORS[self.photometric]

    @property
    def alpha(self) -> int | None:
        """The channel that is alpha; None if there is none."""
        colors = self.colors
        if self.extra is None:  # as other readers take one more channel than the colors need
            return colors if self.channels == colors + 1 else None
        kinds = self.extra[: self.channels - colors]
        return next((colors + place for place, kind in enumerate(kinds) if kind in _ALPHA), None)

    @property
    def is_premultiplied(self) -> bool:
        """Whether the colors are multiplied by alpha."""
        return self.alpha is not None and _ASSOCIATED in (self.extra or ())[self.alpha - self.colors :][:1]

    @property
    def unused(self) -> int:
        """The number of channels that are neither color nor alpha."""
        return self.channels - self.colors - (self.alpha is not None)
