import sys
from pathlib import Path

import pytest

from keras_edsr.user_cache import cache_folder


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
