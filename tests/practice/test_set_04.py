"""Exercise set 04: its references are those of torch and the library, and what it calls right is true."""

import pytest
import torch
import torch.nn.functional as F

from course_lib.layers import fusion
from course_lib.practice.asking import ask
from course_lib.practice.exercise import exercise
from course_lib.practice.lesson_04 import answers
from course_lib.practice.lesson_04.exercises import (
    GatedCrossAttention,
    binding_case,
    binding_scenes,
    gated_case,
    held_back_accuracy,
    normal,
    sketch_case,
)
from course_lib.practice.lesson_04.figures import COLUMNS, four_networks

TRAINED = exercise("04.7")


def test_the_low_rank_form_asked_for_is_the_librarys_and_torchs():
    torch.manual_seed(0)
    layer = fusion.LowRankBilinear(5, 6, 3, rank=2)
    u, v = layer.first.weight.view(3, 2, 5), layer.second.weight.view(3, 2, 6)
    x, y = torch.randn(4, 5), torch.randn(4, 6)
    expected = F.bilinear(x, y, layer.matrices())
    for found in (exercise("04.2").reference(x, y, u, v), answers.bilinear(x, y, u, v), layer(x, y)):
        torch.testing.assert_close(found, expected)


def test_a_compact_product_is_linear_in_each_vector():
    given = sketch_case("", 3, (2, 7, 5, 11)).inputs
    other, rest = normal(99, 2, 7), list(given.values())[1:]
    for pool in (exercise("04.4").reference, answers.compact):
        both = pool(2 * given["x"] - 3 * other, *rest)
        torch.testing.assert_close(both, 2 * pool(given["x"], *rest) - 3 * pool(other, *rest))


def test_inner_products_of_compact_products_are_right_on_average():
    """E <z, z'> = <x, x'> <y, y'> over the draws of places and signs."""
    x, y = normal(1, 2, 8, dtype=torch.float64), normal(2, 2, 6, dtype=torch.float64)
    products = []
    for seed in range(600):
        drawn = sketch_case("", 5 * seed, (2, 8, 6, 32), dtype=torch.float64).inputs
        z = answers.compact(x, y, *list(drawn.values())[2:])
        products.append(z[0] @ z[1])
    products = torch.stack(products)
    error = products.std() / len(products) ** 0.5
    assert abs(products.mean() - (x[0] @ x[1]) * (y[0] @ y[1])) < 4 * error


def test_the_block_asked_for_is_the_librarys():
    case = gated_case("", 7, (3, 5, 12, 4, 8, 3), lengths=[4, 1, 2])
    theirs = fusion.GatedCrossAttentionBlock(12, 3, 48, 8, bias=False)
    inner = {"q_proj": "cross_attention.query", "o_proj": "cross_attention.out", "fc1": "mlp.fc1", "fc2": "mlp.fc2"}
    state = {}
    for name, weight in case.state.items():
        part, dot, kind = name.partition(".")
        state[inner.get(part, part) + dot + kind] = weight
    both = [state.pop("k_proj.weight"), state.pop("v_proj.weight")]
    state["cross_attention.key_value.weight"] = torch.cat(both)
    theirs.load_state_dict(state)
    hidden, context, mask = case.inputs.values()
    expected = theirs(hidden, context, mask[:, None, None])
    for one in (GatedCrossAttention, answers.Gated):
        ours = one(**case.construct)
        ours.load_state_dict(case.state)
        torch.testing.assert_close(ours(hidden, context, mask), expected)


def test_a_block_just_built_changes_nothing():
    torch.manual_seed(0)
    hidden, mask = torch.randn(2, 4, 6), torch.ones(2, 3, dtype=torch.bool)
    assert torch.equal(answers.Gated(6, 5, 2)(hidden, torch.randn(2, 3, 5), mask), hidden)


def test_both_pictures_of_a_question_hold_the_same():
    """Or a fusion that only counts what is there could learn to bind."""
    regions, questions, labels = binding_scenes(5, 4000)
    mean = torch.cat([regions.mean(1), questions], -1)
    guess = mean @ torch.linalg.lstsq(mean[:2000], labels[:2000, None] - 0.5).solution
    assert abs(float(((guess[2000:, 0] > 0) == (labels[2000:] > 0.5)).float().mean()) - 0.5) < 0.05
    assert abs(float(labels.mean()) - 0.5) < 0.03


def test_training_sees_none_of_the_held_back_scenes():
    case = binding_case(3, "")
    question = TRAINED.question(case)
    assert set(case.hidden) == {"regions", "questions", "labels"}
    assert not case.hidden.keys() - question.inputs.keys()
    between = torch.cdist(case.hidden["questions"], question.inputs["questions"])
    assert between.shape == (400, 512) and between.min() > 0.01


@pytest.mark.slow
def test_the_threshold_of_training_leaves_room_on_ten_draws():
    measure = TRAINED.measure
    able = {answers.training: [], answers.training_by_adam: [], answers.training_by_matrix: []}
    unable = {answers.training_on_sums: [], answers.training_pooled: [], answers.training_without_square: []}
    short = {answers.training_too_slow: []}
    for seed in range(10, 20):
        (case,) = TRAINED.cases(seed)
        for answer, found in (able | unable | short).items():
            found.append(held_back_accuracy(case, ask(answer, TRAINED.question(case)).value))
    assert min(min(found) for found in able.values()) > measure.at_least + 0.05
    assert max(max(found) for found in short.values()) < measure.at_least - 0.05
    for found in unable.values():
        assert measure.baseline == pytest.approx(sum(found) / 10, abs=0.05)


@pytest.mark.slow
def test_the_choices_are_true():
    """What exercise 04.3 calls right is computed here."""
    table = {name: dict(zip(COLUMNS, row, strict=True)) for name, row in four_networks().items()}
    there, half, left, taught = COLUMNS
    assert min(table["A"].values()) > 0.9
    assert min(row[there] for row in table.values()) > 0.95
    assert max(table["B"][kind] for kind in (half, left, taught)) < 0.7
    assert table["C"][half] > 0.9 and max(table["C"][kind] for kind in (left, taught)) < 0.7
    assert table["D"][half] > 0.9 and table["D"][left] < 0.8 < table["D"][taught]

    cases = [(picture, asked) for picture in (-1.0, 1.0) for asked in (-1.0, 1.0)]
    yes = [picture == asked for picture, asked in cases]
    for side in (0, 1):  # what each model can know alone: as many yes as no, whatever it sees
        for seen in (-1.0, 1.0):
            assert sum(one for case, one in zip(cases, yes, strict=True) if case[side] == seen) == 1
