"""Colors of a picture without an ICC profile: makes an equivalent profile, or converts to sRGB.

References: PNG (third edition), 4.3 and 11.3.2; ITU-T H.273 (primaries and transfer functions by number); ITU-R
BT.2100 (PQ, HLG) and BT.2408 (203 cd/m2 for the white of paper); ICC.1:2022 (profiles; cicpTag is 9.2.17).
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .metadata import Color


@dataclass(frozen=True)
class Curve:
    """Light of numbers in [0, 1].

    Args:
        light: The function; 1 is white.
        parameters: g, a, b, c and d of ICC's parametric curve: `(a x + b)^g`, and `c x` below d. None if it is another.
    """

    light: Callable[[np.ndarray], np.ndarray]
    parameters: tuple[float, ...] | None = None


_D65, _C, _DCI, _E = (0.3127, 0.329), (0.31, 0.316), (0.314, 0.351), (1 / 3, 1 / 3)
_BT709 = (_D65, (0.64, 0.33), (0.3, 0.6), (0.15, 0.06))
_BT601 = (_D65, (0.63, 0.34), (0.31, 0.595), (0.155, 0.07))
_P3 = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))
# White, red, green and blue, by H.273's number (its table 2).
_PRIMARIES = {
    1: _BT709,
    4: (_C, (0.67, 0.33), (0.21, 0.71), (0.14, 0.08)),
    5: (_D65, (0.64, 0.33), (0.29, 0.6), (0.15, 0.06)),
    6: _BT601,
    7: _BT601,
    8: (_C, (0.681, 0.319), (0.243, 0.692), (0.145, 0.049)),
    9: (_D65, (0.708, 0.292), (0.17, 0.797), (0.131, 0.046)),
    10: (_E, (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)),
    11: (_DCI, *_P3),
    12: (_D65, *_P3),
    22: (_D65, (0.63, 0.34), (0.295, 0.605), (0.155, 0.077)),
}
_UNSPECIFIED = 2
_SRGB = (1, 13)
_PAPER = 203.0  # cd/m2
_TABLE = 4096  # entries of a curve in a profile

# PNG 11.3.2.4: what sRGB is by these two chunks.
_SRGB_GAMMA = 45455
_SRGB_CHROMATICITIES = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


@dataclass(frozen=True)
class Space:
    """Colors' meaning: light of each number, and of which white and primaries.

    Args:
        name: What to call it.
        curve: Light of each number.
        primaries: x and y of white, red, green and blue.
        cicp: The four bytes of `Color.cicp`, if they define the colors.
    """

    name: str
    curve: Curve
    primaries: tuple[tuple[float, float], ...]
    cicp: bytes | None = None


def space_of(color: Color, has_icc: bool) -> Space | None:
    """Returns what a picture's color says; None if that is sRGB, or nothing, or the ICC profile has precedence.

    Raises:
        ValueError: If it has numbers that H.273 does not define, or primaries that span no colors.
    """
    if color.cicp:
        primaries, transfer = color.cicp[:2]
        if {primaries, transfer} != {_UNSPECIFIED}:
            space = _space_of_cicp(color.cicp)
            if not has_icc:  # which serves readers without cICP, such as the other formats
                return None if (primaries, transfer) == _SRGB else space
    if has_icc or color.srgb is not None:
        return None
    standard = color.gamma in (None, _SRGB_GAMMA) and color.chromaticities in (None, _SRGB_CHROMATICITIES)
    if standard or color.gamma == 0:
        return None
    c = color.chromaticities or _SRGB_CHROMATICITIES
    white, red, green, blue = ((c[i] / 100_000, c[i + 1] / 100_000) for i in range(0, 8, 2))
    if not white[1] or abs(np.linalg.det([(*red, 1), (*green, 1), (*blue, 1)])) < 1e-6:
        raise ValueError("its primaries lie on one line, or its white has no light")
    names = [*["gAMA"] * bool(color.gamma), *["cHRM"] * bool(color.chromaticities)]
    curve = _power(100_000 / color.gamma) if color.gamma else _srgb
    return Space(" and ".join(names), curve, (white, red, green, blue))


def srgb_pixels(pixels: np.ndarray, space: Space) -> np.ndarray:
    """Returns an image whose colors are sRGB's; what sRGB does not reach is cut off. Alpha stays.

    Args:
        pixels: uint8 or uint16 array with 1 to 4 channels, or without an axis for them.
        space: What its numbers mean.
    """
    most = np.iinfo(pixels.dtype).max
    table = np.clip(space.curve.light(np.arange(most + 1) / most), 0, 1).astype(np.float32)
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    channels = 3 if planes.shape[2] > 2 else 1
    converted = planes.copy()
    for row, (line, out) in enumerate(zip(planes, converted, strict=True)):  # a row at a time: an image may be large
        light = table[line[:, :channels]]
        if channels == 3:
            light = light @ _to_srgb(space).T
        out[:, :channels] = np.rint(_srgb_of_light(np.clip(light, 0, 1)) * most)
        converted[row] = out
    return converted.reshape(pixels.shape)


def icc_of(space: Space, gray: bool) -> bytes:
    """Returns an ICC profile (version 4.4) that says the same.

    Args:
        space: What to say.
        gray: Whether it is for a picture of one channel.
    """
    name = f"Colors by {space.name}"
    text = name.encode("utf-16-be")
    described = struct.pack(">4s4xLL2s2sLL", b"mluc", 1, 12, b"en", b"US", len(text), 28) + text
    free = "CC0".encode("utf-16-be")
    copyright_ = struct.pack(">4s4xLL2s2sLL", b"mluc", 1, 12, b"en", b"US", len(free), 28) + free
    curve = _icc_curve(space.curve)
    tags = {b"desc": described, b"cprt": copyright_, b"wtpt": _icc_numbers(b"XYZ ", _D50)}
    if gray:
        tags[b"kTRC"] = curve
    else:
        adaptation = _adaptation(space.primaries[0])
        matrix = adaptation @ _to_xyz(space.primaries)
        tags |= {b"rXYZ": _icc_numbers(b"XYZ ", matrix[:, 0]), b"rTRC": curve}
        tags |= {b"gXYZ": _icc_numbers(b"XYZ ", matrix[:, 1]), b"gTRC": curve}
        tags |= {b"bXYZ": _icc_numbers(b"XYZ ", matrix[:, 2]), b"bTRC": curve}
        tags[b"chad"] = _icc_numbers(b"sf32", adaptation)
        if space.cicp:
            tags[b"cicp"] = b"cicp" + bytes(4) + space.cicp
    return _icc_file(tags, b"GRAY" if gray else b"RGB ")


# === Curves ===


def _space_of_cicp(cicp: bytes) -> Space:
    primaries, transfer = (standard if n == _UNSPECIFIED else n for n, standard in zip(cicp[:2], _SRGB, strict=True))
    if primaries not in _PRIMARIES or transfer not in _TRANSFERS:
        raise ValueError(f"color primaries {primaries} with transfer function {transfer} are not known")
    return Space(f"cICP {primaries}, {transfer}", _TRANSFERS[transfer], _PRIMARIES[primaries], cicp)


def _power(exponent: float) -> Curve:
    return Curve(lambda v: v**exponent, (exponent, 1.0, 0.0, 0.0, 0.0))


def _broken(exponent: float, offset: float, slope: float, below: float) -> Curve:
    """A power of a shifted number, and a line near black."""
    return Curve(
        lambda v: np.where(v < below, v / slope, ((v + offset) / (1 + offset)) ** exponent),
        (exponent, 1 / (1 + offset), offset / (1 + offset), 1 / slope, below),
    )


_srgb = _broken(2.4, 0.055, 12.92, 0.04045)
_bt709 = _broken(1 / 0.45, 0.099296826809442, 4.5, 4.5 * 0.018053968510807)


def _pq(v: np.ndarray) -> np.ndarray:
    root = v ** (32 / 2523)  # BT.2100, table 4
    light = np.maximum(root - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * root)
    return np.minimum(light ** (8192 / 1305) * 10_000 / _PAPER, 1)


def _hlg(v: np.ndarray) -> np.ndarray:
    a, b, c = 0.17883277, 0.28466892, 0.55991073  # BT.2100, table 5
    scene = np.where(v <= 0.5, v**2 / 3, (np.exp((v - c) / a) + b) / 12)
    return np.minimum(scene**1.2 * 1000 / _PAPER, 1)  # on a display of 1000 cd/m2, of a gray


_TRANSFERS: dict[int, Curve] = {
    **dict.fromkeys((1, 6, 11, 12, 14, 15), _bt709),
    4: _power(2.2),
    5: _power(2.8),
    7: _broken(1 / 0.45, 0.1115, 4.0, 4.0 * 0.0228),
    8: _power(1.0),
    13: _srgb,
    16: Curve(_pq),
    17: Curve(lambda v: np.minimum(v**2.6 * 52.37 / 48, 1)),
    18: Curve(_hlg),
}


def _srgb_of_light(light: np.ndarray) -> np.ndarray:
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


# === Primaries ===


def _xyz(xy: tuple[float, float]) -> np.ndarray:
    x, y = xy
    if not y:  # blue of XYZ itself
        return np.array([x, 0.0, 1 - x])
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _to_xyz(primaries: tuple[tuple[float, float], ...]) -> np.ndarray:
    white, *colors = (_xyz(xy) for xy in primaries)
    columns = np.stack(colors, axis=1)
    return columns * np.linalg.solve(columns, white)


def _adaptation(white: tuple[float, float], to: np.ndarray = _D50) -> np.ndarray:
    """Bradford's matrix, from one white to another."""
    return np.linalg.solve(_BRADFORD, np.diag(_BRADFORD @ to / (_BRADFORD @ _xyz(white))) @ _BRADFORD)


