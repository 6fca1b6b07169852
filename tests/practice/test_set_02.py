"""Exercise set 02: its references are torch's, torchvision's and transformers' own, and what it calls right is true."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.resnet import BasicBlock
from torchvision.transforms.v2.functional import normalize
from transformers import SwinConfig, ViTConfig
from transformers.models.swin.modeling_swin import SwinLayer, window_partition
from transformers.models.vit.modeling_vit import ViTEmbeddings

from course_lib.practice.asking import ask
from course_lib.practice.exercise import exercise, held_back
from course_lib.practice.lesson_02 import answers
from course_lib.practice.lesson_02.exercises import (
    CLASSES,
    IMAGENET_MEAN,
    IMAGENET_STD,
    WIDTH,
    ResidualBlock,
    ViTEmbedding,
    block_case,
    bytes_of,
    held_back_accuracy,
    normal,
    probe_case,
)
from course_lib.practice.lesson_02.figures import confused_colours, three_ways, two_depths

PROBE = exercise("02.6")


def test_pixel_values_are_torchvisions():
    images = bytes_of(1, 2, 5, 4, 3)
    theirs = normalize(images.permute(0, 3, 1, 2) / 255, IMAGENET_MEAN, IMAGENET_STD)
    for ours in (exercise("02.1").reference, answers.pixels):
        torch.testing.assert_close(ours(images, torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)), theirs)


@pytest.mark.parametrize(("sizes", "out_channels", "stride"), [((2, 4, 6, 6), 4, 1), ((2, 3, 7, 5), 6, 2)])
def test_the_block_asked_for_is_torchvisions(sizes, out_channels, stride):
    case = block_case(3, "", sizes, out_channels, stride)
    downsample = None
    if stride > 1:
        convolution = nn.Conv2d(sizes[1], out_channels, 1, stride, bias=False)
        downsample = nn.Sequential(convolution, nn.BatchNorm2d(out_channels))
    theirs = BasicBlock(sizes[1], out_channels, stride, downsample).eval()
    theirs.load_state_dict(case.state)
    for kind in (ResidualBlock, answers.Block):
        ours = kind(**case.construct).eval()
        ours.load_state_dict(case.state)
        with torch.no_grad():
            torch.testing.assert_close(ours(**case.inputs), theirs(*case.inputs.values()))


def test_the_embedding_asked_for_is_that_of_transformers():
    theirs = ViTEmbeddings(ViTConfig(hidden_size=12, image_size=(8, 12), patch_size=4, num_channels=3)).eval()
    for number, weight in enumerate(theirs.parameters()):
        weight.data = normal(number, *weight.shape)
    pixels = normal(9, 2, 3, 8, 12)
    projection = theirs.patch_embeddings.projection
    state = {
        "projection.weight": projection.weight.flatten(1), "projection.bias": projection.bias,
        "class_token": theirs.cls_token, "position_embedding": theirs.position_embeddings,
    }  # fmt: skip
    for kind in (ViTEmbedding, answers.Embedding):
        ours = kind((8, 12), 4, 3, 12)
        ours.load_state_dict(state)
        with torch.no_grad():
            torch.testing.assert_close(ours(pixels), theirs(pixels))


@pytest.mark.parametrize(("height", "width", "size", "shift"), [(4, 4, 2, 1), (6, 9, 3, 1), (8, 4, 4, 2)])
def test_windows_and_mask_are_those_of_transformers(height, width, size, shift):
    x = normal(5, 2, height, width, 3)
    config = SwinConfig(window_size=size)
    layer = SwinLayer(config, 3, (4 * height, 4 * width), 1, shift_size=shift)
    layer.shift_size = shift  # the published layer gives it up where the map is a single window
    theirs = layer.get_attn_mask(height, width, torch.float32, x.device)
    cut = window_partition(x.roll((-shift, -shift), (1, 2)), size).flatten(1, 2)
    for answer in (exercise("02.7").reference, answers.shifting):
        windows, mask = answer(x, size, shift)
        assert torch.equal(mask, theirs == 0)
        assert torch.equal(windows.flatten(0, 1), cut)


def test_the_threshold_of_the_probe_leaves_room_on_ten_seeds():
    scores = {answers.probe: [], answers.probe_without_penalty: [], answers.probe_not_standardised: []}
    nothing = []
    for seed in range(10):
        case = probe_case(5_000 + seed, "")
        for answer, found in scores.items():
            found.append(held_back_accuracy(case, ask(answer, PROBE.question(case)).value))
        nothing.append(held_back_accuracy(case, torch.zeros(WIDTH, CLASSES)))
    measure = PROBE.measure
    assert min(scores[answers.probe]) > measure.at_least + 0.04
    assert max(scores[answers.probe_without_penalty]) < measure.at_least - 0.04
    assert max(scores[answers.probe_not_standardised]) < measure.at_least - 0.04
    assert measure.baseline == pytest.approx(sum(scores[answers.probe_not_standardised]) / 10, abs=0.05)
    assert measure.chance == pytest.approx(sum(nothing) / 10, abs=0.001)


def test_the_probe_sees_none_of_the_held_back_pictures():
    for case in (*PROBE.cases(0), *held_back(PROBE, 0)):
        assert set(PROBE.question(case).inputs) == {
            "features", "labels", "validation_features", "validation_labels", "penalties",
        }  # fmt: skip
        scale = case.inputs["features"].std(dim=0)
        seen = torch.cat([case.inputs["features"], case.inputs["validation_features"]]) / scale
        assert torch.cdist(case.hidden["features"] / scale, seen).min() > 0.1


def field_of(layers, side=64):
    """How many pixels a side have any influence on a cell in the middle: measured by the derivative."""
    x = torch.zeros(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    y = x
    for kind, kernel, stride in layers:
        if kind == "pool":  # a mean reaches the pixels that a maximum may choose from
            y = F.avg_pool2d(y, kernel, stride)
        else:
            y = F.conv2d(y, torch.ones(1, 1, kernel, kernel, dtype=torch.float64), stride=stride, padding=kernel // 2)
    middle = y.shape[-1] // 2
    y[0, 0, middle, middle].backward()
    return int((x.grad[0, 0].abs().sum(dim=0) > 0).sum())


def test_the_choices_about_sizes_are_true():
    layers = [("conv", 3, 1), ("conv", 3, 2), ("conv", 3, 1), ("pool", 2, 2), ("conv", 3, 1)]
    offered = {"a": 10, "b": 13, "c": 19, "d": 23}
    assert offered[exercise("02.3").reference["field"]] == field_of(layers)
    assert offered["b"] == field_of([layer for layer in layers if layer[0] != "pool"])
    assert (448 // 16) ** 4 / (224 // 16) ** 4 == 16


@pytest.mark.slow
def test_the_three_ways_are_who_the_exercise_says():
    examples, accuracies = three_ways()
    probe, tuned, scratch = (accuracies[name] for name in "ABC")
    assert examples[0] == 64 and examples[-1] == 4096
    assert scratch[0] + 0.05 < min(probe[0], tuned[0]) and probe[0] > tuned[0]
    assert probe[-1] < scratch[-1] - 0.2 and probe[-1] - probe[1] < 0.1
    assert tuned[-1] > scratch[-1] - 0.02 and tuned[1] > max(probe[1], scratch[1]) + 0.05


@pytest.mark.slow
def test_colours_are_confused_by_the_channels_alone():
    confusion, names, shapes = confused_colours()
    said = {name: dict(zip(names, row.tolist(), strict=True)) for name, row in zip(names, confusion, strict=True)}
    assert shapes > 0.97
    assert said["orange"]["blue"] > 0.95 and said["blue"]["orange"] + said["blue"]["red"] > 0.95
    assert said["black"]["black"] > 0.95 and said["red"]["red"] < 0.05


@pytest.mark.slow
def test_the_deep_plain_network_fails_in_training():
    losses = two_depths()
    assert min(losses["plain"]) > 0.8 and losses["with shortcuts"][-1] < 0.05
