"""BERT, GPT-2, Llama, T5 and BART: beside transformers' models, and by what must hold of each."""

import json

import pytest
import torch

from course_lib.authoring.parity import lesson_03 as parity
from course_lib.encoders.bert import BERTConfig
from course_lib.errors import InputError
from course_lib.layers.cache import KeyValueCache
from course_lib.models.bart import BART, BARTConfig
from course_lib.models.bert import BERTForPretraining
from course_lib.models.gpt2 import GPT2, GPT2Config
from course_lib.models.llama import Llama, LlamaConfig
from course_lib.models.t5 import T5, T5Config

GPT2_SMALL = GPT2Config(vocab_size=96, context_length=40, width=32, layers=2, heads=4, mlp_width=50)
LLAMA_SMALL = LlamaConfig(96, 40, width=32, layers=2, heads=4, key_value_heads=2, mlp_width=50)
T5_SMALL = T5Config(96, width=32, head_width=6, mlp_width=50, layers=2, decoder_layers=2, heads=4)
BART_SMALL = BARTConfig(
    96, 40, width=32, layers=2, decoder_layers=2, heads=4, decoder_heads=2, mlp_width=50, decoder_mlp_width=40
)
DECODERS = [(GPT2, GPT2_SMALL), (Llama, LLAMA_SMALL)]
ENCODER_DECODERS = [(T5, T5_SMALL), (BART, BART_SMALL)]


@pytest.mark.parametrize("compare", parity.COMPARISONS)
def test_the_same_as_transformers(compare):
    rows = compare()
    assert rows and all(row.holds for row in rows), rows


@pytest.mark.parametrize(
    ("compare", "sizes", "mask"),
    [
        (parity.gpt2_beside_transformers, {}, "left"),
        (parity.gpt2_beside_transformers, {"n_inner": 40, "activation_function": "relu", "n_head": 1}, None),
        (parity.gpt2_beside_transformers, {"layer_norm_epsilon": 1e-2, "n_layer": 1}, None),
        (parity.llama_beside_transformers, {"num_key_value_heads": 4}, "left"),
        (parity.llama_beside_transformers, {"num_key_value_heads": 1, "head_dim": 10, "hidden_act": "gelu"}, None),
        (parity.llama_beside_transformers, {"tie_word_embeddings": True, "rms_norm_eps": 1e-2}, None),
        (parity.llama_beside_transformers, {"attention_bias": True, "mlp_bias": True}, "right"),
        (
            parity.llama_beside_transformers,
            {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}},
            None,
        ),
        (parity.llama_beside_transformers, {"rope_parameters": parity.STRETCHED}, "left"),
        (
            parity.llama_beside_transformers,
            {"rope_parameters": parity.STRETCHED | {"factor": 32.0}, "head_dim": 16},
            None,
        ),
        (parity.t5_beside_transformers, {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}, "left"),
        (parity.t5_beside_transformers, {"relative_attention_num_buckets": 4, "d_kv": 16}, None),
        (parity.bart_beside_transformers, {"scale_embedding": True, "activation_function": "relu"}, "left"),
    ],
)
def test_other_configurations(compare, sizes, mask):
    rows = compare(sizes, mask, seed=3)
    assert all(row.holds for row in rows), rows


def test_bert_without_padding_and_with_other_sizes():
    rows = parity.bert_beside_transformers({"hidden_act": "relu", "type_vocab_size": 3}, padded=False, seed=5)
    assert all(row.holds for row in rows), rows


def test_bert_of_masked_places_alone():
    model = BERTForPretraining(BERTConfig(96, 20, width=32, layers=2, heads=4, mlp_width=50)).eval()
    input_ids, masked = torch.randint(3, 96, (4, 9)), torch.rand(4, 9) < 0.3
    everything = model(input_ids).prediction_logits
    assert torch.allclose(model(input_ids, masked=masked).prediction_logits, everything[masked], atol=1e-6)


@pytest.mark.parametrize(("kind", "config"), DECODERS)
def test_a_decoder_with_a_cache_gives_what_it_gives_without(kind, config):
    model = kind(config).eval()
    input_ids, mask = parity.token_ids(5, 12, "left")
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    wanted, cache, got = model(input_ids, mask, positions), KeyValueCache(2, 12), []
    for start, end in ((0, 6), (6, 7), (7, 8), (8, 12)):
        got.append(model(input_ids[:, start:end], mask[:, :end], positions[:, start:end], cache))
    got = torch.cat(got, 1)
    assert torch.allclose(got[mask.bool()], wanted[mask.bool()], atol=1e-5)
    assert torch.allclose(model(input_ids, mask, positions, read=-1), wanted[:, -1], atol=1e-5)


@pytest.mark.parametrize(("kind", "config"), DECODERS)
def test_a_decoder_does_not_see_the_future(kind, config):
    model, input_ids = kind(config).eval(), torch.randint(3, 96, (2, 9))
    changed = torch.cat([input_ids[:, :5], torch.randint(3, 96, (2, 4))], 1)
    before, after = model(input_ids), model(changed)
    assert torch.allclose(before[:, :5], after[:, :5], atol=1e-5)
    assert not torch.allclose(before[:, 5:], after[:, 5:], atol=1e-3)


@pytest.mark.parametrize(("kind", "config"), ENCODER_DECODERS)
def test_an_encoder_decoder_with_a_cache_gives_what_it_gives_without(kind, config):
    model = kind(config).eval()
    input_ids, mask = parity.token_ids(5, 12, "right")
    answer = torch.randint(3, 96, (5, 8))
    states, cache = model.encode(input_ids, mask), KeyValueCache(2, 8)
    parts = [model.decode(part, states, mask, cache=cache) for part in answer.split((1, 1, 4, 1, 1), 1)]
    assert torch.allclose(torch.cat(parts, 1), model(input_ids, answer, mask), atol=1e-5)


@pytest.mark.parametrize(("kind", "config"), [*DECODERS, *ENCODER_DECODERS])
def test_a_configuration_survives_json(kind, config):
    assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert kind.from_weights(config.to_dict(), kind(config).state_dict()).config == config


@pytest.mark.parametrize(("kind", "config"), DECODERS)
def test_untrained_models_know_nothing_and_can_learn(kind, config):
    torch.manual_seed(0)
    model, input_ids = kind(config), torch.randint(0, 96, (4, 20))
    loss = torch.nn.functional.cross_entropy(model(input_ids)[:, :-1].flatten(0, 1), input_ids[:, 1:].flatten())
    assert loss.item() == pytest.approx(torch.tensor(96.0).log().item(), abs=0.3)
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_bad_input():
    model = GPT2(GPT2_SMALL).eval()
    with pytest.raises(InputError, match="this model has 40 positions"):
        model(torch.zeros(1, 41, dtype=torch.long))
    cache = KeyValueCache(2, 50)
    model(torch.zeros(1, 39, dtype=torch.long), cache=cache)
    with pytest.raises(InputError, match="2 tokens a row after 39 in the cache"):
        model(torch.zeros(1, 2, dtype=torch.long), cache=cache)
    with pytest.raises(InputError, match=r"that of the cached tokens and input_ids, \(1, 40\)"):
        model(torch.zeros(1, 1, dtype=torch.long), torch.ones(1, 1), cache=cache)
    with pytest.raises(InputError, match="vocabulary is 0 to 95"):
        T5(T5_SMALL)(torch.full((1, 3), 96), torch.zeros(1, 1, dtype=torch.long))
