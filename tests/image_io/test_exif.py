"""EXIF through reading and writing: every byte that is not a size or an orientation stays."""

import dataclasses
import io
import json
import struct

import numpy as np
import pytest
import tifffile
from exif_reference import exif_descriptions, read_exif, sized, write_exif
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_edsr.image_io import Picture, decode_picture, encode_picture, tiff_writing

MARK = b"Exif\0\0"
SMALL = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
LARGE = SMALL.repeat(2, axis=0).repeat(2, axis=1)
HOLDS_EXIF = ["png", "jpg", "webp", "avif"]  # in one piece; TIFF has it among its own tags


def jpeg_of(image, **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", **options)
    return file.getvalue()


THUMBNAIL = jpeg_of(SMALL)


def source(block, kind):
    """A file of a format with this block, put together without the package."""
    file = io.BytesIO()
    if kind == "JPEG":
        plain = jpeg_of(SMALL)
        segment = b"\xff\xe1" + struct.pack(">H", 8 + len(block)) + MARK + block
        return plain[:2] + segment + plain[2:]
    Image.fromarray(SMALL).save(file, kind, exif=MARK + block if kind == "PNG" else block, lossless=True)
    return file.getvalue()


def enlarged(picture, pixels=LARGE):
    return dataclasses.replace(picture, frames=[pixels])


def written_block(picture, suffix, **options):
    """The block in a file of the package's, as Pillow finds it; a TIFF is one itself."""
    data = encode_picture(picture, f"a.{suffix}", **options)
    if suffix == "tif":
        return data
    with Image.open(io.BytesIO(data)) as image:
        return image.info["exif"].removeprefix(MARK)


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(exif_descriptions(THUMBNAIL), st.sampled_from(["JPEG", "PNG", "WEBP"]))
def test_every_byte_but_the_sizes_stays(description, kind):
    order, directories, thumbnail, gap = description
    block = write_exif(order, directories, thumbnail, gap)
    picture = enlarged(decode_picture(source(block, kind), "a"))
    expected = write_exif(order, sized(directories, order, 12, 8), thumbnail, gap)
    for suffix in HOLDS_EXIF:
        assert written_block(picture, suffix) == expected, suffix
    assert written_block(picture, "avif", lossless=True) == expected
    assert written_block(dataclasses.replace(picture, frames=[np.uint16(LARGE) * 257]), "png") == expected


def tags_of_tiff(data, expected):
    """What a TIFF has of the expected tags; the sizes in its first directory are its own."""
    order, found, places, thumbnail = read_exif(data)
    found["first"] = {tag: found["first"].get(tag) for tag in expected["first"]}
    return order, found, places, thumbnail


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(exif_descriptions(THUMBNAIL), st.sampled_from([np.uint8, np.uint16]))
def test_a_tiff_has_every_tag_and_the_maker_note_its_place(description, dtype):
    order, directories, thumbnail, gap = description
    block = write_exif(order, directories, thumbnail, gap)
    picture = enlarged(decode_picture(source(block, "JPEG"), "a"), LARGE.astype(dtype))
    data = encode_picture(picture, "a.tif")
    expected = sized(directories, order, 12, 8)
    for tag in (0x0100, 0x0101):  # which TIFF has in its own way
        expected["first"].pop(tag, None)
    _, _, places, _ = read_exif(block)
    found_order, found, found_places, found_thumbnail = tags_of_tiff(data, expected)
    assert (found_order, found_thumbnail) == (order, thumbnail)
    assert found == expected
    inner = {key: place for key, place in places.items() if key[0] != "first"}
    assert {key: found_places[key] for key in inner} == inner
    np.testing.assert_array_equal(decode_picture(data, "a").image, LARGE)
    with Image.open(io.BytesIO(data)) as image:
        assert (image.size, getattr(image, "n_frames", 1)) == ((12, 8), 1)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(exif_descriptions(THUMBNAIL))
def test_a_tiff_gives_its_tags_to_other_formats(description):
    order, directories, thumbnail, gap = description
    directories.pop("sub", None)  # a TIFF's directories beside the first are images, but for the thumbnail
    block = write_exif(order, directories, thumbnail, gap)
    tiff = encode_picture(Picture([SMALL], exif=MARK + block), "a.tif")
    picture = enlarged(decode_picture(tiff, "a"))
    expected = sized(directories, order, 12, 8)
    for tag in (0x0100, 0x0101):
        expected["first"].pop(tag, None)
    if expected == {"first": {}} and not thumbnail:
        assert picture.exif is None
        return
    found_order, found, places, found_thumbnail = read_exif(written_block(picture, "png"))
    assert (found_order, found_thumbnail) == (order, thumbnail)
    assert found == expected
    _, _, before, _ = read_exif(block)
    assert places.get(("exif", 0x927C)) == before.get(("exif", 0x927C))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(exif_descriptions(THUMBNAIL))
def test_a_big_tiff_has_every_tag(description):
    order, directories, thumbnail, gap = description
    block = write_exif(order, directories, thumbnail, gap)
    directories.pop("sub", None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiff_writing, "_LARGEST", 0)
        data = encode_picture(Picture([LARGE], exif=MARK + block), "a.tif")
    expected = sized(directories, order, 12, 8)
    for tag in (0x0100, 0x0101):
        expected["first"].pop(tag, None)
    found_order, found, _, found_thumbnail = tags_of_tiff(data, expected)
    found.pop("sub", None)
    assert (found_order, found_thumbnail) == (order, thumbnail)
    assert found == expected
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        assert tiff.is_bigtiff
        np.testing.assert_array_equal(tiff.pages[0].asarray(), LARGE)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_only_the_orientation_and_the_sizes_are_changed(order, orientation):
    tags = {0x0112: (3, struct.pack(order + "H", orientation)), 0x010F: (2, b"Make\0")}
    sizes = {0xA002: (3, struct.pack(order + "H", 6)), 0xA003: (4, struct.pack(order + "L", 4))}
    picture = decode_picture(source(write_exif(order, {"first": tags, "exif": sizes}), "PNG"), "a.png")
    assert picture.image.shape == ((6, 4, 3) if orientation > 4 else (4, 6, 3))
    height, width = picture.height, picture.width
    tags = {**tags, 0x0112: (3, struct.pack(order + "H", 1))}
    sizes = {0xA002: (3, struct.pack(order + "H", width)), 0xA003: (4, struct.pack(order + "L", height))}
    expected = write_exif(order, {"first": tags, "exif": sizes})
    for suffix in HOLDS_EXIF:
        assert written_block(picture, suffix) == expected


def test_a_width_that_a_short_does_not_hold_becomes_a_long():
    block = write_exif(">", {"first": {}, "exif": {0xA002: (3, b"\0\7"), 0xA003: (3, b"\0\7")}})
    picture = Picture([np.zeros((1, 70_000), np.uint8)], exif=MARK + block)
    _, found, _, _ = read_exif(written_block(picture, "png"))
    assert found["exif"] == {0xA002: (4, struct.pack(">L", 70_000)), 0xA003: (3, b"\0\1")}


def test_exif_in_segments_of_a_jpeg_is_put_together(caplog):
    block = write_exif("<", {"first": {0x010E: (2, b"x" * 70_000 + b"\0")}})
    parts = [block[:65_000], block[65_000:]]
    segments = [b"\xff\xe1" + struct.pack(">H", 8 + len(part)) + MARK + part for part in parts]
    plain = jpeg_of(SMALL)
    picture = decode_picture(plain[:2] + b"".join(segments) + plain[2:], "a.jpg")
    assert written_block(picture, "png") == block
    encode_picture(picture, "a.jpg")
    assert caplog.messages == ["a.jpg: JPEG cannot store EXIF, which is longer than JPEG holds."]


def test_a_maker_note_far_behind_moves_and_that_is_logged(caplog):
    note, far = b"maker note" * 3, 150_000
    file = io.BytesIO()
    # A private tag in the place of the pointer, which tifffile does not write.
    tifffile.imwrite(file, SMALL, photometric="rgb", metadata=None, extratags=[(0x8768, 4, 1, far, True)])
    data = file.getvalue().replace(struct.pack("<HHL", 0x8768, 4, 1), struct.pack("<HHL", 0x8769, 4, 1))
    directory = struct.pack("<HHHLLL", 1, 0x927C, 7, len(note), far + 18, 0)
    picture = decode_picture(data.ljust(far, b"\0") + directory + note, "a.tif")
    _, found, _, _ = read_exif(written_block(picture, "png"))
    assert found["exif"] == {0x927C: (7, note)}
    assert any("the place of the maker note" in message for message in caplog.messages)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    exif_descriptions(THUMBNAIL),
    st.lists(st.tuples(st.integers(0, 300), st.binary(min_size=1, max_size=4)), min_size=1, max_size=8),
    st.booleans(),
)
def test_damaged_exif_never_stops_a_picture_from_being_written(description, changes, big):
    block = bytearray(write_exif(*description))
    for at, value in changes:
        block[at : at + len(value)] = value
    picture = enlarged(decode_picture(source(bytes(block), "PNG"), "a.png"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiff_writing, "_LARGEST", 0 if big else 2**32)
        for suffix in ("jpg", "png", "webp", "tif"):
            data = encode_picture(picture, f"a.{suffix}")
            assert decode_picture(data, "a").image.shape == (8, 12, 3)


def test_directories_in_a_circle_end(caplog):
    pointers = [(0x8769, 150), (0x8825, 150), (0xA005, 150)]
    file = io.BytesIO()
    extratags = [(tag - 1, 4, 1, at, True) for tag, at in pointers]
    tifffile.imwrite(file, SMALL, photometric="rgb", metadata=None, extratags=extratags)
    data = file.getvalue()
    for tag, at in pointers:
        data = data.replace(struct.pack("<HHLL", tag - 1, 4, 1, at), struct.pack("<HHLL", tag, 4, 1, 8))
    picture = decode_picture(data, "a.tif")
    np.testing.assert_array_equal(picture.image, SMALL)
    assert read_exif(written_block(picture, "png"))[1].keys() >= {"first", "exif", "gps"}


def test_values_that_overlap_do_not_fill_the_memory(caplog):
    block = bytearray(200_000)
    block[:8] = b"II*\0\x08\0\0\0"
    rows = [struct.pack("<HHLL", 0xFE00 + tag, 7, 190_000, 8) for tag in range(400)]
    sizes = [struct.pack("<HHLL", tag, 3, 1, value) for tag, value in [(0x100, 1), (0x101, 1), (0x111, 8), (0x117, 1)]]
    block[8 : 8 + 2 + 12 * 404] = struct.pack("<H", 404) + b"".join([*sizes, *rows])
    picture = decode_picture(bytes(block), "a.tif")
    assert len(picture.exif) < 2**26 + 2**20  # the tags have 76 MB together
    encode_picture(picture, "a.bmp")
    assert "damaged tags of EXIF (0xff61, 0xff62, 0xff63, 0xff64, ...)" in caplog.messages[-1]


@pytest.mark.parametrize("folder", ["exif_text_beyond_ascii", "exif_interop_dangling"])
@pytest.mark.parametrize("suffix", [*HOLDS_EXIF, "tif"])
def test_files_that_came_out_wrong_once(shared_faults, folder, suffix):
    paths = sorted((shared_faults / folder).glob("*.jpg"))
    assert paths
    for path in paths:
        described = path.with_suffix(".expected.json")
        described = described if described.exists() else path.with_name("expected.json")
        picture = decode_picture(path.read_bytes(), path.name)
        larger = picture.image.repeat(2, axis=0).repeat(2, axis=1)
        order, found, _, _ = read_exif(written_block(enlarged(picture, larger), suffix))
        for key, right in json.loads(described.read_text()).items():
            name, tag = key.split()
            kind, value = found[name][int(tag, 16)]
            assert kind == right["type"]
            assert value == (bytes.fromhex(right["hex"]) if "hex" in right else packed(order, right))


def packed(order, right):
    code = {1: "B", 3: "H", 4: "L", 5: "LL"}[right["type"]]
    rows = [value if isinstance(value, list) else [value] for value in right["values"]]
    return b"".join(struct.pack(order + code, *row) for row in rows)
