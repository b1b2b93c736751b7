"""Descriptions of presets, without loading or downloading them."""

import logging
import os
from pathlib import Path
from typing import Any

from ..network import Network, count_parameters, halo
from ..presets import LICENSE, SOURCE, Official, find_file, locate, preset_names, read_config, read_network, say_unknown

_log = logging.getLogger("keras_edsr")


def list_presets() -> list[dict[str, Any]]:
    """Describes every preset: those in the package, the user's own and the published ones. Logs damaged ones.

    Returns:
        What `describe_preset` returns, for each.
    """
    rows = []
    for name in preset_names():
        try:
            rows.append(describe_preset(name))
        except ValueError as error:
            _log.warning("%s", error)
    return rows


def describe_preset(preset: str | os.PathLike) -> dict[str, Any]:
    """Describes a preset.

    Args:
        preset: A name, or the path of a folder.

    Returns:
        `name`, `family`, `scales`, `num_blocks`, `filters`, `channels`, `residual_scaling`, `parameters`, `halo`,
        `source`, `license`, `psnr` (in dB by test set and scale), `psnr_is` ("published" or "measured"), `path` (None
        if it is not on this machine) and `url` (None if it cannot be downloaded). Unknown values are None.

    Raises:
        ValueError: If there is no such preset or its config.json is damaged. The message has one line.
    """
    found = locate(preset)
    if found is None:
        raise ValueError(f"There is no preset {os.fspath(preset)!r}. {say_unknown(preset)}")
    return _official(found) if isinstance(found, Official) else _folder(found)


def _official(official: Official) -> dict[str, Any]:
    path = find_file(official)
    return {
        "name": official.name,
        **facts(official.network),
        "source": SOURCE,
        "license": LICENSE,
        "psnr": official.psnr,
        "psnr_is": "published",
        "path": path and str(path),
        "url": official.url,
    }


def _folder(folder: Path) -> dict[str, Any]:
    about, network = read_config(folder), read_network(folder)
    try:
        return {
            "name": folder.name,
            **facts(network),
            "source": about.get("source"),
            "license": about.get("license", about.get("licence")),  # codespell:ignore
            "psnr": _check_psnr(about.get("psnr")),
            "psnr_is": "measured" if about.get("psnr") else None,
            "path": str(folder),
            "url": None,
        }
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{folder} is not a valid preset: its config.json lacks something ({error}).") from error


def facts(network: Network) -> dict[str, Any]:
    """Returns what there is to say of a network: sizes, scaling, parameters, halo."""
    names = ("family", "scales", "num_blocks", "filters", "channels", "residual_scaling")
    told = {name: getattr(network, name) for name in names}
    return told | {"parameters": count_parameters(network), "halo": halo(network)}


def _check_psnr(psnr: Any) -> dict[str, dict[str, float]] | None:
    return psnr and {test_set: {scale: float(value) for scale, value in dbs.items()} for test_set, dbs in psnr.items()}
