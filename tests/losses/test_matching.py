import math

import pytest
import torch

from course_lib.errors import InputError
from course_lib.losses.matching import hard_negative_rows, itm_loss


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_itm_loss_is_the_mean_negative_log_probability_of_the_right_answer():
    logits, labels = torch.tensor([[0.0, 0.0], [1.0, 3.0]]), torch.tensor([0, 1])
    expected = (math.log(2) + math.log(1 + math.exp(-2))) / 2
    assert itm_loss(logits, labels).item() == pytest.approx(expected)


def test_negatives_are_drawn_as_often_as_the_softmax_without_the_own_pair_says():
    similarity = 3 * torch.rand(4, 4, generator=generator(1))
    draws = generator()
    texts, images = torch.zeros(4, 4), torch.zeros(4, 4)
    for _ in range(2_000):
        text, image = hard_negative_rows(similarity, draws)
        texts[torch.arange(4), text] += 1 / 2_000
        images[torch.arange(4), image] += 1 / 2_000
    for found, lines in ((texts, similarity), (images, similarity.T)):
        weights = lines.softmax(dim=1).fill_diagonal_(0)  # as ALBEF writes it
        expected = weights / weights.sum(dim=1, keepdim=True)
        assert (found - expected).abs().max() < 0.05


def test_what_fits_is_never_drawn_even_beside_a_very_sure_own_pair():
    similarity = 100 * torch.eye(5) + torch.rand(5, 5, generator=generator(2))
    positives = torch.zeros(5, 5, dtype=torch.bool)
    positives[0, 1] = positives[3, 4] = True
    draws = generator()
    for _ in range(50):
        texts, images = hard_negative_rows(100 * similarity, draws, positives)
        assert (texts != torch.arange(5)).all() and (images != torch.arange(5)).all()
        assert texts[0] != 1 and texts[3] != 4 and images[1] != 0 and images[4] != 3


def test_the_same_generator_draws_the_same_and_nothing_flows_back():
    similarity = torch.rand(6, 6, generator=generator(3)).requires_grad_()
    first, second = (hard_negative_rows(similarity, generator(7)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert first[0].dtype == torch.int64 and not first[0].requires_grad


@pytest.mark.parametrize(
    "bad, words",
    [
        (lambda: itm_loss(torch.zeros(3), torch.zeros(3, dtype=torch.long)), "it should be"),
        (lambda: itm_loss(torch.zeros(3, 2), torch.tensor([0, 1, 2])), "1 where image and text match"),
        (lambda: itm_loss(torch.zeros(3, 2), torch.tensor([0.0, 1.0, 1.0])), "3 integers"),
        (lambda: itm_loss(torch.full((1, 2), torch.nan), torch.tensor([1])), "not finite"),
        (lambda: hard_negative_rows(torch.zeros(1, 1), generator()), "at least two pairs"),
        (lambda: hard_negative_rows(torch.zeros(2, 2), generator(), torch.ones(2, 2) > 0), "no negative to draw"),
    ],
)
def test_bad_input_is_named(bad, words):
    with pytest.raises(InputError, match=words):
        bad()
