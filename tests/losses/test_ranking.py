import pytest
import torch
import torch.nn.functional as F

from course_lib.errors import InputError
from course_lib.losses.ranking import hardest_negative_loss, hinge_sum_loss, triplet_loss

# Rows are images, columns are texts. Worked out by hand below, with a margin of 0.2.
SIMILARITY = torch.tensor([[0.9, 0.8, 0.1], [0.6, 0.5, 0.2], [0.3, 0.6, 0.7]])


@pytest.mark.parametrize("margin", [0.2, 1.0])
def test_triplet_loss_and_its_gradients_are_torchs(margin):
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randn(7, 5, generator=generator).requires_grad_() for _ in range(3)]
    results = []
    for loss in (triplet_loss, F.triplet_margin_loss):
        value = loss(*rows, margin=margin)
        results.append([value, *torch.autograd.grad(value, rows)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


def test_triplet_loss_has_gradients_where_the_anchor_meets_its_positive():
    same = torch.ones(2, 3, requires_grad=True)
    triplet_loss(same, same, torch.zeros(2, 3), margin=5.0).backward()
    assert torch.isfinite(same.grad).all()


def test_the_sum_of_hinges_counts_every_negative_within_the_margin_in_both_directions():
    # Images: 0 pays 0.1 for text 1; 1 pays 0.3 for text 0; 2 pays 0.1 for text 1.
    # Texts: 1 pays 0.5 for image 0 and 0.3 for image 2; the others nothing.
    assert hinge_sum_loss(SIMILARITY, 0.2).item() == pytest.approx((0.1 + 0.3 + 0.1 + 0.5 + 0.3) / 3)


def test_the_hardest_negatives_count_once_for_each_image_and_each_text():
    assert hardest_negative_loss(SIMILARITY, 0.2).item() == pytest.approx((0.1 + 0.3 + 0.1 + 0.5) / 3)


def slow_hinges(similarity, margin, positives, choose):
    total, count = 0.0, len(similarity)
    for i in range(count):
        for lines in (similarity, similarity.T):
            fits = positives if lines is similarity else positives.T
            costs = [
                max(0.0, margin - float(lines[i, i]) + float(lines[i, j]))
                for j in range(count)
                if j != i and not fits[i, j]
            ]
            total += choose(costs)
    return total / count


@pytest.mark.parametrize("loss, choose", [(hinge_sum_loss, sum), (hardest_negative_loss, max)])
@pytest.mark.parametrize("false_negatives", [False, True])
def test_both_are_what_a_loop_over_all_pairs_gives(loss, choose, false_negatives):
    generator = torch.Generator().manual_seed(3)
    similarity = torch.rand(6, 6, generator=generator)
    positives = torch.rand(6, 6, generator=generator) < (0.3 if false_negatives else 0.0)
    expected = slow_hinges(similarity, 0.4, positives, choose)
    assert loss(similarity, 0.4, positives if false_negatives else None).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("loss", [hinge_sum_loss, hardest_negative_loss])
def test_a_lead_of_more_than_the_margin_costs_nothing_and_teaches_nothing(loss):
    similarity = torch.eye(4).requires_grad_()
    value = loss(similarity, 0.5)
    value.backward()
    assert value == 0 and (similarity.grad == 0).all()


@pytest.mark.parametrize(
    "bad, words",
    [
        (lambda: hinge_sum_loss(torch.zeros(2, 3)), r"shape \(2, 3\); it should be"),
        (lambda: hinge_sum_loss(torch.zeros(1, 1)), "at least two pairs"),
        (lambda: hinge_sum_loss(torch.full((2, 2), torch.nan)), "not finite"),
        (lambda: hardest_negative_loss(torch.eye(2), 0.0), "margin is 0.0"),
        (lambda: hardest_negative_loss(torch.eye(2), 0.1, torch.eye(2)), "torch.bool"),
        (lambda: triplet_loss(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(3, 3)), "should have one shape"),
        (lambda: triplet_loss(*[torch.zeros(0, 3)] * 3), "at least one triplet"),
        (lambda: triplet_loss(*[torch.zeros(1, 3)] * 2, torch.full((1, 3), torch.inf)), "negative holds a number"),
        (lambda: triplet_loss(*[torch.zeros(1, 3)] * 3, margin=-1.0), "margin is -1.0"),
    ],
)
def test_bad_input_is_named(bad, words):
    with pytest.raises(InputError, match=words):
        bad()
