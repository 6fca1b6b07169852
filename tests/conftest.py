"""What holds for every test: no network, no window, nothing of the user's is read or written, two threads."""

import os

import pytest

# Before torch and matplotlib are imported, which read these once.
for _name, _value in {
    "HF_HUB_OFFLINE": "1",
    "MPLBACKEND": "Agg",
    "OMP_NUM_THREADS": "2",
    "OMP_WAIT_POLICY": "passive",
    "TOKENIZERS_PARALLELISM": "false",
}.items():
    os.environ.setdefault(_name, _value)


@pytest.fixture(scope="session", autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory):
    """The course's cache of this test run, so that a test neither sees nor spoils what the user keeps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("COURSE_DEVICE", raising=False)
        patch.delenv("COURSE_SCALE", raising=False)
        yield
