"""What a file tells beside pixels, EXIF and ICC profile: kept from format to format, converted, or named in the log."""

import dataclasses
import io
import json
import struct
import zlib
from fractions import Fraction

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin
from png_reference import RGB, RGBA, SIGNATURE, Kind, chunk, write_png

from keras_edsr.image_io import Picture, decode_picture, encode_picture

SMALL = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
FLAT = np.full((16, 16, 3), 128, np.uint8)
SRGB = ImageCms.createProfile("sRGB")
ALL = ["png", "jpg", "webp", "avif", "tif", "gif", "bmp"]
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description tiff:Orientation="6" exif:PixelXDimension="6"><tiff:ImageWidth>6</tiff:ImageWidth>'
    "<dc:title>東京 é</dc:title></rdf:Description></rdf:RDF></x:xmpmeta>"
).encode()


def encoded(pixels, kind, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def png_chunks(data):
    """All chunks of a PNG but the header, the pixels and the end."""
    assert data.startswith(SIGNATURE)
    at, found = 8, []
    while at < len(data):
        length, name = struct.unpack_from(">L4s", data, at)
        content = data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">L", data, at + 8 + length)[0] == zlib.crc32(name + content)
        if name not in (b"IHDR", b"IDAT", b"IEND"):
            found.append((name, content))
        at += 12 + length
    return found


def png_with(*chunks, pixels=SMALL, depth=8, after=()):
    kind = Kind(RGB if pixels.shape[2] == 3 else RGBA, depth)
    return write_png(pixels, kind, before=b"".join(map(chunk, *zip(*chunks, strict=True))), after=b"".join(after))


def through(data, suffix, **options):
    """What Pillow finds in a file that the package has written of another."""
    picture = decode_picture(data, "a")
    image = Image.open(io.BytesIO(encode_picture(picture, f"a.{suffix}", **options)))
    image.load()
    return image


def warnings_of(caplog):
    return [record.message for record in caplog.records if record.levelname == "WARNING"]


# === PNG ===

GAMA, CHRM = struct.pack(">L", 45471), struct.pack(">8L", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)
KEPT = {
    b"cICP": st.tuples(st.sampled_from([1, 9, 12]), st.sampled_from([1, 8, 13, 16, 18])).map(
        lambda v: bytes([*v, 0, 1])
    ),
    b"gAMA": st.integers(1, 1_000_000).map(lambda value: struct.pack(">L", value)),
    b"cHRM": st.just(CHRM),
    b"sRGB": st.integers(0, 3).map(lambda value: bytes([value])),
    b"pHYs": st.tuples(st.integers(1, 2**31 - 1), st.integers(1, 2**31 - 1)).map(lambda v: struct.pack(">LLB", *v, 1)),
    b"tIME": st.just(struct.pack(">HBBBBB", 2024, 2, 29, 12, 0, 60)),
    b"mDCV": st.binary(min_size=24, max_size=24),
    b"cLLI": st.binary(min_size=8, max_size=8),
    b"vpAg": st.binary(max_size=9),  # private, and safe to copy by its last letter
}
KEYWORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20).filter(
    lambda keyword: not keyword.startswith("Raw profile")
)
LATIN = st.text(st.characters(min_codepoint=1, max_codepoint=255, exclude_categories=["Cc"]), max_size=30)
TEXTS = st.one_of(
    st.tuples(KEYWORDS, LATIN).map(lambda t: (b"tEXt", f"{t[0]}\0{t[1]}".encode("latin-1"))),
    st.tuples(KEYWORDS, LATIN).map(
        lambda t: (b"zTXt", t[0].encode("latin-1") + b"\0\0" + zlib.compress(t[1].encode("latin-1")))
    ),
    st.tuples(KEYWORDS, st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=30), st.booleans()).map(
        lambda t: (
            b"iTXt",
            t[0].encode()
            + bytes([0, t[2], 0])
            + b"ja\0\xe9\xa1\x8c\0"
            + (zlib.compress if t[2] else bytes)(t[1].encode()),
        )
    ),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from(sorted(KEPT)), unique=True).flatmap(
        lambda names: st.tuples(*(st.tuples(st.just(name), KEPT[name]) for name in names))
    ),
    st.lists(TEXTS, max_size=4),
    st.sampled_from([8, 16]),
    st.booleans(),
)
def test_a_png_keeps_every_chunk_that_stays_true(chunks, texts, depth, last):
    pixels = SMALL.astype(np.uint16) * 257 if depth == 16 else SMALL
    behind = [chunk(*text) for text in texts] if last else []
    before = [*chunks, *([] if last else texts)]
    data = write_png(pixels, Kind(RGB, depth), before=b"".join(chunk(*c) for c in before), after=b"".join(behind))
    written = encode_picture(decode_picture(data, "a.png"), "a.png")
    assert sorted(png_chunks(written)) == sorted([*chunks, *texts])
    names = [name for name, _ in png_chunks(written)]
    first_pixels = written.index(b"IDAT")
    assert all(written.index(name) < first_pixels for name in names)
    np.testing.assert_array_equal(decode_picture(written, "a.png").image, pixels)


