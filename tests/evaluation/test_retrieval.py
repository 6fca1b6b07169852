import pytest
import torch

from course_lib.errors import InputError
from course_lib.evaluation.retrieval import ranks, recall_at_k, retrieval

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


@pytest.mark.parametrize(
    "call, words",
    [
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
