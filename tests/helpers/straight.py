"""Pixels of any channels and depth as straight RGBA floats, and as they are seen."""

import numpy as np
import pytest
from places import SHARED_FAULTS


def rgba(pixels):
    values = np.asarray(pixels) / np.iinfo(pixels.dtype).max
    values = values[..., None] if values.ndim == 2 else values
    alpha = values[..., -1:] if values.shape[2] in (2, 4) else np.ones_like(values[..., :1])
    color = values[..., :3] if values.shape[2] >= 3 else np.repeat(values[..., :1], 3, axis=2)
    return np.concatenate([color, alpha], axis=2)


def seen(values):
    """Colors count as much as they are seen: multiplied by alpha."""
    return np.concatenate([values[..., :3] * values[..., 3:], values[..., 3:]], axis=2)


def assert_seen_alike(frames, expected, tolerance):
    """Compares frames with expected ones (RGBA, integers of any depth or floats of 0 to 1)."""
    assert len(frames) == len(expected)
    for number, (frame, wanted) in enumerate(zip(frames, expected, strict=True)):
        wanted = wanted if wanted.dtype.kind == "f" else rgba(wanted)
        np.testing.assert_allclose(seen(rgba(frame)), seen(wanted), rtol=0, atol=tolerance, err_msg=f"frame {number}")


def files_of(folder, pattern):
    """The files of a folder beside the project with the pixels that are right; a skipped entry if it is not there."""
    paths = sorted((SHARED_FAULTS / folder).glob(pattern))
    if not paths:
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"{SHARED_FAULTS / folder} is not there"))]
    return [pytest.param(path, id=path.name) for path in paths if path.with_name(path.name + ".npy").exists()]
