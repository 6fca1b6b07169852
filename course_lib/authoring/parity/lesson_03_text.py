"""Lesson 03, texts: tokenizers beside the field's own, and recurrent networks beside torch's."""

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from course_lib.authoring.parity.rows import ParityRow, difference, disturb
from course_lib.data.microworld import captions, sample_scenes
from course_lib.data.tokenizers import (
    BytePairTokenizer,
    GPT2Tokenizer,
    LlamaTokenizer,
    UnigramTokenizer,
    WordPieceTokenizer,
)
from course_lib.data.tokenizers.sentence_piece import merges_of, read_model
from course_lib.layers import recurrent
from course_lib.pretrained.weights import without_warnings

ODD_TEXTS = (
    "", " ", "A red circle, left of a BLUE square.", "naïve café & crème brûlée", "🦄 一只红色的猫", "don't we'll I'M",
    "  tabs\tand\nnewlines \u00a0 ", "3.14 ½ Ⅳ", "ＦＵＬＬ ﬁ e\u0301", "안녕하세요", "日本語",
    "antidisestablishmentarianism",
)  # fmt: skip


def caption_texts(scenes: int = 100) -> list[str]:
    """Five captions of each of so many training scenes."""
    return [caption for scene in sample_scenes(scenes, 1, "train") for caption in captions(scene)]


def ids_row(system: str, reference: str, ours: Callable, theirs: Callable, texts: Sequence[str]) -> ParityRow:
    """How many texts become other ids, which has to be none."""
    apart = sum(list(ours(text)) != list(theirs(text)) for text in texts)
    return ParityRow(system, reference, "ids", float(apart), tolerance=0.0)


def tokenizer_beside_open_clip(texts: list[str] | None = None) -> list[ParityRow]:
    """BytePairTokenizer beside open_clip's SimpleTokenizer: the largest difference of two ids, which has to be 0."""
    import open_clip

    texts = texts or ["a photo of a cat", "Naïve CAFÉ &amp; crème brûlée", "🦄 一只红色的猫", "don't", "", "3.14 " * 60]
    apart = difference(BytePairTokenizer()(texts), open_clip.SimpleTokenizer()(texts))
    return [ParityRow("BytePairTokenizer", "open_clip SimpleTokenizer", "ids", apart, tolerance=0.0)]


def byte_pairs_beside_tokenizers(texts: Sequence[str] | None = None, vocab_size: int = 500) -> list[ParityRow]:
    """Byte-pair encoding beside `tokenizers`' trainer and encoder: GPT-2's, and CLIP's with its mark of a word's end.

    `tokenizers` numbers the symbols that end a word as it meets them, so for CLIP's they are given to it as characters
    of their own, of Unicode's private use, in the order in which ours are numbered.
    """
    import tokenizers
    from tokenizers import Regex, models, pre_tokenizers, trainers

    texts = [*(caption_texts() if texts is None else texts), *ODD_TEXTS]

    def trained(backend: tokenizers.Tokenizer, symbols: Sequence[str], texts: Sequence[str], size: int) -> dict:
        trainer = trainers.BpeTrainer(
            vocab_size=size, min_frequency=2, initial_alphabet=list(symbols), show_progress=False
        )
        backend.train_from_iterator(texts, trainer)
        return json.loads(backend.to_str())["model"]

    ours = GPT2Tokenizer.train(texts, vocab_size)
    theirs = tokenizers.Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model = trained(theirs, ours.SYMBOLS, texts, vocab_size - 1)
    apart = float(list(ours.ranks) != list(map(tuple, model["merges"])))
    reference = "tokenizers BPE (byte level)"
    rows = [
        ParityRow("GPT2Tokenizer", reference, "merges learned", apart, tolerance=0.0),
        ids_row("GPT2Tokenizer", reference, ours.encode, lambda text: theirs.encode(text).ids, texts),
    ]

    clip = BytePairTokenizer.train(texts, vocab_size + 256)
    private = {symbol: symbol if len(symbol) == 1 else chr(0xE000 + place) for place, symbol in enumerate(clip.SYMBOLS)}
    back = {character: symbol for symbol, character in private.items()}
    words = ["".join(private[symbol] for symbol in clip.spell(word)) for text in texts for word in clip.words(text)]
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(" "), "removed")
    model = trained(backend, list(private.values()), words, vocab_size + 254)
    merges = [tuple("".join(back[character] for character in piece) for piece in pair) for pair in model["merges"]]
    apart = float(list(clip.ranks) != merges)
    return [*rows, ParityRow("BytePairTokenizer", "tokenizers BPE (</w>)", "merges learned", apart, tolerance=0.0)]


