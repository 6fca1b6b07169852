"""Exercise set 06: wrong answers fail with the right message, right ones pass, references are the field's own."""

import inspect
import math
import re

import open_clip
import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from course_lib.practice.asking import ask
from course_lib.practice.checking import examine
from course_lib.practice.exercise import (
    alternatives,
    exercise,
    exercises,
    held_back,
    mutants,
    solution_source,
    source_of,
)
from course_lib.practice.judging import FAULTS
from course_lib.practice.lesson_06 import answers
from course_lib.practice.lesson_06.exercises import CLIPHead, held_back_recall, pairs, projection_case
from course_lib.practice.lesson_06.figures import CAPTIONS, batch_similarity, watched_run

SET = exercises("06")
QUICK = [one for one in SET if one.measure is None]
TRAINED = exercise("06.7")


def name_of(value) -> str:
    return getattr(value, "__name__", None) or getattr(value, "id", None) or str(value)[:30]


def each(of, sets=QUICK):
    return [pytest.param(one, answer, id=f"{one.id}-{name_of(answer)}") for one in sets for answer in of(one)]


def wrong(sets=QUICK):
    return [
        pytest.param(one, mutant, id=f"{one.id}-{name_of(mutant.answer)}-{mutant.mistake}")
        for one in sets
        for mutant in mutants(one)
    ]


def test_the_set_is_what_was_promised():
    assert [one.id for one in SET] == [f"06.{number}" for number in range(1, 8)]
    assert 80 <= sum(one.minutes for one in SET) <= 100
    levels = [one.difficulty for one in SET]
    assert levels == sorted(levels) and levels[0] == 1 and levels[-1] == 5
    assert {one.asked for one in SET} == {"function", "module", "value"}
    assert [one.id for one in SET if one.measure] == ["06.7"]


@pytest.mark.parametrize("one", SET, ids=name_of)
def test_an_exercise_has_all_its_parts(one):
    assert len(one.hints) == 3 and all(one.hints)
    assert len(mutants(one)) >= 4
    assert len(alternatives(one)) >= 2
    assert one.asked == "value" or (one.cases(0) and held_back(one, 0))
    own = {mistake.name for mistake in one.mistakes}
    assert len(own) == len(one.mistakes) and not own & set(FAULTS)
    assert {mutant.mistake for mutant in mutants(one)} <= own | set(FAULTS)
    for mistake in one.mistakes:
        assert (mistake.answer is None) != (mistake.sign is None)
        assert len(mistake.message) > 20 and mistake.message[-1] in ".?"


@pytest.mark.parametrize(("one", "mutant"), wrong())
def test_a_wrong_answer_fails_and_its_mistake_is_named(one, mutant):
    report = examine(one, mutant.answer)
    assert not report.passed
    assert report.failure.verdict.mistake == mutant.mistake, report.failure.verdict.message


@pytest.mark.parametrize(("one", "answer"), each(alternatives))
def test_a_right_answer_written_differently_passes(one, answer):
    report = examine(one, answer)
    assert report.passed, str(report)


@pytest.mark.parametrize("one", QUICK, ids=name_of)
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_reference_and_solution_pass_on_every_seed(one, seed):
    assert examine(one, one.reference, seed).passed
    assert examine(one, answers.SOLUTIONS[one.id], seed).passed


@pytest.mark.slow
@pytest.mark.parametrize("one", QUICK, ids=name_of)
@pytest.mark.parametrize("seed", [1, 2, 3, 2**31])
def test_wrong_answers_fail_on_every_seed(one, seed):
    """What the grader draws is not what the notebook shows."""
    passing = [name_of(mutant.answer) for mutant in mutants(one) if examine(one, mutant.answer, seed).passed]
    assert not passing


@pytest.mark.slow
@pytest.mark.parametrize(("one", "mutant"), wrong([TRAINED]))
def test_wrong_training_fails_and_its_mistake_is_named(one, mutant):
    report = examine(one, mutant.answer)
    assert not report.passed
    assert report.failure.verdict.mistake == mutant.mistake, report.failure.verdict.message


@pytest.mark.slow
@pytest.mark.parametrize(("one", "answer"), each(alternatives, [TRAINED]))
def test_training_written_differently_passes(one, answer):
    assert examine(one, answer).passed


@pytest.mark.slow
def test_the_threshold_of_training_leaves_room_on_ten_seeds():
    measure = TRAINED.measure
    scores = {answers.training: [], answers.training_without_negatives: [], answers.training_not_at_all: []}
    for seed in range(10):
        case = projection_case(5_000 + seed, "")
        for answer, found in scores.items():
            found.append(held_back_recall(case, ask(answer, TRAINED.question(case)).value))
    assert min(scores[answers.training]) > measure.at_least + 0.05
    assert max(scores[answers.training_without_negatives]) < measure.at_least - 0.05
    assert measure.baseline == pytest.approx(sum(scores[answers.training_without_negatives]) / 10, abs=0.1)
    assert measure.chance == pytest.approx(sum(scores[answers.training_not_at_all]) / 10, abs=0.01)


