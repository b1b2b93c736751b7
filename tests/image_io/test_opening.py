"""What is no file is not opened, whatever it is called; what cannot be read is named."""

import os
import signal

import numpy as np
import pytest
from odd_entries import ODD
from PIL import Image

from keras_edsr.files import atomic_file, follow_link, open_file
from keras_edsr.image_io import (
    READ_SUFFIXES,
    SUFFIXES,
    count_pixels,
    find_entries,
    find_images,
    read_image,
    read_picture,
    write_image,
)

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX only")
IMAGE = np.arange(24 * 3, dtype=np.uint8).reshape(4, 6, 3)


@pytest.fixture(autouse=True)
def _alarm():
    """A test that waits for a pipe ends here, not with the whole run."""
    signal.alarm(20)
    yield
    signal.alarm(0)


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_file_is_named_and_not_waited_for(tmp_path, kind):
    path = tmp_path / "m.png"
    ODD[kind](path)
    for read in (open_file, read_picture, read_image):
        with pytest.raises(ValueError, match=r"Cannot read .*m\.png: it is a (link|named pipe|socket|device)"):
            read(path)
    assert count_pixels(path) == 0


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_file_is_left_out_of_a_folder_with_a_warning(tmp_path, caplog, kind):
    write_image(tmp_path / "a.png", IMAGE)
    ODD[kind](tmp_path / "m.png")
    write_image(tmp_path / "z.png", IMAGE)
    assert [path.name for path in find_images(tmp_path)] == ["a.png", "z.png"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "m.png: it is a " in caplog.text
    assert [path.name for path in find_entries(tmp_path)] == ["a.png", "m.png", "z.png"]


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_file_is_not_written_over(tmp_path, kind):
    path = tmp_path / "m.png"
    ODD[kind](path)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(ValueError, match=r"Cannot write .*m\.png: it is a "):
        write_image(path, IMAGE, overwrite=True)
    assert sorted(os.listdir(tmp_path)) == before
    assert not path.is_file()


def test_a_pipe_that_takes_a_files_place_meanwhile_is_not_waited_for(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "a.png")
    monkeypatch.setattr("keras_edsr.files.why_not_a_file", lambda path: None)
    with pytest.raises((ValueError, OSError)):
        read_picture(tmp_path / "a.png")


def test_a_link_to_an_image_is_an_image(tmp_path):
    write_image(tmp_path / "a.png", IMAGE)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "b.png").symlink_to("../a.png")
    assert find_images(tmp_path / "links") == [tmp_path / "links" / "b.png"]
    np.testing.assert_array_equal(read_image(tmp_path / "links" / "b.png"), IMAGE)


@pytest.mark.parametrize("through", [["link.png"], ["link.png", "second.png"]])
def test_a_link_is_written_through(tmp_path, through):
    (tmp_path / "real").mkdir()
    real = tmp_path / "real" / "real.png"
    write_image(real, IMAGE)
    target = real
    for name in through:
        (tmp_path / name).symlink_to(target)
        target = tmp_path / name
    write_image(target, 255 - IMAGE, overwrite=True)
    assert target.is_symlink()
    assert follow_link(target) == real
    np.testing.assert_array_equal(np.asarray(Image.open(real)), 255 - IMAGE)
    assert [path.name for path in real.parent.iterdir()] == ["real.png"]


def test_what_stood_behind_a_link_stays_if_writing_fails(tmp_path):
    (tmp_path / "real.bin").write_text("before")
    (tmp_path / "link.bin").symlink_to("real.bin")
    with pytest.raises(TypeError), atomic_file(tmp_path / "link.bin") as file:
        file.writelines([b"half", None])
    assert (tmp_path / "real.bin").read_text() == "before"
    assert sorted(os.listdir(tmp_path)) == ["link.bin", "real.bin"]


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, caplog, monkeypatch):
    write_image(tmp_path / "a.png", IMAGE)
    (tmp_path / "locked").mkdir()
    listed = os.scandir

    def scandir(path):
        if os.fspath(path).endswith("locked"):  # root may list anything
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert find_entries(tmp_path) == [tmp_path / "a.png", tmp_path / "locked"]
    assert find_images(tmp_path) == [tmp_path / "a.png"]
    assert "locked: permission denied" in caplog.text


def test_a_folder_with_nothing_but_bad_entries_is_refused(tmp_path):
    (tmp_path / "m.png").symlink_to("m.png")
    with pytest.raises(ValueError, match="has no readable image"):
        find_images(tmp_path)


@pytest.mark.parametrize("kind", ["a link to nowhere", "a link to itself"])
def test_a_link_in_place_of_the_folder_is_named(tmp_path, kind):
    ODD[kind](tmp_path / "in")
    with pytest.raises(ValueError, match=r"in is not a folder: it is a link"):
        find_images(tmp_path / "in")


@pytest.mark.parametrize("suffix", READ_SUFFIXES)
def test_every_suffix_that_is_read_is_found_in_any_case(tmp_path, suffix):
    for name in (f"a{suffix}", f"B{suffix.upper()}"):
        (tmp_path / name).touch()
    assert sorted(path.name for path in find_images(tmp_path)) == sorted([f"a{suffix}", f"B{suffix.upper()}"])


def test_what_pillow_saves_by_a_suffix_is_read_by_it(tmp_path):
    Image.init()
    # The names that Pillow has for the formats that we read, and those that people give to JPEG.
    kinds = {"PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "DIB", "AVIF", "PPM", "JPEG2000"}
    names = {suffix for suffix, kind in Image.registered_extensions().items() if kind in kinds}
    assert names - set(READ_SUFFIXES) <= {".pfm"}  # of floats
    assert {".jfif", ".jpe", ".jif"} <= set(SUFFIXES)
