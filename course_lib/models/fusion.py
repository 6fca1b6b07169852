"""Visual question answering by every fusion of lesson 04: the same regions, the same words, another way to join them.

All take the same input and give the same output, so that only the fusion differs:

    logits = model(regions, region_mask, input_ids)   # (B, R, C), (B, R), (B, T) -> (B, A)

What the picture is, is R regions that a frozen detector found (Anderson et al., Bottom-Up and Top-Down Attention), and
what the question is, are its words. The pointer model has a file of its own, `models/pointer_vqa.py`.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.layers.attention import padding_mask
from course_lib.layers.blocks import PreNormBlock, PreNormDecoderBlock, Transformer, TransformerDecoder
from course_lib.layers.checks import check_input_ids
from course_lib.layers.fusion import CoAttentionBlock, FiLMBlock, GatedCrossAttentionBlock, late_fusion, signed_root


@dataclass(frozen=True)
class FusionConfig:
    """Sizes, and the three numbers that decide about relations.

    coordinate_scale: what x and y of a region are multiplied by before the first layer; all 100 numbers of a region
    have variance 1, so that with 1 the two that say where it is are 2 % of what the layer hears.
    window: how many neighbouring words a word sees, itself included; with 1 the question is a bag of words.
    position_std: spread of the joint transformer's first position vectors, beside words of spread 1.
    """

    vocab_size: int
    answers: int
    region_width: int = 100  # C: what the detector saw, then x, y, size and certainty
    place: int = 96  # where x and y stand among them
    width: int = 64  # D
    hidden: int = 256  # of the classifier
    layers: int = 2
    heads: int = 4
    mlp_width: int = 128
    pointers: int = 8
    coordinate_scale: float = 5.0
    window: int = 5
    position_std: float = 1.0


@dataclass
class Question:
    """What an encoder makes of questions: words (B, T, D), one by one; states (B, T, D), each among its neighbours;
    vector (B, D), the mean of the states; mask (B, T), true where there is a word."""

    words: Tensor
    states: Tensor
    vector: Tensor
    mask: Tensor


class QuestionEncoder(nn.Module):
    """Word vectors, and two layers in each of which a word is joined with its neighbours.

    Source: Kim, Convolutional Neural Networks for Sentence Classification, equation 2.
    """

    def forward(self, input_ids: Tensor) -> Question:
        """(B, T), 0 where there is no word -> `Question`.

        Raises:
            InputError: no ids, ids that there are not, or a question without a word.
        """
        check_input_ids(input_ids, self.words.num_embeddings, None)
        mask = input_ids != 0
        if not mask.any(1).all():
            raise InputError("a question has no word: every row of input_ids needs an id that is not 0")
        words = self.words(input_ids)
        first = self.joined(words, mask, self.first)
        states = first + self.joined(first, mask, self.second)
        return Question(words, states, states.sum(1) / mask.sum(1, keepdim=True), mask)

    def joined(self, states: Tensor, mask: Tensor, layer: nn.Linear) -> Tensor:
        """Each word with its neighbours through a layer, 0 where there is no word: (B, T, D) -> (B, T, D)."""
        # Nearly half of a batch is padding, which need not be multiplied.
        return torch.zeros_like(states).index_put((mask,), F.relu(layer(neighbours(states, self.window)[mask])))

    def __init__(self, config: FusionConfig):
        super().__init__()
        if config.window < 1 or config.window % 2 == 0:
            raise InputError(f"window is {config.window}; it should be odd: a word and as many on each side")
        self.window = config.window
        self.words = nn.Embedding(config.vocab_size, config.width, padding_idx=0)
        self.first = nn.Linear(config.window * config.width, config.width)
        self.second = nn.Linear(config.window * config.width, config.width)


def neighbours(states: Tensor, window: int) -> Tensor:
    """Each position and those around it, side by side; zeros beyond the ends: (B, T, D) -> (B, T, window · D)."""
    half = window // 2
    padded = F.pad(states, (0, 0, half, half))
    return torch.cat([padded[:, start : start + states.shape[1]] for start in range(window)], -1)


class RegionEncoder(nn.Module):
    """A linear layer for each region, before which x and y are made as loud as `coordinate_scale` says."""

    def forward(self, regions: Tensor, region_mask: Tensor) -> Tensor:
        """(B, R, C) and boolean (B, R) -> (B, R, D), 0 where there is no region.

        Raises:
            InputError: other shapes, a mask that is not boolean, or a picture without a region.
        """
        if regions.ndim != 3 or regions.shape[-1] != len(self.loudness) or region_mask.shape != regions.shape[:2]:
            raise InputError(
                f"regions are {tuple(regions.shape)} and region_mask {tuple(region_mask.shape)}; they should be "
                f"(B, R, {len(self.loudness)}) and (B, R)"
            )
        if region_mask.dtype != torch.bool or not region_mask.any(1).all():
            raise InputError("region_mask should be boolean, true where there is a region, at least one a picture")
        return self.linear(regions * self.loudness) * region_mask[..., None]

    def __init__(self, config: FusionConfig):
        super().__init__()
        loudness = torch.ones(config.region_width)
        loudness[config.place : config.place + 2] = config.coordinate_scale
        self.register_buffer("loudness", loudness, persistent=False)
        self.linear = nn.Linear(config.region_width, config.width)


class Classifier(nn.Sequential):
    """A hidden layer, then a logit for each answer: (B, D) -> (B, A)."""

    def __init__(self, width: int, config: FusionConfig):
        super().__init__(nn.LayerNorm(width), nn.Linear(width, config.hidden), nn.ReLU(),
                         nn.Linear(config.hidden, config.answers))  # fmt: skip


def mean_of(states: Tensor, mask: Tensor) -> Tensor:
    """The mean over those that are there: (B, N, D) and boolean (B, N) -> (B, D)."""
    return (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


class PooledVQA(nn.Module):
    """One vector for the picture, one for the question, and a fusion of two vectors.

    Args:
        config: sizes.
        fusion: (B, D) and (B, D) -> (B, `out_width`): any of the vector fusions of `layers/fusion.py`.
        out_width: of what it gives.
    """

    def forward(self, regions: Tensor, region_mask: Tensor, input_ids: Tensor) -> Tensor:
        """(B, R, C), (B, R) and (B, T) -> logits (B, A)."""
        picture = mean_of(F.relu(self.region_encoder(regions, region_mask)), region_mask)
        return self.classifier(self.fusion(picture, self.question_encoder(input_ids).vector))

    def __init__(self, config: FusionConfig, fusion: nn.Module, out_width: int):
        super().__init__()
        self.config = config
        self.question_encoder, self.region_encoder = QuestionEncoder(config), RegionEncoder(config)
        self.fusion = fusion
        self.classifier = Classifier(out_width, config)


class SignedRoot(nn.Module):
    """`signed_root` after a fusion whose outputs are products."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Two vectors fused, then brought together."""
        return signed_root(self.fusion(x, y))

    def __init__(self, fusion: nn.Module):
        super().__init__()
        self.fusion = fusion


