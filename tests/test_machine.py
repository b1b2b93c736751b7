import os
import sys
from pathlib import Path

import pytest

from keras_edsr.machine import cache_folder, count_cores, free_memory, total_memory


def test_the_argument_goes_before_the_environment(monkeypatch):
    monkeypatch.setenv("KERAS_EDSR_CACHE", "from-environment")
    assert cache_folder("given") == Path("given")
    assert cache_folder() == Path("from-environment")


@pytest.mark.skipif(sys.platform != "linux", reason="folders of Linux")
def test_without_either_it_is_the_users_own(monkeypatch):
    monkeypatch.delenv("KERAS_EDSR_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/me/.caches")
    assert cache_folder() == Path("/home/me/.caches/keras_edsr")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder() == Path("/home/me/.cache/keras_edsr")


@pytest.fixture
def container(monkeypatch, tmp_path):
    monkeypatch.setattr("keras_edsr.machine._GROUP", tmp_path)
    return tmp_path


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="where Linux tells it")
def test_without_a_bound_the_memory_is_what_the_system_tells(container):
    (container / "memory.max").write_text("max\n")
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    assert total_memory() == 1024 * int(fields["MemTotal"].split()[0])
    assert 0 < free_memory() < total_memory()


def test_a_container_bounds_the_memory(container):
    (container / "memory.max").write_text("3000\n")
    (container / "memory.current").write_text("1000\n")
    assert (total_memory(), free_memory()) == (3000, 2000)


def test_only_the_cores_of_this_process_count(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    assert count_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert count_cores() == (os.cpu_count() or 1)
