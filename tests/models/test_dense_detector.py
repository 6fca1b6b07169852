import json

import pytest
import torch

from course_lib.data.microworld import COLOURS, SHAPES, Object, Scene, sample_scenes
from course_lib.encoders.vit import ViT, ViTConfig
from course_lib.errors import InputError
from course_lib.models.dense_detector import (
    ATTRIBUTES,
    DenseDetector,
    DenseDetectorConfig,
    DenseOutput,
    dense_targets,
    detection_loss,
    detections,
    generalised_iou_loss,
)


def scene(*objects):
    return Scene(tuple(objects), "plain", 0, 0.0, 0)


RED_STAR = Object("star", "red", "large", "plain", x=0.30, y=0.30, radius=0.2, tilt=0.0)
BLUE_RING = Object("ring", "blue", "small", "shiny", x=0.70, y=0.80, radius=0.13, tilt=0.0)


def perfect(targets):
    """The output that says exactly what the targets say."""
    attributes = {
        name: torch.nn.functional.one_hot(targets.attributes[name].clamp(min=0), len(values)).movedim(-1, 1) * 20.0
        for name, values in ATTRIBUTES.items()
    }
    return DenseOutput(targets.objectness * 40 - 20, attributes, targets.boxes)


def test_it_answers_for_every_cell_and_its_configuration_survives_json():
    model = DenseDetector()
    output = model(torch.zeros(2, 3, 64, 64))
    assert output.objectness.shape == (2, 8, 8)
    assert {name: logits.shape for name, logits in output.attributes.items()} == {
        "shape": (2, 8, 8, 8),
        "colour": (2, 8, 8, 8),
        "size": (2, 2, 8, 8),
        "material": (2, 4, 8, 8),
    }
    assert output.boxes.shape == (2, 8, 8, 4)
    assert (output.boxes[..., 2:] > output.boxes[..., :2]).all()
    assert DenseDetectorConfig.from_dict(model.config.to_dict()) == model.config
    assert sum(parameter.numel() for parameter in model.parameters()) < 200_000


def test_a_vit_as_the_trunk():
    """The same heads on patches; and the trunk's weights are those of a ViT."""
    config = DenseDetectorConfig(ViTConfig(image_size=32, patch_size=8, width=16, layers=1, heads=2, mlp_width=20))
    model = DenseDetector(config).eval()
    pixel_values = torch.randn(2, 3, 32, 32)
    assert model(pixel_values).objectness.shape == (2, 4, 4)
    assert DenseDetectorConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    vit = ViT(config.vision).eval()
    vit.load_state_dict(model.trunk.state_dict())
    patches = vit.forward_features(pixel_values)[:, 1:]
    assert torch.equal(model.trunk(pixel_values)[0, :, 1, 2], patches[0, 4 + 2])


def test_targets_say_what_is_where():
    targets = dense_targets([scene(RED_STAR, BLUE_RING), scene(BLUE_RING)])
    assert targets.objectness.sum(dim=(1, 2)).tolist() == [2, 1]
    for row, cell, thing in ((0, (2, 2), RED_STAR), (0, (6, 5), BLUE_RING), (1, (6, 5), BLUE_RING)):
        assert targets.objectness[row][cell] == 1
        for name, words in ATTRIBUTES.items():
            assert words[targets.attributes[name][row][cell]] == getattr(thing, name)
        torch.testing.assert_close(targets.boxes[row][cell], torch.tensor(thing.box))
    # The neighbour of the large star's cell lies well inside the star and answers for it; a corner answers for nothing.
    assert SHAPES[targets.attributes["shape"][0, 2, 1]] == "star"
    assert targets.attributes["colour"][0, 0, 7] == -1
    assert (targets.attributes["size"][1] >= 0).sum() < 6


def test_every_object_of_many_scenes_has_a_cell_of_its_own():
    scenes = sample_scenes(300, seed=3)
    targets = dense_targets(scenes)
    assert targets.objectness.sum(dim=(1, 2)).tolist() == [len(one.objects) for one in scenes]
    assert (targets.attributes["shape"][targets.objectness > 0] >= 0).all()


def test_what_is_said_perfectly_is_read_back_and_costs_nothing():
    scenes = sample_scenes(100, seed=4)
    targets = dense_targets(scenes)
    output = perfect(targets)
    assert detection_loss(output, targets).item() < 1e-3
    for found, one in zip(detections(output), scenes, strict=True):
        said = {tuple(detection.attributes[name] for name in ATTRIBUTES) for detection in found}
        assert said == {tuple(getattr(thing, name) for name in ATTRIBUTES) for thing in one.objects}
        assert len(found) == len(one.objects)


@pytest.mark.parametrize("part", ["objectness", "shape", "boxes"])
def test_each_part_of_the_loss_notices_what_is_wrong(part):
    targets = dense_targets([scene(RED_STAR, BLUE_RING)])
    wrong = perfect(targets)
    if part == "objectness":
        wrong.objectness = -wrong.objectness
    elif part == "boxes":
        wrong.boxes = wrong.boxes + 0.1
    else:
        wrong.attributes[part] = wrong.attributes[part].roll(1, dims=1)
    assert detection_loss(wrong, targets) > detection_loss(perfect(targets), targets) + 0.3


def test_cells_without_an_object_do_not_count_for_attributes_and_boxes():
    targets = dense_targets([scene(BLUE_RING)])
    output = perfect(targets)
    empty = targets.attributes["shape"] < 0
    output.boxes[empty] = 7.0
    output.attributes["shape"].movedim(1, -1)[empty] = torch.randn(int(empty.sum()), 8)
    assert detection_loss(output, targets).item() < 1e-3


def test_generalised_iou_is_torchvisions():
    from torchvision.ops import generalized_box_iou_loss

    boxes, wanted = (torch.cat([corner, corner + torch.rand(20, 2) + 0.05], dim=1) for corner in torch.rand(2, 20, 2))
    torch.testing.assert_close(
        generalised_iou_loss(boxes, wanted), generalized_box_iou_loss(boxes, wanted, reduction="mean")
    )


def test_neighbouring_cells_are_one_object():
    targets = dense_targets([scene(RED_STAR)])
    output = perfect(targets)
    output.objectness[0, 2, 1] = 5.0
    found = detections(output)[0]
    assert [one.cell for one in found] == [(2, 2)]
    assert found[0].attributes["colour"] in COLOURS and 0.99 < found[0].score <= 1


def test_no_scene_is_refused():
    with pytest.raises(InputError, match="no scene"):
        dense_targets([])
