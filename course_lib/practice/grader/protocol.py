"""What crosses the wall between the trusted parent and the jail: framed messages of JSON and safetensors.

Never pickle: unpickling runs code of the sender's choice. What comes back is what an answer returned, to be judged by
the parent; a student who forges a message has only given another answer.

This file is loaded on both sides, inside the jail without `course_lib`; `asking` is the one file of it that is there
too.

A message is `MAGIC`, the payload's length (8 bytes, little-endian) and the payload: the length of its JSON (4 bytes),
the JSON, and safetensors.
"""

import json
import struct

import torch
from safetensors.torch import load, save

try:
    from course_lib.practice import asking
except ImportError:  # inside the jail
    import asking

MAGIC = b"VLM1"
HEADER = struct.Struct("<4sQ")
MAX_JSON = 2 << 20
MAX_TENSORS_HEADER = 1 << 20
# What an honest worker sends of an exception and of what was printed, with room to spare.
MAX_TEXT = 4_000
DTYPES = (
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64,
)  # fmt: skip


class ProtocolError(ValueError):
    """A message is damaged, too large, or holds something that may not cross."""


def dump(value: object) -> bytes:
    """The payload that holds a value: plain values, tensors, questions, outcomes (see `asking.tree`)."""
    tensors: dict[str, torch.Tensor] = {}

    def encode(part: object) -> object:
        kind = type(part)
        if kind is torch.Tensor:
            key = str(len(tensors))
            tensors[key] = part.detach().cpu().contiguous().clone()
            return ["tensor", key]
        if kind in (list, tuple):
            return [kind.__name__, *map(encode, part)]
        if kind is dict:
            return ["dict", *([key, encode(item)] for key, item in part.items())]
        return part

    text = json.dumps(encode(asking.tree(value))).encode("utf-8", "surrogatepass")
    return struct.pack("<I", len(text)) + text + save(tensors)


def parse(payload: bytes | memoryview) -> object:
    """The value of a payload that may come from anyone. Nothing in it is built or run.

    Raises:
        ProtocolError: it is damaged or larger than a message may be; nothing else is raised.
    """

    def decode(part: object) -> object:
        if part is None or type(part) in (bool, int, float, str):
            return part
        if type(part) is not list:
            raise ProtocolError("a value that `dump` does not write")
        kind, *rest = part
        if kind == "tensor":
            return tensors[rest[0]]
        if kind == "list":
            return list(map(decode, rest))
        if kind == "tuple":
            return tuple(map(decode, rest))
        if kind == "dict" and all(type(key) is str for key, _ in rest):
            return {key: decode(item) for key, item in rest}
        raise ProtocolError("a value that `dump` does not write")

    try:
        (length,) = struct.unpack_from("<I", payload)
        if length > MAX_JSON:
            raise ProtocolError(f"the values take {length >> 20} MB beside the tensors; {MAX_JSON >> 20} are read")
        text, blob = bytes(payload[4 : 4 + length]), bytes(payload[4 + length :])
        if len(blob) < 8 or int.from_bytes(blob[:8], "little") > MAX_TENSORS_HEADER:
            raise ProtocolError("the tensors are missing or too many")
        tensors = load(blob)
        if any(tensor.dtype not in DTYPES for tensor in tensors.values()):
            raise ProtocolError("a tensor has a dtype that may not cross")
        return asking.from_tree(decode(json.loads(text.decode("utf-8", "surrogatepass"))))
    except ProtocolError:
        raise
    except Exception as error:  # a forged payload may fail anywhere in the decoding; that is all there is to know
        raise ProtocolError(f"a damaged message ({type(error).__name__})") from None


def parse_outcomes(payload: bytes | memoryview, count: int) -> list[asking.Outcome]:
    """The outcomes that a payload holds, every field checked: the worker's process is the student's.

    Raises:
        ProtocolError: it does not hold so many outcomes, or one that the worker could not have written.
    """
    outcomes = parse(payload)
    if type(outcomes) is not list or len(outcomes) != count:
        raise ProtocolError("a message that is no list of outcomes, one for each question")
    for outcome in outcomes:
        if type(outcome) is not asking.Outcome:
            raise ProtocolError("a message that is no outcome")
        texts = (outcome.error, outcome.message, outcome.line, outcome.printed, outcome.device)
        if any(len(text) > MAX_TEXT for text in texts):
            raise ProtocolError("an outcome whose texts are too long")
        if not 0 <= outcome.seconds < 1e6:
            raise ProtocolError("an outcome that took no time")
        if not _is_plain(outcome.value):
            raise ProtocolError("an outcome whose value may not cross")
    return outcomes


def _is_plain(value: object) -> bool:
    kind = type(value)
    if kind in (list, tuple):
        return all(map(_is_plain, value))
    if kind is dict:
        return all(map(_is_plain, value.values()))
    if kind is asking.Unknown:
        return type(value.type) is str and len(value.type) <= MAX_TEXT
    return value is None or kind in (bool, int, float, str, torch.Tensor)


def frame(payload: bytes) -> bytes:
    """A payload with the header that says how long it is."""
    return HEADER.pack(MAGIC, len(payload)) + payload


def unframe(stream: bytes | bytearray, most: int) -> tuple[list[memoryview], str]:
    """The whole payloads at the front of a stream, at most so many, and what is wrong with the rest ("" if nothing).

    A stream that ends in the middle of a message is no error: its process was stopped while it wrote, or still writes.
    """
    view, payloads, at = memoryview(stream), [], 0
    while len(view) - at >= HEADER.size:
        magic, length = HEADER.unpack_from(view, at)
        if magic != MAGIC or len(payloads) == most:
            return payloads, "something other than the worker wrote to its result pipe"
        if len(view) - at - HEADER.size < length:
            break
        payloads.append(view[at + HEADER.size : at + HEADER.size + length])
        at += HEADER.size + length
    return payloads, ""
