"""Finds a student's code in a submitted notebook: no metadata needed, no demo run, a broken cell loses only itself.

The whole notebook is not executed. From the function that an exercise asks for, the names it uses are followed:
imports, helper functions, classes and constants, by their last definition. So a demo loop that takes an hour, a magic,
a plot or an unfinished cell elsewhere costs nothing.

This file is loaded inside the jail, where a notebook is read (a hostile one may be meant to break the reader), so it
imports nothing of `course_lib`.
"""

import __future__

import ast
import json
import re
import symtable
from dataclasses import dataclass, field

MAX_BYTES = 32 << 20
PYTHON_CELL_MAGICS = ("time", "timeit", "capture", "prun", "python", "python3")
COMPOUND = (ast.If, ast.Try, ast.With, ast.For, ast.While, ast.Match)
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class NotANotebook(ValueError):
    """The file cannot be read as a notebook; the message says what it is instead."""


@dataclass
class Code:
    """What the code cells of a notebook hold.

    Args:
        statements: the top-level statements in order.
        cells: for each statement, the number of its cell, counted from 1 over all cells.
        sources: of each code cell by number, as it was parsed.
        broken: (cell number, line, message, source) of each cell that does not parse.
        count: how many cells there are, of any kind.
        lesson: the lesson whose exercises the notebook checks ("06"), "" where it checks none.
        binders: for each name, the statements that bind it.
        changers: for each name, the statements that change its object in place.
        flags: how statements are compiled, from `from __future__ import ...`.
    """

    statements: list[ast.stmt] = field(default_factory=list)
    cells: list[int] = field(default_factory=list)
    sources: dict[int, str] = field(default_factory=dict)
    broken: list[tuple[int, int, str, str]] = field(default_factory=list)
    count: int = 0
    lesson: str = ""
    binders: dict[str, list[int]] = field(default_factory=dict)
    changers: dict[str, list[int]] = field(default_factory=dict)
    flags: int = 0


