"""Every word that captions, questions, answers and referring expressions are made of."""

from course_lib.data.microworld.captions import (
    BACKGROUND_WORDS,
    MATERIAL_WORDS,
    NUMBERS,
    OPENINGS,
    RELATION_WORDS,
    SIZE_WORDS,
    plural,
)
from course_lib.data.microworld.expressions import EXTREMES
from course_lib.data.microworld.questions import ANSWERS
from course_lib.data.microworld.world import COLOURS, SHAPES

_TABLES = (SIZE_WORDS, MATERIAL_WORDS, BACKGROUND_WORDS, RELATION_WORDS)
_FUNCTION_WORDS = (
    "a an and are at background backdrop bottom colour do does how in is larger left many material middle more object "
    "of on only picture right same see shape show single size than the there thing things to top what you"
)

# Sorted, without a repetition: what `WordTokenizer(VOCABULARY)` needs for every text of the microworld. The boilerplate
# of noisy captions is not in it.
VOCABULARY = tuple(
    sorted(
        {
            *(word for table in _TABLES for said in table.values() for phrase in said for word in phrase.split()),
            *(word for opening in OPENINGS for word in opening.split()),
            *NUMBERS[1:],
            *COLOURS,
            *SHAPES,
            *(plural(shape) for shape in SHAPES),
            *EXTREMES,
            *ANSWERS,
            *_FUNCTION_WORDS.split(),
        }
    )
)
