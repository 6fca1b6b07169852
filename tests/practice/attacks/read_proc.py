"""Reads what the system tells about processes: memory, environment, open files."""

import os


def read():
    for process in ("self", "1", "2", str(os.getppid()), "thread-self"):
        for name in ("environ", "maps", "mem", "fd/3", "root/etc/passwd", "cmdline", "ns/pid"):
            try:
                with open(f"/proc/{process}/{name}", "rb") as file:
                    return file.read(10)
            except OSError:
                pass
    for path in ("/sys/kernel/notes", "/etc/passwd", "/etc/shadow", "/dev/mem", "/dev/vda"):
        try:
            with open(path, "rb") as file:
                return file.read(10)
        except OSError:
            pass
    return None


def contrast(images, texts, scale):
    assert read() is None, "LEAK"
    return 0.0
