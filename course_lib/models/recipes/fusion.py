"""How lesson 04 asks all fusions the same questions, trains them, and takes one ingredient after the other away.

    data = question_data()                            # questions about pictures a frozen detector has looked at
    model, history = train_fusion("pointers", data)
    accuracy_by_type(model, question_data(2000, seed=5, split="test"))

The vision checkpoint sees each picture once and never learns: what differs between two runs is the fusion, or the one
ingredient that was taken away.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import batched_nms

from course_lib.data.microworld import (
    ANSWERS,
    MOST_OBJECTS,
    QUESTION_TYPES,
    Scene,
    balanced_questions,
    render,
    sample_scenes,
)
from course_lib.errors import InputError
from course_lib.evaluation.embedding import measuring
from course_lib.layers.fusion import CompactBilinear, ConcatFusion, LowRankBilinear, ProductFusion, SumFusion
from course_lib.models.dense_detector import DenseDetector
from course_lib.models.fusion import (
    CoAttentionVQA,
    CrossAttentionVQA,
    FiLMVQA,
    FusionConfig,
    GatedCrossAttentionVQA,
    JointTransformerVQA,
    LateVQA,
    PooledVQA,
    SignedRoot,
)
from course_lib.models.pointer_vqa import PointerVQA
from course_lib.models.recipes.inputs import OnStep, pixel_values, word_tokenizer
from course_lib.pretrained import course
from course_lib.runtime import one_thread, seed_everything
from course_lib.training.loop import History, TrainingConfig, train

REGIONS = MOST_OBJECTS + 1  # of each picture: one more than there can be objects
SURE, OVERLAP = 0.15, 0.35  # a cell speaks from this certainty on; of boxes that overlap more, one is kept
ROUNDS = 4  # of raw questions about a scene: relations are drawn anew in each, and the more the better
# Shares of a batch: relations are few among the questions that can be asked, and hard.
MIX = {"spatial": 0.22, "comparison": 0.38}
CONFIG = FusionConfig(word_tokenizer().vocab_size, len(ANSWERS))
# As wide as `FULL` needs it to be for all types of question at once.
WIDE = replace(CONFIG, width=96)

# Every fusion of the lesson, by the name under which its table lists it.
FUSIONS: dict[str, Callable[[FusionConfig], nn.Module]] = {
    "late": LateVQA,
    "concat": lambda c: PooledVQA(c, ConcatFusion(c.width, c.width, c.hidden), c.hidden),
    "sum": lambda c: PooledVQA(c, SumFusion(c.width, c.width, c.hidden), c.hidden),
    "product": lambda c: PooledVQA(c, ProductFusion(c.width, c.width, c.hidden), c.hidden),
    "MCB": lambda c: PooledVQA(c, SignedRoot(CompactBilinear(c.width, c.width, 4 * c.hidden)), 4 * c.hidden),
    "low-rank": lambda c: PooledVQA(c, SignedRoot(LowRankBilinear(c.width, c.width, c.hidden)), c.hidden),
    "FiLM": FiLMVQA,
    "cross-attention": CrossAttentionVQA,
    "co-attention": CoAttentionVQA,
    "gated cross-attention": GatedCrossAttentionVQA,
    "joint transformer": JointTransformerVQA,
    "pointers": PointerVQA,
}


@dataclass(frozen=True)
class QuestionData:
    """Questions about pictures.

    regions (N, R, 100): of each picture what the detector's trunk says at up to R objects, 96 numbers, then x, y, size
    and certainty, each with mean 0 and variance 1; region_mask (N, R): where there is one.
    scene (Q,): which picture a question is about; input_ids (Q, T), 0 where there is no word; answers (Q,), places in
    `ANSWERS`; types (Q,), places in `QUESTION_TYPES`.
    """

    regions: Tensor
    region_mask: Tensor
    scene: Tensor
    input_ids: Tensor
    answers: Tensor
    types: Tensor

    def __len__(self) -> int:
        return len(self.answers)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What a model wants of some questions: regions (B, R, 100), region_mask (B, R), input_ids (B, T)."""
        scene = self.scene[rows]
        return self.regions[scene], self.region_mask[scene], self.input_ids[rows]

    def of_type(self, *types: str) -> "QuestionData":
        """The questions of some types.

        Raises:
            InputError: there is no such type, or no such question.
        """
        if wrong := [kind for kind in types if kind not in QUESTION_TYPES]:
            raise InputError(f"there is no type of question {wrong[0]!r}; there are {', '.join(QUESTION_TYPES)}")
        wanted = torch.isin(self.types, torch.tensor([QUESTION_TYPES.index(kind) for kind in types]))
        if not wanted.any():
            raise InputError(f"no question is of type {' or '.join(types)}; draw more scenes")
        rows = wanted.nonzero()[:, 0]
        return replace(
            self, scene=self.scene[rows], input_ids=self.input_ids[rows], answers=self.answers[rows],
            types=self.types[rows],
        )  # fmt: skip

    def texts(self, rows: Sequence[int] | Tensor) -> list[str]:
        """Some questions in words."""
        words = word_tokenizer().pieces
        return [" ".join(words[i] for i in self.input_ids[int(row)].tolist() if i) for row in rows]