def test_recall_on_held_back_pairs_is_what_it_is_called():
    case = projection_case(7, "")
    weights = torch.randn(48, 16), torch.randn(40, 16)
    images = case.hidden["image_features"] @ weights[0]
    texts = case.hidden["text_features"] @ weights[1]
    cosines = torch.cosine_similarity(images[:, None], texts[None], dim=-1)
    own = torch.arange(len(images))
    by_hand = ((cosines.argmax(1) == own).float().mean() + (cosines.argmax(0) == own).float().mean()) / 2
    assert held_back_recall(case, weights) == pytest.approx(float(by_hand), abs=1e-6)


def test_training_sees_none_of_the_held_back_pairs():
    case = projection_case(3, "")
    question = TRAINED.question(case)
    assert set(question.inputs) == {"image_features", "text_features", "embed_dim"}
    between = torch.cdist(case.hidden["image_features"], question.inputs["image_features"])
    assert between.shape == (200, 256) and between.min() > 0.5


def test_the_losses_asked_for_are_open_clips():
    batch = pairs(3, 8, 16)
    ours = exercise("06.2").reference(**batch, logit_scale=torch.tensor(12.0))
    theirs = open_clip.ClipLoss()(batch["image_embeds"], batch["text_embeds"], torch.tensor(12.0))
    torch.testing.assert_close(ours, theirs)
    ours = exercise("06.5").reference(**batch, logit_scale=torch.tensor(12.0), logit_bias=torch.tensor(-8.0))
    theirs = open_clip.loss.SigLipLoss()(
        batch["image_embeds"], batch["text_embeds"], torch.tensor(12.0), torch.tensor(-8.0)
    )
    torch.testing.assert_close(ours, theirs)


def test_the_head_asked_for_is_that_of_transformers():
    """The same weights under the same names, between the two encoders of a published architecture."""
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={
            "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "vocab_size": 64, "max_position_embeddings": 12, "eos_token_id": 63, "bos_token_id": 62, "pad_token_id": 0,
        },
        vision_config={
            "hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 16, "patch_size": 8,
        },
        projection_dim=8,
    )  # fmt: skip
    model = CLIPModel(config).eval()
    head = CLIPHead(24, 16, 8)
    published = model.state_dict()
    head.load_state_dict(
        {
            name: published[name] if name in published else published[f"{tower}.{name}"]
            for name, tower in zip(
                head.state_dict(), ["", *["vision_model"] * 2, "", *["text_model"] * 2, ""], strict=True
            )
            for tower in [tower or ("vision_model" if "post" in name else "text_model")]
        }
    )
    ids = torch.tensor([[62, 5, 9, 63, 0, 0], [62, 7, 63, 0, 0, 0], [62, 1, 2, 3, 4, 63]])
    pixels = torch.randn(3, 3, 16, 16)
    kept = {}
    model.text_model.encoder.register_forward_hook(lambda *a: kept.update(text=a[2][0]))
    with torch.no_grad():
        expected = model(input_ids=ids, pixel_values=pixels)
        hidden = model.vision_model(pixel_values=pixels).last_hidden_state
        per_image, per_text = head(hidden, kept["text"], ids)
    torch.testing.assert_close(per_image, expected.logits_per_image)
    torch.testing.assert_close(per_text, expected.logits_per_text)


def test_the_choices_are_true():
    """What exercise 06.3 calls right is computed here."""
    similarity, captions = batch_similarity()
    high = similarity > similarity.diagonal().min() - 0.05
    assert [(int(i), int(j)) for i, j in high.nonzero() if i != j] == [(2, 5), (5, 2)]
    assert captions[2] == captions[5] and len(set(CAPTIONS)) == 7

    losses, cosines = watched_run()
    assert all(abs(loss - math.log(64)) < 0.2 for loss in losses[-40:])
    assert min(cosines[-40:]) > 0.95

    perfect = 2 * torch.eye(64) - 1
    floor = torch.nn.functional.cross_entropy(perfect, torch.arange(64))
    assert floor.item() == pytest.approx(math.log(1 + 63 * math.exp(-2)), abs=1e-5)
    assert floor > 2


@pytest.mark.parametrize("one", SET, ids=name_of)
def test_the_source_of_every_answer_runs_by_itself(one):
    """So that tests of the grader can put it into a notebook."""
    from collections.abc import Callable

    imports = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional, "math": math, "Tensor": torch.Tensor}
    for answer in (answers.SOLUTIONS[one.id], *alternatives(one), *(mutant.answer for mutant in mutants(one))):
        space = dict(imports, Callable=Callable)
        exec(source_of(answer, one.name), space)
        assert one.name in space
    assert solution_source(one)


@pytest.mark.parametrize("one", [one for one in SET if one.asked == "function"], ids=name_of)
def test_the_signature_is_that_of_the_solution(one):
    named = re.findall(r"(\w+):", one.signature)
    assert list(inspect.signature(answers.SOLUTIONS[one.id]).parameters) == named
    assert list(one.cases(0)[0].inputs) == named


def test_what_a_learner_reads_of_a_mistake_does_not_give_the_answer_away():
    """A message names the mistake; the code of the solution is for solution()."""
    for one in SET:
        for mistake in one.mistakes:
            assert "logsigmoid(z" not in mistake.message and "cross_entropy(logits" not in mistake.message
