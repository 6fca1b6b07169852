"""What a class receives: `course release DIR`. The course without its solutions and the cases that are held back.

What this keeps from a class is what the class would have to look for elsewhere. The exercises' references and the
messages for mistakes are in it, because the check in a learner's notebook needs them; and where the repository is
public, so is everything that is left out here. Marks are safe for another reason: `course grade` draws new cases from a
secret seed and compares outside the students' reach, so nothing that can be read tells what it will ask for.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path, PurePosixPath

from course_lib.authoring.lessons import root_folder
from course_lib.errors import InputError
from course_lib.files import writing

FOLDERS = ("notebooks", "exercises", "course_lib", "data")
FILES = ("pyproject.toml", "requirements.lock", "environment.yml", "LICENSE", "CITATION.cff")
# Of each lesson's room: what is held back, and right and wrong answers.
LEFT_OUT = ("held_back.py", "answers.py", "mutants.py")

README = """# Vision-language models: the course for your class

Set up with `pip install -e '.[lab]'` (Python 3.11 to 3.13) and start with `jupyter lab`.

```text
notebooks/   the lessons
exercises/   what you hand in: one notebook for each lesson
course_lib/  the library that both import, with the check that answers at once
data/        the pictures, words and small models that everything runs on
```

`check(...)` in an exercise shows you cases and tells you what a wrong answer looks like. Your work is graded on cases
that are drawn anew for each run, so an answer that is right for those you see and for no others gets no points.
"""


def main(folder: Path) -> None:
    """Writes the release into a new or empty folder.

    Raises:
        InputError: there is something in the folder.
        FileError: this is no clone of the repository, or the folder cannot be written.
    """
    root, folder = root_folder(), Path(folder).absolute()
    if folder.is_dir() and any(folder.iterdir()) or folder.exists() and not folder.is_dir():
        raise InputError(f"{folder.name} is not empty: a release goes into a new or empty folder")
    names = released(root)
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Built beside its place and moved there whole: an interrupted release leaves none.
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            for name in names:
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(root / name, made / name)
            (made / "README.md").write_text(README, encoding="utf-8")
            made.chmod(0o755)
            if folder.is_dir():
                folder.rmdir()
            os.replace(made, folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    print(f"{len(names) + 1} files in {folder}: without solutions, and without the cases that are held back.")


def released(root: Path) -> list[str]:
    """The files of the repository that a class receives, as paths below its root."""
    return [name for name in _files(root) if _is_released(PurePosixPath(name))]


def _is_released(path: PurePosixPath) -> bool:
    if len(path.parts) == 1:
        return path.name in FILES
    if path.parts[0] not in FOLDERS or "source" in path.parts:
        return False
    return not (path.parts[:2] == ("course_lib", "practice") and path.name in LEFT_OUT)


def _files(root: Path) -> list[str]:
    """What git tracks or would; in a copy without git, everything that no program made by the way."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        return sorted({name for name in listed.stdout.split("\0") if name and (root / name).is_file()})
    return sorted(
        path.relative_to(root).as_posix()
        for folder in (*FOLDERS, *FILES)
        for path in ([root / folder] if (root / folder).is_file() else (root / folder).rglob("*"))
        if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in path.relative_to(root).parts)
    )
