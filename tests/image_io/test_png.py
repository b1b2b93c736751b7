"""PNG: every color type, depth and transparency; what is damaged and not needed is left out with a warning."""

import zlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from png_reference import (
    DEPTHS,
    GRAY,
    PALETTE,
    RGB,
    RGBA,
    ApngFrame,
    Kind,
    chunk,
    meaning,
    pngs,
    with_content_changed,
    write_apng,
    write_png,
)
from straight import assert_seen_alike, files_of

from keras_edsr.image_io import count_pixels, decode_image, decode_picture, read_picture, read_size, write_picture

rng = np.random.default_rng(0)
SAMPLES = rng.integers(0, 256, (9, 7, 3))
TEXT = chunk(b"tEXt", b"Title\0a bird")


def with_wrong_checksum(data, name, occurrence=0):
    at = -1
    for _ in range(occurrence + 1):
        at = data.index(name, at + 1)
    end = at + 4 + int.from_bytes(data[at - 4 : at], "big")
    return data[:end] + bytes([data[end] ^ 1]) + data[end + 1 :]


# === Pixels ===


@pytest.mark.parametrize("path", files_of("png_low_depth_trns", "*.png"))
def test_known_files_are_right(path):
    assert_seen_alike(read_picture(path).frames, np.load(path.with_name(path.name + ".npy")), 0)


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(pngs(), st.integers(0, 2**32 - 1))
def test_any_png_is_what_the_specification_says(png, seed):
    samples, kind = png
    data = write_png(samples, kind, seed)
    picture = decode_picture(data, "a.png")
    assert_seen_alike(picture.frames, [meaning(samples, kind)], 1e-9)
    assert picture.bit_depth == (16 if kind.depth == 16 else 8)
    assert picture.has_alpha == (kind.transparent is not None or kind.color_type in (4, 6))
    alone = decode_image(data, "a.png", channels=3)
    np.testing.assert_allclose(alone / 255, meaning(samples, kind)[..., :3], rtol=0, atol=0.51 / 255)


@pytest.mark.parametrize("depth", DEPTHS[GRAY])
def test_every_gray_value_can_be_the_transparent_one(depth):
    count = 2**depth
    for key in range(count) if depth < 8 else (0, 1, 100, count - 2, count - 1):
        samples = np.concatenate([np.arange(min(count, 64)), [key]])[None, :, None]
        kind = Kind(GRAY, depth, transparent=(key,))
        assert_seen_alike(decode_picture(write_png(samples, kind), "a.png").frames, [meaning(samples, kind)], 1e-9)


@pytest.mark.parametrize(("color_type", "depth"), [(GRAY, 1), (GRAY, 2), (GRAY, 4), (GRAY, 8), (RGB, 8)])
def test_of_a_transparent_value_the_bits_of_the_depth_count(color_type, depth):
    # "If the image bit depth is less than 16 bits, the least significant bits are used."
    count = 3 if color_type == RGB else 1
    samples = rng.integers(0, 2**depth, (6, 6, count))
    key = tuple(int(v) for v in samples[2, 3])
    expected = meaning(samples, Kind(color_type, depth, transparent=key))
    high = Kind(color_type, depth, transparent=tuple(v | 0x4100 for v in key))
    assert_seen_alike(decode_picture(write_png(samples, high), "a.png").frames, [expected], 1e-9)


def test_transparency_of_two_bits_is_not_dropped_by_a_format_without_it(tmp_path):
    samples = rng.integers(0, 4, (8, 8, 1))
    (tmp_path / "a.png").write_bytes(write_png(samples, Kind(GRAY, 2, transparent=(3,))))
    with pytest.raises(ValueError, match="JPEG cannot store transparency"):
        write_picture(tmp_path / "a.jpg", read_picture(tmp_path / "a.png"))


# === Damage ===


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("name", [b"tEXt", b"zTXt", b"iTXt", b"gAMA", b"pHYs", b"tIME", b"prIv", b"eXIf"])
def test_a_wrong_checksum_of_what_is_not_pixels_is_a_warning(name, place, caplog, tmp_path):
    data = write_png(SAMPLES, Kind(RGB, 8), **{place: chunk(name, b"\0\0\0\1\0\0\0\1\0")})
    data = with_wrong_checksum(data, name)
    np.testing.assert_array_equal(decode_picture(data, "a.png").image, SAMPLES)
    message = f"a.png: CRC mismatch in its {name.decode()} chunk, which is skipped."
    assert caplog.messages == [message]
    np.testing.assert_array_equal(decode_image(data, "a.png"), SAMPLES)
    assert caplog.messages == [message] * 2
    assert read_size(data, "a.png") == (9, 7)
    (tmp_path / "a.png").write_bytes(data)
    assert count_pixels(tmp_path / "a.png") == 63


