"""Fills the disk and uses up its inodes; in the scratch space, as far as that goes, and elsewhere a little."""

import os


def filled(folder, megabytes, files):
    try:
        with open(os.path.join(folder, "large"), "wb") as file:
            for _ in range(megabytes):
                file.write(bytes(1 << 20))
    except OSError:
        pass
    try:
        for i in range(files):
            open(os.path.join(folder, f"small-{i}"), "w").close()
    except OSError:
        pass


def unit_rows(x):
    if os.getcwd() == "/scratch":
        filled(".", 200, 3_000)
    filled("@VICTIM@", 1, 10)
    return x
