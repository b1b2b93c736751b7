"""GIF: any valid animation is what the specification, as browsers read it, makes of it."""

import resource

import hypothesis
import numpy as np
import pytest
from gif_reference import CLEAR, KEEP, RESTORE, GifFrame, compose_gif, gifs, write_gif
from hypothesis import strategies as st
from straight import assert_seen_alike, files_of

from keras_edsr.image_io import count_pixels, decode_image, decode_picture, read_picture, read_size

PALETTE = np.array([[200, 30, 30], [30, 160, 30], [250, 250, 250], [20, 20, 90]])


def frame(index, size=12, place=0, **options):
    return GifFrame(place, place, np.full((size, size), index, np.uint8), **options)


@pytest.mark.parametrize("path", files_of("gif_composition", "*.gif"))
def test_known_files_are_right(path):
    assert_seen_alike(read_picture(path).frames, np.load(path.with_name(path.name + ".npy")), 0)


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(gifs(), st.none() | st.integers(0, 65535))
def test_any_gif_is_composed_by_the_specification(gif, loop):
    picture = decode_picture(write_gif(*gif, loop=loop), "a.gif")
    assert_seen_alike(picture.frames, compose_gif(*gif), 0)
    frames = gif[-1]
    if len(frames) == 1:
        assert (picture.durations, picture.plays) == ((), 0)
    else:
        assert list(picture.durations) == [10.0 * f.delay * f.has_control for f in frames]
        assert picture.plays == {None: 1, 0: 0}.get(loop, (loop or 0) + 1)


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(gifs())
def test_the_first_frame_and_the_size_are_those_of_the_picture(gif):
    data = write_gif(*gif)
    first = decode_image(data, "a.gif", channels=3)
    expected = compose_gif(*gif)[0]
    np.testing.assert_array_equal(first, np.where(expected[..., 3:] > 0, expected[..., :3], 0))
    assert read_size(data, "a.gif") == (gif[1], gif[0])


@pytest.mark.parametrize("height", [1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 200])
def test_a_large_interlaced_frame_is_right(height):
    indices = np.random.default_rng(height).integers(0, 256, (height, 300), dtype=np.uint8)
    palette = np.random.default_rng(1).integers(0, 256, (256, 3), dtype=np.uint8)
    for full_table in (False, True):
        frames = [GifFrame(0, 0, indices, interlaced=True, full_table=full_table)]
        picture = decode_picture(write_gif(300, height, palette, frames), "a.gif")
        np.testing.assert_array_equal(picture.image, palette[indices])


def test_a_disposal_is_for_its_own_frame_alone():
    frames = [frame(0), frame(1, 4, 2, disposal=CLEAR), frame(2, 4, 2, disposal=0), frame(3, 2, 8, disposal=0)]
    picture = decode_picture(write_gif(12, 12, PALETTE, frames), "a.gif")
    np.testing.assert_array_equal(picture.frames[3][3, 3, :3], PALETTE[2])


def test_a_method_of_four_restores_as_browsers_do():
    frames = [frame(0), frame(1, 4, 2, disposal=4), frame(2, 2, 8)]
    picture = decode_picture(write_gif(12, 12, PALETTE, frames), "a.gif")
    np.testing.assert_array_equal(picture.frames[2][3, 3], PALETTE[0])


def test_frames_that_hide_nothing_have_no_alpha():
    frames = [frame(0), frame(1, 4, 2, transparent=3, disposal=KEEP)]
    assert decode_picture(write_gif(12, 12, PALETTE, frames), "a.gif").image.shape == (12, 12, 3)
    frames = [frame(0, disposal=CLEAR), frame(1, 4, 2)]
    assert decode_picture(write_gif(12, 12, PALETTE, frames), "a.gif").image.shape == (12, 12, 4)


def test_a_file_of_grays_is_gray():
    grays = np.repeat(np.array([[9], [200], [30], [255]]), 3, axis=1)
    picture = decode_picture(write_gif(12, 12, grays, [frame(1), frame(2, 3)]), "a.gif")
    assert picture.is_gray
    assert (picture.image == 200).all()


def test_a_first_frame_beyond_the_canvas_enlarges_it_and_a_later_one_is_cut():
    frames = [frame(0, 12, 4), frame(1, 12, 10, disposal=RESTORE), frame(2, 2, 0)]
    data = write_gif(8, 8, PALETTE, frames)
    picture = decode_picture(data, "a.gif")
    assert_seen_alike(picture.frames, compose_gif(16, 16, PALETTE, frames), 0)
    assert read_size(data, "a.gif") == (16, 16)


def test_colors_beyond_the_table_are_black():
    frames = [GifFrame(0, 0, np.array([[0, 1, 2, 3]], np.uint8), palette=PALETTE)]
    data = write_gif(4, 1, None, frames)
    at = data.index(b",")  # the local table: from four colors to two
    short = data[: at + 9] + bytes([0x80]) + data[at + 10 : at + 16] + data[at + 22 :]
    image = decode_picture(short, "a.gif").image
    np.testing.assert_array_equal(image, [[PALETTE[0], PALETTE[1], [0, 0, 0], [0, 0, 0]]])


def test_bytes_between_blocks_are_passed_over():
    data = write_gif(12, 12, PALETTE, [frame(0), frame(1, 4)])
    at = data.rindex(b"\x21\xf9\x04")
    picture = decode_picture(data[:at] + b"\0" * 70_000 + data[at:], "a.gif")
    assert len(picture.frames) == 2


def test_a_file_without_its_end_mark_is_read_with_a_warning(caplog):
    data = write_gif(12, 12, PALETTE, [frame(0), frame(1, 4)], ending=b"")
    assert len(decode_picture(data, "a.gif").frames) == 2
    assert caplog.messages == ["a.gif: its end mark is missing; all of its pixels are there."]


def test_a_file_that_ends_within_a_frame_is_refused():
    noise = np.random.default_rng(0).integers(0, 4, (12, 12), dtype=np.uint8)
    data = write_gif(12, 12, PALETTE, [frame(0), GifFrame(0, 0, noise)])
    for cut in (10, 30, 45):
        with pytest.raises(ValueError, match=r"a\.gif: .*(truncated|broken)"):
            decode_picture(data[:-cut], "a.gif")


def test_frames_larger_than_the_canvas_count_as_large_as_they_are(tmp_path):
    huge = frame(1, 2)
    data = bytearray(write_gif(2, 2, PALETTE, [frame(0, 2), huge]))
    at = data.rindex(b",")
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(ValueError, match=r"4294836229 pixels \(2x2 with 2 frames\), and `max_pixels`"):
        decode_picture(bytes(data), "a.gif")
    (tmp_path / "a.gif").write_bytes(data)
    assert count_pixels(tmp_path / "a.gif") == 65535**2 + 4


def test_a_large_frame_is_not_filled_to_know_its_size():
    data = bytearray(write_gif(2, 2, PALETTE, [frame(0, 2, disposal=CLEAR)]))
    at = data.rindex(b",")
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_size(bytes(data), "a.gif") == (65535, 65535)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB; the frame has 4 GB
