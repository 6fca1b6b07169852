"""`make lock`: writes requirements.lock anew. Needs nothing but the standard library and uv.

Packages that Colab ships are pinned to Colab's versions, so that what works here works there, but for Jupyter's own
(and psutil, which IPython asks for): Colab's are older than JupyterLab needs.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from course_lib.files import data_folder, write_atomically

JUPYTER_SIDE = frozenset(
    "ipykernel ipython ipywidgets jupyter-client jupyter-core matplotlib-inline nbclient nbconvert nbformat".split()
    + ["psutil"]
)
HEADER = """\
# The exact packages of the course, with the SHA-256 of every file they may come as. Written by `make lock` from
# pyproject.toml (all extras) and data/colab_versions.txt; not edited by hand.
"""


def canonical(name: str) -> str:
    """A package's name as packaging tools compare it: "PyYAML" -> "pyyaml", "open_clip_torch" -> "open-clip-torch"."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(text: str) -> dict[str, str]:
    """The `name==version` lines of a requirements file, hashes and markers left out: canonical name -> version."""
    found = re.findall(r"^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)", text, re.MULTILINE)
    return {canonical(name): version for name, version in found}


def colab_versions() -> dict[str, str]:
    """What Colab's GPU runtime ships: canonical name -> version (data/colab_versions.txt)."""
    return pins((data_folder() / "colab_versions.txt").read_text(encoding="utf-8"))


def main() -> None:
    """`python -m course_lib.authoring.lock UV`: resolves with that uv, and writes requirements.lock if it can."""
    root = Path(__file__).resolve().parents[2]
    constraints = root / "build" / "constraints.txt"
    wanted = {name: version for name, version in colab_versions().items() if name not in JUPYTER_SIDE}
    write_atomically(constraints, "".join(f"{name}=={version}\n" for name, version in wanted.items()))
    command = [
        *(sys.argv[1], "pip", "compile", "pyproject.toml", "--all-extras", "--universal", "--python-version", "3.11"),
        *("--generate-hashes", "--no-emit-index-url", "--no-header", "--no-annotate", "--quiet", "--upgrade"),
        *("--constraint", os.path.relpath(constraints, root)),
    ]
    resolved = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True)
    if resolved.returncode:
        sys.exit("requirements.lock stays as it was: uv found no set of packages that fits, as it says above")
    write_atomically(root / "requirements.lock", HEADER + resolved.stdout)
    print(f"requirements.lock: {len(pins(resolved.stdout))} packages")


if __name__ == "__main__":
    main()
