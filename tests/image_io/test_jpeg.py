"""JPEG without its end mark: read if all pixels are there, refused if some are missing."""

import io

import numpy as np
import pytest
from PIL import Image

from keras_edsr.image_io import decode_image, decode_picture

y, x = np.mgrid[:70, :90]
PHOTO = np.stack([x * 2, y * 3, (x * y) % 251], axis=-1).astype(np.uint8)
rng = np.random.default_rng(0)
PHOTO[20:50] = rng.integers(0, 256, (30, 90, 3))
KINDS = {
    "baseline": {},
    "chroma halved": {"subsampling": "4:2:0"},
    "progressive": {"progressive": True},
    "optimized": {"optimize": True},
    "restarts": {"restart_marker_blocks": 5},
    "restarts at rows": {"restart_marker_rows": 1},
    "gray": {},
    "progressive gray": {"progressive": True},
    "CMYK": {},
}


def jpeg(kind, **options):
    image = Image.fromarray(PHOTO)
    image = image.convert({"gray": "L", "CMYK": "CMYK"}.get(kind.split()[-1], "RGB"))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90, **KINDS[kind] | options)
    return file.getvalue()


def with_end(data):
    return np.asarray(Image.open(io.BytesIO(data + b"\xff\xd9")))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", [1, 2])
def test_without_the_end_mark_all_is_read(kind, cut, caplog):
    data = jpeg(kind)
    picture = decode_picture(data[:-cut], "a.jpg")
    assert caplog.messages[0] == "a.jpg: its end mark is missing; all of its pixels are there."
    np.testing.assert_array_equal(picture.image, decode_picture(data, "a.jpg").image)
    np.testing.assert_array_equal(decode_image(data[:-cut], "a.jpg"), decode_image(data, "a.jpg"))


def test_what_belongs_to_the_picture_is_kept():
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"
    data = jpeg("baseline", exif=exif.tobytes())
    picture = decode_picture(data[:-2], "a.jpg")
    assert (picture.height, picture.width) == (90, 70)
    assert b"camera" in picture.exif


@pytest.mark.parametrize("kind", KINDS)
def test_where_pixels_are_missing_it_is_refused(kind):
    """At any cut, unless the bits that are missing make no difference to any pixel."""
    data = jpeg(kind)
    whole = np.asarray(Image.open(io.BytesIO(data)))
    refused = 0
    for cut in [*range(3, 160), *range(160, len(data) - 20, 97)]:
        try:
            picture = decode_picture(data[:-cut], "a.jpg")
        except ValueError:
            refused += 1
        else:
            np.testing.assert_array_equal(with_end(data[:-cut]), whole)
            assert picture.image.shape[:2] == (70, 90)
    assert refused >= 160


def test_a_progressive_file_that_ends_between_two_scans_is_refused():
    data = jpeg("progressive")
    starts = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    tables = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xc4"]
    assert len(starts) > 3
    for start in starts[1:]:
        end = max([at for at in tables if at < start], default=start)
        for cut in (start, end):
            with pytest.raises(ValueError, match=r"it is truncated: pixels are missing at its end"):
                decode_picture(data[:cut], "a.jpg")


def test_a_file_that_ends_where_it_may_start_anew_is_refused():
    data = jpeg("restarts")
    marks = [at for at in range(len(data)) if data[at] == 0xFF and 0xD0 <= data[at + 1] <= 0xD7]
    assert len(marks) > 3
    for at in marks:
        for cut in (at, at + 2):
            with pytest.raises(ValueError, match=r"it is truncated: pixels are missing at its end"):
                decode_picture(data[:cut], "a.jpg")
