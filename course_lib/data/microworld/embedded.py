"""The fixed test split that the repository carries: what is measured on it can be compared everywhere."""

import io
import json
import zipfile
from dataclasses import dataclass

import numpy as np
from PIL import Image

from course_lib.data.microworld.export import scene_of
from course_lib.data.microworld.world import Scene
from course_lib.files import embedded

# What `make data` writes below data/, and from what.
TEST_SEED, TEST_COUNT, HELD_OUT_COUNT = 2026, 320, 80
FOLDER = "microworld"


@dataclass(frozen=True)
class Sample:
    """One picture of the test split and all that is known of it.

    Args:
        id: COCO's image id, from 1.
        split: "test" or "held_out".
        image: uint8 (64, 64, 3).
        scene: its scene graph.
        captions: five.
        questions: (text, type, answer, ten annotators' answers) of each balanced question about it.
        expressions: (text, type, box) of each referring expression; boxes are x, y, width, height in pixels.
    """

    id: int
    split: str
    image: np.ndarray
    scene: Scene
    captions: list[str]
    questions: list[tuple[str, str, str, list[str]]]
    expressions: list[tuple[str, str, list[float]]]


def _read(name: str) -> dict:
    return json.loads(embedded(f"{FOLDER}/{name}").read_text(encoding="utf-8"))


def test_split() -> list[Sample]:
    """The embedded test split: 320 pictures of the split "test", then 80 of "held_out".

    Read from data/microworld, where every file is verified against its SHA-256 first.

    Raises:
        FileError: a file is missing or damaged.
    """
    instances, texts = _read("test.json"), _read("test_captions.json")
    asked, refs = _read("test_questions.json"), _read("test_expressions.json")
    images, captions, questions, expressions = {}, {}, {}, {}
    with zipfile.ZipFile(embedded(f"{FOLDER}/test_images.zip")) as archive:
        for image in instances["images"]:
            with Image.open(io.BytesIO(archive.read(image["file_name"]))) as picture:
                images[image["id"]] = np.asarray(picture)
            captions[image["id"]], questions[image["id"]], expressions[image["id"]] = [], [], []
    for text in texts["annotations"]:
        captions[text["image_id"]].append(text["caption"])
    for question, reply in zip(asked["questions"], asked["annotations"], strict=True):
        answers = [given["answer"] for given in reply["answers"]]
        questions[question["image_id"]].append(
            (question["question"], reply["question_type"], reply["multiple_choice_answer"], answers)
        )
    for ref in refs["refs"]:
        expressions[ref["image_id"]].append((ref["sentence"], ref["type"], ref["bbox"]))
    return [
        Sample(
            id=(i := image["id"]),
            split=image["split"],
            image=images[i],
            scene=scene_of(image["scene"]),
            captions=captions[i],
            questions=questions[i],
            expressions=expressions[i],
        )
        for image in instances["images"]
    ]


test_split.__test__ = False  # pytest takes every test_... that a test module imports for a test, except so marked
