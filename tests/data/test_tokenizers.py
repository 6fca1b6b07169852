"""The tokenizers: ids of open_clip's on varied text, shapes, cuts, errors."""

import json
import random
import unicodedata

import open_clip
import pytest
import torch

from course_lib.authoring import stand_ins
from course_lib.data.tokenizers import BytePairTokenizer, HubCLIPTokenizer, WordTokenizer
from course_lib.errors import FileError, InputError

PIECES = [
    "a photo of a cat",
    "Two DOGS' owner's hat; don't, we'll, I'M they've you're he'd",
    "naïve café Ångström ÀÉÎÕÜ ß ﬁ ﬂ",
    "🦄🏳\ufe0f\u200d🌈👩🏽\u200d🚀 🙂",
    "一只红色的猫坐在垫子上",
    "日本語のテキスト",
    "안녕하세요",
    "пингвин и кот",
    "مرحبا بالعالم",
    "שלום",
    "&amp;amp; &lt;b&gt;bold&lt;/b&gt; &#39;x&#39; &eacute; &nbsp;",
    "  tabs\tand\nnewlines \u00a0 \u2003 \u200b ",
    "\x00\x07\x1b[31m\x7f",
    "schÃ¶n â€œquotedâ€\x9d",
    "1234567890 3.14 1/2 ½ ² Ⅳ ٣",
    "!!! ... --- ___ <<>> {}[]()",
    "<start_of_text> <end_of_text> <END_OF_TEXT>",
    "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
    "http://example.org/a?b=c&d=e#f",
    "e\u0301 o\u0308 İı",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ＦＵＬＬ　ＷＩＤＴＨ",
    "x",
    "'",
    "’s ‘quotes’ “double”",
    "</w> a</w>b",
    "\ufeff\ud7ff\ufffd",
    "ǅ ŉ ΐ Σίσυφος",
]


def varied_texts(count: int = 1000) -> list[str]:
    """A corpus from a seed: pieces alone, joined, repeated to any length, random code points, nothing at all."""
    random_numbers = random.Random(7)
    texts = ["", " ", "\n", *PIECES]
    while len(texts) < count:
        kind = random_numbers.randrange(4)
        if kind == 0:
            texts.append(" ".join(random_numbers.choices(PIECES, k=random_numbers.randint(1, 6))))
        elif kind == 1:
            texts.append(random_numbers.choice(PIECES) * random_numbers.randint(1, 40))
        elif kind == 2:
            points = (random_numbers.randrange(1, 0x1F000) for _ in range(random_numbers.randint(1, 30)))
            texts.append("".join(chr(point) for point in points if not 0xD800 <= point < 0xE000))
        else:
            words = (random_numbers.choice("abcdefghij xyzé'&;-") for _ in range(random_numbers.randint(1, 200)))
            texts.append("".join(words))
    return texts


@pytest.fixture(scope="module")
def ours() -> BytePairTokenizer:
    return BytePairTokenizer()


@pytest.fixture(scope="module")
def theirs() -> open_clip.SimpleTokenizer:
    return open_clip.SimpleTokenizer()


def test_byte_pairs_are_open_clips(ours, theirs):
    texts = varied_texts()
    assert len(texts) == 1000
    assert torch.equal(ours(texts), theirs(texts))
    assert torch.equal(ours(texts, context_length=12), theirs(texts, context_length=12))
    assert ours(texts).dtype == torch.int64
    assert ours.vocab_size == theirs.vocab_size == 49408