def _to_srgb(space: Space) -> np.ndarray:
    adapted = _adaptation(space.primaries[0], _xyz(_D65)) @ _to_xyz(space.primaries)
    return np.linalg.solve(_to_xyz(_BT709), adapted).astype(np.float32)


# === ICC ===


def _icc_numbers(kind: bytes, values: np.ndarray) -> bytes:
    numbers = [round(float(value) * 65536) for value in np.ravel(values)]
    return kind + bytes(4) + struct.pack(f">{len(numbers)}l", *numbers)


def _icc_curve(curve: Curve) -> bytes:
    if curve.parameters and max(curve.parameters) < 2**15:
        return b"para" + bytes(4) + struct.pack(">H2x5l", 3, *(round(value * 65536) for value in curve.parameters))
    values = np.rint(np.clip(curve.light(np.linspace(0, 1, _TABLE)), 0, 1) * 65535).astype(">u2")
    return b"curv" + bytes(4) + struct.pack(">L", _TABLE) + values.tobytes()


def _icc_file(tags: dict[bytes, bytes], channels: bytes) -> bytes:
    contents = list(dict.fromkeys(tags.values()))  # the three curves are one
    places, data = {}, bytearray()
    start = 128 + 4 + 12 * len(tags)
    for content in contents:
        places[content] = start + len(data)
        data += content + bytes(-len(content) % 4)
    table = b"".join(struct.pack(">4sLL", name, places[content], len(content)) for name, content in tags.items())
    head = struct.pack(
        ">L4xL4s4s4s12x4s28x3l48x",
        start + len(data),
        0x04400000,
        b"mntr",
        channels,
        b"XYZ ",
        b"acsp",
        *(round(value * 65536) for value in _D50),
    )
    return head + struct.pack(">L", len(tags)) + table + bytes(data)