def question_data(
    count: int = 16_000,
    seed: int = 1,
    split: str = "train",
    types: Sequence[str] = QUESTION_TYPES,
    objects: tuple[int, int] = (1, MOST_OBJECTS),
) -> QuestionData:
    """Balanced questions about `count` scenes: of every text, no answer is right more than half the time.

    About 15 a scene of all types. 16,000 scenes take about 25 seconds on one core, most of it to see them.

    Args:
        count: scenes.
        seed: of the scenes.
        split: "train", "validation", "test" or "held_out".
        types: which of `QUESTION_TYPES` to ask.
        objects: fewest and most objects of a scene.

    Raises:
        InputError: no question of these types can be asked about these scenes.
    """
    return asked_about(sample_scenes(count, seed, split, *objects), types)


def asked_about(scenes: Sequence[Scene], types: Sequence[str] = QUESTION_TYPES) -> QuestionData:
    """Balanced questions about given scenes; see `question_data`."""
    asked = balanced_questions(scenes, ROUNDS, types)
    if not asked:
        raise InputError(f"{len(scenes)} scenes give no balanced question of type {' or '.join(types)}; give more")
    regions, region_mask = seen_regions(render(scenes))
    tokenizer = word_tokenizer()
    words = [tokenizer.encode(one.question.text) for one in asked]
    input_ids = nn.utils.rnn.pad_sequence([torch.tensor(ids) for ids in words], batch_first=True)
    return QuestionData(
        regions,
        region_mask,
        torch.tensor([one.scene for one in asked]),
        input_ids,
        torch.tensor([ANSWERS.index(one.question.answer) for one in asked]),
        torch.tensor([QUESTION_TYPES.index(one.question.type) for one in asked]),
    )


def seen_regions(pictures) -> tuple[Tensor, Tensor]:
    """What a frozen detector sees in pictures uint8 (N, 64, 64, 3): regions (N, R, 100) and region_mask (N, R).

    The regions stand in the order of certainty, and are standardised by what 1,000 training pictures have in them.
    """
    mean, deviation = standard()
    regions, region_mask = raw_regions(pictures)
    return (regions - mean) / deviation * region_mask[..., None], region_mask


@lru_cache(maxsize=1)
def standard() -> tuple[Tensor, Tensor]:
    """Mean (100) and standard deviation (100) of the regions of 1,000 training pictures."""
    regions, region_mask = raw_regions(render(sample_scenes(1000, 0, "train")))
    return regions[region_mask].mean(0), regions[region_mask].std(0) + 1e-3


@lru_cache(maxsize=1)
def detector() -> DenseDetector:
    """The course's vision checkpoint."""
    config, state, _ = course.load("vision")
    model = DenseDetector(type(DenseDetector().config).from_dict(config))
    model.load_state_dict(state)
    return model.eval().requires_grad_(False)


def raw_regions(pictures) -> tuple[Tensor, Tensor]:
    """Regions (N, R, 100) as the detector gives them, and region_mask (N, R).

    The cells that are sure of an object, without those whose box a surer one covers: of a thousand test pictures, 999
    have as many left as they have objects.
    """
    parts = [_regions_of(part) for part in torch.as_tensor(pictures).split(500)]
    return torch.cat([regions for regions, _ in parts]), torch.cat([mask for _, mask in parts])


def _regions_of(pictures: Tensor) -> tuple[Tensor, Tensor]:
    with measuring(model := detector()):
        features = model.trunk(pixel_values(pictures))
        output = model.heads(features)
    score = output.objectness.sigmoid()
    # A picture in which nothing is sure shows at least its surest cell.
    sure = (score >= SURE) | (score == score.amax((1, 2), keepdim=True))
    picture, row, column = sure.nonzero(as_tuple=True)
    kept = batched_nms(output.boxes[picture, row, column], score[picture, row, column], picture, OVERLAP)
    kept = kept[picture[kept].argsort(stable=True)]  # picture by picture, in each the surest first
    picture, row, column = picture[kept], row[kept], column[kept]
    place = torch.arange(len(picture)) - torch.searchsorted(picture, picture)
    picture, row, column, place = (one[place < REGIONS] for one in (picture, row, column, place))
    left, top, right, bottom = output.boxes[picture, row, column].unbind(-1)
    box = [(left + right) / 2, (top + bottom) / 2, (right - left + bottom - top) / 2, score[picture, row, column]]
    regions = features.new_zeros(len(pictures), REGIONS, features.shape[1] + len(box))
    regions[picture, place] = torch.cat([features[picture, :, row, column], torch.stack(box, -1)], -1)
    mask = torch.zeros(regions.shape[:2], dtype=torch.bool)
    mask[picture, place] = True
    return regions, mask


