import logging
import os
from pathlib import Path

import pytest
from places import SHARED_DATA, SHARED_FAULTS

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """No test reads or fills the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_EDSR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _own_log_level():
    """No test, and no fixture of a module, leaves the level that a command has set to the next test."""
    logging.getLogger("keras_edsr").setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images that lies beside the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no real images: ../shared/data is not present")
    return SHARED_DATA


@pytest.fixture(scope="session")
def shared_faults() -> Path:
    """The folder of files that came out wrong once, each with the right value."""
    if not SHARED_FAULTS.is_dir():
        pytest.skip("no files of faults: ../shared/faults is not present")
    return SHARED_FAULTS
