"""TIFF: every layout is read as it was written, or refused with the reason."""

import contextlib
import io
import struct
import tracemalloc

import hypothesis
import numpy as np
import pytest
import tifffile
from hypothesis import strategies as st
from PIL import Image
from tiff_writer import COMPRESSIONS, LONG, RATIONAL, SHORT, Page, tiff

from keras_edsr.image_io import decode_image, decode_picture, read_picture, read_size, write_image

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
def ycbcr_tags(draw, bits, subsampling=(1, 1)):
    """Tags of YCbCr: of another standard or of reduced range, or none, for which there are defaults."""
    tags = {530: (SHORT, subsampling)}
    if draw(st.booleans()):  # BT.709
        tags[529] = (RATIONAL, (2126, 10000, 7152, 10000, 722, 10000))
    if draw(st.booleans()):  # as in a studio
        levels = (16, 235, 128, 240, 128, 240)
        tags[532] = (RATIONAL, [part for level in levels for part in (level << (bits - 8), 1)])
    return tags


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
        tags |= draw(ycbcr_tags(bits))
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
        color = rgb_of(page)
    if kind == 1:
        color = np.minimum(color / np.maximum(alpha, 1e-9), 1)
    return color, alpha


def rgb_of(page):
    """RGB of YCbCr in [0, 1] (TIFF 6.0, section 21; ReferenceBlackWhite in section 20)."""
    code, half = 2**page.bits - 1, 2 ** (page.bits - 1)
    numbers = page.tags.get(532, (0, [v for level in (0, code, half, code, half, code) for v in (level, 1)]))[1]
    black_y, white_y, black_b, white_b, black_r, white_r = numbers[::2]
    numbers = page.tags.get(529, (0, (299, 1000, 587, 1000, 114, 1000)))[1]
    red, green, blue = np.divide(numbers[::2], numbers[1::2])
    y, cb, cr = np.moveaxis(page.samples[..., :3].astype(np.float64), -1, 0)
    y = (y - black_y) * code / (white_y - black_y)
    cb = (cb - black_b) * (half - 1) / (white_b - black_b)
    cr = (cr - black_r) * (half - 1) / (white_r - black_r)
    r, b = cr * (2 - 2 * red) + y, cb * (2 - 2 * blue) + y
    return np.stack([r, (y - blue * b - red * r) / green, b], axis=-1).clip(0, code) / code


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
    twice = page.photometric == PALETTE and not wide
    off = 1.51 if thrice else 1.01 if twice else 0.51
    weight = 1 if alpha is None else alpha  # what is transparent is not seen
    assert (np.abs(pixels[..., : color.shape[2]] - color) * weight).max() <= off * level
    if alpha is not None:
        assert np.abs(pixels[..., -1:] - alpha).max() <= 0.51 * max(level, 1 / 255 if page.bits <= 8 else 0)


@hypothesis.settings(max_examples=150, deadline=None, derandomize=True, database=None)
@hypothesis.given(pages(), st.sampled_from("<>"), st.booleans())
def test_every_layout_is_read_as_it_was_written(page, order, big):
    check(page, order=order, big=big)


@pytest.mark.slow
@hypothesis.settings(max_examples=2000, deadline=None, database=None)
@hypothesis.given(pages(), st.sampled_from("<>"), st.booleans())
def test_many_layouts_are_read_as_they_were_written(page, order, big):
    check(page, order=order, big=big)


# === Color with fewer samples ===


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True, database=None)
@hypothesis.given(st.data(), st.sampled_from("<>"), st.booleans())
def test_subsampled_color_is_repeated(data, order, big):
    across, down = data.draw(st.sampled_from([(2, 2), (2, 1), (1, 2), (4, 1), (4, 2), (4, 4)]))
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    bits = data.draw(st.sampled_from([8, 16]))
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    samples = random.integers(0, 2**bits, (height, width, 3), dtype=np.uint8 if bits == 8 else np.uint16)
    color = samples[::down, ::across, 1:].repeat(down, axis=0).repeat(across, axis=1)
    samples[..., 1:] = color[:height, :width]
    page = Page(
        samples,
        bits,
        YCBCR,
        compression=data.draw(st.sampled_from(list(COMPRESSIONS))),
        fill_order=data.draw(st.sampled_from([1, 2])),
        tile=data.draw(st.sampled_from([None, (16, 16), (32, 16)])),
        rows=data.draw(st.sampled_from([None, 4, 16])),
        subsampling=(across, down),
        tags=data.draw(ycbcr_tags(bits, (across, down))),
    )
    check(page, order=order, big=big)


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2), (4, 2)])
def test_subsampled_color_is_read_as_libtiff_reads_it(subsampling):
    samples = rng.integers(0, 256, (33, 41, 3), dtype=np.uint8)
    page = Page(samples, 8, YCBCR, compression=5, rows=16, subsampling=subsampling, tags={530: (SHORT, subsampling)})
    with Image.open(io.BytesIO(tiff(page))) as stored:
        expected = np.array(stored.convert("RGB"))
    assert np.abs(read(tiff(page)).image - expected.astype(int)).max() <= 1


