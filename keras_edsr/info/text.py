"""Formats the results of `describe` and `list_presets` as text for people."""

from collections.abc import Mapping, Sequence
from typing import Any

_KEYS = (
    *("name", "path", "url", "format", "family", "scales", "num_blocks", "filters", "channels", "residual_scaling"),
    *("parameters", "halo", "layout", "dtype", "value_range", "source", "license"),
)


def page(about: Mapping[str, Any]) -> str:
    """Formats what `describe` returns: a line for each known value."""
    lines = [(key, about[key]) for key in _KEYS if about.get(key) is not None]
    if about["family"] is None:
        lines.append(("family", "neither EDSR nor MDSR, according to its kernels"))
    for test_set, scales in (about.get("psnr") or {}).items():
        values = ", ".join(f"{scale} {value:.2f} dB" for scale, value in scales.items())
        lines.append(("psnr", f"{test_set}: {values}, {about['psnr_is']}"))
    for key in ("inputs", "outputs"):
        lines += [(key, _tensor(tensor)) for tensor in about[key] or ()]
    lines += [(key[:-1], text) for key in ("notes", "warnings") for text in about.get(key, ())]
    width = max(len(key) for key, _ in lines)
    return "\n".join(f"{key:<{width}}  {_shown(key, value)}" for key, value in lines)


def table(presets: Sequence[Mapping[str, Any]]) -> str:
    """Formats what `list_presets` returns: a line for each preset, then their sources."""
    test_sets = list(dict.fromkeys(test_set for preset in presets for test_set in preset["psnr"] or {}))
    rows = [["preset", "family", "scales", "parameters", "here", *test_sets]]
    for preset in presets:
        here = "yes" if preset["path"] else "download" if preset["url"] else "no"
        psnr = [_psnr((preset["psnr"] or {}).get(test_set)) for test_set in test_sets]
        keys = ("name", "family", "scales", "parameters")
        rows.append([*(_shown(key, preset[key]) for key in keys), here, *psnr])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", *_origins(presets)])


def _origins(presets):
    """Yields one line for all presets with the same source."""
    names: dict[tuple, list[str]] = {}
    for preset in presets:
        names.setdefault((preset["psnr_is"], preset["source"], preset["license"]), []).append(preset["name"])
    for (psnr_is, source, license), group in names.items():
        psnr = f"PSNR in dB, {psnr_is}" if psnr_is else "PSNR not known"
        whose = "" if len(names) == 1 else f"{', '.join(group)}: "
        yield f"{whose}{psnr}; source: {source or 'not known'}; license: {license or 'not known'}"


def _psnr(scales):
    return "/".join(f"{value:.2f}" for value in scales.values()) if scales else ""


def _tensor(tensor):
    shape = tensor["shape"]
    sizes = "of any shape" if shape is None else f"({', '.join('?' if size is None else str(size) for size in shape)})"
    signature = f"{tensor['signature']}: " if "signature" in tensor else ""
    return f"{signature}{tensor['name']} {tensor['dtype']} {sizes}"


def _shown(key, value):
    if value is None:
        return "?"
    if key == "scales":
        return ", ".join(map(str, value))
    return f"{value:,}" if key == "parameters" else str(value)
