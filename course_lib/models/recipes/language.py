"""How lesson 03's language models are trained, and the course's language checkpoint: a small GPT-2.

All of them read the same rows of the same tokenizer, so that their perplexities can be compared:

    tokenizer = language_tokenizer()
    model, history = train_language_model(GPT2(SMALL_GPT), tokenizer(training_texts()))
    perplexity(model, tokenizer(test_texts()))

Captioning and LLaVA start from the checkpoint, and put pictures before the text. So every text is read at a random
place of the context in training: a model that has only ever begun at position 0 does not know the later positions.
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from course_lib.data.microworld import VOCABULARY, Scene, captions, questions, sample_scenes
from course_lib.data.tokenizers import WordTokenizer
from course_lib.errors import InputError
from course_lib.evaluation.language import next_token_loss, perplexity
from course_lib.generation import greedy
from course_lib.models.gpt2 import GPT2, GPT2Config
from course_lib.pretrained import course
from course_lib.runtime import device, seed_everything
from course_lib.training.loop import History, TrainingConfig, train

TEXT_LENGTH = 64  # tokens of the longest text, its marks included
WORDS = (*VOCABULARY, ".", ":", "answer", "assistant", "describe", "question", "user")
KINDS = ("captions", "questions", "dialogues")
SMALL_GPT = GPT2Config(
    vocab_size=len(WORDS) + 4, context_length=2 * TEXT_LENGTH, width=128, layers=3, heads=4, mlp_width=512, dropout=0.0,
    attention_dropout=0.0,
)  # fmt: skip
LANGUAGE = TrainingConfig(steps=350, batch_size=32, learning_rate=3e-3, warmup_steps=30, weight_decay=0.01)


def language_tokenizer() -> WordTokenizer:
    """Words, and what a dialogue needs besides: rows of `TEXT_LENGTH` ids with a start and an end token."""
    return WordTokenizer(WORDS, TEXT_LENGTH)


def texts_of(scene: Scene) -> dict[str, list[str]]:
    """All that a language model reads of a scene: five captions, questions with answers, and two dialogues."""
    said, asked = captions(scene), questions(scene)
    opening = "user : describe the picture . assistant :"
    dialogues = [
        f"{opening} {caption} . user : {question.text} . assistant : {question.answer} ."
        for caption, question in zip(said[:2], asked[:2], strict=False)
    ]
    pairs = [f"question : {question.text} answer : {question.answer}" for question in asked]
    return {"captions": said, "questions": pairs, "dialogues": dialogues}


def training_texts(scenes: int = 4000, seed: int = 3) -> list[str]:
    """What is said of `scenes` scenes of the training split; no held-out pair among them."""
    return [
        text for scene in sample_scenes(scenes, seed, "train") for texts in texts_of(scene).values() for text in texts
    ]


def test_texts(scenes: int = 200, seed: int = 3, kind: str | None = None, split: str = "test") -> list[str]:
    """What is said of `scenes` scenes of the test split, none of which was trained on.

    Args:
        kind: one of `KINDS`; None for all.
        split: "held_out" for scenes of the pairs of colour and shape that training never shows.

    Raises:
        InputError: there is no such kind.
    """
    if kind is not None and kind not in KINDS:
        raise InputError(f"there is no kind of text {kind!r}; it should be one of {', '.join(KINDS)}")
    wanted = KINDS if kind is None else (kind,)
    return [text for scene in sample_scenes(scenes, seed, split) for name in wanted for text in texts_of(scene)[name]]


def train_language_model(
    model: nn.Module,
    rows: Tensor,
    seed: int = 0,
    config: TrainingConfig = LANGUAGE,
    pad_token_id: int = 0,
    resume_from: str | Path | None = None,
) -> tuple[nn.Module, History]:
    """Trains any model of next tokens, `RecurrentLM` or `GPT2`, on the same batches.

    A batch is of texts of nearly one length, so that little of it is padding.

    Args:
        model: (B, T) -> logits (B, T, V); trained in place.
        rows: (N, T), each a text with its marks, then padding.
        seed: of the batches and, for a GPT-2, of where in the context each text is read.
        config: steps, batch size, rates.
        pad_token_id: what fills the rows.
        resume_from: as in `training.loop.train`.

    Raises:
        InputError: fewer rows than a batch.
    """
    if len(rows) < config.batch_size:
        raise InputError(f"there are {len(rows)} texts and a batch has {config.batch_size}; give more, or ask for less")
    seed_everything(seed)
    model.to(device())
    lengths = (rows != pad_token_id).sum(1)
    order = lengths.argsort(stable=True)
    rows, lengths = rows[order], lengths[order]

    def batch_loss(model: nn.Module, generator: torch.Generator) -> Tensor:
        first = int(torch.randint(len(rows) - config.batch_size + 1, (1,), generator=generator))
        length = int(lengths[first + config.batch_size - 1])
        input_ids = rows[first : first + config.batch_size, :length].to(device())
        if not isinstance(model, GPT2):
            return next_token_loss(model(input_ids), input_ids, pad_token_id)
        room = model.config.context_length - length + 1
        start = torch.randint(room, (len(input_ids), 1), generator=generator)
        start = torch.where(
            torch.rand(start.shape, generator=generator) < 0.5, start, 0
        )  # half begin where texts begin
        positions = (start + torch.arange(length)).to(device())
        return next_token_loss(model(input_ids, position_ids=positions), input_ids, pad_token_id)

    return model, train(model, batch_loss, replace(config, seed=seed), resume_from=resume_from)


def train_language(
    scenes: int = 4000,
    seed: int = 0,
    config: TrainingConfig = LANGUAGE,
    sizes: GPT2Config = SMALL_GPT,
    resume_from: str | Path | None = None,
) -> tuple[GPT2, History]:
    """The checkpoint's recipe: a GPT-2 of captions, questions and dialogues."""
    seed_everything(seed)
    rows = language_tokenizer()(training_texts(scenes))
    return train_language_model(GPT2(sizes), rows, seed, config, resume_from=resume_from)


