"""APNG: any valid animation is what the PNG specification (third edition) makes of it."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from png_reference import (
    GRAY,
    RGB,
    RGBA,
    ApngFrame,
    Kind,
    apngs,
    chunk,
    compose_apng,
    meaning,
    with_content_changed,
    write_apng,
)
from straight import assert_seen_alike, files_of

from keras_edsr.image_io import count_pixels, decode_image, decode_picture, read_picture, read_size

rng = np.random.default_rng(0)


def frames_of(kind, count=3, size=8, **options):
    channels = {GRAY: 1, RGB: 3, RGBA: 4}[kind.color_type]
    return [ApngFrame(0, 0, rng.integers(0, 2**kind.depth, (size, size, channels)), **options) for _ in range(count)]


@pytest.mark.parametrize("path", files_of("apng_composition", "*.png"))
def test_known_files_are_right(path):
    assert_seen_alike(read_picture(path).frames, np.load(path.with_name(path.name + ".npy")), 1 / 255)


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(apngs(), st.integers(0, 100), st.integers(0, 2**32 - 1))
def test_any_apng_is_composed_by_the_specification(apng, plays, seed):
    *animation, hidden = apng
    kind, frames = animation[2:]
    picture = decode_picture(write_apng(*animation, hidden, plays, seed), "a.png")
    tolerance = 1e-4 if kind.depth == 16 else 1.02 / 255  # rounded once, in color and in alpha
    assert_seen_alike(picture.frames, compose_apng(*animation), tolerance)
    assert picture.bit_depth == (16 if kind.depth == 16 else 8)
    if len(frames) == 1:
        assert (picture.durations, picture.plays) == ((), 0)
    else:
        expected = [1000 * count / (unit or 100) for count, unit in (frame.delay for frame in frames)]
        assert picture.durations == pytest.approx(expected)
        assert picture.plays == plays


@hypothesis.settings(max_examples=30, deadline=None)
@hypothesis.given(apngs())
def test_the_first_frame_and_the_size_are_those_of_the_picture(apng):
    *animation, hidden = apng
    data = write_apng(*animation, hidden)
    width, height, kind, frames = animation
    alone = decode_image(data, "a.png", channels=3)
    expected = meaning(frames[0].samples, kind)
    seen = expected[..., 3] > 0
    np.testing.assert_allclose(alone[seen] / 255, expected[seen][:, :3], rtol=0, atol=0.51 / 255)
    assert read_size(data, "a.png") == (height, width)


def test_many_faint_layers_do_not_add_up_their_errors():
    kind = Kind(RGBA, 8)
    layers = [ApngFrame(0, 0, np.full((1, 1, 4), (250, 130, 7, 3)), blend=1) for _ in range(60)]
    picture = decode_picture(write_apng(1, 1, kind, layers), "a.png")
    expected = compose_apng(1, 1, kind, layers)
    assert_seen_alike(picture.frames, expected, 1.1 / 255)


def test_alpha_is_there_if_the_file_or_a_frame_has_it():
    opaque = Kind(RGB, 8)
    assert decode_picture(write_apng(8, 8, opaque, frames_of(opaque)), "a.png").image.shape == (8, 8, 3)
    cleared = [*frames_of(opaque, 1, disposal=1), *frames_of(opaque, 1, size=4)]
    assert decode_picture(write_apng(8, 8, opaque, cleared), "a.png").image.shape == (8, 8, 4)
    gray = Kind(GRAY, 16)
    assert decode_picture(write_apng(8, 8, gray, frames_of(gray)), "a.png").image.shape == (8, 8)


def test_metadata_of_an_animation_is_read(caplog):
    kind = Kind(RGB, 8)
    data = write_apng(8, 8, kind, frames_of(kind))
    exif = b"MM\0*\0\0\0\x08\0\x01\x01\x10\0\x02\0\0\0\x03ab\0\0\0\0\0\0"
    data = data[:-12] + chunk(b"eXIf", exif) + data[-12:]
    picture = decode_picture(data, "a.png")
    assert len(picture.frames) == 3
    assert b"ab" in picture.exif


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (b"acTL", lambda c: b"\0\0\0\4" + c[4:], "its animation has 3 of 4 frames"),
        (b"fdAT", lambda c: b"\0\0\0\7" + c[4:], "part 7 comes where part 2 should"),
        (b"fcTL", lambda c: c[:4] + b"\0\0\0\x09" + c[8:], "lies beyond the image"),
        (b"fcTL", lambda c: c[:4] + b"\0\0\0\0" + c[8:], "a frame is empty"),
        (b"fcTL", lambda c: c[:-2] + b"\3\0", "unknown rule"),
        (b"fcTL", lambda c: c[:-1] + b"\2", "unknown rule"),
        (b"fcTL", lambda c: c[:20], "its fcTL chunk is not complete"),
    ],
)
def test_an_animation_against_the_specification_is_refused(name, change, message):
    kind = Kind(RGB, 8)
    with pytest.raises(ValueError, match=rf"Cannot read the image a\.png: .*({message})"):
        decode_picture(with_content_changed(write_apng(8, 8, kind, frames_of(kind)), name, change), "a.png")


def test_a_frame_without_all_of_its_pixels_is_refused():
    kind = Kind(RGB, 8)
    data = write_apng(8, 8, kind, frames_of(kind, 2))
    parts = data.count(b"fdAT")
    for part in range(parts):
        data = with_content_changed(data, b"fdAT", lambda content: content[:4] + content[4:][: 100 // parts], part)
    with pytest.raises(ValueError, match=r"Cannot read the image a\.png: .*truncated"):
        decode_picture(data, "a.png")


def test_an_animation_cut_short_is_refused():
    kind = Kind(RGB, 8)
    data = write_apng(8, 8, kind, frames_of(kind))
    for cut in (200, 300, 400):
        with pytest.raises(ValueError, match=r"Cannot read the image a\.png: "):
            decode_picture(data[:-cut], "a.png")


def test_an_animation_control_after_the_pixels_or_without_frames_makes_a_still_image():
    kind = Kind(RGB, 8)
    frames = frames_of(kind, 2)
    data = with_content_changed(write_apng(8, 8, kind, frames), b"acTL", lambda c: bytes(8))
    picture = decode_picture(data, "a.png")
    assert not picture.is_animated
    np.testing.assert_array_equal(picture.image, frames[0].samples)


def test_all_frames_count(tmp_path):
    kind = Kind(RGBA, 8)
    data = write_apng(8, 8, kind, frames_of(kind), hidden=frames_of(kind)[0].samples)
    assert len(decode_picture(data, "a.png", max_pixels=192).frames) == 3
    with pytest.raises(ValueError, match=r"192 pixels \(8x8 with 3 frames\), and `max_pixels` .* is 191"):
        decode_picture(data, "a.png", max_pixels=191)
    (tmp_path / "a.png").write_bytes(data)
    assert count_pixels(tmp_path / "a.png") == 192