# === Compressions that are images themselves, and fax ===

RAMP = np.add.outer(np.arange(37) * 3, np.arange(53) * 2).astype(np.uint8)
COLORED = np.dstack([RAMP, RAMP[::-1], RAMP[:, ::-1]])
FACTORS = (np.uint8(1), np.uint16(257))


def by_tifffile(image, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, image, **options)
    return file.getvalue()


def by_libtiff(image, **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "TIFF", **options)
    return file.getvalue()


@pytest.mark.parametrize("options", [{}, {"tile": (16, 32)}, {"rowsperstrip": 16}])
@pytest.mark.parametrize(
    ("compression", "image"),
    [
        *((name, part * factor) for name in ("jpeg2000", "png") for part in (RAMP, COLORED) for factor in FACTORS),
        ("webp", COLORED),
    ],
)
def test_lossless_images_within_are_read(image, compression, options):
    if compression == "webp":
        options = {**options, "compressionargs": {"lossless": True}}
    data = by_tifffile(image, photometric="rgb" if image.ndim == 3 else 1, compression=compression, **options)
    np.testing.assert_array_equal(read(data).image, image)


@pytest.mark.parametrize("photometric", ["ycbcr", "rgb"])
@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2)])
@pytest.mark.parametrize("options", [{}, {"tile": (32, 48)}, {"rowsperstrip": 16}])
def test_jpeg_is_read_as_libtiff_reads_it(photometric, subsampling, options):
    data = by_tifffile(COLORED, photometric=photometric, compression="jpeg", subsampling=subsampling, **options)
    with Image.open(io.BytesIO(data)) as stored:
        np.testing.assert_array_equal(read(data).image, np.array(stored.convert("RGB")))


def test_jpeg_of_libtiff_with_tables_apart_is_read():
    for image in (RAMP, COLORED):
        data = by_libtiff(image, compression="jpeg")
        with Image.open(io.BytesIO(data)) as stored:
            np.testing.assert_array_equal(read(data).image, np.array(stored))


