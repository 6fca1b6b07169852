"""The house rules that no single part can hold by itself."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from course_lib.authoring import lessons, notebooks

ROOT = Path(__file__).resolve().parents[1]

# From top to bottom: each imports from those below it only.
ROOMS = (
    "cli authoring practice viz models training generation evaluation losses encoders layers data pretrained "
    "runtime files errors"
).split()


def modules() -> list[Path]:
    return sorted((ROOT / "course_lib").rglob("*.py"))


def room_of(module: Path) -> str:
    return module.relative_to(ROOT / "course_lib").parts[0].removesuffix(".py")


def rooms_imported(module: Path) -> set[str]:
    """The rooms that a module imports from, anywhere in it: at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, (
                f"{module.relative_to(ROOT)}:{node.lineno}: a relative import hides which room it is from"
            )
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("course_lib.")}
    return found - {"__version__"}


def test_every_room_has_its_place():
    assert {room_of(module) for module in modules()} - {"__init__"} <= set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_one_way(room):
    upward = [
        f"{module.relative_to(ROOT)} imports {imported}"
        for module in modules()
        if room_of(module) == room
        for imported in rooms_imported(module)
        if ROOMS.index(imported) < ROOMS.index(room)
    ]
    assert upward == []


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no clone: what is tracked is not known")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_tracked_file_names_a_place_on_a_machine_or_a_package_registry():
    places = "|".join(re.escape(str(place)) for place in {ROOT, Path.home()} if len(place.parts) > 1)
    hosts = "|".join(
        ("py" + r"pi\.org", "python" + r"hosted\.org", "download.py" + r"torch\.org", "anaconda" + r"\.org")
    )
    unwanted = re.compile(rf"(?:{places})/\w|/(?:home|Users|root|tmp)/\w|{hosts}")
    found = []
    for path in tracked():
        if path.suffix == ".ipynb":
            continue  # pictures in it may spell anything; its text is looked at by the test of stored outputs
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in unwanted.finditer(text)]
    assert found == []


def test_every_notebook_has_a_source():
    rooms = ("notebooks", "solutions", "exercises")
    built = {path.relative_to(ROOT) for room in rooms for path in (ROOT / room).glob("*.ipynb")}
    wanted = set()
    for source in notebooks.sources(ROOT):
        room = source.parent.parent.name
        for target in ("notebooks",) if room == "notebooks" else ("solutions", "exercises"):
            wanted.add(Path(target) / f"{source.stem}.ipynb")
    assert built == wanted


def test_the_readme_lists_the_lessons_that_exist():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert lessons.readme_with_table(readme, ROOT) == readme, "make notebooks puts the table right"


def test_the_readme_has_a_line_for_each_folder_and_no_other():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = readme.split("```text\n")[1].split("```")[0]
    named = re.findall(r"^ *(\w[\w.]*/?)  ", tree, re.MULTILINE)
    for name in named:
        assert (ROOT / name).exists() or (ROOT / "course_lib" / name).exists(), f"the README's tree names {name}"
    folders = {path.relative_to(ROOT).parts[0] for path in tracked() if len(path.relative_to(ROOT).parts) > 1}
    rooms = {room_of(module) for module in modules() if module.parent != ROOT / "course_lib"}
    assert {f"{name}/" for name in folders | rooms if not name.startswith(".")} <= set(named)


def test_make_calls_what_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    called = set(re.findall(r"-m (course_lib[\w.]+)", makefile))
    assert {"course_lib.authoring.notebooks", "course_lib.authoring.dataset"} <= called
    for module in called:
        path = ROOT / (module.replace(".", "/") + ".py")
        assert path.is_file(), f"the Makefile calls {module}"
        assert 'if __name__ == "__main__":\n    main()' in path.read_text(encoding="utf-8"), (
            f"{module} does nothing when called"
        )
    (page,) = re.findall(r"default_url=/lab/tree/(\S+)", makefile)
    assert (ROOT / page).is_file(), "what JupyterLab opens first"
