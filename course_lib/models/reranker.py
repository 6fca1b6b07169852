"""A dual encoder finds, a cross-encoder decides: re-ranking the best few with a model that reads both together.

The dual encoder has compared a query with the whole gallery by one matrix product. The re-ranker looks at the K best
pairs only, picture and sentence at once, and answers one question of each: do these two belong together?

Source: image-text matching and its use at the end of a search, Li et al., ALBEF, sections 3.2 and 4.2 (and BLIP's
after it); what reads the pair here is lesson 04's pointer model, whose words look at regions.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.models.fusion import FusionConfig
from course_lib.models.pointer_vqa import PointerVQA


class Reranker(nn.Module):
    """Words point at regions, and the classifier says yes or no.

    Args:
        config: sizes; its `answers` is 2, for no and yes.

    Raises:
        InputError: another number of answers.
    """

    def forward(self, regions: Tensor, region_mask: Tensor, input_ids: Tensor) -> Tensor:
        """A picture and a sentence each: (B, R, C), (B, R) and (B, T) -> logits (B, 2), for no and yes."""
        return self.reader(regions, region_mask, input_ids)

    def score(self, regions: Tensor, region_mask: Tensor, input_ids: Tensor) -> Tensor:
        """How much more yes than no, (B,): the log-odds that the two belong together."""
        no, yes = self(regions, region_mask, input_ids).unbind(-1)
        return yes - no

    def __init__(self, config: FusionConfig):
        super().__init__()
        if config.answers != 2:
            raise InputError(f"answers is {config.answers}; matching has 2, no and yes")
        self.config = config
        self.reader = PointerVQA(config)


@torch.no_grad()
def rerank(
    similarity: Tensor,
    score: Callable[[Tensor, Tensor], Tensor],
    k: int = 10,
    weight: float = 0.0,
    batch_size: int = 1000,
) -> Tensor:
    """The similarities of a dual encoder with the first k places of every query set in order by a second model.

    What a query had below its k-th place stays there, in the order it had: the re-ranker cannot bring back what the
    dual encoder has lost, and R@k is the same before and after.

    Args:
        similarity: `(Q, N)`, from the dual encoder.
        score: query rows `(B,)` and candidate columns `(B,)` -> `(B,)`, the second model's score of these pairs.
        k: how many places of each query to look at again.
        weight: how much of the dual encoder's similarity is added to the second model's score. With 0 the second model
            decides alone, also about differences that it was never taught; BLIP's published code adds the two.
        batch_size: pairs at once.

    Returns:
        `(Q, N)`: the new scores in the first k places, shifted above all others.

    Raises:
        InputError: k is not between 1 and N, or a score is not finite.
    """
    if similarity.ndim != 2 or not 1 <= k <= similarity.shape[1]:
        raise InputError(f"k is {k} and similarity {tuple(similarity.shape)}; it should be (Q, N) and k from 1 to N")
    best = similarity.topk(k, dim=1).indices
    rows = torch.arange(len(similarity), device=best.device).repeat_interleave(k)
    parts = zip(rows.split(batch_size), best.flatten().split(batch_size), strict=True)
    scores = torch.cat([score(*part).to(similarity) for part in parts]).view(-1, k)
    if not torch.isfinite(scores).all():
        raise InputError("the second model gave a score that is not finite")
    scores = scores + weight * similarity.gather(1, best)
    above = similarity.max() - scores.min() + 1
    return similarity.scatter(1, best, scores + above)
