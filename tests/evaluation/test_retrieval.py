import math

import pytest
import torch
from torchmetrics.functional.retrieval import retrieval_normalized_dcg, retrieval_reciprocal_rank

from course_lib.authoring.parity.lesson_07 import measures_beside_torchmetrics
from course_lib.errors import InputError
from course_lib.evaluation import retrieval as module
from course_lib.evaluation.retrieval import (
    mean_average_precision,
    mean_rank,
    mean_reciprocal_rank,
    measures,
    median_rank,
    ndcg,
    places,
    ranks,
    recall_at_k,
    retrieval,
    share_found,
)

SIMILARITY = torch.tensor([[0.9, 0.1, 0.3], [0.8, 0.5, 0.6], [0.2, 0.4, 0.35]])


def test_ranks_count_the_better_candidates():
    assert ranks(SIMILARITY).tolist() == [1, 3, 2]
    assert ranks(SIMILARITY.T).tolist() == [1, 1, 2]


def test_ranks_agree_with_sorting_on_many_random_scores():
    scores = torch.randn(50, 50, generator=torch.Generator().manual_seed(0))
    places = (scores.argsort(dim=1, descending=True) == torch.arange(50)[:, None]).nonzero()[:, 1] + 1
    assert torch.equal(ranks(scores), places)


def test_of_several_right_candidates_the_best_counts_and_the_others_do_not_stand_before_it():
    positives = torch.tensor([[True, False, True], [False, True, True], [True, False, True]])
    assert ranks(SIMILARITY, positives).tolist() == [1, 2, 2]


def test_a_tie_counts_against_the_model():
    assert recall_at_k(torch.zeros(4, 4), 1) == 0
    assert ranks(torch.zeros(4, 4)).tolist() == [4, 4, 4, 4]


def test_recall_at_k():
    assert [recall_at_k(SIMILARITY, k) for k in (1, 2, 3)] == pytest.approx([1 / 3, 2 / 3, 1])


def test_retrieval_with_several_texts_per_image_in_both_directions():
    owners = torch.tensor([0, 0, 1, 1])
    similarity = torch.tensor([[0.1, 0.9, 0.3, 0.2], [0.5, 0.1, 0.4, 0.3]])
    found = retrieval(similarity, owners, ks=(1, 2))
    assert found["image_to_text"] == {"R@1": 0.5, "R@2": 1.0, "median_rank": 1.5}
    assert found["text_to_image"] == {"R@1": 0.75, "R@2": 1.0, "median_rank": 1.0}


def by_the_book(scores, right):
    """The places of one query's right candidates, by sorting: the wrong ones first in a tie."""
    order = sorted(range(len(scores)), key=lambda n: (-scores[n], right[n]))
    return [place for place, n in enumerate(order, start=1) if right[n]]


def with_ties(seed=0, queries=23, candidates=40, levels=12, rate=0.15):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, levels, (queries, candidates), generator=generator).float() - levels / 2
    positives = torch.rand(queries, candidates, generator=generator) < rate
    positives[torch.arange(queries), torch.arange(queries)] = True
    scores[0, :5] = -torch.inf
    scores[1, :3] = torch.inf
    return scores, positives


