"""Boxes: how much two overlap, which of many to keep, where to look for them, and what a feature map holds inside one.

A box is left, top, right, bottom; in pixels or as fractions of the picture, as long as all are in the same.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from course_lib.errors import InputError


def box_area(boxes: Tensor) -> Tensor:
    """(..., 4) -> (...): width times height."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def box_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """(N, 4), (M, 4) -> (N, M): the area that two boxes share, over the area that they cover together; 0 to 1.

    Raises:
        InputError: they are no boxes.

    Source: Everingham et al., The PASCAL Visual Object Classes Challenge, equation 5.
    """
    intersection, union = _shared_and_together(boxes, others)
    return intersection / union


def generalised_box_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """(N, 4), (M, 4) -> (N, M): IoU, less the share of the box round both that neither covers; -1 to 1.

    So two boxes that do not meet still know how far apart they are.

    Raises:
        InputError: they are no boxes.

    Source: Rezatofighi et al., Generalized Intersection over Union, algorithm 1.
    """
    intersection, union = _shared_and_together(boxes, others)
    left_top = torch.minimum(boxes[:, None, :2], others[None, :, :2])
    right_bottom = torch.maximum(boxes[:, None, 2:], others[None, :, 2:])
    hull = (right_bottom - left_top).prod(-1)
    return intersection / union - (hull - union) / hull


def nms(boxes: Tensor, scores: Tensor, threshold: float = 0.5) -> Tensor:
    """Non-maximum suppression: of boxes that overlap more than the threshold, the one with the highest score stays.

    Args:
        boxes: (N, 4).
        scores: (N,).
        threshold: greatest IoU at which a box of a lower score is still kept.

    Returns:
        (K,) int64: which are kept, the highest score first.

    Raises:
        InputError: they are no boxes, or not as many scores.

    Source: Girshick et al., Rich Feature Hierarchies (R-CNN), section 2.2.
    """
    if scores.shape != boxes.shape[:1]:
        raise InputError(f"{len(boxes)} boxes and scores {tuple(scores.shape)}: give one score for each box")
    overlap = box_iou(boxes, boxes)
    left = scores.argsort(descending=True, stable=True)
    kept = []
    while len(left):
        best, others = left[0], left[1:]
        kept.append(best)
        left = others[overlap[best, others] <= threshold]
    return torch.stack(kept) if kept else left


def anchors(
    grid: tuple[int, int], stride: int, sizes: Sequence[float] = (32.0,), ratios: Sequence[float] = (0.5, 1.0, 2.0)
) -> Tensor:
    """Boxes to start from: at each cell of a grid one of each size and ratio, from which a network says how to move.

    Args:
        grid: (h, w) of the feature map.
        stride: pixels from one cell to the next; the first cell's anchors are round the picture's corner.
        sizes: square roots of their areas, in pixels.
        ratios: height over width.

    Returns:
        (h · w · sizes · ratios, 4) in pixels: cells row by row; in a cell, for each ratio all sizes.

    Source: Ren et al., Faster R-CNN, section 3.1.1, rounded as torchvision's AnchorGenerator rounds.
    """
    half_heights = torch.tensor([[size * math.sqrt(ratio) / 2 for size in sizes] for ratio in ratios]).flatten()
    half_widths = torch.tensor([[size / math.sqrt(ratio) / 2 for size in sizes] for ratio in ratios]).flatten()
    shapes = torch.stack([-half_widths, -half_heights, half_widths, half_heights], -1).round()
    y, x = torch.meshgrid(torch.arange(grid[0]) * stride, torch.arange(grid[1]) * stride, indexing="ij")
    corners = torch.stack([x, y, x, y], -1).view(-1, 1, 4)
    return (corners + shapes).view(-1, 4)


def encode_boxes(boxes: Tensor, start: Tensor) -> Tensor:
    """How a box differs from the anchor it starts from: (N, 4), (N, 4) -> (N, 4).

    Shift of the centre in widths and heights of the anchor, and logarithms of the ratios of widths and heights: what a
    network regresses, since these do not depend on the anchor's size.

    Source: Girshick et al., Rich Feature Hierarchies (R-CNN), appendix C, equations 6 to 9.
    """
    centre, size = _centre_and_size(boxes)
    start_centre, start_size = _centre_and_size(start)
    return torch.cat([(centre - start_centre) / start_size, (size / start_size).log()], -1)


def decode_boxes(deltas: Tensor, start: Tensor) -> Tensor:
    """The boxes that `encode_boxes` was given: (N, 4), (N, 4) -> (N, 4).

    Source: Girshick et al., Rich Feature Hierarchies (R-CNN), appendix C, equations 1 to 4.
    """
    start_centre, start_size = _centre_and_size(start)
    centre, size = start_centre + deltas[:, :2] * start_size, start_size * deltas[:, 2:].exp()
    return torch.cat([centre - size / 2, centre + size / 2], -1)


def roi_align(
    feature_map: Tensor, boxes: Sequence[Tensor], size: tuple[int, int], scale: float = 1.0, samples: int = 2
) -> Tensor:
    """What a feature map holds inside each box, brought to one size without rounding the box to cells.

    Each box is cut into `size` bins; a bin's value is the mean of samples x samples points of it, each interpolated
    between its four nearest cells. Between two cells along one axis that is a weighted sum, so all points of a box are
    two small matrix products: rows of points from rows of cells, then columns from columns.

    Args:
        feature_map: (B, D, H, W).
        boxes: for each picture (N_b, 4), left, top, right, bottom.
        size: (h, w) of the result.
        scale: what a box's numbers are multiplied by to be cells: 1 / stride for boxes in pixels.
        samples: points a bin and axis.

    Returns:
        (N, D, h, w), N all boxes of all pictures, in order.

    Raises:
        InputError: not as many lists of boxes as pictures, or a size or number of points below 1.

    Source: He et al., Mask R-CNN, section 3 and figure 3; torchvision's `roi_align` with `aligned=True`.
    """
    if len(boxes) != len(feature_map):
        raise InputError(f"{len(feature_map)} pictures, boxes for {len(boxes)}: give a tensor (N, 4) for each picture")
    if min(*size, samples) < 1:
        raise InputError(f"size is {size} and samples {samples}; each should be 1 or more")
    pooled = []
    for picture, own in zip(feature_map, boxes, strict=True):
        for left, top, right, bottom in (own * scale).tolist():
            rows = _points(top, bottom, size[0] * samples, picture.shape[1]).to(picture)
            columns = _points(left, right, size[1] * samples, picture.shape[2]).to(picture)
            points = rows @ picture @ columns.T  # (D, h · samples, w · samples)
            pooled.append(points.unflatten(1, (size[0], samples)).unflatten(3, (size[1], samples)).mean((2, 4)))
    return torch.stack(pooled) if pooled else feature_map.new_zeros(0, feature_map.shape[1], *size)


def _points(low: float, high: float, count: int, cells: int) -> Tensor:
    """(count, cells): how much each of `cells` counts at each of `count` points spread over low to high.

    A cell's value stands at its middle, half a cell in. Beyond the middles of the first and last cell their values go
    on, for one cell; farther out is nothing.
    """
    place = low + (torch.arange(count, dtype=torch.float64) + 0.5) / count * (high - low) - 0.5
    outside = (place < -1) | (place > cells)
    distance = (place.clamp(0, cells - 1)[:, None] - torch.arange(cells)).abs()
    return (1 - distance).clamp(min=0).masked_fill(outside[:, None], 0.0)


def _shared_and_together(boxes: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Areas of intersection and union, (N, M) each."""
    for given in (boxes, others):
        if given.ndim != 2 or given.shape[-1] != 4:
            raise InputError(f"the boxes are {tuple(given.shape)}; they should be (N, 4): left, top, right, bottom")
    left_top = torch.maximum(boxes[:, None, :2], others[None, :, :2])
    right_bottom = torch.minimum(boxes[:, None, 2:], others[None, :, 2:])
    intersection = (right_bottom - left_top).clamp(min=0).prod(-1)
    return intersection, box_area(boxes)[:, None] + box_area(others)[None, :] - intersection


def _centre_and_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    return (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