def test_ids_from_the_hub_are_those_of_transformers(tmp_path):
    from transformers import AutoTokenizer

    stand_ins.clip(tmp_path)
    folder = stand_ins.snapshot(tmp_path, stand_ins.CLIP_ID)
    theirs, ours = AutoTokenizer.from_pretrained(folder), HubCLIPTokenizer.from_pretrained(folder)
    known = unicodedata.ucd_3_2_0.category  # libraries differ in which newer characters they know to be letters
    texts = ["".join(c for c in text if known(c) != "Cn") for text in varied_texts()] + [
        *PIECES,
        "“It’s” a <|endoftext|> mark <|STARTOFTEXT|>",
    ]
    for length in (77, 12):
        rows = theirs(texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        assert torch.equal(ours(texts, context_length=length), rows["input_ids"])
    assert not torch.equal(ours(texts), BytePairTokenizer()(texts)), "otherwise OpenAI's own would do"
    assert ours.decode(ours("A “Cat”")[0]) == "a “ cat ”"


def test_a_tokenizer_that_is_no_clips_is_refused(tmp_path):
    with pytest.raises(FileError, match="has no tokenizer.json"):
        HubCLIPTokenizer.from_pretrained(tmp_path)
    stand_ins.clip(tmp_path)
    folder = stand_ins.snapshot(tmp_path, stand_ins.CLIP_ID)
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["vocab"]["a</w>"] = 7
    (folder / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(FileError, match="is no CLIP's"):
        HubCLIPTokenizer.from_pretrained(folder)


def test_byte_pairs_decode_as_open_clips(ours, theirs):
    for text in varied_texts(300):
        ids = [index for index in theirs.encode(text) if index < 49406]
        assert ours.decode(ids) == theirs.decode(ids).strip()


def test_byte_pairs_decode_a_padded_row(ours):
    row = ours("A  photo of a CAT &amp; naïve 🦄")[0]
    assert (
        ours.decode(row) == BytePairTokenizer.clean("A  photo of a CAT &amp; naïve 🦄") == "a photo of a cat & naïve 🦄"
    )
    assert ours.decode(ours("")[0]) == ""


def test_a_long_text_keeps_its_end(ours):
    row = ours("cat " * 500)
    assert row.shape == (1, 77)
    assert row[0, 0] == 49406 and row[0, -1] == 49407 and (row[0, 1:-1] == ours.encode("cat")[0]).all()


def test_merges_are_made_in_the_order_learned(ours):
    assert ours.merge("cat") == ["cat</w>"]
    assert "".join(ours.merge("qzxv")) == "qzxv</w>"
    pieces = ours.merge("photographically")
    assert "".join(pieces) == "photographically</w>" and 1 < len(pieces) < 6


CAPTIONS = ["A red circle, left of a blue square.", "the tiny disc isn't green"]


@pytest.fixture
def words() -> WordTokenizer:
    return WordTokenizer.from_captions(CAPTIONS, context_length=12)


def test_words_and_marks(words):
    ids = words(CAPTIONS)
    assert ids.shape == (2, 12) and ids.dtype == torch.int64
    assert (ids[:, 0] == words.start_token_id).all()
    assert words.decode(ids[0]) == "a red circle , left of a blue square ."
    assert words.decode(ids[1]) == "the tiny disc isn't green"
    assert ids[1].tolist().index(words.end_token_id) == 6 and (ids[1, 7:] == words.pad_token_id).all()
    assert (ids.argmax(1) == (ids == words.end_token_id).int().argmax(1)).all(), "the end token is the highest id"


def test_an_unknown_word_is_the_unknown_token(words):
    assert words.encode("a purple circle") == [words.ids["a"], words.unknown_token_id, words.ids["circle"]]
    assert words.decode(words("a purple circle")[0]) == "a ? circle"


def test_words_are_cut_and_keep_their_end(words):
    row = words(CAPTIONS[0], context_length=5)[0]
    assert row.shape == (5,) and row[-1] == words.end_token_id and words.decode(row) == "a red circle"


def test_the_vocabulary_is_the_same_whatever_the_order():
    assert WordTokenizer.from_captions(CAPTIONS).vocabulary == WordTokenizer.from_captions(CAPTIONS[::-1]).vocabulary
    assert "circle" not in WordTokenizer.from_captions(CAPTIONS, min_count=2).ids
    assert WordTokenizer.from_captions(CAPTIONS).ids.keys() == set(WordTokenizer.from_captions(CAPTIONS).vocabulary)


@pytest.mark.parametrize("tokenizer", [BytePairTokenizer(), WordTokenizer(["a"])], ids=["byte pairs", "words"])
def test_bad_input(tokenizer):
    with pytest.raises(InputError, match="no text"):
        tokenizer([])
    with pytest.raises(InputError, match="a text is a int; every text should be a str"):
        tokenizer(["a", 3])
    with pytest.raises(InputError, match="context_length is 1"):
        tokenizer(["a"], context_length=1)
    with pytest.raises(InputError, match="context_length is 0"):
        tokenizer(["a"], context_length=0)


def test_bad_vocabulary():
    for vocabulary in ([], ["a", "b", "a"]):
        with pytest.raises(InputError, match="empty or has a word twice"):
            WordTokenizer(vocabulary)


def test_an_id_that_is_none(ours):
    with pytest.raises(InputError, match="60000 is no id"):
        ours.decode([60000])