@pytest.mark.parametrize("rate", [0.02, 0.15, 0.9])
@pytest.mark.parametrize("chunk", [1, 100, 1 << 20])
def test_places_are_those_of_sorting_with_the_wrong_first_in_a_tie(rate, chunk, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", chunk)
    scores, positives = with_ties(rate=rate)
    found = places(scores, positives)
    assert found.shape == (23, positives.sum(dim=1).max())
    for query, row in enumerate(found.tolist()):
        wanted = by_the_book(scores[query].tolist(), positives[query].tolist())
        assert row == wanted + [0] * (len(row) - len(wanted))
    assert torch.equal(ranks(scores, positives), found[:, 0])


def test_every_measure_follows_from_the_places():
    scores, positives = with_ties()
    lists = [by_the_book(*pair) for pair in zip(scores.tolist(), positives.tolist(), strict=True)]
    first = torch.tensor([row[0] for row in lists]).double()
    precision = [sum((i + 1) / place for i, place in enumerate(row)) / len(row) for row in lists]
    assert mean_average_precision(scores, positives) == pytest.approx(sum(precision) / 23)
    assert mean_reciprocal_rank(scores, positives) == pytest.approx((1 / first).mean().item())
    assert mean_rank(scores, positives) == pytest.approx(first.mean().item())
    assert median_rank(scores, positives) == first.median()
    assert share_found(scores, 7, positives) == pytest.approx(sum(sum(p <= 7 for p in r) / len(r) for r in lists) / 23)
    report = measures(scores, positives, ks=(1, 3))
    assert report == {
        "R@1": recall_at_k(scores, 1, positives),
        "R@3": recall_at_k(scores, 3, positives),
        "median_rank": median_rank(scores, positives),
        "mean_rank": mean_rank(scores, positives),
        "MRR": mean_reciprocal_rank(scores, positives),
        "mAP": mean_average_precision(scores, positives),
        "nDCG": ndcg(scores, positives),
    }


@pytest.mark.parametrize("k", [None, 1, 5, 100])
def test_gains_of_degrees_of_relevance_by_sorting_and_the_worst_first_in_a_tie(k):
    scores, positives = with_ties(seed=1)
    worth = positives * torch.randint(1, 4, positives.shape, generator=torch.Generator().manual_seed(2))
    wanted = []
    for row, gains in zip(scores.tolist(), worth.tolist(), strict=True):
        order = sorted(range(len(row)), key=lambda n: (-row[n], gains[n]))

        def gain(values):
            return sum(value / math.log2(place + 2) for place, value in enumerate(values[:k]))

        wanted.append(gain([gains[n] for n in order]) / gain(sorted(gains, reverse=True)))
    assert ndcg(scores, worth, k) == pytest.approx(sum(wanted) / 23)
    assert ndcg(scores, positives, k) == pytest.approx(ndcg(scores, positives.long(), k))


@pytest.mark.parametrize("queries, candidates, rate", [(20, 60, 0.05), (9, 300, 0.2), (50, 50, 0.0)])
def test_without_ties_torchmetrics_gives_the_same(queries, candidates, rate):
    rows = measures_beside_torchmetrics(queries, candidates, rate)
    assert len(rows) == 9
    assert [row.what for row in rows if not row.holds] == []


def test_a_tie_is_lucky_in_torchmetrics_and_never_here():
    """Where ours and theirs part: equal scores. Theirs depends on the order of the candidates or averages; ours not."""
    scores, target = torch.full((4,), 0.5), torch.tensor([1, 0, 0, 0])
    lucky, unlucky = (retrieval_reciprocal_rank(scores, t).item() for t in (target, target.flip(0)))
    assert max(lucky, unlucky) > 0.25  # somewhere in the row luck helps
    for positives in (target, target.flip(0)):
        assert mean_reciprocal_rank(scores[None], positives[None].bool()) == 0.25
        assert ndcg(scores[None], positives[None].bool()) == pytest.approx(1 / math.log2(5))
        assert ndcg(scores[None], positives[None].bool()) < retrieval_normalized_dcg(scores, positives).item()


def test_torchmetrics_takes_what_scores_below_zero_for_wrong_and_ours_does_not():
    scores, target = torch.tensor([[-0.2, -0.1, -0.3]]), torch.tensor([[False, True, False]])
    assert retrieval_reciprocal_rank(scores[0], target[0]) == 0
    assert mean_reciprocal_rank(scores, target) == 1


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: ndcg(torch.zeros(1, 2), torch.tensor([[-1.0, 1.0]])), "not below 0"),
        (lambda: ndcg(torch.zeros(1, 2), torch.tensor([[torch.inf, 1.0]])), "finite"),
        (lambda: ndcg(torch.zeros(2, 2), torch.tensor([[0, 1], [0, 0]])), "query 1 has no relevant"),
        (lambda: ndcg(torch.zeros(2, 2), k=0), "1 or more"),
        (lambda: share_found(torch.zeros(2, 2), 0), "1 or more"),
        (lambda: measures(torch.zeros(2, 2), ks=(1, 0)), "1 or more"),
        (lambda: ranks(torch.zeros(2, 2, dtype=torch.long)), "floating-point"),
        (lambda: ranks(torch.zeros(2, 3)), "2 queries and 3 candidates are not pairs"),
        (lambda: ranks(torch.zeros(3)), "it should be"),
        (lambda: ranks(torch.zeros(0, 0)), "neither 0"),
        (lambda: ranks(torch.full((2, 2), torch.nan)), "holds nan"),
        (lambda: ranks(torch.zeros(2, 2), torch.tensor([[True, False], [False, False]])), "query 1 has no right"),
        (lambda: ranks(torch.zeros(2, 2), torch.ones(2, 3, dtype=torch.bool)), "positives has shape"),
        (lambda: recall_at_k(torch.zeros(2, 2), 0), "1 or more"),
        (lambda: retrieval(torch.zeros(2, 4), torch.tensor([0, 1])), "one image for each of 4 texts"),
    ],
)
def test_what_cannot_be_ranked_is_refused_in_one_sentence(call, words):
    with pytest.raises(InputError, match=words):
        call()
