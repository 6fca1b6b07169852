"""Exercise set 05: its references are the field's own, and what it calls right is true (see test_sets.py too)."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from course_lib.evaluation.retrieval import recall_at_k
from course_lib.losses.contrastive import info_nce
from course_lib.losses.ranking import hinge_sum_loss
from course_lib.practice.asking import ask
from course_lib.practice.checking import examine
from course_lib.practice.exercise import exercise, held_back
from course_lib.practice.lesson_05 import answers
from course_lib.practice.lesson_05.exercises import (
    InfoNCE,
    SmallMemory,
    WholeLoss,
    agreement,
    large_case,
    normal,
    wanted_odds,
)
from course_lib.practice.lesson_05.figures import (
    BITS,
    MARGIN,
    NEGATIVES,
    TEMPERATURES,
    bits_vouched_for,
    temperatures,
    two_runs,
)

DRAW = exercise("05.5")


def test_the_triplet_loss_asked_for_is_torchs():
    anchor, positive, negative = normal(1, 3, 7, 5)
    ours = exercise("05.1").reference(anchor, positive, negative, 0.6)
    torch.testing.assert_close(ours, F.triplet_margin_loss(anchor, positive, negative, margin=0.6))
    torch.testing.assert_close(answers.triplet(anchor, positive, negative, 0.6), ours)


@pytest.mark.parametrize("module", [InfoNCE, answers.NCE])
def test_infonce_with_the_others_of_a_batch_for_negatives_is_the_librarys(module):
    query, positive = normal(2, 2, 6, 4)
    others = torch.stack([torch.cat([positive[:row], positive[row + 1 :]]) for row in range(6)])
    loss, bound = module(0.1)(query, positive, others)
    cosines = F.normalize(query, dim=-1) @ F.normalize(positive, dim=-1).T
    expected = info_nce(10 * cosines)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(bound, math.log2(6) - expected / math.log(2))


def test_the_small_memory_refuses_what_does_not_fit_and_forgets_what_is_done():
    encode = SmallMemory(2)
    features, weight = normal(3, 4, 3), normal(4, 3, 2).requires_grad_()
    with pytest.raises(MemoryError, match="3 rows do not fit"):
        encode(features[:3], weight)
    kept = encode(features[:2], weight)
    with pytest.raises(MemoryError, match="2 rows are still kept"):
        encode(features[2:], weight)
    with torch.no_grad():  # nothing is kept of these
        encode(features[2:], weight)
    kept.sum().backward()
    again = encode(features[2:], weight)
    del again
    encode(features[2:], weight).detach()
    assert encode(features[:2], weight).shape == (2, 2)


def test_the_whole_batchs_gradient_is_not_that_of_its_parts():
    one = exercise("05.7")
    case = large_case("", 5, 12, 4, (5, 4, 3))
    given = case.inputs
    value, *gradients = ask(answers.large, one.question(case)).value
    weights = [given[name].clone().requires_grad_() for name in ("image_weight", "text_weight")]
    embeds = [
        F.normalize((given[name] @ weight).tanh(), dim=-1)
        for name, weight in zip(("images", "texts"), weights, strict=True)
    ]
    expected = info_nce(5.0 * embeds[0] @ embeds[1].T)
    torch.testing.assert_close(WholeLoss(5.0)(*embeds), expected)
    torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(tuple(gradients), torch.autograd.grad(expected, weights))
    parts = ask(answers.large_accumulated, one.question(case)).value
    assert (parts[1] - gradients[0]).norm() > 0.1 * gradients[0].norm()


@pytest.mark.slow
def test_recomputing_by_torchs_checkpointing_is_a_right_answer_too():
    """It keeps no more than one part at a time, by other means than the solution's."""

    def by_checkpoints(encode, loss, images, texts, image_weight, text_weight, limit):
        weights = [image_weight.clone().requires_grad_(), text_weight.clone().requires_grad_()]
        embeds = [
            torch.cat([checkpoint(encode, part, weight, use_reentrant=False) for part in inputs.split(limit)])
            for inputs, weight in zip((images, texts), weights, strict=True)
        ]
        value = loss(*embeds)
        value.backward()
        return value, weights[0].grad, weights[1].grad

    assert examine(exercise("05.7"), by_checkpoints).passed


def test_one_step_keeps_more_than_the_memory_has_unless_it_goes_in_parts():
    one = exercise("05.7")
    for case in (*one.cases(3), *held_back(one, 3)):
        fits = case.inputs["limit"] >= len(case.inputs["images"]) * 2
        for greedy in (answers.large_all_at_once, answers.large_with_all_graphs):
            assert (ask(greedy, one.question(case)).error == "MemoryError") != fits


