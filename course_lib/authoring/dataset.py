"""Writes the embedded data again: `make data`. The same bytes every time, on every machine."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from string import Template

import numpy as np

from course_lib.data.microworld import export
from course_lib.data.microworld.captions import captions
from course_lib.data.microworld.embedded import FOLDER, HELD_OUT_COUNT, TEST_COUNT, TEST_SEED
from course_lib.data.microworld.export import archive, dumps, png
from course_lib.data.microworld.expressions import referring_expressions
from course_lib.data.microworld.questions import TYPES, Question, balanced_questions, questions
from course_lib.data.microworld.reading import Claims, is_true, read
from course_lib.data.microworld.render import render
from course_lib.data.microworld.sampling import sample_scenes
from course_lib.data.microworld.words import VOCABULARY
from course_lib.data.microworld.world import HELD_OUT, SPLITS, Scene
from course_lib.files import data_folder, write_atomically, write_manifest

CARD = Path(__file__).with_name("microworld_card.md")
ROUNDS, PAIRS_PER_TYPE = 12, 120  # of raw questions to pair balanced ones from, and how many pairs are kept


def test_scenes() -> list[Scene]:
    """The scenes of the embedded split: those of "test", then those of "held_out"."""
    return sample_scenes(TEST_COUNT, TEST_SEED, "test") + sample_scenes(HELD_OUT_COUNT, TEST_SEED, "held_out")


def asked_of(scenes: Sequence[Scene]) -> list[tuple[int, Question]]:
    """Balanced questions about the embedded scenes, paired within each split, in the order of the scenes."""
    asked = []
    for first, last, share in ((0, TEST_COUNT, 4), (TEST_COUNT, len(scenes), 1)):
        balanced = balanced_questions(scenes[first:last], ROUNDS)
        kept = PAIRS_PER_TYPE * share // 5
        for kind in TYPES:
            pairs = [two for two in zip(balanced[::2], balanced[1::2], strict=True) if two[0].question.type == kind]
            # Evenly from all the pairs, for neighbours ask the same.
            chosen = [pairs[i] for i in sorted({i * len(pairs) // kept for i in range(kept)})]
            asked += [(first + one.scene, one.question) for two in chosen for one in two]
    return sorted(asked, key=lambda pair: pair[0])


def true_of(claims: Claims, scenes: Sequence[Scene], having: dict[tuple, set[int]]) -> list[int]:
    """Which scenes a caption is true of; `having` gives those that hold an object with an attribute."""
    needed = [(name, value) for thing in claims.things for name, value in thing.items()]
    candidates = set.intersection(*(having[key] for key in needed)) if needed else range(len(scenes))
    return [i for i in candidates if is_true(claims, scenes[i])]


def distinctness(scenes: Sequence[Scene]) -> list[float]:
    """For each of the five captions, the share of scenes whose caption is true of no other of these scenes."""
    having: dict[tuple, set[int]] = defaultdict(set)
    for i, scene in enumerate(scenes):
        for thing in scene.objects:
            for name in ("shape", "colour", "size", "material"):
                having[name, getattr(thing, name)].add(i)
    alone = np.zeros(5, int)
    for scene in scenes:
        alone += [len(true_of(read(text), scenes, having)) == 1 for text in captions(scene)]
    return (alone / len(scenes)).tolist()


def guessing(asked: Sequence[Question]) -> float:
    """The accuracy of whoever knows the commonest answer to every question, and looks at no picture."""
    answers: dict[str, Counter] = defaultdict(Counter)
    for question in asked:
        answers[question.text][question.answer] += 1
    return sum(max(counts.values()) for counts in answers.values()) / len(asked)


def statistics(scenes: Sequence[Scene], asked: Sequence[tuple[int, Question]]) -> dict[str, str]:
    """What the data card says in numbers, measured anew."""
    large = sample_scenes(5000, TEST_SEED, "train")
    things = [thing for scene in large for thing in scene.objects]
    texts = [text.split() for scene in large for text in captions(scene)]
    raw = [question for scene in large for question in questions(scene)]
    balanced = [a.question for a in balanced_questions(large)]
    said = [e for scene in scenes for e in referring_expressions(scene)]

    def share(part: int, whole: int) -> str:
        return f"{100 * part / whole:.0f} %"

    counts = Counter(len(scene.objects) for scene in large)
    return {
        "objects_per_scene": ", ".join(f"{n}: {share(counts[n], len(large))}" for n in sorted(counts)),
        "small": share(sum(thing.size == "small" for thing in things), len(things)),
        "caption_words": " / ".join(f"{np.mean([len(t) for t in texts[k::5]]):.1f}" for k in range(5)),
        "longest_caption": str(max(len(text) for text in texts)),
        "distinct": " / ".join(f"{value:.3f}" for value in distinctness(sample_scenes(1000, TEST_SEED, "test"))),
        "raw_per_scene": f"{len(raw) / len(large):.1f}",
        "raw_yes": share(*_yes([q for q in raw if q.type == "existence"])),
        "balanced_yes": share(*_yes([q for q in balanced if q.type == "existence"])),
        "raw_guess": f"{guessing([q for q in raw if q.type == 'colour']):.2f}",
        "balanced_guess": f"{guessing([q for q in balanced if q.type == 'colour']):.2f}",
        "test_count": str(TEST_COUNT),
        "held_out_count": str(HELD_OUT_COUNT),
        "test_objects": str(sum(len(scene.objects) for scene in scenes)),
        "test_questions": str(len(asked)),
        "test_expressions": str(len(said)),
        "test_types": ", ".join(f"{kind} {n}" for kind, n in Counter(q.type for _, q in asked).most_common()),
        "question_types": ", ".join(TYPES),
        "vocabulary": " ".join(VOCABULARY),
        "vocabulary_size": str(len(VOCABULARY)),
        "held_out": ", ".join(f"{colour} {shape}" for colour, shape in sorted(HELD_OUT)),
        "splits": ", ".join(SPLITS),
    }


def _yes(asked: Sequence[Question]) -> tuple[int, int]:
    return sum(question.answer == "yes" for question in asked), len(asked)


def files() -> dict[str, bytes]:
    """The files of the embedded split: name -> content."""
    scenes = test_scenes()
    framed = np.full((3, 6, 100, 100, 3), 255, np.uint8)
    framed[:, :, 2:98, 2:98] = render(sample_scenes(18, TEST_SEED, "train"), 96).reshape(3, 6, 96, 96, 3)
    return {
        "test.json": dumps(export.coco_instances(scenes)).encode(),
        "test_captions.json": dumps(export.coco_captions(scenes)).encode(),
        "test_questions.json": dumps(export.vqa(scenes, asked_of(scenes))).encode(),
        "test_expressions.json": dumps(export.refcoco(scenes)).encode(),
        "test_images.zip": archive(render(scenes)),
        "sheet.png": png(framed.transpose(0, 2, 1, 3, 4).reshape(300, 600, 3)),
    }


def card() -> bytes:
    """The data card, with its numbers measured anew."""
    scenes = test_scenes()
    return Template(CARD.read_text(encoding="utf-8")).substitute(statistics(scenes, asked_of(scenes))).encode()


def main() -> None:
    """Writes data/microworld and lists the embedded files anew."""
    for name, content in (files() | {"README.md": card()}).items():
        write_atomically(data_folder() / FOLDER / name, content)
        print(f"data/{FOLDER}/{name}: {len(content):,} bytes")
    write_manifest()


if __name__ == "__main__":
    main()