@pytest.mark.parametrize("suffix", ["jpg", "webp", "avif", "tif", "gif", "bmp"])
def test_one_warning_names_all_that_is_lost(suffix, caplog):
    data = png_with(
        (b"tEXt", b"Title\0caf\xe9"),
        (b"zTXt", b"Author\0\0" + zlib.compress(b"me")),
        (b"tIME", struct.pack(">HBBBBB", 2024, 2, 29, 12, 0, 0)),
        (b"sPLT", b"a\0\x08"),
        (b"bKGD", bytes(6)),
    )
    encode_picture(decode_picture(data, "a.png"), f"a.{suffix}")
    (message,) = warnings_of(caplog)
    assert "PNG's text (Title, Author)" in message
    assert "PNG's tIME" in message
    assert "PNG's sPLT" in message
    assert "the background color" in message


def test_a_chunk_that_is_not_safe_to_copy_is_named(caplog):
    encode_picture(decode_picture(png_with((b"caBX", b"signature"), (b"sBIT", b"\5\6\5")), "a.png"), "a.png")
    assert warnings_of(caplog) == ["a.png: PNG cannot store PNG's caBX."]


@pytest.mark.parametrize(("depth", "most"), [(8, 255), (16, 65535)])
def test_a_background_keeps_its_color(depth, most):
    palette = np.array([[1, 2, 3], [255, 0, 51]], np.uint8)
    numbered = write_png(np.zeros((3, 3, 1), np.uint8), Kind(3, 8, palette), before=chunk(b"bKGD", b"\1"))
    picture = decode_picture(numbered, "a.png")
    picture = dataclasses.replace(picture, frames=[picture.image.astype(f"u{depth // 8}")])
    expected = struct.pack(">3H", most, 0, most // 5)
    assert dict(png_chunks(encode_picture(picture, "a.png")))[b"bKGD"] == expected


def test_exif_and_xmp_of_imagemagick_become_chunks_of_their_own():
    block = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    profiles = {b"exif": b"Exif\0\0" + block, b"xmp": XMP}
    chunks = [
        (
            b"zTXt",
            b"Raw profile type "
            + name
            + b"\0\0"
            + zlib.compress(b"\n%s\n%8d\n%s\n" % (name, len(p), p.hex().encode())),
        )
        for name, p in profiles.items()
    ]
    picture = decode_picture(png_with(*chunks), "a.png")
    assert picture.image.shape == (6, 4, 3)
    written = dict(png_chunks(encode_picture(picture, "a.png")))
    assert written[b"eXIf"] == block.replace(b"\x06\0\0\0\0\0\0\0", b"\x01\0\0\0\0\0\0\0")
    assert written[b"iTXt"].startswith(b"XML:com.adobe.xmp\0")
    assert len(written) == 2


# === Colors ===

LINEAR = struct.pack(">L", 100_000)


def seen_as_srgb(image):
    """The colors of a Pillow image, by its profile, as LittleCMS shows them."""
    profile = image.info.get("icc_profile")
    image = image.convert("RGB") if image.mode == "P" else image
    if profile:
        shown = ImageCms.profileToProfile(image, io.BytesIO(profile), SRGB, outputMode="RGB")
        return np.asarray(shown)
    return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("suffix", ALL[1:])
@pytest.mark.parametrize("gray", [False, True])
def test_linear_light_is_seen_as_it_was(suffix, gray, caplog):
    caplog.set_level("INFO", "keras_edsr")
    pixels = FLAT[..., :1] if gray else FLAT
    data = write_png(pixels, Kind(0 if gray else RGB, 8), before=chunk(b"gAMA", LINEAR))
    shown = seen_as_srgb(through(data, suffix))
    assert np.abs(shown.astype(int) - 188).max() <= 1  # sRGB's transfer function of 128/255
    assert "gAMA" in caplog.text
    assert not warnings_of(caplog)


# Of Adobe RGB (1998), as its specification gives them for white D50: 4.3.6.1, by Bradford.
ADOBE_TO_D50 = [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]


def test_the_profile_of_chromaticities_is_that_of_the_color_space():
    image = through(png_with((b"gAMA", GAMA), (b"cHRM", CHRM)), "tif")
    profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"])).profile
    columns = [profile.red_colorant, profile.green_colorant, profile.blue_colorant]
    np.testing.assert_allclose(np.transpose([column[0] for column in columns]), ADOBE_TO_D50, atol=3e-4)


@pytest.mark.parametrize(
    "chunks", [[(b"gAMA", GAMA), (b"cHRM", CHRM)], [(b"cICP", b"\x0c\x0d\0\1")], [(b"cICP", b"\1\1\0\1")]]
)
def test_pixels_are_converted_as_littlecms_does(chunks):
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    data = png_with(*chunks, pixels=pixels)
    expected = seen_as_srgb(through(data, "tif"))
    assert np.abs(np.asarray(through(data, "bmp")).astype(int) - expected).max() <= 1
    assert np.abs(pixels.astype(int) - expected).max() > 5


# ITU-R BT.2408, table 1: the white of paper is 58 % of PQ's signal, and 75 % of HLG's.
@pytest.mark.parametrize(("transfer", "signal"), [(16, 0.58), (18, 0.75)])
@pytest.mark.parametrize("suffix", ["jpg", "bmp"])
def test_paper_white_of_hdr_is_white(transfer, signal, suffix):
    pixels = np.full((16, 16, 3), round(65535 * signal), np.uint16)
    data = png_with((b"cICP", bytes([9, transfer, 0, 1])), pixels=pixels, depth=16)
    assert seen_as_srgb(through(data, suffix)).min() >= 253


@pytest.mark.parametrize(
    "chunks",
    [
        [(b"sRGB", b"\0"), (b"gAMA", GAMA), (b"cHRM", CHRM)],  # sRGB goes before them
        [(b"gAMA", struct.pack(">L", 45455))],
        [(b"cICP", b"\1\x0d\0\1"), (b"gAMA", LINEAR)],
        [(b"tEXt", b"Comment\0nothing of colors")],
    ],
)
def test_srgb_needs_no_profile(chunks):
    assert "icc_profile" not in through(png_with(*chunks), "jpg").info


def test_colors_that_are_not_known_are_named(caplog):
    encode_picture(decode_picture(png_with((b"cICP", b"\x63\x0d\0\1")), "a.png"), "a.jpg")
    (message,) = warnings_of(caplog)
    assert "color primaries 99" in message


def nclx(data):
    """Primaries and transfer functions of all `colr` boxes."""
    at, found = -1, []
    while (at := data.find(b"colrnclx", at + 1)) >= 0:
        found.append(struct.unpack_from(">HH", data, at + 8))
    return found


@pytest.mark.parametrize(("frames", "lossless"), [(1, True), (1, False), (3, False)])
def test_nclx_and_cicp_become_each_other(frames, lossless):
    picture = decode_picture(png_with((b"cICP", b"\x09\x10\0\1"), pixels=FLAT), "a.png")
    times = (40,) * frames if frames > 1 else ()
    picture = dataclasses.replace(picture, frames=[FLAT] * frames, durations=times)
    data = encode_picture(picture, "a.avif", lossless=lossless)
    assert nclx(data) == [(9, 16)] * len(nclx(data))
    back = encode_picture(decode_picture(data, "a.avif"), "a.png")
    assert (b"cICP", b"\x09\x10\0\1") in png_chunks(back)


def test_a_bmp_tells_its_colors_by_primaries_or_a_profile():
    plain = encoded(FLAT, "BMP")[54:]
    fixed = [round(value * 2**30) for value in (0.64, 0.33, 0.03, 0.3, 0.6, 0.1, 0.15, 0.06, 0.79)]
    rest = struct.pack("<LLL4s9l3L", 0, 0, 0, bytes(4), *fixed, *(65536,) * 3)
    info = struct.pack("<LllHHLLllLL", 108, 16, 16, 1, 24, 0, len(plain), 11811, 11811, 0, 0)
    body = info + struct.pack("<L", 0) + rest
    data = b"BM" + struct.pack("<LLL", 14 + len(body) + len(plain), 0, 14 + len(body)) + body + plain
    picture = decode_picture(data, "a.bmp")
    assert picture.metadata.color.gamma == 100_000
    assert picture.metadata.density.per("inch")[0] == pytest.approx(300, abs=0.01)


@pytest.mark.parametrize(
    "kind", [("gama", 8), ("gama", 16), ("chrm", 8), ("chrm", 16), ("cicp", 8), ("cicp", 16), ("phys", 8)]
)
def test_pngs_that_came_out_wrong_once(shared_faults, kind):
    folder = shared_faults / "png_colour_chunks_lost"
    name = f"{kind[0]}{kind[1]}.png"
    expected = json.loads((folder / "expected.json").read_text())[name]["chunks"]
    written = png_chunks(encode_picture(decode_picture((folder / name).read_bytes(), name), name))
    assert written == [(key.encode(), bytes.fromhex(value)) for key, value in expected.items()]


def test_the_avif_that_came_out_wrong_once(shared_faults):
    data = (shared_faults / "png_colour_chunks_lost" / "nclx_pq.avif").read_bytes()
    assert png_chunks(encode_picture(decode_picture(data, "a.avif"), "a.png")) == [(b"cICP", b"\x09\x10\0\1")]


# === Density ===


def told_density(image):
    """Pixels per inch, as Pillow finds them in the file, its EXIF included."""
    if "dpi" in image.info:
        return [float(value) for value in image.info["dpi"]]
    block = image.getexif()
    factor = {2: 1, 3: 2.54}[block[0x0128]]
    return [float(block[tag]) * factor for tag in (0x011A, 0x011B)]


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "avif", "tif", "bmp"])
@pytest.mark.parametrize("source", ["PNG", "JPEG", "BMP", "TIFF", "centimeters", "JPEG2000"])
def test_density_is_kept_across_formats(suffix, source):
    if source == "centimeters":
        data = encoded(SMALL, "JPEG")
        data = data[:13] + struct.pack(">BHH", 2, 118, 59) + data[18:]
        expected = [118 * 2.54, 59 * 2.54]
    elif source == "JPEG2000":
        data, expected = jpeg2000_with_resolution(), [300, 150]
    else:
        data, expected = encoded(SMALL, source, dpi=(300, 150)), [300, 150]
    assert told_density(through(data, suffix)) == pytest.approx(expected, abs=0.5)


