"""Answers by pointing twice: at words of the question, then at regions of the picture.

What to look for is read from single words, not from the question as a whole: "red" and "circle" of "is the red circle
left of the blue square" are one thing to look for, "blue" and "square" another. What is found brings along where it
is, and an MLP compares.

Source: control that attends to words and memory that is read from the picture, Hudson and Manning, MAC, sections
3.2.1 and 3.2.2, here in parallel and not one after the other; counting by sigmoid pointers, Zhang et al., Learning to
Count Objects in Natural Images, section 3.
"""

import math

import torch
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.models.fusion import Classifier, FusionConfig, QuestionEncoder, RegionEncoder


class PointerVQA(nn.Module):
    """Half of the pointers choose one region (softmax), half choose as many as fit (sigmoid), so that they can count.

    Args:
        config: sizes; `pointers` is an even number.

    Raises:
        InputError: an odd number of pointers.
    """

    def forward(self, regions: Tensor, region_mask: Tensor, input_ids: Tensor) -> Tensor:
        """(B, R, C), (B, R) and (B, T) -> logits (B, A)."""
        question = self.question_encoder(input_ids)
        states = self.region_encoder(regions, region_mask)
        asked = self.words_read(question) @ question.words  # (B, K, D), of the words themselves
        pointers = self.point(asked, states, region_mask)
        found = torch.cat([(pointers @ self.value(regions, states)).flatten(1), pointers.sum(-1)], -1)
        asked = torch.cat([asked.flatten(1), question.vector], -1)
        asked, found = self.asked(asked), self.found(found)
        return self.classifier(torch.cat([asked, found, asked * found], -1))

    def __init__(self, config: FusionConfig):
        super().__init__()
        if config.pointers < 2 or config.pointers % 2:
            raise InputError(f"there are {config.pointers} pointers; choose an even number: half point at one region")
        self.config = config
        self.question_encoder, self.region_encoder = QuestionEncoder(config), RegionEncoder(config)
        self.control = nn.Linear(config.width, config.pointers)
        self.query = nn.Linear(config.width, config.width)
        self.key = nn.Sequential(nn.ReLU(), nn.Linear(config.width, config.width))
        self.threshold = nn.Parameter(torch.zeros(config.pointers // 2))
        self.project = nn.Linear(config.width, config.width)
        self.asked = nn.Linear((config.pointers + 1) * config.width, config.hidden)
        self.found = nn.Linear(config.pointers * (config.width + 3), config.hidden)
        self.classifier = Classifier(3 * config.hidden, config)

    def value(self, regions: Tensor, states: Tensor) -> Tensor:
        """(B, R, D + 2): what a region brings along when it is pointed at, and where it is, once more and as loud."""
        place = regions[..., self.config.place : self.config.place + 2]
        return torch.cat([self.project(states), self.config.coordinate_scale * place], -1)

    def words_read(self, question) -> Tensor:
        """(B, K, T), rows summing to 1: which words each pointer reads."""
        scores = self.control(question.states).masked_fill(~question.mask[..., None], float("-inf"))
        return scores.softmax(1).transpose(1, 2)

    def point(self, asked: Tensor, states: Tensor, region_mask: Tensor) -> Tensor:
        """(B, K, D) and (B, R, D) -> (B, K, R): the first half sum to 1, the others are 0 to 1 each."""
        scores = self.query(asked) @ self.key(states).transpose(1, 2) / math.sqrt(asked.shape[-1])
        one, many = scores.chunk(2, 1)
        one = one.masked_fill(~region_mask[:, None], float("-inf")).softmax(-1)
        return torch.cat([one, (many + self.threshold[:, None]).sigmoid() * region_mask[:, None]], 1)

    def attention(self, regions: Tensor, region_mask: Tensor, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        """To look at: which words each pointer reads (B, K, T), and which regions it points at (B, K, R)."""
        question = self.question_encoder(input_ids)
        read = self.words_read(question)
        return read, self.point(read @ question.words, self.region_encoder(regions, region_mask), region_mask)
