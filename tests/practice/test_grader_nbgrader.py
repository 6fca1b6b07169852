"""nbgrader's own commands on set 06, with the jail in the place of its execution: a real gradebook, filled."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
nbgrader = pytest.importorskip("nbgrader")
ROOT = Path(__file__).parents[2]
NAME = "06_clip"


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course folder in which the assignment was generated from the solutions."""
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import Config

    from course_lib.practice.grader.nbgrader_adapter import configure

    folder = tmp_path_factory.mktemp("course")
    (folder / "exchange").mkdir()
    # nbgrader runs alembic by its name.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shutil.copytree(ROOT / "solutions", folder / "source" / NAME, ignore=shutil.ignore_patterns("source"))
    config = Config()
    config.CourseDirectory.root = str(folder)
    config.CourseDirectory.course_id = "vlm"
    config.CourseDirectory.db_url = f"sqlite:///{folder / 'gradebook.db'}"
    config.Exchange.root = str(folder / "exchange")
    configure(config)
    api = NbGraderAPI(config=config)
    result = api.generate_assignment(NAME, force=True, create=True)
    assert result["success"], result.get("log") or result
    return folder, api


def hand_in(folder: Path, student: str, notebook: dict) -> None:
    path = folder / "submitted" / student / NAME / f"{NAME}.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(notebook))


def scores(folder: Path, student: str) -> dict[str, float]:
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as book:
        notebook = book.find_submission_notebook(NAME, NAME, student)
        return {grade.name.removeprefix("test_"): grade.score for grade in notebook.grades}


def test_the_gradebook_holds_what_the_jail_found(course, tmp_path):
    folder, api = course
    solved = json.loads((ROOT / "solutions" / f"{NAME}.ipynb").read_text())
    released = json.loads((folder / "release" / NAME / f"{NAME}.ipynb").read_text())

    def changed(old: str, new: str) -> dict:
        notebook = json.loads(json.dumps(solved))
        for cell in notebook["cells"]:
            source = "".join(cell["source"])
            assert isinstance(source, str)
            cell["source"] = source.replace(old, new)
        return notebook

    bare = json.loads(json.dumps(solved))
    for cell in bare["cells"]:
        cell["metadata"] = {}
    twice = json.loads(json.dumps(solved))
    tested = [cell for cell in twice["cells"] if cell["metadata"].get("nbgrader", {}).get("grade")]
    twice["cells"] += [json.loads(json.dumps(tested[0])) | {"id": "again"}]
    victim = tmp_path / "victim"
    victim.write_text("precious")
    hand_in(folder, "solved", solved)
    hand_in(folder, "untouched", released)
    hand_in(folder, "wrong", changed("(loss_images + loss_texts) / 2", "loss_images"))
    hand_in(folder, "lost", bare)
    hand_in(folder, "twice", twice)
    attack = f"import os; os.remove({str(victim)!r}); os.remove({str(folder / 'gradebook.db')!r}); raise SystemExit\n"
    hand_in(folder, "hostile", changed("    return image_embeds @ text_embeds.T / temperature", f"    {attack}"))

    for student in ("solved", "untouched", "wrong", "lost", "twice", "hostile"):
        result = api.autograde(NAME, student)
        assert result["success"], result.get("log") or result

    full = scores(folder, "solved")
    assert sum(full.values()) == 20 and len(full) == 7
    assert sum(scores(folder, "untouched").values()) == 0
    assert scores(folder, "wrong") == full | {"clip_loss": 0}
    assert scores(folder, "lost") == full
    assert scores(folder, "twice") == full
    assert scores(folder, "hostile") == full | {"similarity_logits": 0}
    assert victim.read_text() == "precious"


def test_the_graded_copy_says_what_was_wrong(course):
    folder, _ = course
    copy = json.loads((folder / "autograded" / "wrong" / NAME / f"{NAME}.ipynb").read_text())
    (cell,) = [c for c in copy["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") == "test_clip_loss"]
    assert "direction" in cell["outputs"][0]["evalue"]


def test_the_command_line_reads_the_same_configuration(course):
    import subprocess

    folder, _ = course
    (folder / "nbgrader_config.py").write_text(
        "from course_lib.practice.grader.nbgrader_adapter import configure\n"
        "c = get_config()\n"
        "c.CourseDirectory.course_id = 'vlm'\n"
        "configure(c)\n"
    )
    command = [sys.executable, "-m", "nbgrader", "autograde", NAME, "--student=solved", "--force"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ, timeout=300)
    assert done.returncode == 0, done.stderr
    assert sum(scores(folder, "solved").values()) == 20