def test_jpeg_of_twelve_bits_has_sixteen():
    image = RAMP.astype(np.uint16) * 16
    picture = read(by_tifffile(image, photometric=1, compression="jpeg", compressionargs={"bitspersample": 12}))
    assert np.abs(picture.image - image * (65535 / 4095)).max() < 200  # JPEG loses some


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
@pytest.mark.parametrize("tags", [{}, {262: 1}, {278: 16}, {278: 16, 266: 2}, {292: 1}, {292: 5, 278: 8}])
def test_fax_is_read_as_libtiff_reads_it(compression, tags):
    data = by_libtiff((RAMP // 8) % 3 == 0, compression=compression, tiffinfo=tags)
    with Image.open(io.BytesIO(data)) as stored:
        np.testing.assert_array_equal(read(data).image, np.array(stored) * 255)


@pytest.mark.parametrize("compression", ["lzw", "deflate", "packbits", "zstd", "lzma", "jpeg", "jpeg2000", "webp"])
def test_pixels_that_break_off_are_not_made_up(compression):
    data = by_tifffile(COLORED, photometric="rgb", compression=compression, rowsperstrip=37)
    assert_breaks_off(data)


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_a_fax_that_breaks_off_is_not_made_up(compression):
    assert_breaks_off(by_libtiff((RAMP // 8) % 3 == 0, compression=compression, tiffinfo={278: 37}))


def assert_breaks_off(data):
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tag, size = file.pages.first.tags[279], file.pages.first.databytecounts[0]
    short = bytearray(data)
    struct.pack_into("<I", short, tag.offset + 8, size // 2)
    with pytest.raises(ValueError, match=r"^Cannot read the image a\.tif: its pixels are damaged"):
        read(bytes(short))
    struct.pack_into("<I", short, tag.offset + 8, len(data))
    with pytest.raises(ValueError, match=r"^Cannot read the image a\.tif: it is truncated"):
        read(bytes(short))


@pytest.mark.parametrize("size", [0, 3, 36])
def test_without_compression_a_wrong_size_of_a_strip_does_not_matter(size):
    samples = np.arange(35, dtype=np.uint8).reshape(5, 7, 1)
    data = bytearray(tiff(Page(samples, 8, BLACK_IS_ZERO)))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        struct.pack_into("<I", data, file.pages.first.tags[279].offset + 8, size)
    np.testing.assert_array_equal(read(bytes(data)).image, samples[..., 0])


@pytest.mark.parametrize("compression", [c for c in COMPRESSIONS if c != 1])
def test_a_last_strip_may_be_filled_up_to_the_height_of_the_others(compression):
    samples = np.arange(35, dtype=np.uint8).reshape(5, 7, 1)
    stored = Page(samples, 8, BLACK_IS_ZERO, compression=compression, rows=3)
    data = tiff(stored, encode=lambda part: COMPRESSIONS[compression](part.tobytes().ljust(21, b"\0")))
    np.testing.assert_array_equal(read(data).image, samples[..., 0])


# === What is said, and what is refused ===


def page(channels=1, bits=8, photometric=BLACK_IS_ZERO, dtype=np.uint8, **options):
    return Page(np.zeros((5, 7, channels), dtype), bits, photometric, **options)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (page(3, photometric=8), "its pixels are CIELab colors, which cannot be read; convert it to RGB"),
        (page(3, photometric=10), "its pixels are ITULab colors"),
        (page(photometric=32803), "its pixels are raw sensor values"),
        (page(photometric=77), r"its pixels are of an unknown kind \(PhotometricInterpretation 77\)"),
        (page(tags={339: (SHORT, [3])}, bits=16), "its pixels are floating-point numbers"),
        (page(tags={339: (SHORT, [3])}, bits=32), "its pixels are floating-point numbers"),
        (page(tags={339: (SHORT, [5])}, bits=32), "its pixels are numbers of a kind that cannot be read"),
        (page(bits=24), "its channels have 24 bits; 1 to 16 can be read"),
        (page(3, photometric=RGB, tags={258: (SHORT, (5, 6, 5))}), r"its channels differ in depth \(5, 6, 5 bits\)"),
        (page(2, photometric=RGB), "its pixels need 3 channels, and it has 2"),
        (page(9), "it has 9 channels; 8 at most can be read"),
        (page(photometric=PALETTE), "its palette does not have 256 colors"),
        (page(4, photometric=CMYK, tags={332: (SHORT, [2])}), "its inks are not cyan, magenta, yellow and black"),
        (page(5, photometric=CMYK, tags={338: (SHORT, [1])}), "its alpha is premultiplied"),
        (page(dtype=np.int8, photometric=WHITE_IS_ZERO), "its pixels are signed integers, which have no known range"),
        (page(tags={317: (SHORT, [3])}), r"its predictor 3 \(FLOATINGPOINT\) cannot be read"),
        (page(bits=4, tags={317: (SHORT, [2])}), "its predictor is for 8, 16 or 32 bits, and it has 4"),
        (page(tags={259: (SHORT, [34887])}), r"its compression 34887 \(LERC\) cannot be read; save it with"),
        (page(tags={259: (SHORT, [4])}), "CCITT Group 4 is for one channel of 1 bit"),
        (page(tags={32997: (LONG, [3])}), "it is a volume, not an image"),
        (page(tags={284: (SHORT, [3])}), "3 is not a valid PlanarConfiguration"),
        (page(tags={257: (LONG, [0])}), "it has no pixels"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(broken, message):
    with pytest.raises(ValueError, match=rf"^Cannot read the image a\.tif: {message}"):
        read(tiff(broken))


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint32])
def test_integers_without_a_range_are_read_where_the_values_allow_it(dtype):
    bits = 8 * np.dtype(dtype).itemsize
    top = 127 if bits == 8 else 32767 if bits == 16 else 65535
    values = np.array([[[0], [7], [top]]], dtype)
    np.testing.assert_array_equal(read(tiff(Page(values, bits, BLACK_IS_ZERO))).image, values[..., 0])
    values[0, 0] = 65536 if dtype == np.uint32 else -1
    with pytest.raises(ValueError, match=r"its pixels are integers beyond 0\.\.(255|65535), which have no known range"):
        read(tiff(Page(values, bits, BLACK_IS_ZERO)))


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (page(3), "a.tif: skipping 2 of its channels, which are neither color nor alpha."),
        (
            page(4, photometric=RGB, tags={338: (SHORT, [0])}),
            "a.tif: skipping 1 of its channels, which are neither color nor alpha",
        ),
        (page(4, photometric=CMYK), "a.tif: CMYK is converted to RGB."),
        (page(4, bits=16, dtype=np.uint16, photometric=CMYK), "a.tif: its 16 bits are read as 8."),
        (page(photometric=PALETTE, tags={320: (SHORT, [*range(256)] * 3)}), "a.tif: its palette is taken as one of 8"),
    ],
)
def test_what_is_lost_is_logged(stored, message, caplog):
    read(tiff(stored))
    assert caplog.messages[0].startswith(message)


def test_the_channel_after_the_colors_is_alpha_where_the_file_does_not_tell():
    assert read(tiff(page(4, photometric=RGB))).image.shape == (5, 7, 4)
    assert read(tiff(page(2))).image.shape == (5, 7, 2)


@pytest.mark.parametrize("big", [False, True])
def test_the_first_of_several_pages_is_read(big, caplog):
    values = np.arange(35, dtype=np.uint16).reshape(5, 7, 1)
    data = tiff(Page(values, 12, BLACK_IS_ZERO), page(3, photometric=RGB), page(), order=">", big=big)
    np.testing.assert_array_equal(read(data).image, np.rint(values[..., 0] * (65535 / 4095)))
    assert caplog.messages == ["a.tif: its first page is taken, and 2 others are left."]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_metadata_are_kept_in_any_byte_order(order, big):
    tags = {274: (SHORT, [6]), 271: (2, list(b"maker\0")), 34675: (7, list(range(128))), 282: (RATIONAL, (300, 1))}
    samples = np.arange(35, dtype=np.uint8).reshape(5, 7, 1)
    data = tiff(Page(samples, 8, BLACK_IS_ZERO, tags=tags), order=order, big=big)
    picture = read(data)
    np.testing.assert_array_equal(picture.image, np.rot90(samples[..., 0], -1))  # 6: turned to the right
    np.testing.assert_array_equal(decode_image(data, "a.tif"), picture.image)
    assert read_size(data, "a.tif") == (5, 7)  # as stored
    exif = Image.Exif()
    exif.load(picture.exif)
    assert (exif[271], exif[282]) == ("maker", 300)
    assert exif.get(274, 1) == 1
    assert picture.icc == bytes(range(128))


# === Files that would take more than they show ===


def test_too_many_pixels_are_refused_before_they_are_decoded():
    huge = page(tags={256: (LONG, [100_000]), 257: (LONG, [100_000])}, compression=8)
    with pytest.raises(ValueError, match=r"it has 10000000000 pixels \(100000x100000\), and `max_pixels`"):
        read(tiff(huge))


def test_tiles_much_larger_than_the_image_are_refused():
    huge = page(tile=(16, 16), tags={322: (LONG, [2**16]), 323: (LONG, [2**16])}, compression=8)
    with pytest.raises(ValueError, match=r"its tiles \(65536x65536\) are much larger than the image"):
        read(tiff(huge))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "JPEG2000"])
def test_an_embedded_image_larger_than_its_tile_is_refused(kind):
    file = io.BytesIO()
    Image.new("RGB", (2000, 2000)).save(file, kind)
    compression = {"JPEG": 7, "PNG": 34933, "WEBP": 50001, "JPEG2000": 34712}[kind]
    stored = page(3, photometric=RGB, compression=compression)
    with pytest.raises(ValueError, match="its pixels are damaged") as caught:
        read(tiff(stored, encode=lambda samples: file.getvalue()))
    assert "a strip or tile of 7x5 holds 2000x2000" in str(caught.value.__cause__.__cause__)


@pytest.mark.parametrize("compression", [5, 8, 34925, 50000])
def test_data_that_unpack_to_more_than_the_image_take_no_more_memory(compression):
    bomb = COMPRESSIONS[compression](bytes(50_000_000))
    tracemalloc.start()
    with contextlib.suppress(ValueError):
        read(tiff(page(compression=compression), encode=lambda samples: bomb))
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_pages_in_a_circle_come_to_an_end():
    data = bytearray(tiff(page()))
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    struct.pack_into("<I", data, directory + 2 + 12 * count, directory)
    assert read(bytes(data)).image.shape == (5, 7)
