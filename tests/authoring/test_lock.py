"""pyproject.toml, requirements.lock, environment.yml and Colab's versions are in step."""

import importlib.metadata
import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from course_lib.authoring.lessons import root_folder
from course_lib.authoring.lock import JUPYTER_SIDE, canonical, colab_versions, pins

ROOT = root_folder()
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CORE = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = [Requirement(line) for lines in PROJECT["optional-dependencies"].values() for line in lines]
ON_COLAB = {"python_version": "3.13", "python_full_version": "3.13.15", "sys_platform": "linux", "extra": ""}


def locked() -> dict[str, set[str]]:
    """Every version the lock has of a package: one, or one for each range of Pythons."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)", LOCK, re.MULTILINE):
        found.setdefault(canonical(name), set()).add(version)
    return found


def test_the_lock_has_colabs_versions():
    colab, differing = colab_versions(), {}
    for name, versions in locked().items():
        if name in colab and name not in JUPYTER_SIDE and versions != {colab[name]}:
            differing[name] = (versions, colab[name])
    assert differing == {}
    assert {"torch", "torchvision", "transformers", "numpy", "datasets"} <= locked().keys() & colab.keys()


@pytest.mark.parametrize("requirement", CORE + EXTRAS, ids=str)
def test_the_lock_satisfies_the_project(requirement):
    versions = locked().get(canonical(requirement.name))
    assert versions, f"{requirement.name} is not in requirements.lock: run make lock"
    assert all(requirement.specifier.contains(version, prereleases=True) for version in versions)


def test_every_locked_package_has_hashes_and_no_place():
    entries = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"^#.*\n", "", LOCK, flags=re.MULTILINE).strip())
    for entry in entries:
        assert re.fullmatch(r"[\w.-]+==[^\n/]*(?: \\\n    --hash=sha256:[0-9a-f]{64})+", entry), entry.split("\n")[0]
    assert len(entries) >= len(pins(LOCK)) > 100
    assert "://" not in LOCK


def test_conda_gets_the_locked_set_and_nothing_else():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, pip, by_pip = environment["dependencies"]
    version = python.removeprefix("python=")
    assert SpecifierSet(PROJECT["requires-python"]).contains(version)
    assert pip == "pip"
    assert by_pip == {"pip": ["--requirement requirements.lock"]}


@pytest.mark.parametrize("requirement", CORE, ids=str)
def test_installing_the_course_on_colab_changes_nothing_there(requirement):
    """Colab has what the core set asks for; what it lacks asks, with all it brings, for no more than Colab has."""
    colab, seen, waiting = colab_versions(), set(), [requirement]
    while waiting:
        needed = waiting.pop()
        name = canonical(needed.name)
        if needed.marker and not needed.marker.evaluate(ON_COLAB):
            continue
        if name in colab:
            assert needed.specifier.contains(colab[name], prereleases=True), (
                f"Colab has {name} {colab[name]}, not {needed}"
            )
        elif name not in seen:
            seen.add(name)
            waiting += [Requirement(line) for line in importlib.metadata.requires(name) or []]