def word_piece_beside_tokenizers(texts: Sequence[str] | None = None, lower_case: bool = True) -> list[ParityRow]:
    """WordPiece beside `tokenizers`', with BERT's normalisation, on one vocabulary."""
    import tokenizers
    from tokenizers import models, normalizers, pre_tokenizers

    texts = [*(caption_texts() if texts is None else texts), *ODD_TEXTS]
    ours = WordPieceTokenizer.train(texts, 300, lower_case=lower_case)
    theirs = tokenizers.Tokenizer(models.WordPiece(ours.ids, unk_token="[UNK]"))
    theirs.normalizer = normalizers.BertNormalizer(lowercase=lower_case)
    theirs.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    what = f"tokenizers WordPiece ({'uncased' if lower_case else 'cased'})"
    return [ids_row("WordPieceTokenizer", what, ours.encode, lambda text: theirs.encode(text).ids, texts)]


def sentence_pieces_beside_sentencepiece(texts: Sequence[str] | None = None) -> list[ParityRow]:
    """Unigram and Llama's byte-pair encoding beside sentencepiece's, from the very files that it trained and wrote."""
    import sentencepiece

    texts = [*(caption_texts() if texts is None else texts), *ODD_TEXTS]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, name in (("unigram", "spiece.model"), ("bpe", "tokenizer.model")):
            path = train_sentencepiece(Path(folder) / name, texts, kind)
            ours = (UnigramTokenizer if kind == "unigram" else LlamaTokenizer).from_pretrained(folder)
            theirs = sentencepiece.SentencePieceProcessor(model_file=str(path))
            rows.append(ids_row(type(ours).__name__, f"sentencepiece {kind}", ours.encode, theirs.encode, texts))
    return rows


def train_sentencepiece(path: Path, texts: Sequence[str], kind: str) -> Path:
    """A model of sentencepiece's own trainer with T5's settings ("unigram") or Llama's ("bpe")."""
    import sentencepiece

    settings = {
        "unigram": {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "vocab_size": 250},
        "bpe": {"normalization_rule_name": "identity", "remove_extra_whitespaces": False, "byte_fallback": True,
                "vocab_size": 450},
    }[kind]  # fmt: skip
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts), model_writer=file, model_type=kind, minloglevel=2, hard_vocab_limit=False,
            **settings,
        )  # fmt: skip
    return path


def published_beside_transformers(texts: Sequence[str] | None = None) -> list[ParityRow]:
    """Our `from_pretrained` beside transformers' AutoTokenizer, on files as GPT-2, BERT, T5 and Llama publish them.

    Llama's texts begin with no space: transformers then leaves out the space that sentencepiece and we put before all.
    """
    from transformers import AutoTokenizer

    texts = [*(caption_texts() if texts is None else texts), *ODD_TEXTS]
    rows = []
    with tempfile.TemporaryDirectory() as folder, without_warnings():
        for name, (ours, marks) in write_published(Path(folder), texts).items():
            theirs = AutoTokenizer.from_pretrained(Path(folder) / name)
            odd = [*texts, *(f"a {mark} b" for mark in marks)]
            odd = [text.lstrip() for text in odd] if name == "llama" else odd
            reference = f"transformers AutoTokenizer ({name})"
            encode = ours.from_pretrained(Path(folder) / name).encode
            rows.append(
                ids_row(
                    ours.__name__, reference, encode, lambda t, own=theirs: own.encode(t, add_special_tokens=False), odd
                )
            )
    return rows


