"""Metadata of an image file besides EXIF and the ICC profile."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

Unit = Literal["inch", "centimeter", "meter", ""]

_PER_METER = {"inch": Fraction(10_000, 254), "centimeter": Fraction(100), "meter": Fraction(1)}


@dataclass(frozen=True)
class Density:
    """Number of pixels for each unit of length.

    Args:
        x: Pixels per unit from left to right.
        y: Pixels per unit from top to bottom.
        unit: "inch", "centimeter" or "meter"; "" if only the shape of a pixel is known.
    """

    x: Fraction
    y: Fraction
    unit: Unit

    def per(self, unit: Unit) -> tuple[Fraction, Fraction]:
        """Returns `(x, y)` per another unit; neither it nor the density's own may be ""."""
        factor = _PER_METER[self.unit] / _PER_METER[unit]
        return self.x * factor, self.y * factor


@dataclass(frozen=True)
class Color:
    """Definition of the colors of a file's numbers, apart from an ICC profile.

    Args:
        cicp: Four bytes as a PNG's cICP chunk has them: color primaries, transfer function, matrix (0) and full range
            (1), the first two numbered as in ITU-T H.273.
        srgb: Rendering intent of a PNG's sRGB chunk.
        gamma: A PNG's gAMA: the exponent by which light was encoded, times 100,000.
        chromaticities: A PNG's cHRM: x and y of white, red, green and blue, times 100,000.
    """

    cicp: bytes | None = None
    srgb: int | None = None
    gamma: int | None = None
    chromaticities: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Metadata:
    """Metadata of an image file besides EXIF and the ICC profile.

    Args:
        density: Pixels per length.
        color: Definition of the colors.
        xmp: XMP packet.
        xmp_extension: The segments of a JPEG that hold the part of XMP that is longer than one segment.
        photoshop: Photoshop's image resources ("8BIM"), which hold IPTC.
        comments: A JPEG's or GIF's comments.
        texts: A PNG's text chunks: name (tEXt, zTXt or iTXt) and content.
        chunks: A PNG's other chunks that stay true of another size: name and content.
        background: A PNG's color to show it on, gray or RGB, each in [0, 1].
        lost: Names of what was in the file and could not be kept by reading it.
    """

    density: Density | None = None
    color: Color = field(default_factory=Color)
    xmp: bytes | None = None
    xmp_extension: tuple[bytes, ...] = ()
    photoshop: bytes | None = None
    comments: tuple[bytes, ...] = ()
    texts: tuple[tuple[bytes, bytes], ...] = ()
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    background: tuple[float, ...] | None = None
    lost: tuple[str, ...] = ()
