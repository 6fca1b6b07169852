"""The Transformer of Vaswani et al.: torch's numbers, no look ahead, the same with a cache."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from course_lib.authoring.parity.lesson_01_transformer import optimisers_beside_torch, transformer_beside_torch
from course_lib.data.sequences import IGNORED, sorting
from course_lib.errors import InputError
from course_lib.generation import greedy
from course_lib.layers.cache import KeyValueCache
from course_lib.models.transformer import EncoderDecoder, TransformerConfig
from course_lib.training.loop import TrainingConfig, train

SMALL = TransformerConfig(
    vocab_size=13, context_length=16, width=16, layers=2, decoder_layers=2, heads=2, mlp_width=32, dropout=0.0
)


def small(seed=0):
    torch.manual_seed(seed)
    return EncoderDecoder(SMALL).eval()


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_it_is_torch_s(padded, activation):
    for row in transformer_beside_torch(padded, activation, seed=3):
        assert row.holds, row


def test_the_optimisers_are_torch_s():
    rows = optimisers_beside_torch(seed=5)
    assert len(rows) == 4 and all(row.holds for row in rows), rows


def test_no_place_sees_what_comes_after_it_and_all_see_the_input():
    model, data = small(), sorting(4, lengths=(6, 6), seed=1)
    logits = model(data.input_ids, data.decoder_input_ids)
    changed = data.decoder_input_ids.clone()
    changed[:, 4] = (changed[:, 4] - 2) % 10 + 3
    after = model(data.input_ids, changed)
    assert torch.equal(logits[:, :4], after[:, :4]) and not torch.allclose(logits[:, 4:], after[:, 4:])
    other = data.input_ids.clone()
    other[:, -1] = (other[:, -1] - 2) % 10 + 3
    assert ((logits - model(other, data.decoder_input_ids)).abs().amax(-1) > 1e-6).all()


def test_padding_is_not_seen():
    model, data = small(), sorting(6, lengths=(2, 8), seed=2)
    with torch.no_grad():
        together = model(data.input_ids, data.decoder_input_ids, data.attention_mask)
        for row, length in enumerate(data.attention_mask.sum(1).tolist()):
            alone = model(data.input_ids[row : row + 1, :length], data.decoder_input_ids[row : row + 1, : length + 1])
            torch.testing.assert_close(together[row, : length + 1], alone[0], atol=1e-5, rtol=1e-5)


def test_a_cache_changes_nothing():
    model, data = small(), sorting(3, lengths=(5, 5), seed=3)
    with torch.no_grad():
        wanted = model(data.input_ids, data.decoder_input_ids)
        states, cache = model.encode(data.input_ids), KeyValueCache(SMALL.decoder_layers, capacity=6)
        steps = [model.decode(token, states, cache=cache) for token in data.decoder_input_ids.split(1, dim=1)]
    torch.testing.assert_close(torch.cat(steps, dim=1), wanted, atol=1e-5, rtol=1e-5)


def test_the_library_generates_with_it():
    model, data = small(), sorting(3, lengths=(3, 5), seed=4)
    written = greedy(model, data.input_ids, data.attention_mask, max_new_tokens=6)
    by_hand = data.decoder_input_ids[:, :1]
    with torch.no_grad():
        for _ in range(6):
            logits = model(data.input_ids, by_hand, data.attention_mask)
            by_hand = torch.cat([by_hand, logits[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(written, by_hand)


def test_the_base_model_has_the_paper_s_size():
    with torch.device("meta"):
        model = EncoderDecoder(TransformerConfig())
    # 65 million in table 3, with a table of "about 37,000" tokens shared three ways
    assert 60e6 < sum(parameter.numel() for parameter in model.parameters()) < 66e6


def test_bad_input_is_named():
    model = small()
    ids = torch.full((2, 5), 4)
    with pytest.raises(InputError, match="holds 13"):
        model(ids + 9, ids)
    with pytest.raises(InputError, match="17 tokens"):
        model(ids, torch.full((2, 17), 4))
    with pytest.raises(InputError, match="attention_mask has shape"):
        model(ids, ids, torch.ones(2, 4))
    with pytest.raises(InputError, match="even"):
        dataclasses.replace(SMALL, width=15)


class Peeking(EncoderDecoder):
    """The same without the decoder's causal mask."""

    def decode(self, decoder_input_ids, encoder_states, attention_mask=None, cache=None):
        hidden_states = self.positional_embedding(self.token_embedding(decoder_input_ids))
        seen = attention_mask[:, None, None]
        hidden_states = self.decoder(hidden_states, encoder_states, context_mask=seen, is_causal=False)
        return hidden_states @ self.token_embedding.weight.T


@pytest.mark.slow
def test_it_learns_to_sort_and_without_its_mask_only_seems_to():
    lists, test = sorting(20_000, seed=1), sorting(300, seed=2)
    sizes = {"width": 64, "layers": 2, "decoder_layers": 2, "heads": 4, "mlp_width": 128, "dropout": 0.0}
    recipe = TrainingConfig(steps=300, batch_size=64, learning_rate=3e-3, warmup_steps=50, weight_decay=0.01)

    def batch_loss(model, generator):
        rows = torch.randint(len(lists), (64,), generator=generator)
        logits = model(lists.input_ids[rows], lists.decoder_input_ids[rows], lists.attention_mask[rows])
        return F.cross_entropy(logits.flatten(0, 1), lists.labels[rows].flatten())

    for kind in (EncoderDecoder, Peeking):
        torch.manual_seed(0)
        model = kind(TransformerConfig(13, 16, **sizes))
        losses = train(model, batch_loss, recipe).losses
        written = test.decoder_input_ids[:, :1]
        with torch.no_grad():
            for _ in range(11):
                logits = model(test.input_ids, written, test.attention_mask)
                written = torch.cat([written, logits[:, -1:].argmax(-1)], dim=1)
        right = ((written[:, 1:] == test.labels) | (test.labels == IGNORED)).all(1).float().mean()
        assert losses[-1] < 0.1
        assert right >= 0.9 if kind is EncoderDecoder else right <= 0.1