def write_published(folder: Path, texts: Sequence[str]) -> dict[str, tuple[type, tuple[str, ...]]]:
    """Small tokenizers in the files that published ones come in; name of the folder -> our class, and its marks."""
    from transformers import LlamaTokenizer as TheirLlama
    from transformers import T5Tokenizer

    for name in ("gpt2", "bert", "t5", "llama"):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps({"model_type": name}))
    gpt2 = GPT2Tokenizer.train(texts, 400)
    (folder / "gpt2" / "vocab.json").write_text(json.dumps(gpt2.ids), encoding="utf-8")
    merges = "\n".join(" ".join(pair) for pair in gpt2.ranks)
    (folder / "gpt2" / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    pieces = WordPieceTokenizer.train(texts, 300).pieces
    (folder / "bert" / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    model = read_model(train_sentencepiece(folder / "t5" / "spiece.model", texts, "unigram"))
    scored = [*model.scores, *((f"<extra_id_{number}>", 0.0) for number in reversed(range(4)))]
    T5Tokenizer(scored, _spm_precompiled_charsmap=model.charsmap, extra_ids=4).save_pretrained(folder / "t5")
    model = read_model(train_sentencepiece(folder / "llama" / "tokenizer.model", texts, "bpe"))
    vocabulary = {piece: index for index, (piece, *_) in enumerate(model.pieces)}
    TheirLlama(vocabulary, merges_of(model)).save_pretrained(folder / "llama")
    return {
        "gpt2": (GPT2Tokenizer, ("<|endoftext|>",)),
        "bert": (WordPieceTokenizer, ("[MASK]", "[SEP]")),
        "t5": (UnigramTokenizer, ("<extra_id_0>", "</s>")),
        "llama": (LlamaTokenizer, ()),
    }


def recurrent_beside_torch(
    name: str, layers: int = 2, bidirectional: bool = False, packed: bool = False, seed: int = 0
) -> list[ParityRow]:
    """RNN, LSTM or GRU beside torch's of the same name: outputs, last states, and the gradients of all of them.

    Args:
        name: "RNN", "LSTM" or "GRU".
        layers, bidirectional: of both.
        packed: whether the sequences differ in length, torch's as a PackedSequence.
        seed: of weights and input.
    """
    torch.manual_seed(seed)
    sizes = {"num_layers": layers, "bidirectional": bidirectional, "batch_first": True}
    theirs = disturb(getattr(nn, name)(10, 12, **sizes), seed)
    ours = getattr(recurrent, name)(10, 12, layers, bidirectional)
    ours.load_state_dict(recurrent.from_torch(theirs.state_dict()))
    lengths = torch.tensor([7, 3, 5, 1]) if packed else None
    inputs = torch.randn(4, 7, 10)
    first = [torch.randn(layers * ours.directions, 4, 12) for _ in range(ours.cell.states)]
    leaves = [[tensor.clone().requires_grad_() for tensor in (inputs, *first)] for _ in range(2)]

    sequences, *state = leaves[0]
    got, end = ours(sequences, tuple(state), lengths)
    sequences, *state = leaves[1]
    if packed:
        sequences = nn.utils.rnn.pack_padded_sequence(sequences, lengths, batch_first=True, enforce_sorted=False)
    wanted, last = theirs(sequences, tuple(state) if len(state) > 1 else state[0])
    if packed:
        wanted, _ = nn.utils.rnn.pad_packed_sequence(wanted, batch_first=True)
    ends = [(got, *(end if len(state) > 1 else [end])), (wanted, *(last if len(state) > 1 else [last]))]
    weigh = [torch.randn(tensor.shape) for tensor in ends[0]]
    for outputs in ends:
        sum((tensor * weight).sum() for tensor, weight in zip(outputs, weigh, strict=True)).backward()
    gradients = recurrent.from_torch({key: value.grad for key, value in theirs.named_parameters()})
    apart = [difference(parameter.grad, gradients[key]) for key, parameter in ours.named_parameters()]
    apart += [difference(mine.grad, other.grad) for mine, other in zip(*leaves, strict=True)]
    states = [difference(mine, other) for mine, other in zip(ends[0][1:], ends[1][1:], strict=True)]
    what = f"torch nn.{name}" + (", packed" if packed else "") + (", both directions" if bidirectional else "")
    return [
        ParityRow(name, what, "outputs", difference(got, wanted)),
        ParityRow(name, what, "last states", max(states)),
        ParityRow(name, what, "gradients", max(apart)),
    ]


COMPARISONS: list[Callable[[], list[ParityRow]]] = [
    tokenizer_beside_open_clip,
    byte_pairs_beside_tokenizers,
    word_piece_beside_tokenizers,
    sentence_pieces_beside_sentencepiece,
    published_beside_transformers,
    lambda: recurrent_beside_torch("RNN"),
    lambda: recurrent_beside_torch("LSTM"),
    lambda: recurrent_beside_torch("LSTM", bidirectional=True, packed=True),
    lambda: recurrent_beside_torch("GRU"),
]