def test_one_damaged_text_does_not_take_the_other_along(caplog):
    caplog.set_level("INFO", "keras_edsr")
    data = write_png(SAMPLES, Kind(RGB, 8), before=TEXT + chunk(b"zTXt", b"Author\0\0" + zlib.compress(b"me")))
    decode_picture(with_wrong_checksum(data, b"tEXt"), "a.png")
    decode_picture(with_wrong_checksum(data, b"zTXt"), "a.png")
    assert "CRC mismatch in its tEXt chunk" in caplog.messages[0]
    assert "CRC mismatch in its zTXt chunk" in caplog.messages[1]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"Title\0\0" + zlib.compress(bytes(2_000_000)), b"zTXt"),  # more than Pillow takes
        (b"Title\0\7abc", b"zTXt"),
        (b"name\0\1abc", b"iCCP"),
        (b"\1", b"gAMA"),
        (b"\1", b"pHYs"),
        (b"", b"sRGB"),
    ],
)
@pytest.mark.parametrize("place", ["before", "after"])
def test_a_chunk_that_pillow_refuses_the_file_for_is_left_out(content, name, place, caplog):
    data = write_png(SAMPLES, Kind(RGB, 8), **{place: TEXT + chunk(name, content)})
    np.testing.assert_array_equal(decode_picture(data, "a.png").image, SAMPLES)
    assert caplog.messages == [f"a.png: its {name.decode()} chunk is damaged or too long, and is skipped."]


@pytest.mark.parametrize("name", [b"IHDR", b"PLTE", b"tRNS"])
def test_a_wrong_checksum_of_what_the_pixels_need_is_refused(name):
    kind = Kind(PALETTE, 8, palette=SAMPLES.reshape(-1, 3), transparent=(3, 4))
    data = with_wrong_checksum(write_png(rng.integers(0, 63, (9, 7, 1)), kind), name)
    with pytest.raises(ValueError, match=rf"Cannot read the image a\.png: CRC mismatch in its {name.decode()} chunk\."):
        decode_picture(data, "a.png")


def test_a_proposed_palette_is_not_needed(caplog):
    data = write_png(SAMPLES, Kind(RGB, 8, palette=SAMPLES.reshape(-1, 3)))
    np.testing.assert_array_equal(decode_picture(with_wrong_checksum(data, b"PLTE"), "a.png").image, SAMPLES)
    assert caplog.messages == ["a.png: CRC mismatch in its PLTE chunk, which is skipped."]


def test_a_wrong_checksum_of_pixels_that_are_whole_is_a_warning(caplog):
    for seed in range(4):  # one to four chunks
        data = with_wrong_checksum(write_png(SAMPLES, Kind(RGB, 8), seed), b"IDAT")
        np.testing.assert_array_equal(decode_picture(data, "a.png").image, SAMPLES)
    assert caplog.messages == ["a.png: CRC mismatch in its IDAT chunk; all of its pixels are there."] * 4


def test_damaged_pixels_are_refused():
    whole = write_png(np.repeat(SAMPLES, 9, axis=0), Kind(RGB, 8), seed=3)
    at = whole.index(b"IDAT") + 4
    length = int.from_bytes(whole[at - 8 : at - 4], "big")
    for place in range(at, at + length, max(1, length // 40)):
        data = whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :]
        with pytest.raises(ValueError, match=r"CRC mismatch in its IDAT chunk: its pixels are damaged"):
            decode_picture(data, "a.png")


def test_a_file_cut_after_its_pixels_is_read_with_a_warning(caplog):
    data = write_png(SAMPLES, Kind(RGB, 8), after=TEXT)
    for end in (data.index(b"IEND") - 4, data.index(b"IEND") + 2, data.index(b"tEXt") + 6, data.index(b"tEXt") - 6):
        np.testing.assert_array_equal(decode_picture(data[:end], "a.png").image, SAMPLES)
    assert caplog.messages == ["a.png: its end is cut off; all of its pixels are there."] * 4


def test_a_file_cut_within_its_pixels_is_refused():
    data = write_png(np.repeat(SAMPLES, 9, axis=0), Kind(RGB, 8))
    for end in range(data.index(b"IDAT") + 4, data.rindex(b"IEND") - 20, 60):
        with pytest.raises(ValueError, match=r"Cannot read the image a\.png: "):
            decode_picture(data[:end], "a.png")


def test_damage_in_an_animation():
    kind = Kind(RGBA, 8)
    frames = [ApngFrame(0, 0, rng.integers(0, 256, (8, 8, 4))) for _ in range(3)]
    data = write_apng(8, 8, kind, frames)
    for name in (b"acTL", b"fcTL"):
        with pytest.raises(ValueError, match=f"CRC mismatch in its {name.decode()} chunk"):
            decode_picture(with_wrong_checksum(data, name), "a.png")
    parts = data.count(b"fdAT")
    for part in range(parts):
        assert len(decode_picture(with_wrong_checksum(data, b"fdAT", part), "a.png").frames) == 3
    longest = max(range(parts), key=lambda part: len(with_content_changed(data, b"fdAT", lambda c: c + c, part)))
    flipped = with_content_changed(data, b"fdAT", lambda c: c[:40] + bytes([c[40] ^ 4]) + c[41:], longest)
    with pytest.raises(ValueError, match=r"CRC mismatch in its fdAT chunk: its pixels are damaged"):
        decode_picture(with_wrong_checksum(flipped, b"fdAT", longest), "a.png")
