"""Greedy, sampling and beam search: token for token what transformers' generate() writes, with and without a cache."""

import math

import pytest
import torch

from course_lib.authoring.parity import lesson_03 as parity
from course_lib.errors import InputError
from course_lib.generation import beam_search, greedy, sample, stream
from course_lib.generation.beams import search
from course_lib.generation.sampling import adjust

SEARCHES = [
    ({}, None, True),
    ({}, "left", False),
    ({"do_sample": True, "top_p": 0.3, "temperature": 1.5}, "left", True),
    ({"do_sample": True, "top_k": 5}, None, False),
    ({"num_beams": 3}, "left", True),
    ({"num_beams": 4, "length_penalty": 0.0}, None, False),
    ({"num_beams": 4, "length_penalty": 2.0, "early_stopping": "never"}, "left", True),
    ({"num_beams": 2, "early_stopping": True}, None, True),
    ({"num_beams": 5, "length_penalty": -1.0}, "left", True),
]


@pytest.mark.parametrize("pair", parity.PAIRS)
@pytest.mark.parametrize("way", [{}, {"num_beams": 3}], ids=str)
def test_token_for_token_what_transformers_writes(pair, way):
    (row,) = parity.generation_beside_transformers(pair, way, new=8, seed=5)
    assert row.holds, row


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("way", "mask", "use_cache"), SEARCHES, ids=str)
@pytest.mark.parametrize("pair", parity.PAIRS)
def test_token_for_token_in_every_way(pair, way, mask, use_cache, seed):
    (row,) = parity.generation_beside_transformers(pair, way, mask, use_cache, seed=seed)
    assert row.holds, row


@pytest.mark.slow
@pytest.mark.parametrize("way", [{}, {"num_beams": 3}], ids=str)
def test_an_end_that_is_forced(way):
    (row,) = parity.generation_beside_transformers(parity.bart_pair, way | {"forced_eos_token_id": 2}, seed=3, end=2)
    assert row.holds, row


@pytest.mark.parametrize(("temperature", "top_k", "top_p"), [(0.7, None, 1.0), (1.0, 5, 1.0), (1.3, 20, 0.6)])
def test_the_distribution_is_that_of_transformers(temperature, top_k, top_p):
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    logits = torch.randn(200, 40, generator=torch.Generator().manual_seed(0)) * 3
    wanted = TemperatureLogitsWarper(temperature)(None, logits)
    wanted = wanted if top_k is None else TopKLogitsWarper(top_k)(None, wanted)
    wanted = TopPLogitsWarper(top_p)(None, wanted)
    got = adjust(logits, temperature, top_k, top_p)
    assert torch.equal(got.isinf(), wanted.isinf()) and torch.allclose(got.softmax(-1), wanted.softmax(-1), atol=1e-6)


@pytest.mark.parametrize("pair", parity.PAIRS)
def test_the_cache_changes_nothing(pair):
    model, _ = pair(seed=2)
    input_ids, mask = parity.token_ids(3, 6, "left")
    for write in (greedy, lambda *a, **k: beam_search(*a, beams=3, **k)):
        with_cache, without = (write(model, input_ids, mask, max_new_tokens=7, use_cache=use) for use in (True, False))
        assert torch.equal(with_cache, without)


def test_samples_come_as_often_as_they_are_likely():
    model, _ = parity.gpt2_pair(seed=1)
    prompt = torch.randint(3, 96, (1, 5))
    wanted = adjust(model(prompt, read=-1), 0.5, 8)[0].softmax(-1)
    chance = torch.Generator().manual_seed(0)
    drawn = sample(
        model, prompt.expand(4000, -1), max_new_tokens=1, temperature=0.5, top_k=8, generator=chance
    )[:, -1]  # fmt: skip
    found = torch.bincount(drawn, minlength=96) / 4000
    assert (found - wanted).abs().max() < 4 * math.sqrt(0.25 / 4000)


def test_one_beam_is_greedy_and_more_are_no_less_likely():
    model, _ = parity.gpt2_pair(seed=4)
    prompt = torch.randint(3, 96, (4, 5))
    assert torch.equal(beam_search(model, prompt, max_new_tokens=6, beams=1), greedy(model, prompt, max_new_tokens=6))
    found = search(model, prompt[:1], max_new_tokens=6, beams=3, length_penalty=0.0)
    log_probs = model(found.sequences[0]).log_softmax(-1)[:, 4:-1]
    said = log_probs.gather(2, found.sequences[0][:, 5:, None]).sum((1, 2))
    assert torch.allclose(found.scores[0], said, atol=1e-4)
    assert (found.scores[0].diff() <= 0).all()


def test_a_stream_stops_at_the_end_and_pads_before_it():
    model, _ = parity.gpt2_pair(seed=4)
    prompt = torch.randint(3, 96, (4, 5))
    free = greedy(model, prompt, max_new_tokens=8)
    end = free[0, 7].item()
    written = torch.stack(list(stream(model, prompt, max_new_tokens=8, eos_token_id=end, pad_token_id=0)), 1)
    for row, tokens in zip(written.tolist(), free[:, 5:].tolist(), strict=True):
        stop = tokens.index(end) + 1 if end in tokens else len(tokens)
        assert row == (tokens[:stop] + [0] * 8)[: len(row)]


def test_bad_input():
    model, _ = parity.gpt2_pair()
    prompt = torch.randint(3, 96, (2, 5))
    with pytest.raises(InputError, match="at least one token"):
        greedy(model, prompt, max_new_tokens=0)
    with pytest.raises(InputError, match="37 new tokens after 5 need 41 positions; this model has 40"):
        greedy(model, prompt, max_new_tokens=37)
    with pytest.raises(InputError, match="pad prompts on the left"):
        greedy(model, prompt, torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]), max_new_tokens=2)
    with pytest.raises(InputError, match="temperature is 0"):
        sample(model, prompt, max_new_tokens=2, temperature=0)
    with pytest.raises(InputError, match="top_p is 1.5"):
        sample(model, prompt, max_new_tokens=2, top_p=1.5)
    with pytest.raises(InputError, match="top_k is 0"):
        sample(model, prompt, max_new_tokens=2, top_k=0)
    with pytest.raises(InputError, match="beams is 0"):
        beam_search(model, prompt, max_new_tokens=2, beams=0)
    with pytest.raises(InputError, match="early_stopping is 'soon'"):
        beam_search(model, prompt, max_new_tokens=2, beams=2, early_stopping="soon")
    with pytest.raises(InputError, match="force_eos needs"):
        greedy(model, prompt, max_new_tokens=2, force_eos=True)
