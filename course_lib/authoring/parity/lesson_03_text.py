"""Lesson 03, texts: tokenizers beside the field's own."""

from collections.abc import Callable

from course_lib.authoring.parity.rows import ParityRow, difference
from course_lib.data.tokenizers import BytePairTokenizer


def tokenizer_beside_open_clip(texts: list[str] | None = None) -> list[ParityRow]:
    """BytePairTokenizer beside open_clip's SimpleTokenizer: the largest difference of two ids, which has to be 0."""
    import open_clip

    texts = texts or ["a photo of a cat", "Naïve CAFÉ &amp; crème brûlée", "🦄 一只红色的猫", "don't", "", "3.14 " * 60]
    apart = difference(BytePairTokenizer()(texts), open_clip.SimpleTokenizer()(texts))
    return [ParityRow("BytePairTokenizer", "open_clip SimpleTokenizer", "ids", apart, tolerance=0.0)]


COMPARISONS: list[Callable[[], list[ParityRow]]] = [tokenizer_beside_open_clip]
