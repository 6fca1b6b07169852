"""Boxes: equal to torchvision's, and what they mean."""

import pytest
import torch
import torchvision
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from course_lib.errors import InputError
from course_lib.layers.boxes import (
    anchors,
    box_area,
    box_iou,
    decode_boxes,
    encode_boxes,
    generalised_box_iou,
    nms,
    roi_align,
)


def some(count: int, seed: int = 0, side: float = 20.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, 2, generator=generator) * side
    return torch.cat([corners.amin(1), corners.amax(1) + 0.1], -1)


def test_overlaps_are_torchvisions():
    boxes, others = some(30), some(20, seed=1)
    torch.testing.assert_close(box_area(boxes), torchvision.ops.box_area(boxes))
    torch.testing.assert_close(box_iou(boxes, others), torchvision.ops.box_iou(boxes, others))
    torch.testing.assert_close(
        generalised_box_iou(boxes, others), torchvision.ops.generalized_box_iou(boxes, others), atol=1e-6, rtol=0
    )


def test_what_overlap_means():
    one = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    half = torch.tensor([[0.0, 0.0, 2.0, 1.0], [1.0, 0.0, 3.0, 2.0], [4.0, 0.0, 6.0, 2.0]])
    assert box_iou(one, half)[0].tolist() == pytest.approx([1 / 2, 1 / 3, 0])
    assert generalised_box_iou(one, half)[0].tolist() == pytest.approx([1 / 2, 1 / 3, -1 / 3])


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.0])
def test_nms_is_torchvisions(threshold):
    for seed in range(5):
        boxes, scores = some(60, seed), torch.rand(60, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(nms(boxes, scores, threshold), torchvision.ops.nms(boxes, scores, threshold))
    assert nms(torch.zeros(0, 4), torch.zeros(0)).shape == (0,)


def test_anchors_are_torchvisions():
    sizes, ratios = (8.0, 20.0), (0.5, 1.0, 2.0)
    generator = AnchorGenerator((sizes,), (ratios,))
    pictures = ImageList(torch.zeros(1, 3, 32, 48), [(32, 48)])
    (wanted,) = generator(pictures, [torch.zeros(1, 8, 4, 6)])
    assert torch.equal(anchors((4, 6), 8, sizes, ratios), wanted)


def test_deltas_are_torchvisions_and_undone():
    boxes, start = some(12), some(12, seed=1)
    coder = BoxCoder((1.0, 1.0, 1.0, 1.0))
    deltas = encode_boxes(boxes, start)
    torch.testing.assert_close(deltas, coder.encode_single(boxes, start), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(decode_boxes(deltas, start), boxes, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("size", "samples", "scale"), [((7, 7), 2, 1.0), ((3, 5), 1, 0.25), ((1, 1), 3, 0.5)])
def test_roi_align_is_torchvisions(size, samples, scale):
    torch.manual_seed(0)
    feature_map = torch.randn(2, 5, 9, 13)
    boxes = [some(7, side=20 / scale) - 3 / scale, some(4, seed=1, side=12 / scale)]
    wanted = torchvision.ops.roi_align(feature_map, boxes, size, scale, samples, aligned=True)
    torch.testing.assert_close(roi_align(feature_map, boxes, size, scale, samples), wanted, atol=1e-5, rtol=0)
    assert roi_align(feature_map, [torch.zeros(0, 4)] * 2, size).shape == (0, 5, *size)


def test_roi_align_reads_between_the_cells():
    """On a ramp the value of a bin is the place of its middle, wherever the box lies."""
    ramp = (torch.arange(10.0) + 0.5).expand(1, 1, 10, 10)
    (pooled,) = roi_align(ramp, [torch.tensor([[2.3, 1.0, 6.3, 5.0]])], (2, 4))
    assert pooled[0, 0].tolist() == pytest.approx([2.8, 3.8, 4.8, 5.8], abs=1e-5)


def test_gradients_reach_the_map():
    feature_map = torch.randn(1, 2, 6, 6, requires_grad=True)
    roi_align(feature_map, [torch.tensor([[1.0, 1.0, 4.0, 5.0]])], (2, 2)).sum().backward()
    assert feature_map.grad[0, :, 2, 2].abs().min() > 0 and feature_map.grad[0, :, 5, 5].abs().max() == 0


def test_bad_input():
    with pytest.raises(InputError, match=r"the boxes are \(4,\); they should be \(N, 4\)"):
        box_iou(torch.zeros(4), some(2))
    with pytest.raises(InputError, match=r"3 boxes and scores \(2,\)"):
        nms(some(3), torch.zeros(2))
    with pytest.raises(InputError, match="2 pictures, boxes for 1"):
        roi_align(torch.zeros(2, 1, 4, 4), [some(1)], (2, 2))
    with pytest.raises(InputError, match=r"size is \(0, 2\)"):
        roi_align(torch.zeros(1, 1, 4, 4), [some(1)], (0, 2))