def jpeg2000_with_resolution():
    data = encoded(SMALL, "JPEG2000")
    begin = data.index(b"jp2h") - 4
    (length,) = struct.unpack_from(">L", data, begin)
    y, x = (struct.pack(">HH", round(dpi / 2.54 * 100), 1) for dpi in (150, 300))
    res = struct.pack(">L4s", 26, b"res ") + struct.pack(">L4s", 18, b"resc") + y + x + b"\0\0"
    header = struct.pack(">L4s", length + len(res), b"jp2h") + data[begin + 8 : begin + length] + res
    return data[:begin] + header + data[begin + length :]


@pytest.mark.parametrize("name", ["dpi.jpg", "dpi.bmp", "dpi.tif"])
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "avif", "tif", "bmp"])
def test_densities_that_were_lost_once(shared_faults, name, suffix):
    folder = shared_faults / "png_colour_chunks_lost"
    expected = json.loads((folder / "expected.json").read_text())[name]["dpi"]
    assert told_density(through((folder / name).read_bytes(), suffix)) == pytest.approx(expected, abs=0.5)


def test_a_gif_has_no_density_and_a_bmp_without_says_none(caplog):
    encode_picture(decode_picture(encoded(FLAT, "JPEG", dpi=(300, 300)), "a"), "a.gif")
    assert "density" in warnings_of(caplog)[0]
    assert "dpi" not in through(encoded(SMALL, "PNG"), "bmp").info


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_the_shape_of_a_pixel_is_kept(suffix):
    data = encoded(SMALL, "JPEG")
    data = data[:13] + struct.pack(">BHH", 0, 4, 3) + data[18:]
    image = through(data, suffix)
    shape = image.info["jfif_density"] if suffix == "jpg" else image.info["aspect"]
    assert Fraction(int(shape[0]), int(shape[1])) == Fraction(4, 3)


