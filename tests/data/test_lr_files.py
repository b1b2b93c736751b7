import numpy as np
import pytest

from keras_edsr.data import downscale
from keras_edsr.data.sources import match_images
from keras_edsr.image_io import find_images, read_image, write_image


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a.png", "deeper/b.png"):
        (tmp_path / "hr" / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / "hr" / name, rng.integers(0, 256, (25, 31, 3), dtype=np.uint8))
    return tmp_path / "hr"


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_files_are_those_that_matlab_made(shared_data, tmp_path, scale):
    golden = shared_data / "golden" / "comic"
    (tmp_path / "hr").mkdir()
    (tmp_path / "hr" / "comic.png").write_bytes((golden / f"comic_x{scale}_HR.png").read_bytes())
    (written,) = downscale(tmp_path / "hr", tmp_path / "lr", scale)
    np.testing.assert_array_equal(read_image(written), read_image(golden / f"comic_x{scale}_LR.png"))


def test_they_are_found_again_by_name(photos, tmp_path):
    written = downscale(photos, tmp_path / "lr", 2)
    assert match_images(find_images(photos), tmp_path / "lr", 2) == written


def test_the_rest_beyond_a_multiple_of_the_scale_is_cropped(photos, tmp_path):
    (first, _) = downscale(photos, tmp_path / "lr", 4)
    assert read_image(first).shape == (6, 7, 3)


def test_progress_counts_the_images(photos, tmp_path):
    seen = []
    downscale(photos, tmp_path / "lr", 2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


def test_an_existing_file_is_kept_unless_told_otherwise(photos, tmp_path):
    downscale(photos, tmp_path / "lr", 2)
    with pytest.raises(FileExistsError, match=r"ax2\.png"):
        downscale(photos, tmp_path / "lr", 2)
    downscale(photos, tmp_path / "lr", 2, overwrite=True)


def test_an_unknown_scale_is_refused(photos, tmp_path):
    with pytest.raises(ValueError, match="5"):
        downscale(photos, tmp_path / "lr", 5)
