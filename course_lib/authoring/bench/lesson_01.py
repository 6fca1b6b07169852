"""Lesson 01: attention, forward and backward."""

from collections.abc import Callable, Iterator

import torch
from torch import nn

from course_lib.authoring.bench.timing import Comparison, alternate
from course_lib.layers.attention import MultiHeadAttention

WIDTH, HEADS, BATCH, LENGTH = 128, 4, 32, 64


def attention() -> Iterator[Comparison]:
    """Causal self-attention in training, forward and backward, beside torch's module and GPT-2's of transformers."""
    from transformers import GPT2Config
    from transformers.models.gpt2.modeling_gpt2 import GPT2Attention

    torch.manual_seed(0)
    hidden_states = torch.randn(BATCH, LENGTH, WIDTH)
    sizes = {"n_embd": WIDTH, "n_head": HEADS, "attn_pdrop": 0.0, "resid_pdrop": 0.0}
    theirs = GPT2Attention(GPT2Config(**sizes, attn_implementation="sdpa"), layer_idx=0)
    torchs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    ours = MultiHeadAttention(WIDTH, HEADS)
    hidden = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)

    def both_ways(forward: Callable[[], torch.Tensor]) -> Callable[[], None]:
        return lambda: forward().sum().backward()

    medians = alternate(
        {
            "course": both_ways(lambda: ours(hidden_states, is_causal=True)),
            "torch": both_ways(lambda: torchs(*[hidden_states] * 3, attn_mask=hidden, need_weights=False)[0]),
            "transformers": both_ways(lambda: theirs(hidden_states)[0]),
        }
    )
    for peer, name in (("torch", "torch nn.MultiheadAttention"), ("transformers", "transformers GPT2Attention")):
        what = f"attention, forward and backward, {BATCH} x {LENGTH} x {WIDTH}"
        yield Comparison(what, "course", name, medians["course"], medians[peer], bound=1.0)


COMPARISONS: list[Callable[[], Iterator[Comparison]]] = [attention]
