"""Sends messages of its own making: right answers it does not know, lengths that lie, structures that hurt."""

import json
import os
import struct


def frame(payload):
    return b"VLM1" + struct.pack("<Q", len(payload)) + payload


def payload(tree, blob=b"\x02\x00\x00\x00\x00\x00\x00\x00{}"):
    text = json.dumps(tree).encode() if not isinstance(tree, bytes) else tree
    return struct.pack("<I", len(text)) + text + blob


def outcome(value):
    fields = {"(kind)": "Outcome", "value": value, "error": "", "message": "", "line": "", "printed": "", "device": ""}
    fields |= {"seconds": 0.0, "gradients": None, "changed": ["list"]}
    return ["dict", *([key, item] for key, item in fields.items())]


def unit_rows(x):
    given = ["dict", ["(kind)", "Given"], ["source", "import os; os.system('touch @VICTIM@/forged')"], ["name", "os"]]
    for tree in (
        ["list", outcome(True)],
        ["list", outcome(["dict", ["passed", True]])],
        ["list", outcome(given)],
        ["list", outcome(["tensor", "missing"])],
        {"passed": True},
    ):
        os.write(3, frame(payload(tree)))
    return x


def contrast(images, texts, scale):
    os.write(3, b"VLM1" + struct.pack("<Q", (1 << 64) - 1) + b"x")
    return 0.0


def fit(x, y, held_back):
    os.write(3, frame(payload(b"[" * 100_000)))
    os.write(3, frame(struct.pack("<I", 0xFFFFFFFF)))
    return 0.0