# === XMP, IPTC, comments ===


def xmp_of(image):
    found = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if image.format == "TIFF":
        found = image.tag_v2[700]
    return found.encode() if isinstance(found, str) else found


def sources_of_xmp():
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
    yield "PNG", encoded(SMALL, "PNG", pnginfo=texts)
    for kind in ("JPEG", "WEBP", "AVIF"):
        yield kind, encoded(SMALL, kind, xmp=XMP)
    yield "TIFF", encoded(SMALL, "TIFF", tiffinfo={700: XMP})
    box = struct.pack(">L4s", 24 + len(XMP), b"uuid") + bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + XMP
    yield "JPEG2000", encoded(SMALL, "JPEG2000") + box
    gif = encoded(SMALL[..., 0], "GIF")
    trailer = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
    yield "GIF", gif[:-1] + b"\x21\xff\x0bXMP DataXMP" + XMP + trailer + b";"


@pytest.mark.parametrize(
    ("kind", "data"), list(sources_of_xmp()), ids=lambda value: value if isinstance(value, str) else ""
)
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "avif", "tif"])
def test_xmp_is_kept_with_the_new_size_and_upright(kind, data, suffix):
    picture = decode_picture(data, "a")
    picture = dataclasses.replace(picture, frames=[np.zeros((20, 1234, 3), np.uint8)])
    image = Image.open(io.BytesIO(encode_picture(picture, f"a.{suffix}")))
    image.load()
    expected = XMP.replace(b'Orientation="6"', b'Orientation="1"').replace(b'Dimension="6"', b'Dimension="1234"')
    assert xmp_of(image) == expected.replace(b"Width>6<", b"Width>1234<")


