import errno
import os
import time
from pathlib import Path

import pytest

from keras_edsr.files import (
    atomic_file,
    atomic_path,
    delete_old_leftovers,
    explaining,
    leftovers,
    locked,
    one_line,
    reason,
    replace_folder,
)


def found(folder):
    return [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*"))]


# === Writing ===


@pytest.mark.parametrize("sync", [False, True])
def test_a_file_appears_when_it_is_whole(tmp_path, sync):
    with atomic_file(tmp_path / "a.bin", sync=sync) as file:
        file.write(b"all")
        assert not (tmp_path / "a.bin").exists()
    assert found(tmp_path) == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"all"


def test_a_file_that_fails_leaves_the_one_before(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"old")
    with pytest.raises(TypeError), atomic_file(tmp_path / "a.bin") as file:
        file.write("no bytes")
    assert found(tmp_path) == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"old"


def test_the_hidden_path_keeps_the_suffix_and_is_short(tmp_path):
    with atomic_path(tmp_path / ("n" * 240 + ".keras")) as part:
        assert part.suffix == ".keras"
        part.touch()
    assert [len(name) for name in found(tmp_path)] == [246]


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_appears_when_it_is_whole(tmp_path, there):
    if there:
        folder_with(tmp_path / "a", "old")
    with atomic_path(tmp_path / "a") as part:
        folder_with(part, "new")
        assert (tmp_path / "a" / "new").exists() is False
    assert found(tmp_path) == ["a", "a/new"]


def test_a_folder_that_fails_leaves_the_one_before(tmp_path):
    folder_with(tmp_path / "a", "old")
    with pytest.raises(FileExistsError), atomic_path(tmp_path / "a") as part:
        folder_with(folder_with(part, "new"), "again")
    assert found(tmp_path) == ["a", "a/old"]


def test_a_file_does_not_replace_a_folder(tmp_path):
    folder_with(tmp_path / "a", "old")
    with pytest.raises(OSError, match="directory"), atomic_path(tmp_path / "a") as part:
        part.touch()
    assert found(tmp_path) == ["a", "a/old"]


def folder_with(path, name):
    path.mkdir()
    (path / name).touch()
    return path


def test_a_folder_takes_the_place_of_another(tmp_path):
    replace_folder(folder_with(tmp_path / "new", "a"), folder_with(tmp_path / "old", "b"))
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["old", "old/a"]


def test_a_folder_that_cannot_be_replaced_stays(tmp_path, monkeypatch):
    new, old = folder_with(tmp_path / "new", "a"), folder_with(tmp_path / "old", "b")
    rename = Path.rename

    def fails_for_the_new_one(self, target):
        if self == new:
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_for_the_new_one)
    with pytest.raises(OSError, match="No space"):
        replace_folder(new, old)
    assert (new / "a").exists()
    assert (old / "b").exists()
    assert sorted(tmp_path.iterdir()) == [new, old]


def test_what_killed_processes_left_is_found_and_deleted_after_a_day(tmp_path):
    for name, age in {".old.part": 25, ".old.part.keras": 25, ".new.part": 1, "kept.pack": 99}.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, times=(0, time.time() - age * 3600))
    assert {path.name for path in leftovers(tmp_path)} == {".old.part", ".old.part.keras", ".new.part"}
    delete_old_leftovers(tmp_path)
    assert found(tmp_path) == [".new.part", "kept.pack"]


def test_a_leftover_of_atomic_path_is_one(tmp_path):
    with atomic_path(tmp_path / "a.keras") as part:
        part.touch()
        assert leftovers(tmp_path) == [part]


# === Locks ===


def test_only_one_holds_a_lock(tmp_path):
    folder = tmp_path / "new" / "run"
    with locked(folder, "it is taken"):
        with pytest.raises(ValueError, match=r"^it is taken$"), locked(folder, "it is taken"):
            pass
        with locked(tmp_path / "other", "it is taken"):
            pass
    with locked(folder, "it is taken"):
        pass


# === Errors ===


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a.png"), "no space left on device"),
        (OSError("odd"), "odd"),
        (ValueError("\n First.\nSecond."), "First"),
        (EOFError(), "EOFError"),
    ],
)
def test_the_reason_is_one_line_without_a_full_stop(error, text):
    assert reason(error) == text


@pytest.mark.parametrize(("text", "line"), [("a \n\n b.", "a b."), ("", "ValueError")])
def test_all_lines_become_one(text, line):
    assert one_line(ValueError(text)) == line


def test_an_error_is_explained_in_one_line():
    with pytest.raises(ValueError, match=r"^Cannot read a: odd\.$") as caught, explaining("Cannot read a"):
        raise RuntimeError("odd")
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_other_errors_pass():
    with pytest.raises(KeyError), explaining("Cannot read a", OSError):
        raise KeyError
    with pytest.raises(MemoryError), explaining("Cannot read a"):
        raise MemoryError
