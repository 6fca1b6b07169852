"""The file in which the Hub keeps any tokenizer whole: tokenizer.json, of the library `tokenizers`."""

import json
from collections.abc import Iterable
from pathlib import Path

from course_lib.errors import FileError


def read_tokenizer_json(path: Path, kind: str) -> dict:
    """What a tokenizer.json holds, its "model" being of this kind: "BPE", "WordPiece" or "Unigram".

    Raises:
        FileError: it is of another kind, or damaged.
    """
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
        found = whole["model"].get("type", kind)
        whole["model"]["vocab"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileError(f"{path.name} is damaged: fetch it again") from error
    if found != kind:
        raise FileError(f"{path.name} holds a tokenizer of type {found}; one of type {kind} is wanted here")
    return whole


def special_marks(whole: dict) -> dict[str, int]:
    """The marks of a tokenizer.json that are one id whatever surrounds them -> ids."""
    return {mark["content"]: mark["id"] for mark in whole.get("added_tokens", []) if mark.get("special")}


def pairs_of(merges: Iterable[str | list[str]]) -> list[tuple[str, str]]:
    """Merges as a file has them, "a b" or ["a", "b"], as pairs.

    Raises:
        FileError: one is not two pieces.
    """
    pairs = [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in merges]
    if not all(len(pair) == 2 for pair in pairs):
        raise FileError("a merge is not two pieces: the file is damaged, fetch it again")
    return pairs