def test_xmp_beyond_a_segment_stays_in_a_jpeg_and_is_named_elsewhere(caplog):
    extension = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + struct.pack(">LL", 4, 0) + b"<a/>"
    plain = encoded(SMALL, "JPEG", xmp=b"<x/>")
    data = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(extension) + 2) + extension + plain[2:]
    assert extension in encode_picture(decode_picture(data, "a"), "a.jpg")
    encode_picture(decode_picture(data, "a"), "a.webp")
    assert warnings_of(caplog) == ["a.webp: WEBP cannot store the extended part of XMP."]


IPTC = b"8BIM\x04\x04\0\0\0\0\0\x0c\x1c\x02\x78\0\x07caption"


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_iptc_is_kept_where_it_can_be(kind, caplog):
    if kind == "JPEG":
        plain, content = encoded(SMALL, "JPEG"), b"Photoshop 3.0\0" + IPTC
        data = plain[:2] + b"\xff\xed" + struct.pack(">H", len(content) + 2) + content + plain[2:]
    else:
        data = encoded(SMALL, "TIFF", tiffinfo={0x8649: IPTC})  # Pillow reads it as a tuple of one
    assert through(data, "jpg").info["photoshop"][0x0404] == IPTC[12:]
    assert through(data, "tif").tag_v2[0x8649] == (IPTC,)
    assert not warnings_of(caplog)
    encode_picture(decode_picture(data, "a"), "a.png")
    assert "IPTC" in warnings_of(caplog)[0]


@pytest.mark.parametrize("text", ["hello", "Köln 東京"])
def test_a_comment_goes_from_jpeg_to_png_to_gif_and_back(text):
    jpeg = encoded(SMALL, "JPEG", comment=text.encode())
    png = encode_picture(decode_picture(jpeg, "a"), "a.png")
    with Image.open(io.BytesIO(png)) as image:
        assert image.text == {"Comment": text}
    gif = encode_picture(decode_picture(png, "a"), "a.gif")
    with Image.open(io.BytesIO(gif)) as image:
        assert image.info["comment"] == text.encode()
    with Image.open(io.BytesIO(encode_picture(decode_picture(gif, "a"), "a.jpg"))) as image:
        assert image.info["comment"] == text.encode()


