"""Which lessons exist, and what a wrong number is told."""

import shutil

import pytest

from course_lib.authoring import lessons
from course_lib.errors import FileError, InputError


@pytest.fixture
def clone(tmp_path):
    (tmp_path / "notebooks" / "source").mkdir(parents=True)
    (tmp_path / "exercises").mkdir()
    (tmp_path / "notebooks" / "source" / "02_vision_encoders.py").write_text("")
    (tmp_path / "notebooks" / "06_clip.ipynb").write_text('{"metadata": {"course": {"seconds": 171}}}')
    (tmp_path / "exercises" / "06_clip.ipynb").write_text("{}")
    shutil.copy(lessons.root_folder() / "pyproject.toml", tmp_path)
    return tmp_path


def test_there_are_sixteen_and_those_with_a_file_exist(clone):
    found = lessons.lessons(clone)
    assert [lesson.number for lesson in found] == [f"{number:02}" for number in range(1, 17)]
    assert [lesson.stem for lesson in found if lesson.exists] == ["02_vision_encoders", "06_clip"]


@pytest.mark.parametrize("name", ["06", "6", "06_clip"])
def test_a_lesson_is_found_by_its_number(clone, name):
    assert lessons.find_lesson(name, clone).slug == "clip"


@pytest.mark.parametrize("name", ["42", "05", "0", "", "clip", "../06"])
def test_an_unknown_number_is_told_which_there_are(clone, name):
    with pytest.raises(InputError, match=r"; those that exist: 02 \(vision_encoders\), 06 \(clip\)$"):
        lessons.find_lesson(name, clone)


def test_the_table_tells_what_exists_from_what_is_planned(clone):
    rows = lessons.table(clone, "../").splitlines()[2:]
    assert len(rows) == 16
    assert rows[5] == (
        "| 06 | [CLIP: one space for pictures and words](../notebooks/06_clip.ipynb) | 3 min "
        "| [exercises](../exercises/06_clip.ipynb), [solutions](../solutions/06_clip.ipynb) |"
    )
    assert rows[1].endswith("| not built yet | planned |")
    assert rows[0] == "| 01 | From the perceptron to attention | planned | planned |"


def test_the_readme_gets_the_table(clone):
    readme = "# A\n\n<!-- lessons -->\nold\n<!-- end of lessons -->\n\nB\n"
    fresh = lessons.readme_with_table(readme, clone)
    assert lessons.table(clone) in fresh and "old" not in fresh
    assert fresh.startswith("# A\n") and fresh.endswith("\n\nB\n")
    assert lessons.readme_with_table(fresh, clone) == fresh
    with pytest.raises(FileError, match="README.md has no place for the table of lessons"):
        lessons.readme_with_table("# A\n", clone)


def test_where_the_course_is_published_is_said_once(clone):
    assert lessons.published(clone) == ("vlm-course/vlm-course", "main")