def measure_language(model: GPT2, scenes: int = 200) -> dict[str, float]:
    """Perplexity on test scenes, by kind of text and on held-out pairs; and how many answers are right."""
    tokenizer = language_tokenizer()
    measured = {"perplexity, all texts": perplexity(model, tokenizer(test_texts(scenes)).to(device()))}
    for kind in KINDS:
        rows = tokenizer(test_texts(scenes, kind=kind)).to(device())
        measured[f"perplexity, {kind}"] = perplexity(model, rows)
    held_out = tokenizer(test_texts(scenes, split="held_out")).to(device())
    measured["perplexity, held-out pairs"] = perplexity(model, held_out)
    measured["answers right in dialogues"] = measure_answers(model, test_texts(scenes, kind="dialogues"))
    return measured


def measure_answers(model: GPT2, dialogues: list[str]) -> float:
    """Share of dialogues whose last answer the model, which has read the rest, gives as it stands there.

    What the caption leaves out cannot be known, so 1 is out of reach.
    """
    tokenizer, right = language_tokenizer(), 0
    for dialogue in dialogues:
        prompt, answer = dialogue.rsplit("assistant :", 1)
        ids = torch.tensor([[tokenizer.start_token_id, *tokenizer.encode(f"{prompt}assistant :")]], device=device())
        written = greedy(model, ids, max_new_tokens=1)
        right += written[0, -1].item() == tokenizer.encode(answer)[0]
    return right / len(dialogues)


def load_language() -> tuple[GPT2, WordTokenizer]:
    """The course's language checkpoint, in evaluation mode, and its tokenizer.

    Raises:
        FileError: it is missing or damaged.
    """
    config, state, card = course.load("language")
    return GPT2.from_weights(config, state, "the language checkpoint"), WordTokenizer(card["vocabulary"], TEXT_LENGTH)
