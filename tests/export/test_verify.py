import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image
from places import EXAMPLES

from keras_edsr.export import verify
from keras_edsr.export.target import check_target, whole_target
from keras_edsr.export.verify import check_export, read_photo
from keras_edsr.inference import upscale
from keras_edsr.models import EDSR, MDSR

IMAGES = EXAMPLES / "images"


@pytest.fixture(scope="module")
def mdsr():
    keras.utils.set_random_seed(0)
    return MDSR((2, 3), 1, 4)


@pytest.fixture
def rerun(monkeypatch, mdsr):
    """Plays the new process: it writes what the model makes, and `change` of that at one scale."""
    played = SimpleNamespace(change={}, failure=None, jobs=[])

    def run_again(work, path, photo, scales, signatures):
        played.jobs.append((path, tuple(scales), tuple(signatures)))
        if played.failure:
            raise ValueError(played.failure)
        for scale in scales:
            sr = upscale(mdsr, photo, scale)
            np.save(work / f"x{scale}.npy", played.change.get(scale, lambda sr: sr)(sr))

    monkeypatch.setattr(verify, "_run_again", run_again)
    return played


def one_off(sr):
    return sr + np.where(sr < 255, 1, -1).astype(np.uint8)


# === Comparing ===


def test_what_is_equal_passes_at_every_scale(mdsr, rerun):
    assert check_export("m", mdsr) == {2: (0, 100.0), 3: (0, 100.0)}


def test_one_gray_level_off_is_refused_unless_it_may_be(mdsr, rerun):
    rerun.change = {3: one_off}
    with pytest.raises(
        ValueError, match=r"^The export differs from the model at x3: up to 1 gray levels, PSNR 48.13 dB"
    ):
        check_export("m", mdsr)
    assert check_export("m", mdsr, tolerance=1)[3].largest == 1


def test_a_least_psnr_takes_the_place_of_the_tolerance(mdsr, rerun):
    rerun.change = {2: one_off}
    assert check_export("m", mdsr, min_psnr=48)[2].psnr == pytest.approx(10 * np.log10(255**2))
    with pytest.raises(ValueError, match="no less than 49 dB may be"):
        check_export("m", mdsr, min_psnr=49)


def test_one_value_that_is_far_off_is_seen(mdsr, rerun):
    def spoil(sr):
        sr[5, 5, 0] ^= 128
        return sr

    rerun.change = {2: spoil}
    with pytest.raises(ValueError, match="up to 128 gray levels"):
        check_export("m", mdsr, tolerance=1)


def test_another_size_is_refused(mdsr, rerun):
    rerun.change = {3: lambda sr: sr[1:]}
    with pytest.raises(ValueError, match=r"makes \(143, 192, 3\), the model \(144, 192, 3\)"):
        check_export("m", mdsr)


def test_a_self_ensemble_is_compared_with_one(mdsr, monkeypatch):
    def run_again(work, path, photo, scales, signatures):
        for scale in scales:
            np.save(work / f"x{scale}.npy", upscale(mdsr, photo, scale, self_ensemble=True))

    monkeypatch.setattr(verify, "_run_again", run_again)
    check_export("m", mdsr, self_ensemble=True)
    with pytest.raises(ValueError, match="differs"):
        check_export("m", mdsr)


# === The process ===


def test_the_process_is_a_new_one_that_reads_the_file(tmp_path):
    model = EDSR(2, 1, 4, 1.0)
    model.save(tmp_path / "m.keras")
    assert check_export(tmp_path / "m.keras", model) == {2: (0, 100.0)}


def test_what_cannot_be_run_is_told_in_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"^The export cannot be run in a new process: .*gone\.keras") as raised:
        check_export(tmp_path / "gone.keras", EDSR(2, 1, 4, 1.0))
    assert "\n" not in str(raised.value)