# The full task: all types of question about scenes of 1 to 4 objects, with `WIDE`.
FULL = TrainingConfig(steps=1500, batch_size=256, learning_rate=2e-3, warmup_steps=50, weight_decay=0.01)

# The short one, in which an ablation takes seconds: two objects, one question that binds (the colour or the shape of
# the other attribute's bearer) and one that relates; with `CONFIG` and `short_data`.
SHORT_TYPES = ("colour", "shape", "spatial")
SHORT_MIX = {"spatial": 0.5}
SHORT = TrainingConfig(steps=400, batch_size=128, learning_rate=2e-3, warmup_steps=30, weight_decay=0.01)
# What is taken away in lesson 04: the arguments of `train_fusion` that do it.
ABLATIONS: dict[str, dict] = {
    "nothing": {},
    "coordinates whispered": {"sizes": replace(CONFIG, coordinate_scale=0.1)},
    "a bag of words": {"sizes": replace(CONFIG, window=1)},
    "few relations": {"mix": {"spatial": 0.01}},
}


def short_data(split: str = "train", seed: int | None = None, count: int | None = None) -> QuestionData:
    """Colour, shape and left, right, above, below, about two objects.

    Args:
        split: "train" or another.
        seed: of the scenes; 1 for "train" and 5 for others if None.
        count: scenes; 4,000 for "train" and 1,000 for others if None. 4,000 take 7 seconds on one core.
    """
    training = split == "train"
    count = count or (4000 if training else 1000)
    return question_data(count, (1 if training else 5) if seed is None else seed, split, SHORT_TYPES, (2, 2))


def train_fusion(
    name: str,
    data: QuestionData,
    seed: int = 0,
    config: TrainingConfig = FULL,
    sizes: FusionConfig = CONFIG,
    mix: dict[str, float] | None = None,
    on_step: OnStep | None = None,
    resume_from: str | Path | None = None,
) -> tuple[nn.Module, History]:
    """Trains one fusion from nothing.

    On one thread: matrices as small as these are multiplied no sooner by two. `ABLATIONS` says how to take an
    ingredient away.

    Args:
        name: one of `FUSIONS`.
        data: questions of `question_data`.
        seed: of the first weights and the batches.
        config: its seed is replaced by `seed`.
        sizes: of the model.
        mix: share of a batch by type of question; types that are not named share what is left, as often as they are
            asked. `MIX` if None; {} for all types as they come.
        on_step, resume_from: as for `train`.

    Raises:
        InputError: there is no such fusion, or the mix cannot be.
    """
    if name not in FUSIONS:
        raise InputError(f"there is no fusion {name!r}; there are {', '.join(FUSIONS)}")
    seed_everything(seed)
    model = FUSIONS[name](sizes)
    pools = _pools(data, MIX if mix is None else mix, config.batch_size)

    def batch_loss(model: nn.Module, generator: torch.Generator) -> Tensor:
        rows = torch.cat([pool[torch.randint(len(pool), (count,), generator=generator)] for pool, count in pools])
        return F.cross_entropy(model(*data.batch(rows)), data.answers[rows])

    with one_thread():
        return model, train(model, batch_loss, replace(config, seed=seed), on_step, resume_from)


def _pools(data: QuestionData, mix: dict[str, float], batch_size: int) -> list[tuple[Tensor, int]]:
    """The rows that parts of a batch are drawn from, and how many of each; what the data lack is left out."""
    if wrong := [kind for kind in mix if kind not in QUESTION_TYPES]:
        raise InputError(f"there is no type of question {wrong[0]!r}; there are {', '.join(QUESTION_TYPES)}")
    if min(mix.values(), default=0) < 0 or sum(mix.values()) > 1 + 1e-6:
        raise InputError(f"the mix is {mix}; it should be shares from 0 up, 1 in all at most")
    rest = torch.ones(len(data), dtype=torch.bool)
    pools = []
    for kind, share in mix.items():
        rows = data.types == QUESTION_TYPES.index(kind)
        rest &= ~rows
        if rows.any():
            pools.append((rows.nonzero()[:, 0], share))
    if rest.any():
        pools.append((rest.nonzero()[:, 0], 1 - sum(mix.values())))
    whole = sum(share for _, share in pools)
    return [(rows, round(batch_size * share / whole)) for rows, share in pools if share > 0]


@torch.no_grad()
def predictions(model: nn.Module, data: QuestionData) -> Tensor:
    """(Q,), the place in `ANSWERS` of what the model answers to each question."""
    with measuring(model):
        return torch.cat([model(*data.batch(rows)).argmax(-1) for rows in torch.arange(len(data)).split(2000)])


def accuracy_by_type(model: nn.Module, data: QuestionData) -> dict[str, float]:
    """Share of right answers for each type of question that the data has, and "all" of them together."""
    right = (predictions(model, data) == data.answers).double()
    by_type = {kind: right[data.types == place] for place, kind in enumerate(QUESTION_TYPES)}
    return {kind: ones.mean().item() for kind, ones in by_type.items() if len(ones)} | {"all": right.mean().item()}
