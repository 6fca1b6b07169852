"""Tokenizers: from a text to a row of ids and back. Each file is one idea, written out; each equals its reference.

    words.py       whole words, or single characters
    byte_pair.py   byte-pair encoding: CLIP's and GPT-2's
    word_piece.py  WordPiece: BERT's
    unigram.py     unigram: T5's and SigLIP's
    sentence_piece.py  the files and the spaces of SentencePiece; Llama's

All of them are called alike: `tokenizer(texts)` gives (B, L), `tokenizer.encode(text)` the ids of one text,
`tokenizer.tokenize(text)` its pieces, `tokenizer.decode(ids)` a text again.
"""

from course_lib.data.tokenizers.base import Tokenizer
from course_lib.data.tokenizers.byte_pair import (
    BytePairTokenizer,
    GPT2Tokenizer,
    HubCLIPTokenizer,
    learn_merges,
    merge_pieces,
    read_merges,
)
from course_lib.data.tokenizers.sentence_piece import LlamaTokenizer
from course_lib.data.tokenizers.unigram import SigLIPTokenizer, UnigramTokenizer
from course_lib.data.tokenizers.word_piece import WordPieceTokenizer
from course_lib.data.tokenizers.words import CharacterTokenizer, WordTokenizer

__all__ = [
    "BytePairTokenizer",
    "CharacterTokenizer",
    "GPT2Tokenizer",
    "HubCLIPTokenizer",
    "LlamaTokenizer",
    "SigLIPTokenizer",
    "Tokenizer",
    "UnigramTokenizer",
    "WordPieceTokenizer",
    "WordTokenizer",
    "learn_merges",
    "merge_pieces",
    "read_merges",
]
