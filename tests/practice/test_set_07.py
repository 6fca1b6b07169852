"""Exercise set 07: its references are the field's own, and its training reaches what it asks (see test_sets.py too)."""

import faiss
import pytest
import torch
from torchmetrics.retrieval import RetrievalMAP

from course_lib.practice.asking import ask
from course_lib.practice.exercise import exercise, held_back
from course_lib.practice.lesson_07 import answers
from course_lib.practice.lesson_07.exercises import (
    NEGATIVES,
    ORDER,
    ProductQuantizer,
    held_back_recall,
    mined,
    normal,
    reranker_case,
    two_stage_recall,
)
from course_lib.practice.lesson_07.figures import DEPTHS, PROBES, codes_then_vectors, two_indexes, two_stages

TRAINED = exercise("07.7")


@pytest.mark.slow
def test_the_threshold_of_training_leaves_room_on_ten_seeds():
    measure = TRAINED.measure
    tried = (answers.reranker, answers.reranker_by_sigmoid, answers.reranker_mined_in_vain, answers.reranker_slow)
    scores = {answer: [] for answer in tried}
    untrained = []
    for seed in range(10):
        case = reranker_case(5_000 + seed, "")
        for answer, found in scores.items():
            found.append(held_back_recall(case, ask(answer, TRAINED.question(case)).value))
        untrained.append(two_stage_recall(normal(seed, 20, 24), case.hidden))
    right, by_sigmoid, at_random, slow = scores.values()
    assert min(right) > measure.at_least + 0.05
    assert min(by_sigmoid) > measure.at_least + 0.02
    assert max(at_random) < measure.at_least - 0.1
    assert max(slow) < measure.at_least - 0.1
    assert measure.baseline == pytest.approx(sum(at_random) / 10, abs=0.05)
    assert measure.chance == pytest.approx(sum(untrained) / 10, abs=0.06)


def test_the_recall_of_two_stages_is_what_it_is_called():
    case = reranker_case(7, "")
    pairs, weight = case.hidden, normal(3, 20, 24)
    hits = 0
    for text in range(200):
        similarity = pairs["image_embeds"] @ pairs["text_embeds"][text]
        best = similarity.argsort(descending=True)[:NEGATIVES].tolist()
        scores = {picture: pairs["text_features"][text] @ weight @ pairs["image_features"][picture] for picture in best}
        hits += max(scores, key=scores.get) == text
    assert two_stage_recall(weight, pairs) == pytest.approx(hits / 200)


def test_the_first_stage_finds_the_scene_and_not_the_picture():
    """Else there would be nothing to re-rank, or nothing to find."""
    pairs = reranker_case(5, "").hidden
    similarity = pairs["text_embeds"] @ pairs["image_embeds"].T
    own = torch.arange(len(similarity))[:, None]
    assert (similarity.topk(1).indices == own).float().mean() < 0.25
    assert (similarity.topk(NEGATIVES).indices == own).any(dim=1).float().mean() > 0.9


def test_training_sees_none_of_the_held_back_pairs():
    case = reranker_case(3, "")
    question = TRAINED.question(case)
    for name in ORDER:
        assert len(question.inputs[name]) == 600 and len(case.hidden[name]) == 200
        assert torch.cdist(case.hidden[name], question.inputs[name]).min() > 1e-3
    negatives = mined(question.inputs["image_embeds"], question.inputs["text_embeds"], NEGATIVES)
    assert not (negatives == torch.arange(600)[:, None]).any()


@pytest.mark.parametrize("answer", [exercise("07.2").reference, answers.average_precision])
def test_the_average_precision_asked_for_is_torchmetrics(answer):
    for case in (*exercise("07.2").cases(3), *held_back(exercise("07.2"), 3)):
        similarity, positives = case.inputs.values()
        queries = torch.arange(len(similarity))[:, None].expand_as(similarity)
        lifted = similarity - similarity.min() + 1  # torchmetrics takes what scores 0 or less for wrong
        theirs = RetrievalMAP()(lifted.flatten(), positives.flatten(), queries.flatten())
        assert answer(similarity, positives) == pytest.approx(theirs.item(), abs=1e-6)


@pytest.mark.parametrize("module", [ProductQuantizer, answers.Quantizer])
def test_the_codes_and_distances_asked_for_are_those_of_faiss(module):
    vectors, queries = normal(1, 500, 16), normal(2, 7, 16)
    theirs = faiss.IndexPQ(16, 4, 4)  # four parts of sixteen words
    theirs.pq.cp.seed = 3
    theirs.train(vectors.numpy())
    theirs.add(vectors.numpy())
    books = faiss.vector_to_array(theirs.pq.centroids).reshape(4, 16, 4)
    ours = module(16, 4, 16)
    ours.load_state_dict({"codebooks": torch.from_numpy(books)})
    codes, distances = ours(queries, vectors)

    packed = torch.from_numpy(theirs.pq.compute_codes(vectors.numpy()))  # two codes of four bits in a byte
    assert torch.equal(codes, torch.stack([packed & 15, packed >> 4], dim=2).flatten(1).long())
    expected, order = theirs.search(queries.numpy(), len(vectors))
    torch.testing.assert_close(distances.gather(1, torch.from_numpy(order)), torch.from_numpy(expected))


def test_the_choices_are_true():
    """What exercise 07.3 calls right is computed here."""
    recall = two_indexes()
    assert recall["A"][-1] == 1.0 and PROBES[-1] == 64
    assert all(0.5 < found < 0.7 for found in recall["B"])
    assert abs(recall["B"][-1] - recall["B"][1]) < 0.05
    assert codes_then_vectors(100) > 0.98

    first, both = (dict(zip(DEPTHS, curve, strict=True)) for curve in two_stages().values())
    assert all(both[depth] <= first[depth] for depth in DEPTHS)
    assert first[4] == pytest.approx(0.74, abs=0.01) and first[4] - both[4] < 0.02
    fast_enough = [depth for depth in DEPTHS if 5 + depth <= 40]
    assert max(fast_enough, key=both.get) == 32
    assert both[32] - both[4] > 0.1 and both[128] - both[32] < 0.01
