import dataclasses

import pytest
import torch

from course_lib.data.microworld import HELD_OUT, PAIRS, captions, sample_scenes
from course_lib.encoders.convnet import ConvTrunk
from course_lib.errors import InputError
from course_lib.models.clip import CLIP
from course_lib.models.dense_detector import DenseDetector, dense_targets
from course_lib.models.recipes import clip as recipes
from course_lib.models.recipes import vision as vision_recipes
from course_lib.training.loop import TrainingConfig

SHORT = TrainingConfig(steps=3, batch_size=16, learning_rate=1e-3, warmup_steps=1)


@pytest.fixture(scope="module")
def data():
    return recipes.training_pairs(64)


@pytest.fixture(scope="module")
def vision():
    torch.manual_seed(0)
    return DenseDetector().state_dict()


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.values(), other.values(), strict=True))


def test_training_pairs_are_pictures_with_their_captions(data):
    assert data.pictures.shape == (64, 64, 64, 3) and data.pictures.dtype == torch.uint8
    assert data.input_ids.shape == (64, 5, 32)
    tokenizer, scenes = recipes.word_tokenizer(), sample_scenes(64, 1, "train")
    said = [[tokenizer.decode(ids) for ids in five] for five in data.input_ids]
    assert said == [captions(scene) for scene in scenes]


def test_class_names_are_the_64_pairs_in_words_the_tokenizer_knows():
    tokenizer = recipes.word_tokenizer()
    assert recipes.CLASS_NAMES[0] == "a red circle" and "an orange star" in recipes.CLASS_NAMES
    ids = tokenizer([prompt.format(name) for name in recipes.CLASS_NAMES for prompt in recipes.PROMPTS])
    assert not (ids == tokenizer.unknown_token_id).any()


def test_from_scratch_trains_everything_and_the_seed_decides(data):
    torch.manual_seed(5)
    first, history = recipes.train_clip_from_scratch(data, 1, SHORT)
    again, _ = recipes.train_clip_from_scratch(data, 1, SHORT)
    other, _ = recipes.train_clip_from_scratch(data, 2, SHORT)
    assert len(history.losses) == 3
    assert same(first.state_dict(), again.state_dict())
    assert not same(first.state_dict(), other.state_dict())


def test_from_vision_keeps_the_convolutions_and_trains_the_rest(data, vision):
    model, _ = recipes.train_clip_from_vision(data, 1, SHORT, vision=vision)
    trunk = {name: value for name, value in vision.items() if name.startswith("trunk.")}
    assert same(model.vision_model.trunk.state_dict(), trunk)
    assert all(parameter.requires_grad for parameter in model.parameters())
    still = dataclasses.replace(SHORT, learning_rate=1e-12)
    untrained, _ = recipes.train_clip_from_vision(data, 1, still, vision=vision)
    for name in ("text_model.token_embedding.weight", "visual_projection.weight", "vision_model.pool.query.weight"):
        assert not torch.allclose(model.state_dict()[name], untrained.state_dict()[name], atol=1e-6)


@pytest.mark.slow
def test_what_is_measured_is_a_rate_each_and_chance_for_an_untrained_model():
    torch.manual_seed(0)
    scores = recipes.measure_clip(CLIP(recipes.clip_config()), count=100)
    assert set(scores) == {"R@1 of 100", "zero-shot seen", "zero-shot held out"}
    assert all(0 <= score < 0.15 for score in scores.values())
    with pytest.raises(InputError, match="multiple of 100"):
        recipes.measure_clip(CLIP(recipes.clip_config()), count=150)


def test_vision_trains_on_pictures_without_a_held_out_pair(monkeypatch):
    drawn = []
    monkeypatch.setattr(vision_recipes, "sample_scenes", lambda *a: drawn.extend(sample_scenes(*a)) or drawn)
    model, history = vision_recipes.train_vision(40, 3, SHORT)
    assert len(drawn) == 40 and not any(thing.pair in HELD_OUT for scene in drawn for thing in scene.objects)
    assert len(history.losses) == 3 and isinstance(model.trunk, ConvTrunk)


def test_pictures_turned_grey_are_not_asked_for_colour():
    scenes = sample_scenes(6, 1)
    targets = dense_targets(scenes)
    pictures = torch.rand(6, 3, 64, 64)
    shown, wanted = vision_recipes.without_colour(pictures, targets, 2, torch.Generator().manual_seed(0))
    assert (shown[:2, 0] == shown[:2, 1]).all() and (shown[:2, 0] == shown[:2, 2]).all()
    assert torch.equal(shown[2:], pictures[2:])
    assert (wanted.attributes["colour"][:2] == -1).all()
    assert torch.equal(wanted.attributes["colour"][2:], targets.attributes["colour"][2:])
    assert torch.equal(wanted.attributes["shape"], targets.attributes["shape"])
    assert (targets.attributes["colour"][:2] >= 0).any()  # the caller's targets are as they were


def test_measuring_a_detector_that_knows_nothing():
    torch.manual_seed(0)
    scores = vision_recipes.measure_vision(DenseDetector(), count=60)
    assert {"shape", "colour", "size", "material", "held-out shape", "held-out colour"} < set(scores)
    assert scores["shape"] < 0.4 and scores["recall"] < 0.3
    assert len(PAIRS) == 64
