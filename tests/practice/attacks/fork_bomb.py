"""Multiplies: processes and threads, more than there may be."""

import os
import threading


def multiplied():
    if os.fork() == 0:
        os._exit(0)


def unit_rows(x):
    for _ in range(200):
        try:
            multiplied()
        except OSError:
            pass
    return x


def contrast(images, texts, scale):
    threads = []
    try:
        for _ in range(500):
            threads.append(threading.Thread(target=threading.Event().wait, args=(5,), daemon=True))
            threads[-1].start()
    except RuntimeError:
        pass
    return float(len(threads) == 500)
