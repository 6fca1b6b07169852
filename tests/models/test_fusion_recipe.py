"""How lesson 04 asks, trains and measures."""

import dataclasses

import pytest
import torch

from course_lib.data.microworld import ANSWERS, QUESTION_TYPES, balanced_questions, render, sample_scenes
from course_lib.errors import InputError
from course_lib.models.recipes import fusion
from course_lib.training.loop import TrainingConfig

FEW = TrainingConfig(steps=3, batch_size=16, learning_rate=1e-3, warmup_steps=1)


@pytest.fixture(scope="module")
def scenes():
    return sample_scenes(60, 3)


@pytest.fixture(scope="module")
def data(scenes):
    return fusion.asked_about(scenes)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_every_question_is_about_its_scene_and_has_its_answer(scenes, data):
    asked = balanced_questions(scenes, fusion.ROUNDS)
    assert len(data) == len(asked) > 100
    assert data.texts(range(len(data))) == [one.question.text for one in asked]
    assert data.scene.tolist() == [one.scene for one in asked]
    assert [ANSWERS[i] for i in data.answers] == [one.question.answer for one in asked]
    assert [QUESTION_TYPES[i] for i in data.types] == [one.question.type for one in asked]
    assert {QUESTION_TYPES[i] for i in data.of_type("colour", "shape").types} == {"colour", "shape"}


def test_regions_are_the_objects(scenes):
    """As many as there are, in the right places, nearly always: the checkpoint is that good."""
    regions, mask = fusion.raw_regions(torch.from_numpy(render(scenes)))
    assert regions.shape == (60, fusion.REGIONS, 100) and not regions[~mask].any()
    right = [len(scene.objects) == found for scene, found in zip(scenes, mask.sum(1).tolist(), strict=True)]
    assert sum(right) >= 57
    for scene, places, there in zip(scenes, regions[..., 96:98], mask, strict=True):
        for thing in scene.objects:
            away = (places[there] - torch.tensor([thing.x, thing.y])).norm(dim=-1).min()
            assert away < 0.15
    standard, _ = fusion.seen_regions(torch.from_numpy(render(scenes)))
    assert standard[mask].mean().abs() < 0.2 and 0.7 < standard[mask].std() < 1.3


def test_a_picture_in_which_nothing_is_found_shows_its_surest_cell():
    regions, mask = fusion.raw_regions(torch.zeros(2, 64, 64, 3, dtype=torch.uint8))
    assert (mask.sum(1) >= 1).all() and torch.isfinite(regions).all()


def test_the_seed_decides_and_the_loss_is_of_the_mix(data):
    first, history = fusion.train_fusion("pointers", data, 1, FEW)
    again, _ = fusion.train_fusion("pointers", data, 1, FEW)
    other, _ = fusion.train_fusion("pointers", data, 2, FEW)
    assert len(history.losses) == 3 and not first.training
    assert same(first, again) and not same(first, other)
    mixed, _ = fusion.train_fusion("pointers", data, 1, FEW, mix={"spatial": 1.0})
    assert not same(first, mixed)


def test_a_batch_is_of_the_mix(data):
    pools = fusion._pools(data, {"spatial": 0.5, "comparison": 0.25}, 80)
    assert [count for _, count in pools] == [40, 20, 20]
    kinds = [{QUESTION_TYPES[i] for i in data.types[rows]} for rows, _ in pools]
    assert kinds[:2] == [{"spatial"}, {"comparison"}] and not kinds[2] & {"spatial", "comparison"}
    assert [count for _, count in fusion._pools(data.of_type("spatial", "colour"), fusion.MIX, 62)] == [22, 40]
    assert [count for _, count in fusion._pools(data, {}, 80)] == [80]


def test_every_ablation_takes_one_thing_away():
    for name, changes in fusion.ABLATIONS.items():
        sizes = dataclasses.asdict(changes.get("sizes", fusion.CONFIG))
        differ = sum(value != sizes[key] for key, value in dataclasses.asdict(fusion.CONFIG).items())
        assert differ + ("mix" in changes) == (name != "nothing"), name


def test_accuracy_is_counted_for_each_type(data):
    class Yes(torch.nn.Module):
        def forward(self, regions, region_mask, input_ids):
            return torch.eye(len(ANSWERS))[[ANSWERS.index("yes")] * len(input_ids)]

    scores = fusion.accuracy_by_type(Yes(), data)
    assert scores["spatial"] == scores["existence"] == 0.5 and scores["colour"] == 0  # balanced: half are "yes"
    assert scores["all"] == (data.answers == ANSWERS.index("yes")).double().mean().item()


def test_what_is_refused(data):
    with pytest.raises(InputError, match="no fusion 'glue'; there are late, concat"):
        fusion.train_fusion("glue", data)
    with pytest.raises(InputError, match="no type of question 'taste'"):
        data.of_type("taste")
    with pytest.raises(InputError, match="no type of question 'taste'"):
        fusion.train_fusion("sum", data, mix={"taste": 0.5})
    with pytest.raises(InputError, match="shares from 0 up, 1 in all at most"):
        fusion.train_fusion("sum", data, mix={"spatial": 0.7, "comparison": 0.4})
    with pytest.raises(InputError, match="no balanced question of type spatial"):
        fusion.question_data(3, types=("spatial",))
    with pytest.raises(InputError, match="draw more scenes"):
        data.of_type("colour").of_type("spatial")


@pytest.mark.slow
def test_pointers_learn_left_and_right_in_the_short_regime_and_without_an_ingredient_they_do_not():
    data, test = fusion.short_data(), fusion.short_data("test")
    for name, changes in fusion.ABLATIONS.items():
        model, _ = fusion.train_fusion("pointers", data, 0, fusion.SHORT, **{"mix": fusion.SHORT_MIX} | changes)
        scores = fusion.accuracy_by_type(model, test)
        assert scores["colour"] > 0.9 and scores["shape"] > 0.9
        if name == "nothing":
            assert scores["spatial"] > 0.6
        else:
            assert scores["spatial"] < 0.6, name
