"""The weights that the authors of EDSR and MDSR published, wherever they can still be had.

Their own server has been down since 2024. Users hold the files under several names; a mirror has those of EDSR.
"""

import contextlib
import logging
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from ..checkpoints import SUFFIXES, describe
from ..files import reason
from ..machine import cache_folder
from ..network import Network

MIRROR = "https://github.com/Coloquinte/torchSR/releases/download/v1.0.3"
SOURCE = "EDSR-PyTorch (https://github.com/sanghyun-son/EDSR-PyTorch)"
LICENSE = "code MIT; none is stated for the weights, whose training data, DIV2K, is for academic research"

_log = logging.getLogger("keras_edsr")


@dataclass(frozen=True)
class Official:
    """One published network.

    Attributes:
        name: The preset's name.
        network: What it is.
        files: The names under which its file is known, the authors' own first.
        psnr: What was published about it, by test set and then by scale, in dB.
        mirrored: The name of its file at `MIRROR`, or None.
        sha256: The first digits of the SHA-256 of the file at `MIRROR`, where they are known.
    """

    name: str
    network: Network
    files: tuple[str, ...]
    psnr: dict[str, dict[str, float]]
    mirrored: str | None = None
    sha256: str | None = None

    @property
    def url(self) -> str | None:
        """Where it can be downloaded from, or None."""
        return self.mirrored and f"{MIRROR}/{self.mirrored}"


# === What there is ===

# By scale: the digits in the authors' file name and in BasicSR's (facts 5.2, 5.4); PSNR on DIV2K 0801-0900 (RGB, border
# of scale + 6; EDSR-PyTorch's README) and on Set5, Set14, B100, Urban100 (Y, border of scale; torchSR's README).
_BASELINE = {
    2: ("1bc95232", "3ba7b086", 34.61, (37.98, 33.57, 32.15, 31.98)),
    3: ("abf2a44e", "6908f88a", 30.92, (34.37, 30.28, 29.08, 28.15)),
    4: ("6b446fab", "0c287733", 28.95, (32.09, 28.58, 27.56, 26.03)),
}
_FINAL = {
    2: ("0edfb8a3", "be38e77d", 35.03, (38.19, 33.95, 32.35, 32.97)),
    3: ("ea3ef2c6", "3660f70d", 31.26, (34.68, 30.53, 29.26, 28.81)),
    4: ("4f62e9ef", "76ee1c8f", 29.25, (32.48, 28.81, 27.72, 26.65)),
}
_DIV2K = "DIV2K 0801-0900 (RGB)"
_BENCHMARKS = ("Set5 (Y)", "Set14 (Y)", "B100 (Y)", "Urban100 (Y)")


def _edsr(stem: str, mirrored: str, basicsr: str, num_blocks: int, filters: int, scale: int, facts: tuple) -> Official:
    digits, basicsr_digits, div2k, benchmarks = facts
    name, legacy = f"{stem}_x{scale}", f"{stem.replace('edsr', 'EDSR')}_x{scale}.pt"
    mirrored = f"{mirrored}_x{scale}.pt"
    basicsr = f"EDSR_{basicsr}x{scale}_f{filters}b{num_blocks}_DIV2K_official-{basicsr_digits}.pth"
    return Official(
        name,
        Network("EDSR", (scale,), num_blocks, filters),
        (f"{name}-{digits}.pt", mirrored, legacy, basicsr, *(name + suffix for suffix in SUFFIXES)),
        {_DIV2K: {f"x{scale}": div2k}}
        | {test_set: {f"x{scale}": psnr} for test_set, psnr in zip(_BENCHMARKS, benchmarks, strict=True)},
        mirrored,
    )


def _mdsr(name: str, digits: str, num_blocks: int, div2k: tuple[float, ...]) -> Official:
    return Official(
        name,
        Network("MDSR", (2, 3, 4), num_blocks, 64),
        (f"{name}-{digits}.pt", f"{name.replace('mdsr', 'MDSR')}.pt", *(name + suffix for suffix in SUFFIXES)),
        {_DIV2K: dict(zip(("x2", "x3", "x4"), div2k, strict=True))},
    )


