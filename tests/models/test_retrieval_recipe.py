"""How lesson 07 mines, trains and measures."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from course_lib.data import microworld
from course_lib.errors import InputError
from course_lib.evaluation.embedding import embed_images, embed_texts
from course_lib.losses.ranking import hinge_sum_loss
from course_lib.models.clip import CLIP
from course_lib.models.recipes import retrieval as recipes
from course_lib.models.recipes.inputs import pixel_values, word_tokenizer
from course_lib.pretrained import course
from course_lib.training.loop import TrainingConfig

FEW = TrainingConfig(steps=2, batch_size=12, learning_rate=1e-3, warmup_steps=1)


@pytest.fixture(scope="module")
def clip():
    return CLIP.from_weights(*course.load("clip")[:2])


@pytest.fixture(scope="module")
def data():
    return recipes.look_alike_data(10, seed=2)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_the_data_are_what_the_frozen_layers_see(clip, data):
    pictures, texts = recipes.embed(clip, data)
    captions = [microworld.captions(scene)[0] for scene in data.scenes]
    assert torch.allclose(pictures, embed_images(clip, pixel_values(microworld.render(data.scenes))), atol=1e-5)
    assert torch.allclose(texts, embed_texts(clip, word_tokenizer()(captions)), atol=1e-5)
    assert len(data) == 40 == len(data.regions) and (data.region_mask.sum(dim=1) == 2).sum() >= 38


def test_mined_are_the_nearest_wrong_ones():
    generator = torch.Generator().manual_seed(0)
    images, texts = (F.normalize(torch.randn(20, 6, generator=generator), dim=1) for _ in range(2))
    for_images, for_texts = recipes.mine(images, texts, count=4)
    cosines = images @ texts.T
    for row in range(20):
        wrong = [n for n in range(20) if n != row]
        assert for_images[row].tolist() == sorted(wrong, key=lambda n: -cosines[row, n])[:4]
        assert for_texts[row].tolist() == sorted(wrong, key=lambda n: -cosines[n, row])[:4]
    with pytest.raises(InputError, match="count is 20"):
        recipes.mine(images, texts, count=20)


def test_mined_company_brings_a_hard_negative_for_each_and_nobody_twice():
    mined = (torch.arange(100)[:, None].roll(-50, 0), None)  # the hard negative of i is i + 50
    rows = recipes._company(100, 20, mined, torch.Generator().manual_seed(0)).tolist()
    assert len(rows) == len(set(rows)) <= 20
    assert sum((row + 50) % 100 in rows for row in rows) == len(rows)
    assert len(recipes._company(100, 20, None, torch.Generator().manual_seed(0))) == 20


def test_choices_against_look_alikes_are_counted_both_ways():
    scores = torch.zeros(8, 8)
    scores[0, 0], scores[0, 1] = 1.0, 2.0  # family 0: the base prefers the exchanged one's caption,
    scores[1, 1], scores[1, 0] = 3.0, 2.0  # which itself prefers its own; all else are ties, and a tie is no choice
    shares = recipes.against_look_alikes(scores)
    assert shares == {"colours exchanged": 0.25, "mirrored": 0.25, "another material": 0.25}


def test_the_seed_decides_every_training(clip, data):
    mined = recipes.mine(*recipes.embed(clip, data))

    def trained(seed):
        return (
            recipes.train_vse(data, hinge_sum_loss, seed, FEW)[0],
            recipes.tune_dual_encoder(clip, data, mined, seed, FEW)[0],
            recipes.train_reranker(data, mined, seed, FEW)[0],
        )

    before = {name: value.clone() for name, value in clip.state_dict().items()}
    for one, again, other in zip(trained(1), trained(1), trained(2), strict=True):
        assert same(one, again) and not same(one, other)
    assert all(torch.equal(before[name], value) for name, value in clip.state_dict().items())


def test_frozen_convolutions_stay_and_a_start_is_gone_on_from(clip, data):
    first, _ = recipes.train_vse(data, config=FEW)
    trunk = clip.vision_model.trunk.state_dict()
    assert all(torch.equal(trunk[name], value) for name, value in first.trunk.state_dict().items())
    further, _ = recipes.train_vse(data, config=dataclasses.replace(FEW, learning_rate=1e-7), start=first)
    assert further is not first
    assert torch.allclose(further.visual_projection.weight, first.visual_projection.weight, atol=1e-5)


def test_reranking_scores_the_pairs_of_its_rows_and_columns(clip, data):
    model, _ = recipes.train_reranker(data, None, config=FEW)
    images, texts = recipes.embed(clip, data)
    similarity = images @ texts.T
    there, back = recipes.reranked(model, data, similarity, k=40)
    with torch.no_grad():
        every = torch.stack(
            [
                model.score(data.regions[i : i + 1].expand(40, -1, -1), data.region_mask[i : i + 1].expand(40, -1),
                            data.input_ids) for i in range(40)
            ]
        )  # fmt: skip
    assert torch.allclose(there - there[0, 0], every - every[0, 0], atol=1e-4)
    assert torch.allclose(back - back[0, 0], every.T - every[0, 0], atol=1e-4)


@pytest.mark.slow
def test_what_the_lesson_says_of_hard_negatives_and_reranking(clip):
    test, train = recipes.look_alike_data(250, 5, "test"), recipes.look_alike_data()
    images, texts = recipes.embed(clip, test)
    similarity = images @ texts.T
    plain = recipes.both_ways(similarity)
    assert all(0.4 < way["R@1"] < 0.55 and way["R@10"] > 0.99 for way in plain.values())
    mined = recipes.mine(*recipes.embed(clip, train))
    random_company, mined_company = (
        recipes.both_ways((lambda pair: pair[0] @ pair[1].T)(recipes.embed(model, test)))
        for model, _ in (recipes.tune_dual_encoder(clip, train), recipes.tune_dual_encoder(clip, train, mined))
    )
    reader, _ = recipes.train_reranker(train, mined)
    alone = recipes.both_ways(*recipes.reranked(reader, test, similarity))
    voted = recipes.both_ways(*recipes.reranked(reader, test, similarity, weight=clip.logit_scale.exp().item()))
    for way, before in plain.items():
        assert mined_company[way]["R@1"] >= random_company[way]["R@1"] + 0.03
        assert alone[way]["R@1"] >= before["R@1"] + 0.15
        assert voted[way]["R@1"] > alone[way]["R@1"] and voted[way]["R@1"] >= 0.75
