"""Sends a million messages, each of them small and right."""

import os
import struct


def unit_rows(x):
    while True:
        os.write(3, (b"VLM1" + struct.pack("<Q", 0)) * 5_000)