class LateVQA(nn.Module):
    """Two models, one that sees and one that reads: they meet when both have answered.

    Source: the sum rule, `layers.fusion.late_fusion`.
    """

    def forward(self, regions: Tensor, region_mask: Tensor, input_ids: Tensor) -> Tensor:
        """(B, R, C), (B, R) and (B, T) -> logits (B, A)."""
        picture = mean_of(F.relu(self.region_encoder(regions, region_mask)), region_mask)
        question = self.question_encoder(input_ids).vector
        return late_fusion([self.picture_classifier(picture), self.question_classifier(question)])

    def __init__(self, config: FusionConfig):
        super().__init__()
        self.config = config
        self.question_encoder, self.region_encoder = QuestionEncoder(config), RegionEncoder(config)
        self.picture_classifier, self.question_classifier = (Classifier(config.width, config) for _ in range(2))


class FiLMVQA(nn.Module):
    """The question scales and shifts the channels of every region; of each channel the strongest region is kept.

    Source: Perez et al., FiLM, figure 2, with regions in the place of a grid.
    """

    def forward(self, regions: Tensor, region_mask: Tensor, input_ids: Tensor) -> Tensor:
        """(B, R, C), (B, R) and (B, T) -> logits (B, A)."""
        question = self.question_encoder(input_ids).vector
        states = self.region_encoder(regions, region_mask)
        for block in self.blocks:
            states = block(states, question)
        return self.classifier(states.masked_fill(~region_mask[..., None], float("-inf")).amax(1))

    def __init__(self, config: FusionConfig):
        super().__init__()
        self.config = config
        self.question_encoder, self.region_encoder = QuestionEncoder(config), RegionEncoder(config)
        self.blocks = nn.ModuleList(FiLMBlock(config.width, config.width) for _ in range(config.layers))
        self.classifier = Classifier(config.width, config)