def test_georeference_and_other_segments_are_named(caplog):
    file = io.BytesIO()
    tifffile.imwrite(file, SMALL, photometric="rgb", metadata=None, extratags=[(33550, 12, 3, (1.0, 1.0, 0.0), True)])
    encode_picture(decode_picture(file.getvalue(), "a.tif"), "a.tif")
    plain = encoded(SMALL, "JPEG")
    encode_picture(decode_picture(plain[:2] + b"\xff\xeb\0\6JUMB" + plain[2:], "a.jpg"), "a.jpg")
    first, second = warnings_of(caplog)
    assert "georeference (GeoTIFF)" in first
    assert "JPEG's APP11" in second


# === Animations ===

FRAMES = [np.full((16, 16, 3), value, np.uint8) for value in (0, 100, 200)]


@pytest.mark.parametrize("suffix", ["png", "webp", "avif"])
def test_an_animation_keeps_what_a_still_image_does(suffix):
    block = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x0f\x01\x02\0\x03\0\0\0\xc3\xa9\0\0\0\0\0\0"
    still = decode_picture(png_with((b"cICP", b"\x09\x10\0\1"), (b"pHYs", struct.pack(">LLB", 11811, 11811, 1))), "a")
    metadata = dataclasses.replace(still.metadata, xmp=XMP)
    picture = Picture(FRAMES, (40, 80, 120), exif=block, metadata=metadata)
    data = encode_picture(picture, f"a.{suffix}")
    after = decode_picture(data, "a")
    assert after.durations == (40, 80, 120)
    assert after.exif.startswith(b"Exif\0\0II*\0")
    assert b"\xc3\xa9\0" in after.exif
    assert after.metadata.density.per("inch")[0] == pytest.approx(300, abs=0.01)
    assert xmp_of(Image.open(io.BytesIO(data))).startswith(b"<x:xmpmeta")
    color = after.metadata.color.cicp
    assert (color == b"\x09\x10\0\1") if suffix != "webp" else after.icc


# === AVIF ===


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_an_avif_without_loss_has_the_same_pixels_and_all_that_goes_with_them(channels):
    pixels = np.random.default_rng(2).integers(0, 256, (33, 47, 4), dtype=np.uint8)
    image = {1: pixels[..., 0], 2: pixels[..., :2], 3: pixels[..., :3], 4: pixels}[channels]
    profile = ImageCms.ImageCmsProfile(SRGB).tobytes()
    still = decode_picture(encoded(SMALL, "JPEG", dpi=(300, 300), xmp=XMP), "a")
    picture = Picture([np.ascontiguousarray(image)], icc=profile, metadata=still.metadata)
    data = encode_picture(picture, "a.avif", lossless=True)
    with Image.open(io.BytesIO(data)) as stored:
        stored.load()
        read = np.asarray(stored)
        assert stored.info["icc_profile"] == profile
        assert xmp_of(stored).startswith(b"<x:xmpmeta")
        assert told_density(stored) == [300, 300]
    if channels == 2:
        read = read[..., [0, 3]]
    np.testing.assert_array_equal(read, image)
    other = imagecodecs.avif_decode(data)
    np.testing.assert_array_equal(other.reshape(33, 47, -1)[..., -1], pixels[..., channels - 1])


def test_quality_of_avif_is_as_asked():
    pixels = np.kron(SMALL, np.ones((9, 9, 1), np.uint8))
    sizes = [len(encode_picture(Picture([pixels]), "a.avif", quality=quality)) for quality in (30, 60, 95)]
    assert sizes[0] < sizes[1] < sizes[2] == len(encode_picture(Picture([pixels]), "a.avif"))


def test_an_avif_animation_without_loss_is_an_error():
    with pytest.raises(ValueError, match="an AVIF animation cannot be written without loss"):
        encode_picture(Picture(FRAMES, (40, 40, 40)), "a.avif", lossless=True)


def test_how_often_an_avif_is_shown_is_named(caplog):
    encode_picture(Picture(FRAMES, (40, 40, 40), plays=3), "a.avif")
    assert warnings_of(caplog) == ["a.avif: AVIF cannot store the number of plays."]