OFFICIAL = {
    official.name: official
    for official in (
        *(_edsr("edsr_baseline", "edsr64", "M", 16, 64, scale, facts) for scale, facts in _BASELINE.items()),
        *(_edsr("edsr", "edsr", "L", 32, 256, scale, facts) for scale, facts in _FINAL.items()),
        _mdsr("mdsr_baseline", "a00cab12", 16, (34.63, 30.94, 28.97)),
        _mdsr("mdsr", "4a78bedf", 80, (34.92, 31.22, 29.24)),
    )
}


# === Where it is ===


def weights_folder() -> Path:
    """Returns the folder of the user's weights: `$KERAS_EDSR_WEIGHTS`, else `weights` in the cache."""
    if "KERAS_EDSR_WEIGHTS" in os.environ:
        return Path(os.environ["KERAS_EDSR_WEIGHTS"])
    return cache_folder() / "weights"


def find_file(official: Official) -> Path | None:
    """Returns the user's file of published weights, under whichever of its names, or None."""
    paths = (weights_folder() / name for name in official.files)
    return next((path for path in paths if path.is_file()), None)


def fetch(official: Official) -> Path:
    """Returns the path of published weights: the user's file, else what the mirror has, from then on the user's.

    Raises:
        ValueError: If no mirror has them, or a mirror has another file. The message has one line.
        OSError: If they cannot be downloaded. The message has one line.
    """
    path = find_file(official)
    if path is not None:
        return path
    if official.url is None:
        raise ValueError(f"The weights of {official.name} are not here. {how_to_get(official)}")
    return _download(official)


def how_to_get(official: Official) -> str:
    """Says in a sentence how published weights that are not here come here."""
    if official.url is not None:
        return f"They are downloaded from {official.url} when they are first used."
    return f"No mirror has them: {_put_it_there(official)}"


def _put_it_there(official: Official) -> str:
    return (
        f"if you have the authors' file, {official.files[0]}, put it into {weights_folder()} "
        "(or another folder, which KERAS_EDSR_WEIGHTS names)."
    )


def _download(official: Official) -> Path:
    import pooch

    url, folder = str(official.url), weights_folder()
    target = folder / url.rpartition("/")[2]
    pooch.get_logger().setLevel(logging.ERROR)
    _log.info("%s: downloading %s to %s", official.name, url, folder)

    def close_later(response, **_):
        responses.callback(response.close)  # pooch does not close an interrupted connection

    try:
        folder.mkdir(parents=True, exist_ok=True)
        # In a separate folder: under its final name, a partial file would look complete if the process were killed.
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as part, contextlib.ExitStack() as responses:
            files = pooch.create(part, "", registry={target.name: None}, urls={target.name: url}, retry_if_failed=1)
            bar = pooch.HTTPDownloader(
                progressbar=_log.level <= logging.INFO,  # on stderr
                hooks={"response": close_later},
            )
            file = Path(files.fetch(target.name, downloader=bar))
            _check_hash(file, official)
            check_network(file, describe(file).network, official)
            os.replace(file, target)
    except OSError as error:
        raise OSError(
            f"Cannot download the weights of {official.name}: {reason(error)}. Try again; or {_put_it_there(official)}"
        ) from error
    except ValueError as error:
        raise ValueError(f"Rejected the file from {url}: {error}") from error
    return target


def _check_hash(file: Path, official: Official) -> None:
    import pooch

    found = pooch.file_hash(str(file), "sha256")
    if official.sha256 and not found.startswith(official.sha256):
        raise ValueError(f"its SHA-256 begins with {found[:8]} and must begin with {official.sha256}.")
    _log.info("%s: %s, SHA-256 %s", official.name, file.name, found)


def check_network(path: Path, network: Network, official: Official) -> None:
    """Checks that a file contains the expected network.

    Raises:
        ValueError: If it has not. The message has one line and names the file.
    """
    of_any_mean = replace(network, mean=official.network.mean, residual_scaling=official.network.residual_scaling)
    if of_any_mean != official.network:
        raise ValueError(f"{path} should hold {official.name}, {official.network}, but holds {network}.")