class CrossAttentionVQA(nn.Module):
    """The words of the question ask each other, then the regions, layer after layer; the mean word answers.

    Source: the decoder of Vaswani et al., figure 1, as ALBEF's fusion encoder uses it (Li et al., ALBEF, section 3.1).
    """

    def forward(self, regions: Tensor, region_mask: Tensor, input_ids: Tensor) -> Tensor:
        """(B, R, C), (B, R) and (B, T) -> logits (B, A)."""
        question = self.question_encoder(input_ids)
        context, heard = self.region_encoder(regions, region_mask), region_mask[:, None, None]
        states = self.decoder(question.states, context, padding_mask(question.mask), heard, is_causal=False)
        return self.classifier(mean_of(states, question.mask))

    def __init__(self, config: FusionConfig):
        super().__init__()
        self.config = config
        self.question_encoder, self.region_encoder = QuestionEncoder(config), RegionEncoder(config)
        sizes = config.width, config.heads, config.mlp_width
        self.decoder = TransformerDecoder(lambda: PreNormDecoderBlock(*sizes), config.layers)
        self.classifier = Classifier(config.width, config)


class CoAttentionVQA(nn.Module):
    """Words ask regions while regions ask words; the mean of each answers.

    Source: Tan and Bansal, LXMERT, figure 1; Lu et al., ViLBERT, figure 1.
    """

    def forward(self, regions: Tensor, region_mask: Tensor, input_ids: Tensor) -> Tensor:
        """(B, R, C), (B, R) and (B, T) -> logits (B, A)."""
        question = self.question_encoder(input_ids)
        words, states = question.states, self.region_encoder(regions, region_mask)
        word_mask, seen = question.mask[:, None, None], region_mask[:, None, None]
        for block in self.blocks:
            words, states = block(words, states, word_mask, seen)
        return self.classifier(torch.cat([mean_of(words, question.mask), mean_of(states, region_mask)], -1))

    def __init__(self, config: FusionConfig):
        super().__init__()
        self.config = config
        self.question_encoder, self.region_encoder = QuestionEncoder(config), RegionEncoder(config)
        sizes = config.width, config.heads, config.mlp_width
        self.blocks = nn.ModuleList(CoAttentionBlock(*sizes) for _ in range(config.layers))
        self.classifier = Classifier(2 * config.width, config)


class GatedCrossAttentionVQA(nn.Module):
    """Before each layer of a text transformer, a gate through which it may listen to the regions.

    Source: Alayrac et al., Flamingo, figure 3; its text transformer is large and frozen, this one is trained.
    """

    def forward(self, regions: Tensor, region_mask: Tensor, input_ids: Tensor) -> Tensor:
        """(B, R, C), (B, R) and (B, T) -> logits (B, A)."""
        question = self.question_encoder(input_ids)
        context, states = self.region_encoder(regions, region_mask), question.states
        for gated, block in zip(self.gated, self.blocks, strict=True):
            states = block(gated(states, context, region_mask[:, None, None]), padding_mask(question.mask))
        return self.classifier(mean_of(states, question.mask))

    def __init__(self, config: FusionConfig):
        super().__init__()
        self.config = config
        self.question_encoder, self.region_encoder = QuestionEncoder(config), RegionEncoder(config)
        sizes = config.width, config.heads, config.mlp_width
        self.gated = nn.ModuleList(GatedCrossAttentionBlock(*sizes) for _ in range(config.layers))
        self.blocks = nn.ModuleList(PreNormBlock(*sizes) for _ in range(config.layers))
        self.classifier = Classifier(config.width, config)


class JointTransformerVQA(nn.Module):
    """Words and regions in one sequence, which one transformer reads; a first vector of its own answers.

    Source: Li et al., VisualBERT, figure 2; Chen et al., UNITER, figure 1.
    """

    LONGEST = 32

    def forward(self, regions: Tensor, region_mask: Tensor, input_ids: Tensor) -> Tensor:
        """(B, R, C), (B, R) and (B, T) -> logits (B, A)."""
        check_input_ids(input_ids, self.words.num_embeddings, self.LONGEST)
        words = self.words(input_ids) + self.positions[: input_ids.shape[1]]
        tokens = [self.first.expand(len(words), 1, -1), words, self.region_encoder(regions, region_mask) + self.kind]
        mask = torch.cat([region_mask[:, :1] | True, input_ids != 0, region_mask], 1)
        return self.classifier(self.transformer(torch.cat(tokens, 1), mask[:, None, None], read=0))

    def __init__(self, config: FusionConfig):
        super().__init__()
        self.config = config
        self.words, self.region_encoder = nn.Embedding(config.vocab_size, config.width), RegionEncoder(config)
        self.positions = nn.Parameter(config.position_std * torch.randn(self.LONGEST, config.width))
        self.first, self.kind = (nn.Parameter(torch.randn(config.width)) for _ in range(2))
        sizes = config.width, config.heads, config.mlp_width
        self.transformer = Transformer(lambda: PreNormBlock(*sizes), config.layers)
        self.classifier = Classifier(config.width, config)