def test_keras_and_this_package_can_t_be_imported_where_signatures_are_run(tmp_path):
    """What `run_plainly` blocks is blocked, and given back."""
    (tmp_path / "keras.py").write_text("")
    code = (
        "import sys\n"
        f"sys.path[:0] = [{str(tmp_path)!r}]\n"
        "class SavedModel:\n"
        "    @staticmethod\n"
        "    def load(path):\n"
        "        for name in ('keras', 'keras_edsr'):\n"
        "            try: __import__(name)\n"
        "            except ImportError: print('no', name)\n"
        "        return sys.modules['tensorflow']\n"
        "class Fake: saved_model, signatures = SavedModel, {}\n"
        "sys.modules['tensorflow'] = Fake\n"
        f"code = open({str(Path(verify.__file__).with_name('rerun.py'))!r}).read()\n"
        "space = {'__name__': 'rerun'}\n"
        "exec(code, space)\n"
        "space['run_plainly']('path', [], None)\n"
        "import keras; print('keras again')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "no keras\nno keras_edsr\nkeras again\n"


# === The photograph ===


def test_the_photograph_is_a_part_of_the_sample():
    with Image.open(IMAGES / "test" / "astronaut.png") as sample:
        np.testing.assert_array_equal(read_photo(), np.array(sample)[366:414, 120:184])


@pytest.mark.parametrize(("channels", "size"), [(1, None), (4, None), (3, (20, 30)), (3, (96, 50)), (1, (100, 130))])
def test_the_photograph_comes_in_other_shapes(channels, size):
    photo = read_photo(channels, size)
    assert photo.shape == (*(size or (48, 64)), channels)
    height, width = min(48, photo.shape[0]), min(64, photo.shape[1])
    np.testing.assert_array_equal(photo[:height, :width, 0], read_photo()[:height, :width, 0])


# === The target ===


def test_a_file_appears_whole(tmp_path):
    with whole_target(tmp_path / "m.onnx") as part:
        assert (part.parent, part.suffix) == (tmp_path, ".onnx")
        part.write_text("all")
        assert not (tmp_path / "m.onnx").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def fail_halfway(target, is_folder=False, **options):
    with whole_target(target, **options) as part:
        if is_folder:
            part.mkdir()
            part = part / "file"
        part.write_text("half")
        raise RuntimeError


@pytest.mark.parametrize("is_folder", [False, True])
def test_nothing_is_left_of_what_fails(tmp_path, is_folder):
    with pytest.raises(RuntimeError):
        fail_halfway(tmp_path / "m", is_folder)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def old(tmp_path):
    """A folder with the file `old`."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "old").write_text("")
    return tmp_path / "m"


def test_a_folder_takes_the_place_of_an_older_one(tmp_path, old):
    with whole_target(old, overwrite=True, is_ours=lambda folder: (folder / "old").exists()) as part:
        part.mkdir()
        (part / "new").write_text("")
    assert [path.name for path in tmp_path.rglob("*")] == ["m", "new"]


def test_the_older_folder_stays_when_the_new_one_fails(tmp_path, old):
    with pytest.raises(RuntimeError):
        fail_halfway(old, is_folder=True, overwrite=True, is_ours=lambda folder: True)
    assert [path.name for path in tmp_path.rglob("*")] == ["m", "old"]


def test_an_error_of_the_disk_names_the_target(tmp_path):
    with (
        pytest.raises(ValueError, match=r"^Cannot write .*m: no space left on device\.$"),
        whole_target(tmp_path / "m"),
    ):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("there", {}, "already exists; pass `overwrite` to replace it"),
        ("folder", {"overwrite": True}, "it is a folder with other files"),
        ("folder", {"overwrite": True, "is_ours": lambda folder: False}, "it is a folder with other files"),
        ("gone/m", {}, "there is no folder "),
    ],
)
def test_what_can_t_be_written_is_told_before_the_work(tmp_path, name, options, message):
    (tmp_path / "there").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match=message):
        check_target(tmp_path / name, **{"overwrite": False, **options})


def test_a_folder_that_can_t_be_written_to_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(ValueError, match="its folder is not writable"):
        check_target(tmp_path / "m", overwrite=False)