def read_notebook(content: bytes) -> dict:
    """The notebook as nested dictionaries.

    Raises:
        NotANotebook: it is empty, truncated, too large, or not a notebook of format 4.
    """
    content = content.removeprefix(b"\xef\xbb\xbf")
    if not content.strip():
        raise NotANotebook("the file is empty")
    if len(content) > MAX_BYTES:
        raise NotANotebook(
            f"the file has {len(content) >> 20} MB; a submission may have {MAX_BYTES >> 20}: clear its outputs"
        )
    try:
        notebook = json.loads(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise NotANotebook("the file is not text, so it is no notebook (.ipynb)") from None
    except json.JSONDecodeError as error:
        started = content.lstrip()[:1] == b"{" and b'"cells"' in content
        end = error.pos >= len(content.decode("utf-8").rstrip()) - 1 or "Unterminated" in error.msg
        raise NotANotebook(
            "the notebook is cut off: it was not saved or uploaded whole"
            if started and end
            else f"the file is no notebook (.ipynb): line {error.lineno} is not JSON"
        ) from None
    except (RecursionError, ValueError):
        raise NotANotebook("the file is JSON that no notebook editor writes") from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        worksheets = isinstance(notebook, dict) and "worksheets" in notebook
        raise NotANotebook(
            "the notebook is in format 3: open it in Jupyter and save it again" if worksheets
            else "the file is JSON but no notebook: it has no list of cells"
        )  # fmt: skip
    return notebook


def code(notebook: dict) -> Code:
    """The statements of a notebook's code cells, with magics and shell lines taken out."""
    found = Code(count=len(notebook["cells"]))
    for number, cell in enumerate(notebook["cells"], start=1):
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        source = cell.get("source", "")
        if isinstance(source, list):
            source = "".join(line for line in source if isinstance(line, str))
        if not isinstance(source, str) or not source.strip():
            continue
        found.lesson = found.lesson or lesson_of(source)
        try:
            statements, found.sources[number] = parse_cell(source)
            found.statements += statements
            found.cells += [number] * len(statements)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = getattr(error, "lineno", None) or 1
            message = getattr(error, "msg", None) or f"Python cannot read it ({type(error).__name__})"
            found.broken.append((number, line, message, source))
    for index, statement in enumerate(found.statements):
        for name in bound_names(statement):
            found.binders.setdefault(name, []).append(index)
        for name in changed_names(statement):
            found.changers.setdefault(name, []).append(index)
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
            features = (getattr(__future__, alias.name, None) for alias in statement.names)
            found.flags |= sum(feature.compiler_flag for feature in features if feature)
    return found


def lesson_of(source: str) -> str:
    """The lesson whose exercises a cell checks ("06" of `check("06.2", ...)`), "" if it checks none."""
    match = re.search(r"""\bcheck\(\s*["'](\d\d)\.\d""", source)
    return match[1] if match else ""


def parse_cell(source: str) -> tuple[list[ast.stmt], str]:
    """A cell's statements, and its source without magics, which are taken out where the cell is not Python as it
    stands.

    Raises:
        SyntaxError, ValueError: the cell is no Python even so.
    """
    try:
        return ast.parse(source).body, source
    except SyntaxError:
        lines = source.splitlines()
        first = next((i for i, line in enumerate(lines) if line.strip()), 0)
        if lines and (magic := re.match(r"\s*%%(\w+)", lines[first])):
            if magic[1] not in PYTHON_CELL_MAGICS:
                return [], ""
            lines[first] = ""
        source = "\n".join(map(without_magic, lines))
        return ast.parse(source).body, source


def without_magic(line: str) -> str:
    """The line, or `pass` at its indentation where it is IPython's and not Python's (`%matplotlib`, `!ls`, `loss?`)."""
    stripped = line.strip()
    ipython = (
        re.match(r"[%!?]", stripped)
        or re.match(r"[\w., ]+=\s*[%!]", stripped)
        or re.fullmatch(r"[\w.]+\?{1,2}", stripped)
    )
    return line[: len(line) - len(line.lstrip())] + "pass" if ipython else line


def bound_names(statement: ast.stmt) -> set[str]:
    """The module-level names that a top-level statement binds."""
    if isinstance(statement, DEFINITIONS):
        return {statement.name}
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return {(alias.asname or alias.name).split(".")[0] for alias in statement.names}
    names: set[str] = set()
    queue: list[ast.AST] = [statement]
    while queue:
        node = queue.pop()
        if isinstance(node, DEFINITIONS):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= bound_names(node)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif not isinstance(node, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            queue += ast.iter_child_nodes(node)
    return names


def changed_names(statement: ast.stmt) -> set[str]:
    """The names whose objects an assignment changes in place: `CLIP.forward = ...`, `settings["width"] = ...`, `x +=
    1`.
    """
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    names = set()
    for target in targets:
        inner = target
        while isinstance(inner, (ast.Attribute, ast.Subscript)):
            inner = inner.value
        if isinstance(inner, ast.Name) and (inner is not target or isinstance(statement, ast.AugAssign)):
            names.add(inner.id)
    return names


def used_names(statement: ast.stmt) -> set[str]:
    """The module-level names that a statement reads, the bodies of its functions included and their own names not."""
    tables, names = [symtable.symtable(ast.unparse(statement), "<statement>", "exec")], set()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        names |= {
            symbol.get_name()
            for symbol in table.get_symbols()
            if symbol.is_global() or (symbol.is_referenced() and table.get_type() in ("module", "class"))
        }
    if isinstance(statement, ast.AugAssign):
        names |= changed_names(statement)
    return names


def is_stub(statement: ast.stmt) -> bool:
    """Whether a function or class is still as it was handed out: some body raises NotImplementedError and does nothing
    else.
    """
    if isinstance(statement, ast.ClassDef):
        return any(is_stub(inner) for inner in statement.body if isinstance(inner, DEFINITIONS))
    if not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return False
    body = [s for s in statement.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
    if len(body) != 1 or not isinstance(body[0], ast.Raise) or body[0].exc is None:
        return False
    raised = body[0].exc.func if isinstance(body[0].exc, ast.Call) else body[0].exc
    return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"


def defines(found: Code, name: str) -> str:
    """How the notebook defines a name: "yes", "stub" (as it was handed out), "broken" (in a cell that does not parse),
    "no".
    """
    statements = [found.statements[index] for index in found.binders.get(name, [])]
    if any(not is_stub(s) for s in statements):
        return "yes"
    if broken_cell(found, name):
        return "broken"
    return "stub" if statements else "no"


def broken_cell(found: Code, name: str) -> tuple[int, int, str, str] | None:
    """The last cell that does not parse and seems to define a name, as in `Code.broken`."""
    definition = re.compile(
        rf"^\s*(?:(?:async\s+)?def|class)\s+{re.escape(name)}\b|^{re.escape(name)}\s*[=:]", re.MULTILINE
    )
    return next((cell for cell in reversed(found.broken) if definition.search(cell[3])), None)


def needed(found: Code, name: str) -> list[int]:
    """Which statements the last definition of `name` needs, that one included, in the notebook's order.

    Of each function, class and constant the last definition counts (one that is not the stub, where there is one); of
    each import, all. Statements that only do something (a call, a plot, a loop that binds nothing needed) are left out.
    """
    statements = found.statements
    chosen = set(found.binders.get("*", []))
    queue, seen = [name], set()
    while queue:
        if (wanted := queue.pop()) in seen:
            continue
        seen.add(wanted)
        binders = found.binders.get(wanted, [])
        imports = [i for i in binders if isinstance(statements[i], (ast.Import, ast.ImportFrom))]
        written = [i for i in binders if i not in imports]
        written = [i for i in written if not is_stub(statements[i])] or written
        picked = imports + written[-1:]
        # A definition may build on the one before it (`x = x + 1`), or stand in an `if` with its alternative.
        while len(written) > 1 and not isinstance(statements[written[-1]], DEFINITIONS):
            if wanted not in used_names(statements[written[-1]]):
                break
            written.pop()
            picked.append(written[-1])
        picked += [i for i in found.changers.get(wanted, []) if not written or i >= written[-1]]
        for index in picked:
            if index not in chosen:
                chosen.add(index)
                queue += used_names(statements[index])
    return sorted(chosen)
