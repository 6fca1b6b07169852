"""The language checkpoint, its texts, and the perplexity that all language models of lesson 03 are compared by."""

import math

import pytest
import torch

from course_lib.data.microworld import HELD_OUT
from course_lib.errors import InputError
from course_lib.evaluation.language import perplexity
from course_lib.models.gpt2 import GPT2, GPT2Config
from course_lib.models.ngram import NGram
from course_lib.models.recipes import language
from course_lib.models.recurrent import RecurrentLM, RecurrentLMConfig
from course_lib.training.loop import TrainingConfig

FEW = TrainingConfig(steps=30, batch_size=16, learning_rate=1e-2, warmup_steps=3, weight_decay=0.0)


def test_every_text_fits_and_every_word_is_known():
    tokenizer = language.language_tokenizer()
    texts = language.training_texts(300)
    rows = [tokenizer.encode(text) for text in texts]
    assert max(map(len, rows)) + 2 <= language.TEXT_LENGTH
    assert not any(tokenizer.unknown_token_id in row for row in rows)
    assert tokenizer.vocab_size == language.SMALL_GPT.vocab_size
    assert language.training_texts(5) == language.training_texts(5) != language.training_texts(5, seed=4)


def test_no_training_caption_says_a_held_out_pair():
    def said(texts):
        return any(f" {colour} {shape} " in f" {text} " for text in texts for colour, shape in HELD_OUT)

    assert not said(text for text in language.training_texts(200) if ":" not in text)  # a question may ask for one
    assert said(language.test_texts(30, kind="captions", split="held_out"))


def test_perplexity_is_what_its_definition_says():
    def uniform(input_ids):
        return torch.zeros(*input_ids.shape, 7)

    rows = torch.tensor([[5, 1, 2, 6, 0, 0], [5, 3, 6, 0, 0, 0]])
    assert perplexity(uniform, rows) == pytest.approx(7)

    def knows(input_ids):
        following = torch.cat([input_ids[:, 1:], input_ids[:, :1]], 1)
        return torch.nn.functional.one_hot(following, 7) * 2.0

    said = math.exp(2) / (math.exp(2) + 6)  # whatever stands in the padding
    assert perplexity(knows, rows) == pytest.approx(1 / said) == perplexity(knows, rows[:, :4], batch_size=1)
    with pytest.raises(InputError, match="no text has a second token"):
        perplexity(uniform, torch.tensor([[5, 0]]))


def test_one_perplexity_for_counting_recurrent_and_attending_models():
    tokenizer = language.language_tokenizer()
    rows, unseen = tokenizer(language.training_texts(60)), tokenizer(language.test_texts(10))
    small = GPT2Config(tokenizer.vocab_size, 80, width=32, layers=1, heads=2, mlp_width=64, dropout=0.0)
    models = [
        NGram(2, tokenizer.vocab_size).fit(rows.tolist(), ignore=0),
        language.train_language_model(RecurrentLM(RecurrentLMConfig(tokenizer.vocab_size, 32)), rows, config=FEW)[0],
        language.train_language_model(GPT2(small), rows, config=FEW)[0],
    ]
    for model in models:
        assert perplexity(model, unseen) < 0.75 * tokenizer.vocab_size


def test_the_checkpoint_speaks_of_the_microworld():
    model, tokenizer = language.load_language()
    assert model.config.context_length >= 2 * language.TEXT_LENGTH and not model.training
    rows = tokenizer(language.test_texts(40))
    assert perplexity(model, rows) < 3.0
    later = torch.arange(rows.shape[1]) + 60  # after a picture's tokens, say
    assert perplexity(lambda ids: model(ids, position_ids=later[: ids.shape[1]]), rows) < 3.2
    assert language.measure_answers(model, language.test_texts(40, kind="dialogues")) > 0.4  # 105 words to choose from


def test_bad_input():
    with pytest.raises(InputError, match="no kind of text 'poems'"):
        language.test_texts(1, kind="poems")
    model = GPT2(GPT2Config(10, 80, width=8, layers=1, heads=1, mlp_width=8))
    with pytest.raises(InputError, match="there are 3 texts and a batch has 32"):
        language.train_language_model(model, torch.ones(3, 5, dtype=torch.long))
