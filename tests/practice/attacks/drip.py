"""Sends a byte now and then, to keep the parent waiting."""

import os
import time


def unit_rows(x):
    os.write(3, b"VLM1\xff\xff\xff\x00\x00\x00\x00\x00")
    while True:
        try:
            os.write(3, b"x")
            time.sleep(0.05)
        except BaseException:
            pass
