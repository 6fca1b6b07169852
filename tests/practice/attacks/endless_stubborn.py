"""Never comes back and will not be told: swallows the time limit, ignores and blocks signals."""
# keeps: 99.4

import signal
import time


def stubborn():
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in range(1, 32):
        try:
            signal.signal(number, signal.SIG_IGN)
        except OSError:
            pass
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
    while True:
        try:
            time.sleep(1)
        except BaseException:
            continue


def unit_rows(x):
    stubborn()


choices = {"a": "x", "b": "y"}