@pytest.mark.slow
def test_the_threshold_of_drawing_leaves_room_on_ten_seeds():
    measure = DRAW.measure
    found = {"right": [], "half right": [], "any": [], "even": []}
    for seed in range(10):
        for number, case in enumerate((*DRAW.cases(seed), *held_back(DRAW, seed))):

            def score(answer, case=case):
                return agreement(case, ask(answer, DRAW.question(case)).value)

            found["right"] += [score(answers.draw), score(answers.draw_by_gumbel)]
            found["half right"].append(score(answers.draw_not_in_proportion))
            if number < 2:  # the cases without own pairs that are far ahead
                found["any"].append(score(lambda s, ids, draws: torch.randint(len(s), (len(s), draws))))
                found["even"].append(score(answers.draw_alike))
    assert min(found["right"]) > measure.at_least + 0.015
    assert max(found["half right"]) < measure.at_least - 0.03
    assert measure.chance == pytest.approx(sum(found["any"]) / 20, abs=0.05)
    assert measure.baseline == pytest.approx(sum(found["even"]) / 20, abs=0.05)


def test_the_own_pair_rounds_all_others_away_in_one_case():
    """What the hint of 05.5 says; and that the wanted probabilities are those of the negatives alone."""
    case = DRAW.cases(0)[2]
    similarity, ids = case.inputs["similarity"], case.inputs["caption_ids"]
    same = ids[:, None] == ids[None, :]
    assert similarity.softmax(dim=1)[~same].max() == 0
    odds = wanted_odds(case)
    torch.testing.assert_close(odds.sum(dim=1), torch.ones(len(odds), dtype=torch.float64))
    assert odds[same].max() == 0 and odds[~same].min() > 0


def test_the_bound_that_is_read_is_a_bound():
    """05.2 `bound`: it stays below the truth and below log2(K + 1), and world B's ends at the latter."""
    found = bits_vouched_for()
    for world, values in found.items():
        ceilings = [min(BITS[world], math.log2(count + 1)) for count in NEGATIVES]
        assert all(value < ceiling + 0.05 for value, ceiling in zip(values, ceilings, strict=True))
    assert found["A"][-1] > 0.9 * BITS["A"]
    assert 5.2 < found["B"][-1] < 5.5 < 6 < BITS["B"]


@pytest.mark.slow
def test_the_temperatures_that_are_read_are_as_described():
    """05.2 `cold` and `hot`: a hump, the hardest negative's share on one side, an even one on the other."""
    recalls, shares = temperatures()
    best = max(range(len(recalls)), key=recalls.__getitem__)
    assert TEMPERATURES[best] == 0.3 or recalls[TEMPERATURES.index(0.3)] > recalls[best] - 0.03
    assert recalls[0] < recalls[best] - 0.2 and recalls[-1] < recalls[best] - 0.08
    assert shares[0] > 0.8 and shares[-1] < 1.2 / 127


@pytest.mark.slow
def test_equal_captions_hold_the_loss_up():
    """05.2 `floor`: B's loss at the largest batch is nearly twice the margin, and its model is the worse one."""
    losses, recalls = two_runs()
    assert abs(losses["B"][-1] - 2 * MARGIN) < 0.04 and losses["A"][-1] < MARGIN / 2
    assert losses["B"][-1] > losses["B"][1]
    assert recalls["A"] > recalls["B"] + 0.05
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(150, (500, 256), generator=generator)
    repeated = [float((row[:, None] == row).sum(1).gt(1).float().mean()) for row in rows]
    assert sum(repeated) / 500 > 0.8  # "in nearly every row"


def test_subtracting_the_means_mends_an_index_of_both_kinds():
    """05.2 `gap` and `gap_because`, on two narrow cones."""
    content, cones = normal(7, 200, 24), 8 * torch.eye(2)
    images, texts = (
        F.normalize(torch.cat([content + 0.3 * normal(9 + side, 200, 24), cones[side].expand(200, 2)], dim=1), dim=-1)
        for side in range(2)
    )
    centred = [F.normalize(part - part.mean(dim=0), dim=-1) for part in (images, texts)]

    def nearest_are_texts(images, texts):
        cosines = texts @ torch.cat([texts, images]).T
        cosines[torch.arange(200), torch.arange(200)] = -2  # not itself
        return float((cosines.topk(50).indices < 200).float().mean())

    assert recall_at_k(texts @ images.T, 1) > 0.9  # among pictures alone the right one comes first
    assert nearest_are_texts(images, texts) == 1.0
    assert nearest_are_texts(*centred) < 0.6
    assert recall_at_k(centred[1] @ centred[0].T, 1) > 0.9
    assert nearest_are_texts(50 * images, 50 * texts) == 1.0  # option a


def test_the_hardest_negatives_cost_less_than_all_of_them():
    """The explanation of 05.4 rests on the library's two losses being different ones."""
    case = exercise("05.4").cases(2)[1].inputs
    alike = case["caption_ids"][:, None] == case["caption_ids"][None, :]
    hardest = exercise("05.4").reference(**case)
    assert 0 < hardest < hinge_sum_loss(case["similarity"], case["margin"], alike)
