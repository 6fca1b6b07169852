"""The grader that the tests share: starting a jail takes seconds, so there is one for each kind."""

import importlib.util
from pathlib import Path

import pytest

SLOW = pytest.mark.slow


@pytest.fixture(scope="session")
def grader_set():
    """`grader_set.py`: exercises and notebooks for the tests of the grader."""
    spec = importlib.util.spec_from_file_location("grader_set", Path(__file__).parent / "grader_set.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(
    scope="session",
    params=["namespaces", pytest.param("namespaces, training", marks=SLOW), pytest.param("landlock", marks=SLOW)],
)
def grader(request, grader_set):
    """A grader of the small set; the quick one leaves out the exercise that trains, which makes a jail start slowly."""
    from course_lib.practice.grader.grade import Grader
    from course_lib.practice.grader.jail import JailError

    mode, _, training = request.param.partition(", ")
    chosen = grader_set.EXERCISES if training or mode == "landlock" else grader_set.EXERCISES[:4]
    try:
        made = Grader("99", unsafe_mode=mode, own_exercises=chosen)
    except JailError as error:
        pytest.skip(str(error))
    with made:
        yield made
