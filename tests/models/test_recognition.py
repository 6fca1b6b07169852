"""Recognising the one object of a picture: data, training from scratch, a probe on the vision checkpoint."""

import dataclasses

import pytest
import torch

from course_lib.data.microworld import HELD_OUT
from course_lib.encoders.resnet import ResNet, ResNetConfig
from course_lib.errors import InputError
from course_lib.models.dense_detector import DenseDetector
from course_lib.models.recipes.recognition import (
    RECOGNITION,
    PooledTrunk,
    embed,
    measure_recognition,
    probe_recognition,
    recognition_examples,
    train_recognition,
)
from course_lib.pretrained import course

SHORT = dataclasses.replace(RECOGNITION, steps=15, warmup_steps=2, batch_size=16)


def test_examples_are_what_is_asked_of():
    pairs, shapes = recognition_examples(20, size=32), recognition_examples(20, of="shape", size=32)
    assert pairs.pictures.shape == (20, 32, 32, 3) and len(pairs) == 20 and torch.equal(pairs.pictures, shapes.pictures)
    assert len(pairs.classes) == 64 and len(shapes.classes) == 8
    for pair, shape in zip(pairs.labels, shapes.labels, strict=True):
        assert pairs.classes[pair].endswith(" " + shapes.classes[shape])
    assert torch.equal(pairs.first(5).labels, pairs.labels[:5]) and len(pairs.first(5).pictures) == 5
    never = {" ".join(pair) for pair in HELD_OUT}
    assert not never & {pairs.classes[label] for label in pairs.labels}
    held_out = recognition_examples(8, split="held_out", size=32)
    assert {held_out.classes[label] for label in held_out.labels} <= never
    with pytest.raises(InputError, match="there is no attribute 'weight'; there are pair, shape"):
        recognition_examples(1, of="weight")


def test_training_is_repeatable_and_leaves_frozen_parts_alone():
    examples = recognition_examples(40, of="colour", size=16)
    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        encoder = ResNet(ResNetConfig((1, 1), width=4, stem_kernel=3, stem_stride=1, stem_pool=False))
        encoder.stem.requires_grad_(False)
        stem = encoder.stem.weight.clone()
        model, history = train_recognition(encoder, examples, SHORT, seed=3)
        assert torch.equal(model.encoder.stem.weight, stem)
        runs.append(history.losses)
    assert runs[0] == runs[1] and runs[0][-1] < runs[0][0]
    assert embed(model.encoder, examples).shape == (40, model.encoder.width)


def test_a_probe_on_the_vision_checkpoint():
    """A few hundred labels suffice to read shapes from what the backbone sees (chance: 1 in 8)."""
    model = DenseDetector()
    model.load_state_dict(course.load("vision")[1])
    before = {name: value.clone() for name, value in model.trunk.state_dict().items()}
    classifier = probe_recognition(PooledTrunk(model.trunk), recognition_examples(200, of="shape"))
    assert measure_recognition(classifier, recognition_examples(150, 5, "test", "shape")) >= 0.9
    assert all(torch.equal(value, before[name]) for name, value in model.trunk.state_dict().items())
