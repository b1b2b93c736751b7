"""TIFF: every layout is read as it was written, or refused with the reason."""

import hypothesis
import numpy as np
import pytest
import tifffile
from hypothesis import strategies as st
from tiff_writer import COMPRESSIONS, SHORT, Page, tiff

from keras_edsr.image_io import decode_picture, read_picture, write_image

rng = np.random.default_rng(0)
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
COLORS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3}


def read(data, **options):
    return decode_picture(data, "a.tif", **options)


# === Files that came out wrong once ===


@pytest.mark.parametrize(
    "name",
    [
        *(f"tiff_16bit_white_is_zero/{name}" for name in ("big_endian", "black_is_zero", "deflate", "little_endian")),
        "tiff_16bit_white_is_zero/tiles",
        *(f"tiff_12bit_dark/{name}" for name in ("big_endian", "deflate", "little_endian", "white_is_zero")),
        *(f"tiff_16bit_gray_alpha_own_output/{name}" for name in ("big_endian", "deflate", "little_endian")),
    ],
)
def test_what_came_out_wrong_is_right(shared_faults, name):
    expected = np.load(shared_faults / f"{name}.tif.npy")[0]  # RGBA
    picture = read_picture(shared_faults / f"{name}.tif")
    assert (picture.is_gray, picture.bit_depth) == (True, 16)
    planes = picture.image.reshape(*expected.shape[:2], -1)
    np.testing.assert_array_equal(planes[..., 0], expected[..., 0])
    if picture.has_alpha:
        np.testing.assert_array_equal(planes[..., 1], expected[..., 3])


@pytest.mark.parametrize("channels", [(), (2,), (3,), (4,)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_own_files_are_read_again_by_all(tmp_path, channels, dtype):
    image = rng.integers(0, np.iinfo(dtype).max + 1, (9, 13, *channels), dtype=dtype)
    write_image(tmp_path / "a.tif", image)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif").image, image)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), image)


# === Every layout ===


def scaled(values, bits):
    """The nearest of 0..255 (or of 0..65535, for more than 8 bits) to values of 0..2**bits - 1, by integers."""
    top, code = (255 if bits <= 8 else 65535), 2**bits - 1
    return (values.astype(np.int64) * (2 * top) + code) // (2 * code)


@st.composite
def pages(draw):
    """A page of any layout that can be read, and the pixels that it shows, with what they may be off."""
    photometric = draw(st.sampled_from(list(COLORS)))
    bits = draw(st.sampled_from([*range(1, 17), 8, 8, 8, 16, 16, 16]))
    if photometric == PALETTE:
        bits = min(bits, 12)
    if photometric == YCBCR:
        bits = draw(st.sampled_from([8, 16]))
    plain = photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB)
    extra = draw(st.sampled_from([(), (0,), (2,), (0, 2), (2, 0), *([(1,), (1, 0)] if plain else [])]))
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = np.uint8 if bits <= 8 else np.uint16
    samples = random.integers(0, 2**bits, (height, width, COLORS[photometric] + len(extra)), dtype=dtype)
    tags = {338: (SHORT, extra)} if extra else {}
    if photometric == PALETTE:
        colors = random.integers(0, 65536, (3, 2**bits), dtype=np.uint16)
        colors = {0: colors, 256: colors // 256 * 256, 257: colors // 257 * 257}[draw(st.sampled_from([0, 256, 257]))]
        hypothesis.assume(colors.max() > 255)  # or it is another kind of palette
        tags[320] = (SHORT, colors.ravel().tolist())
    if photometric == YCBCR:
        tags[530] = (SHORT, (1, 1))
    page = Page(
        samples,
        bits,
        photometric,
        planar=draw(st.sampled_from([1, 2])),
        compression=draw(st.sampled_from(list(COMPRESSIONS))),
        fill_order=draw(st.sampled_from([1, 2])),
        tile=draw(st.sampled_from([None, None, (16, 16), (32, 16), (16, 48)])),
        rows=draw(st.sampled_from([None, 1, 5, 16])),
        tags=tags,
    )
    if bits in (8, 16) and page.compression in (5, 8, 32946, 34925, 50000):
        page.predictor = draw(st.sampled_from([1, 2]))
    return page


def seen(page):
    """What a page shows: the color of each pixel in [0, 1], of 1 or 3 channels, and its alpha or None (TIFF 6.0)."""
    values = page.samples.astype(np.float64) / (2**page.bits - 1)
    color = values[..., : COLORS[page.photometric]]
    extra = page.tags.get(338, (SHORT, ()))[1]
    kind = next((kind for kind in extra if kind), None)
    alpha = values[..., [color.shape[2] + extra.index(kind)]] if kind else None
    if page.photometric == WHITE_IS_ZERO:
        color = 1 - color
    elif page.photometric == PALETTE:
        colors = np.reshape(page.tags[320][1], (3, -1))
        color = np.moveaxis(colors[:, page.samples[..., 0]], 0, -1) / 65535
    elif page.photometric == CMYK:
        color = (1 - color[..., :3]) * (1 - color[..., 3:])
    elif page.photometric == YCBCR:
        y, cb, cr = np.moveaxis(page.samples[..., :3].astype(np.float64), -1, 0)
        code, half = 2**page.bits - 1, 2 ** (page.bits - 1)
        cb, cr = (cb - half) * (half - 1) / (code - half), (cr - half) * (half - 1) / (code - half)
        red, blue = y + 1.402 * cr, y + 1.772 * cb
        color = np.stack([red, (y - 0.299 * red - 0.114 * blue) / 0.587, blue], axis=-1).clip(0, code) / code
    if kind == 1:
        color = np.minimum(color / np.maximum(alpha, 1e-9), 1)
    return color, alpha


def check(page, **options):
    picture = read(tiff(page, **options))
    color, alpha = seen(page)
    pixels = picture.image / np.iinfo(picture.image.dtype).max
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    assert picture.has_alpha == (alpha is not None)
    assert pixels.shape[2] == color.shape[2] + (alpha is not None)
    if page.bits > 8 and page.photometric not in (PALETTE, CMYK):
        assert picture.bit_depth == 16
    wide = picture.bit_depth == 16
    level = 1 / (65535 if wide else 255)
    # Half a level is what rounding takes; more only where inks or alpha are rounded before the color.
    thrice = page.photometric == CMYK or 1 in page.tags.get(338, (SHORT, ()))[1]
    twice = page.photometric == YCBCR or (page.photometric == PALETTE and not wide)
    off = 1.51 if thrice else 1.01 if twice else 0.51
    weight = 1 if alpha is None else alpha  # what is transparent is not seen
    assert (np.abs(pixels[..., : color.shape[2]] - color) * weight).max() <= off * level
    if alpha is not None:
        assert np.abs(pixels[..., -1:] - alpha).max() <= 0.51 * max(level, 1 / 255 if page.bits <= 8 else 0)


@hypothesis.settings(max_examples=300, deadline=None, derandomize=True, database=None)
@hypothesis.given(pages(), st.sampled_from("<>"), st.booleans())
def test_every_layout_is_read_as_it_was_written(page, order, big):
    check(page, order=order, big=big)


@pytest.mark.slow
@hypothesis.settings(max_examples=5000, deadline=None, database=None)
@hypothesis.given(pages(), st.sampled_from("<>"), st.booleans())
def test_many_layouts_are_read_as_they_were_written(page, order, big):
    check(page, order=order, big=big)
