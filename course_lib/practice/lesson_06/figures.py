"""What exercise 06.3 gives to read: a batch's similarity matrix, and a training run that went wrong."""

import torch
import torch.nn.functional as F
from torch import nn

CAPTIONS = (
    "a small blue cube",
    "two green spheres",
    "a large red star",
    "a metal ring by a wall",
    "a yellow cone",
    "a large red star",
    "a purple torus",
    "a cyan cylinder",
)


def batch_similarity() -> tuple[torch.Tensor, tuple[str, ...]]:
    """Cosines `(8, 8)` of eight pictures with their captions, as a trained model gives them, and the captions."""
    generator = torch.Generator().manual_seed(4)
    of_caption = {caption: torch.randn(24, generator=generator) for caption in dict.fromkeys(CAPTIONS)}
    texts = torch.stack([of_caption[caption] for caption in CAPTIONS])
    images = texts + 0.5 * torch.randn(texts.shape, generator=generator)
    return F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T, CAPTIONS


def watched_run(steps: int = 61) -> tuple[list[float], list[float]]:
    """The contrastive loss of a batch of 64 during a run, and the mean cosine between embeddings of different pictures.

    The run minimises `1 - cosine` of matching pairs alone, and so collapses.
    """
    generator = torch.Generator().manual_seed(6)
    shared = torch.randn(64, 12, generator=generator)
    images, texts = (
        shared @ torch.randn(12, 32, generator=generator) + 0.3 * torch.randn(64, 32, generator=generator)
        for _ in range(2)
    )
    losses, cosines = [], []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        towers = [nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 16)) for _ in range(2)]
    optimizer = torch.optim.Adam([weight for tower in towers for weight in tower.parameters()], lr=0.1)
    own = torch.arange(64)
    for _ in range(steps):
        image_embeds = F.normalize(towers[0](images), dim=-1)
        text_embeds = F.normalize(towers[1](texts), dim=-1)
        with torch.no_grad():
            logits = 10 * image_embeds @ text_embeds.T
            losses.append(float(F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2)
            between = image_embeds @ image_embeds.T
            cosines.append(float((between.sum() - 64) / (64 * 63)))
        optimizer.zero_grad()
        (1 - (image_embeds * text_embeds).sum(dim=-1)).mean().backward()
        optimizer.step()
    return losses, cosines
