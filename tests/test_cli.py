"""The `course` command: quick to start, one sentence for what the user can put right."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from course_lib import cli


def course(*arguments: str) -> subprocess.CompletedProcess:
    code = "import sys; from course_lib.cli import main; sys.argv[0] = 'course'; main()"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)


def test_its_start_imports_nothing_large():
    code = (
        "import sys, course_lib.cli; print(sorted({'torch', 'numpy', 'transformers', 'nbclient'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_an_unknown_lesson_is_one_sentence():
    result = course("run", "42")
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.startswith("InputError: there is no lesson '42'; those that exist: ")
    assert len(result.stderr.splitlines()) == 1


def test_the_lessons_are_listed():
    result = course("lessons")
    assert result.returncode == 0 and len(result.stdout.splitlines()) == 16


def test_a_package_of_an_extra_that_is_missing_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "genanki", None)

    def needs_it():
        raise ModuleNotFoundError("No module named 'genanki'", name="genanki")

    monkeypatch.setattr(cli, "app", needs_it)
    with pytest.raises(SystemExit) as exit:
        cli.main()
    assert exit.value.code == 2
    assert "this command needs the package genanki: pip install" in capsys.readouterr().err


def imports_of_commands() -> list[tuple[str, str]]:
    """What the commands import when they are called."""
    tree = ast.parse(Path(cli.__file__).read_text(encoding="utf-8"))
    return sorted(
        (node.module, alias.name)
        for function in tree.body
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    )


@pytest.mark.parametrize(("module", "name"), imports_of_commands())
def test_every_command_finds_what_it_calls(module, name):
    assert callable(getattr(importlib.import_module(module), name))
