"""Exercise set 01: its references are torch's and transformers' own, and what it calls right is true."""

import math

import pytest
import torch
from torch import nn
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from course_lib.practice.asking import ask
from course_lib.practice.exercise import exercise, held_back
from course_lib.practice.lesson_01 import answers
from course_lib.practice.lesson_01.exercises import Block, normal
from course_lib.practice.lesson_01.figures import TOKENS, largest_weights, random_tokens_run, three_rates


def test_the_block_asked_for_is_torchs_encoder_layer():
    """The same weights, a causal mask: nn.TransformerEncoderLayer(norm_first=True)."""
    torch.manual_seed(0)
    theirs = nn.TransformerEncoderLayer(12, 3, 48, 0.0, "gelu", batch_first=True, norm_first=True).eval()
    names = {
        "self_attn.in_proj_": "qkv.", "self_attn.out_proj.": "out.", "linear1.": "fc1.", "linear2.": "fc2.",
    }  # fmt: skip
    state = {}
    for name, weight in theirs.state_dict().items():
        for old, new in names.items():
            name = name.replace(old, new)
        state[name] = weight + 0.1 * torch.randn_like(weight)
    ours, solution = Block(12, 3), answers.TransformerBlock(12, 3)
    ours.load_state_dict(state)
    solution.load_state_dict(state)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), state.values(), strict=True)))
    x = torch.randn(2, 7, 12)
    mask = nn.Transformer.generate_square_subsequent_mask(7)
    with torch.no_grad():
        expected = theirs(x, src_mask=mask, is_causal=True)
        torch.testing.assert_close(ours(x), expected)
        torch.testing.assert_close(solution(x), expected)


def test_the_rotation_asked_for_is_llamas():
    x, positions = normal(1, 2, 3, 5, 8), torch.tensor([0, 1, 2, 7, 30])
    angles = positions[:, None] * 500.0 ** (-torch.arange(4) / 4)
    both = torch.cat([angles, angles], dim=-1)[None]
    expected, _ = apply_rotary_pos_emb(x, x, both.cos(), both.sin())
    torch.testing.assert_close(exercise("01.5").reference(x, positions, 500.0), expected)


def test_rotated_dot_products_depend_on_distance_alone():
    """What the explanation of 01.5 promises."""
    query, key = normal(2, 1, 1, 1, 6), normal(3, 1, 1, 1, 6)

    def score(m, n):
        return (answers.turn(query, torch.tensor([m]), 100.0) * answers.turn(key, torch.tensor([n]), 100.0)).sum()

    torch.testing.assert_close(score(2, 5), score(11, 14))
    assert abs(score(2, 5) - score(2, 6)) > 1e-3


@pytest.mark.slow
def test_the_loop_asked_for_is_torchs_adamw_with_clipping_and_a_schedule():
    one = exercise("01.7")
    for case in (*one.cases(3), *held_back(one, 3)):
        given = case.inputs
        gradient = given["gradient"].build()
        weights = given["weights"].clone().requires_grad_()
        optimiser = torch.optim.AdamW([weights], given["peak"], weight_decay=given["weight_decay"])
        warm, steps = given["warmup_steps"], given["steps"]

        def share(step, warm=warm, steps=steps):
            if step < warm:
                return (step + 1) / warm
            return 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, share)
        visited = []
        for _ in range(steps):
            weights.grad = gradient(weights.detach()).clone()
            nn.utils.clip_grad_norm_([weights], given["max_norm"])
            optimiser.step()
            schedule.step()
            visited.append(weights.detach().clone())
        torch.testing.assert_close(ask(one.reference, one.question(case)).value, torch.stack(visited))


def test_gradients_are_clipped_in_some_steps_and_not_in_others():
    """Or the cases could not tell whether clipping is written as it should be."""
    one = exercise("01.7")
    for seed in range(10):
        (case,) = [case for case in held_back(one, seed) if "shorter" in case.about]
        gradient, limit = case.inputs["gradient"].build(), case.inputs["max_norm"]
        visited = ask(one.reference, one.question(case)).value
        lengths = [float(gradient(weights).norm()) for weights in (case.inputs["weights"], *visited)]
        assert min(lengths) < limit < max(lengths)


def test_the_choices_are_true():
    """What exercise 01.2 calls right is computed here."""
    runs = three_rates()
    start = runs["A"][0]
    assert runs["A"][-1] > 0.6 * start and runs["B"][-1] < 0.3 * start
    assert min(runs["C"][1:]) > 0.8 * start and max(runs["C"]) > 10 * start

    least = math.log(TOKENS)
    masked, leaking = random_tokens_run(masked=True), random_tokens_run(masked=False)
    assert min(masked) > 0.95 * least and abs(masked[-1] - least) < 0.1
    assert max(leaking[-20:]) < 0.01 * least

    weights = largest_weights()
    assert weights["without the scale"][-1] > 0.9 and max(weights["with the scale"]) < 0.2
    scores = (normal(4, 20_000, 64) * normal(5, 20_000, 64)).sum(dim=1)
    assert float(scores.var()) == pytest.approx(64, rel=0.05)
    jacobian = [w * (1 - w) for w in (weights["without the scale"][-1], weights["with the scale"][-1])]
    assert jacobian[0] < jacobian[1]

    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 32, 0.0, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 3).eval()
    dog, bites, man = torch.randn(3, 16)
    with torch.no_grad():
        first = encoder(torch.stack([dog, bites, man])[None]).mean(dim=1)
        second = encoder(torch.stack([man, bites, dog])[None]).mean(dim=1)
    torch.testing.assert_close(first, second)
