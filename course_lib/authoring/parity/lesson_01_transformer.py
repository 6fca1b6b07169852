"""Lesson 01: the whole Transformer beside torch.nn.Transformer, and the optimisers beside torch.optim."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from course_lib.authoring.parity.lesson_01 import copy_attention
from course_lib.authoring.parity.lesson_01_layers import copy_cross_attention
from course_lib.authoring.parity.rows import ParityRow, difference, disturb
from course_lib.layers.attention import causal_mask
from course_lib.models.transformer import EncoderDecoder, TransformerConfig
from course_lib.training import optimisers

OPTIMISERS = {
    "SGD": (optimisers.SGD, torch.optim.SGD, {"weight_decay": 0.01}),
    "SGD, momentum": (optimisers.SGD, torch.optim.SGD, {"momentum": 0.9}),
    "Adam": (optimisers.Adam, torch.optim.Adam, {"weight_decay": 0.1}),
    "AdamW": (optimisers.AdamW, torch.optim.AdamW, {"weight_decay": 0.1, "betas": (0.9, 0.98)}),
}


def transformer_beside_torch(padded: bool = True, activation: str = "relu", seed: int = 0) -> list[ParityRow]:
    """EncoderDecoder beside a torch.nn.Transformer that is fed with the same sums of tokens and positions."""
    torch.manual_seed(seed)
    config = TransformerConfig(
        40, 16, width=24, layers=2, decoder_layers=2, heads=3, mlp_width=50, activation=activation
    )
    ours = disturb(EncoderDecoder(config), seed)
    options = {"activation": activation, "batch_first": True}
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(24, 3, 50, **options), 2, enable_nested_tensor=False
    )  # the paper's stacks do not end in another norm, and torch's own default ones do
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(24, 3, 50, **options), 2)
    theirs = disturb(nn.Transformer(24, 3, custom_encoder=encoder, custom_decoder=decoder, **options), seed)
    for own, other in zip(ours.encoder.blocks, encoder.layers, strict=True):
        copy_attention(own.attention, other.self_attn)
        copy_rest(own, other, norms=2)
    for own, other in zip(ours.decoder.blocks, decoder.layers, strict=True):
        copy_attention(own.attention, other.self_attn)
        copy_cross_attention(own.cross_attention, other.multihead_attn)
        copy_rest(own, other, norms=3)

    input_ids, decoder_input_ids = torch.randint(3, 40, (5, 9)), torch.randint(3, 40, (5, 7))
    seen = torch.ones(5, 9, dtype=torch.bool)
    if padded:
        seen[1:3, 6:] = False
    table = ours.token_embedding.weight
    place = torch.arange(16)[:, None] / 10_000 ** (torch.arange(0, 24, 2) / 24)
    positions = torch.zeros(16, 24)
    positions[:, 0::2], positions[:, 1::2] = place.sin(), place.cos()
    with torch.no_grad():
        source, target = (table[ids] * 24**0.5 + positions[: ids.shape[1]] for ids in (input_ids, decoder_input_ids))
        hidden = {"src_key_padding_mask": ~seen, "memory_key_padding_mask": ~seen}
        wanted = theirs(source, target, tgt_mask=~causal_mask(7), **hidden) @ table.T
        got = ours(input_ids, decoder_input_ids, seen)
    return [ParityRow("EncoderDecoder", "torch nn.Transformer", "logits", difference(got, wanted))]


def copy_rest(ours: nn.Module, theirs: nn.Module, norms: int) -> None:
    """Norms and MLP of one block."""
    for number in range(1, norms + 1):
        getattr(ours, f"norm{number}").load_state_dict(getattr(theirs, f"norm{number}").state_dict())
    ours.mlp.fc1.load_state_dict(theirs.linear1.state_dict())
    ours.mlp.fc2.load_state_dict(theirs.linear2.state_dict())


def optimisers_beside_torch(steps: int = 50, seed: int = 0) -> list[ParityRow]:
    """SGD, Adam and AdamW beside torch.optim: the weights of an MLP, apart by the most in any step."""
    rows = []
    for name, (ours_class, theirs_class, options) in OPTIMISERS.items():
        torch.manual_seed(seed)
        ours, theirs = (nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3)) for _ in range(2))
        ours.load_state_dict(theirs.state_dict())
        mine, reference = (
            ours_class(ours.parameters(), 0.01, **options),
            theirs_class(theirs.parameters(), 0.01, **options),
        )
        apart = 0.0
        for _ in range(steps):
            inputs, classes = torch.randn(32, 6), torch.randint(3, (32,))
            for model, optimiser in ((ours, mine), (theirs, reference)):
                optimiser.zero_grad()
                F.cross_entropy(model(inputs), classes).backward()
                optimiser.step()
            pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
            apart = max([apart] + [difference(own.detach(), other.detach()) for own, other in pairs])
        reference_name = f"torch optim.{theirs_class.__name__}"
        rows.append(ParityRow(name, reference_name, f"weights, {steps} steps", apart))
    return rows


COMPARISONS: list[Callable[[], list[ParityRow]]] = [transformer_beside_torch, optimisers_beside_torch]
