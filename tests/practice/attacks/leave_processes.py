"""Leaves processes behind in every way that Python knows, and by the system calls themselves."""

import ctypes
import os
import subprocess
import threading
import time


def child(made):
    if made == 0:
        time.sleep(5)
        os._exit(0)


def left():
    for way in (
        lambda: child(os.fork()),
        lambda: os.posix_spawn("/bin/sleep", ["sleep", "5"], {}),
        lambda: subprocess.Popen(["sleep", "5"], start_new_session=True),
        lambda: os.system("sleep 5 &"),
        lambda: child(ctypes.CDLL(None).fork()),
        lambda: child(ctypes.CDLL(None).syscall(57)),
        lambda: child(ctypes.CDLL(None).syscall(56, 17, 0, 0, 0, 0)),
        lambda: child(ctypes.CDLL(None).syscall(435, ctypes.create_string_buffer(b"", 88), 88)),
    ):
        try:
            way()
        except Exception:
            pass
    threading.Thread(target=time.sleep, args=(5,)).start()


def contrast(images, texts, scale):
    left()
    return 0.0
