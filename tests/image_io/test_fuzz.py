"""Damaged files: a picture or one line, no other error, no warning, in bounded time and memory."""

import io
import re
import resource
import sys
import time
import zlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image
from tiff_writer import SHORT, Page, tiff

from keras_edsr.image_io import Picture, decode_image, decode_picture, read_size

MAX_PIXELS = 1_000_000
rng = np.random.default_rng(0)


def seeds(kind):
    """Small valid files of one format: with EXIF, a profile, alpha, a palette, frames, each compression."""
    rgb = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    rgba = np.dstack([rgb, rgb[..., 0]])
    exif = Image.Exif()
    exif[0x0112], exif[0x8769], exif[0x8825] = 6, {0x829A: 0.005}, {1: "N", 2: (48.0, 8.0, 0.0)}
    still = {"exif": exif.tobytes(), "icc_profile": bytes(range(128))}
    animated = {"save_all": True, "append_images": [Image.fromarray(rgba[::-1])], "duration": 40, "loop": 0}
    options = {
        "PNG": [(rgb, still), (rgba, animated), (rgb[..., 0].astype(np.uint16) * 257, {}), (rgb[..., 0] > 127, {})],
        "JPEG": [(rgb, still), (rgb, {"progressive": True}), (rgb[..., 0], {})],
        "WEBP": [(rgb, still), (rgba, {"lossless": True}), (rgba, animated)],
        "GIF": [(rgb, {}), (rgba, {**animated, "disposal": 2})],
        "TIFF": [
            (rgb, still),
            (rgba, {"compression": "tiff_lzw"}),
            (rgb, {"compression": "jpeg"}),
            (rgb[..., 0] > 127, {"compression": "group4"}),
        ],
    }
    files = []
    for pixels, chosen in options[kind]:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, kind, **chosen)
        files.append(file.getvalue())
    return files + (seeds_of_tiff(rgb) if kind == "TIFF" else [])


def seeds_of_tiff(rgb):
    """Layouts that Pillow does not write."""
    deep = rgb.astype(np.uint16) * 16
    subsampling = {530: (SHORT, (2, 2))}
    palette = {320: (SHORT, [*range(0, 48 * 1000, 1000)])}
    return [
        tiff(Page(deep, 12, 2, planar=2, compression=5, tile=(16, 16)), order=">"),
        tiff(Page(deep, 16, 2, compression=8, predictor=2, rows=5), big=True),
        tiff(Page(rgb, 8, 6, compression=32773, subsampling=(2, 2), tags=subsampling)),
        tiff(Page(rgb[..., :1] // 16, 4, 3, fill_order=2, tags=palette), Page(rgb, 8, 2)),
    ]


SEEDS = {kind: seeds(kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF")}


@st.composite
def damaged(draw, kind):
    """A valid file with up to six places overwritten, mostly in its head, perhaps cut or lengthened."""
    data = bytearray(draw(st.sampled_from(SEEDS[kind])))
    places = st.one_of(st.integers(0, 200), st.integers(0, len(data) - 1))
    values = st.one_of(
        st.binary(min_size=1, max_size=4),
        st.sampled_from(
            [b"\0", b"\xff", b"\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\x01\0\0"]
        ),
    )
    for place, value in draw(st.lists(st.tuples(places, values), max_size=6)):
        place = min(place, len(data) - 1)
        data[place : place + len(value)] = value
    start, count = draw(st.integers(0, len(data))), draw(st.integers(0, 40))
    change = draw(st.sampled_from(["none", "none", "cut", "delete", "repeat"]))
    if change == "cut":
        del data[start:]
    elif change == "delete":
        del data[start : start + count]
    elif change == "repeat":
        data[start:start] = data[start : start + count]
    if kind == "PNG" and draw(st.booleans()):
        data = with_right_checksums(data)  # or Pillow looks no further than these
    return bytes(data)


def with_right_checksums(data):
    at = 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return data


def check(data):
    """Reads in the three ways; the only error is ours, of one line."""
    for read in (decode_picture, decode_image, read_size):
        limit = {} if read is read_size else {"max_pixels": MAX_PIXELS}
        result, message = None, None
        try:
            result = read(data, "a.file", **limit)
        except ValueError as error:
            message = str(error)
        assert message is None or re.fullmatch(r"Cannot read the image a\.file: .+\.", message)
        if isinstance(result, Picture):
            assert sum(frame.shape[0] * frame.shape[1] for frame in result.frames) <= MAX_PIXELS


def peak_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.parametrize("kind", SEEDS)
def test_damaged_files_are_pictures_or_one_line(kind):
    start, before = time.monotonic(), peak_memory()

    @hypothesis.settings(max_examples=250, deadline=2000, derandomize=True, database=None)
    @hypothesis.given(damaged(kind))
    def law(data):
        check(data)

    law()
    assert time.monotonic() - start < 60
    assert peak_memory() - before < 500e6


@pytest.mark.slow
@pytest.mark.parametrize("kind", SEEDS)
def test_many_damaged_files_are_pictures_or_one_line(kind):
    @hypothesis.settings(max_examples=4_000, deadline=2000, database=None)
    @hypothesis.given(damaged(kind))
    def law(data):
        check(data)

    law()


@hypothesis.settings(max_examples=100, deadline=2000, derandomize=True, database=None)
@hypothesis.given(
    st.sampled_from(
        [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8X", b"GIF89a", b"II*\0", b"MM\0*"]
    ),
    st.binary(max_size=300),
)
def test_noise_after_a_known_beginning_is_one_line(beginning, noise):
    check(beginning + noise)
