"""The microworld: from a seed, scenes of a few objects, their pictures, and what can be said and asked about them.

    scenes = sample_scenes(1000, seed=0)            # scene graphs
    images = render(scenes)                         # uint8 (1000, 64, 64, 3)
    texts = [captions(scene) for scene in scenes]   # five each

Same seed, same bytes: on every machine, with every supported version of Python. `data/microworld/README.md` describes
the world as one describes a data set.
"""

import numpy as np

from course_lib.data.microworld.annotations import Annotations, annotations
from course_lib.data.microworld.captions import captions
from course_lib.data.microworld.embedded import Sample, test_split
from course_lib.data.microworld.expressions import TYPES as EXPRESSION_TYPES
from course_lib.data.microworld.expressions import Expression, referring_expressions
from course_lib.data.microworld.noise import NoisyCaption, noisy_captions
from course_lib.data.microworld.questions import ANSWERS, Asked, Question, annotators, balanced_questions, questions
from course_lib.data.microworld.questions import TYPES as QUESTION_TYPES
from course_lib.data.microworld.reading import is_true
from course_lib.data.microworld.render import masks, render
from course_lib.data.microworld.sampling import sample_scenes, single_object_scenes
from course_lib.data.microworld.words import VOCABULARY
from course_lib.data.microworld.world import (
    BACKGROUNDS,
    COLOURS,
    HELD_OUT,
    MATERIALS,
    MOST_OBJECTS,
    PAIRS,
    SEEN,
    SHAPES,
    SIZES,
    SPLITS,
    Object,
    Scene,
    split_of,
)

__all__ = [
    "ANSWERS",
    "BACKGROUNDS",
    "COLOURS",
    "EXPRESSION_TYPES",
    "HELD_OUT",
    "MATERIALS",
    "MOST_OBJECTS",
    "PAIRS",
    "QUESTION_TYPES",
    "SEEN",
    "SHAPES",
    "SIZES",
    "SPLITS",
    "VOCABULARY",
    "Annotations",
    "Asked",
    "Expression",
    "NoisyCaption",
    "Object",
    "Question",
    "Sample",
    "Scene",
    "annotations",
    "annotators",
    "balanced_questions",
    "captions",
    "is_true",
    "masks",
    "noisy_captions",
    "pairs",
    "questions",
    "referring_expressions",
    "render",
    "sample_scenes",
    "single_object_scenes",
    "split_of",
    "test_split",
]


def pairs(count: int, seed: int, split: str = "train", size: int = 64) -> tuple[np.ndarray, list[list[str]]]:
    """Pictures and their captions, ready to train on.

    Args:
        count, seed, split: as for `sample_scenes`.
        size: side of the pictures in pixels.

    Returns:
        uint8 (count, size, size, 3), and five captions for each.
    """
    scenes = sample_scenes(count, seed, split)
    return render(scenes, size), [captions(scene) for scene in scenes]
