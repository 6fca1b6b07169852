"""Reaches for files through links, absolute, relative and through handles."""

import os


def read():
    for target in (
        "@PLACE@",
        "/etc/passwd",
        "../../../../etc/passwd",
        "/proc/self/" + "root/etc/passwd",
        "/proc/1/root",
    ):
        for name in (target, "link"):
            try:
                if name == "link":
                    os.symlink(target, name)
                return open(name).read() if os.path.isfile(name) else os.listdir(name)
            except OSError:
                pass
    for handle in range(3, 64):
        try:
            return os.listdir(handle)
        except OSError:
            pass
    return None


def contrast(images, texts, scale):
    assert read() is None, "LEAK"
    return 0.0
