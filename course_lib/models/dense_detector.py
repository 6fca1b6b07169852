"""A densely supervised vision backbone: every cell of a grid says whether an object is there, which, and where.

One question about the whole picture teaches its colours quickly and its shapes slowly; a question in every cell teaches
both. So the course trains this network once, and later lessons start from its trunk.

Source: one-stage detection on a grid, Redmon et al., You Only Look Once, section 2; attributes beside the object's box
as in Anderson et al., Bottom-Up and Top-Down Attention, section 3.1; box edges as distances from the cell as in Tian et
al., FCOS, section 3.1, with the loss of Rezatofighi et al., Generalized Intersection over Union, algorithm 1.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.data.microworld.world import COLOURS, MATERIALS, SHAPES, SIZES, Scene, table
from course_lib.encoders.convnet import ConvNetConfig, ConvTrunk
from course_lib.encoders.vit import ViTConfig, ViTTrunk
from course_lib.errors import InputError

ATTRIBUTES = {"shape": SHAPES, "colour": COLOURS, "size": SIZES, "material": MATERIALS}


@dataclass(frozen=True)
class DenseDetectorConfig:
    """The trunk, a convolutional one or a ViT, and how many values each attribute of an object can take."""

    vision: ConvNetConfig | ViTConfig = field(
        default_factory=lambda: ConvNetConfig(channels=(24, 48, 48, 96, 96), strides=(2, 2, 1, 2, 1))
    )
    attributes: tuple[tuple[str, int], ...] = tuple((name, len(values)) for name, values in ATTRIBUTES.items())

    def to_dict(self) -> dict:
        """The configuration as JSON can hold it; `from_dict` makes it again."""
        kind = {"encoder": "vit"} if isinstance(self.vision, ViTConfig) else {}
        return asdict(self) | {"vision": kind | asdict(self.vision)}

    @classmethod
    def from_dict(cls, values: dict) -> "DenseDetectorConfig":
        """The configuration that `to_dict` wrote."""
        vision = {name: tuple(value) if isinstance(value, list) else value for name, value in values["vision"].items()}
        kind = ViTConfig if vision.pop("encoder", "convnet") == "vit" else ConvNetConfig
        return cls(kind(**vision), tuple((name, count) for name, count in values["attributes"]))


@dataclass
class DenseOutput:
    """What each cell of an `(h, w)` grid says of B pictures.

    objectness (B, h, w): logit that an object's centre lies in the cell; attributes: name -> (B, values, h, w) logits;
    boxes (B, h, w, 4): left, top, right, bottom as fractions of the picture's side.
    """

    objectness: Tensor
    attributes: dict[str, Tensor]
    boxes: Tensor


@dataclass
class DenseTargets:
    """What the cells should say.

    objectness (B, h, w): 1 where an object's centre is; attributes: name -> (B, h, w) int64, -1 where the cell answers
    for no object; boxes (B, h, w, 4), meaningful where it answers for one.
    """

    objectness: Tensor
    attributes: dict[str, Tensor]
    boxes: Tensor

    def __getitem__(self, rows: Tensor) -> "DenseTargets":
        """Some of the pictures."""
        attributes = {name: values[rows] for name, values in self.attributes.items()}
        return DenseTargets(self.objectness[rows], attributes, self.boxes[rows])

    def to(self, device: torch.device) -> "DenseTargets":
        """On a device."""
        attributes = {name: values.to(device) for name, values in self.attributes.items()}
        return DenseTargets(self.objectness.to(device), attributes, self.boxes.to(device))


class DenseDetector(nn.Module):
    """Convolutions, or a ViT, and on each place of what they give three linear heads."""

    def forward(self, pixel_values: Tensor) -> DenseOutput:
        """(B, 3, H, W) -> what every cell says.

        Raises:
            InputError: the pictures are not of the configured size, or none is given.
        """
        return self.heads(self.trunk(pixel_values))

    def heads(self, feature_map: Tensor) -> DenseOutput:
        """(B, D, h, w) -> what every cell says."""
        objectness = self.objectness(feature_map)[:, 0]
        attributes = dict(zip(self.names, self.attributes(feature_map).split(self.counts, dim=1), strict=True))
        # Distances from the cell's centre to the four edges are positive; softplus keeps them so.
        left, top, right, bottom = F.softplus(self.box(feature_map)).unbind(1)
        x, y = self.centres(feature_map)
        return DenseOutput(objectness, attributes, torch.stack([x - left, y - top, x + right, y + bottom], dim=-1))

    def __init__(self, config: DenseDetectorConfig | None = None):
        super().__init__()
        self.config = config = config or DenseDetectorConfig()
        self.names, self.counts = zip(*config.attributes, strict=True)
        self.trunk = ViTTrunk(config.vision) if isinstance(config.vision, ViTConfig) else ConvTrunk(config.vision)
        self.objectness = nn.Conv2d(config.vision.width, 1, 1)
        self.attributes = nn.Conv2d(config.vision.width, sum(self.counts), 1)
        self.box = nn.Conv2d(config.vision.width, 4, 1)
        nn.init.constant_(self.objectness.bias, -3.0)  # few cells hold a centre
        nn.init.constant_(self.box.bias, -1.6)  # a fifth of the picture to each side

    @staticmethod
    def centres(feature_map: Tensor) -> tuple[Tensor, Tensor]:
        """x (1, w) and y (h, 1) of the cells' centres, as fractions of the picture's side."""
        height, width = feature_map.shape[-2:]
        x = (torch.arange(width, device=feature_map.device, dtype=feature_map.dtype) + 0.5) / width
        y = (torch.arange(height, device=feature_map.device, dtype=feature_map.dtype) + 0.5) / height
        return x[None, :], y[:, None]


def dense_targets(scenes: Sequence[Scene], grid: tuple[int, int] = (8, 8)) -> DenseTargets:
    """What each cell of a grid should say of each scene.

    The cell that holds an object's centre, and every cell whose own centre is nearer to it than 0.8 of its radius,
    answer for the object; where objects meet, for the nearer one.

    Args:
        scenes: N of them.
        grid: (h, w).

    Raises:
        InputError: there is no scene.
    """
    if not scenes:
        raise InputError("there is no scene to make targets of: give at least one")
    height, width = grid
    drawn = table(scenes)
    values = torch.from_numpy(drawn.attributes)  # (N, K, 4), in the order of ATTRIBUTES
    x, y, radius, _ = torch.from_numpy(drawn.place / 1000).float().unbind(-1)  # (N, K) each
    unused = torch.arange(x.shape[1]) >= torch.from_numpy(drawn.count)[:, None]
    boxes = torch.zeros(*x.shape, 4)
    boxes[~unused] = torch.tensor([thing.box for scene in scenes for thing in scene.objects])

    across, down = torch.arange(width), torch.arange(height)
    dx = (across + 0.5) / width - x[..., None]
    dy = (down + 0.5) / height - y[..., None]
    distance = torch.hypot(dx[:, :, None, :], dy[:, :, :, None])  # (N, K, h, w), from each cell's centre
    own = (across == (x * width).long()[..., None])[:, :, None, :] & (down == (y * height).long()[..., None])[..., None]
    own &= ~unused[..., None, None]
    distance = distance.masked_fill(own, 0.0).masked_fill(unused[..., None, None], torch.inf)
    nearest, which = distance.min(dim=1)  # (N, h, w)
    row = torch.arange(len(scenes))[:, None, None]
    covered = nearest < 0.8 * radius[row, which]
    attributes = {name: torch.where(covered, values[row, which, k], -1) for k, name in enumerate(ATTRIBUTES)}
    return DenseTargets(own.any(dim=1).float(), attributes, boxes[row, which])


def detection_loss(output: DenseOutput, targets: DenseTargets) -> Tensor:
    """Binary cross-entropy of the centres + cross-entropy of the attributes + L1 and generalised IoU of the boxes.

    Attributes and boxes count in the cells that an object covers, centres everywhere.
    """
    centre = F.binary_cross_entropy_with_logits(
        output.objectness, targets.objectness, pos_weight=output.objectness.new_tensor(4.0)
    )
    attribute = sum(
        F.cross_entropy(output.attributes[name], target, ignore_index=-1) for name, target in targets.attributes.items()
    )
    covered = next(iter(targets.attributes.values())) >= 0
    boxes, wanted = output.boxes[covered], targets.boxes[covered]
    return 2 * centre + attribute + 5 * F.l1_loss(boxes, wanted) + generalised_iou_loss(boxes, wanted)


def generalised_iou_loss(boxes: Tensor, wanted: Tensor) -> Tensor:
    """1 - generalised IoU, averaged over pairs of boxes (N, 4): left, top, right, bottom."""
    inside = (torch.minimum(boxes[:, 2:], wanted[:, 2:]) - torch.maximum(boxes[:, :2], wanted[:, :2])).clamp(min=0)
    around = torch.maximum(boxes[:, 2:], wanted[:, 2:]) - torch.minimum(boxes[:, :2], wanted[:, :2])
    intersection, hull = inside.prod(dim=1), around.prod(dim=1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1) + (wanted[:, 2:] - wanted[:, :2]).prod(dim=1) - intersection
    return (1 - intersection / union + (hull - union) / hull).mean()


@dataclass
class Detection:
    """One object found in a picture.

    score: probability of an object, 0 to 1; box: left, top, right, bottom as fractions of the picture's side;
    attributes: name -> word, as the microworld calls it; cell: (row, column) of the grid.
    """

    score: float
    box: tuple[float, float, float, float]
    attributes: dict[str, str]
    cell: tuple[int, int]


def detections(output: DenseOutput, threshold: float = 0.5) -> list[list[Detection]]:
    """The objects of each picture, the surest first.

    A cell speaks for an object if it is surer than its eight neighbours: centres of the microworld's objects are
    farther apart than that, so an object found twice is found in neighbouring cells.

    Args:
        output: of a `DenseDetector` whose attributes are the microworld's.
        threshold: probability below which a cell is taken to be empty.

    Source: peaks in the place of box suppression, Zhou et al., Objects as Points, section 4.
    """
    score = output.objectness.detach().sigmoid()
    peak = (score == F.max_pool2d(score[:, None], 3, stride=1, padding=1)[:, 0]) & (score >= threshold)
    best = {name: logits.detach().argmax(dim=1) for name, logits in output.attributes.items()}
    found: list[list[Detection]] = [[] for _ in score]
    for row, down, across in peak.nonzero().tolist():
        words = {name: ATTRIBUTES[name][int(values[row, down, across])] for name, values in best.items()}
        box = tuple(output.boxes[row, down, across].tolist())
        found[row].append(Detection(score[row, down, across].item(), box, words, (down, across)))
    return [sorted(picture, key=lambda one: -one.score) for picture in found]
