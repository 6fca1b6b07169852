"""Lesson 03: language models beside transformers'."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from course_lib.authoring.parity.rows import ParityRow, difference, disturb, small_transformer, tell_apart
from course_lib.generation import beam_search, greedy, sample
from course_lib.models.bart import BART
from course_lib.models.bert import BERTForPretraining
from course_lib.models.gpt2 import GPT2
from course_lib.models.llama import Llama
from course_lib.models.t5 import T5
from course_lib.pretrained import bart as bart_names
from course_lib.pretrained import bert as bert_names
from course_lib.pretrained import gpt2 as gpt2_names
from course_lib.pretrained import llama as llama_names
from course_lib.pretrained import t5 as t5_names
from course_lib.pretrained.weights import without_warnings

VOCABULARY = 96
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def bert_pair(sizes: dict | None = None, seed: int = 0) -> tuple[BERTForPretraining, nn.Module]:
    """Our BERT and transformers' BertForPreTraining with the same random weights; `sizes` change the small ones."""
    from transformers import BertConfig, BertForPreTraining

    sizes = (
        {"vocab_size": VOCABULARY, "max_position_embeddings": 20, "pad_token_id": 0}
        | small_transformer(32, 4)
        | (sizes or {})
    )
    return _pair(BERTForPretraining, bert_names, BertForPreTraining, BertConfig, sizes, seed)


def gpt2_pair(sizes: dict | None = None, seed: int = 0) -> tuple[GPT2, nn.Module]:
    """Our GPT-2 and transformers' GPT2LMHeadModel with the same random weights."""
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = (
        {"vocab_size": VOCABULARY, "n_positions": 40, "n_embd": 32, "n_layer": 3, "n_head": 4} | SPECIAL | (sizes or {})
    )
    return _pair(GPT2, gpt2_names, GPT2LMHeadModel, GPT2Config, sizes, seed)


def llama_pair(sizes: dict | None = None, seed: int = 0) -> tuple[Llama, nn.Module]:
    """Our Llama and transformers' LlamaForCausalLM with the same random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = (
        {"vocab_size": VOCABULARY, "max_position_embeddings": 40, "num_key_value_heads": 2}
        | SPECIAL
        | small_transformer(32, 4)
        | (sizes or {})
    )
    return _pair(Llama, llama_names, LlamaForCausalLM, LlamaConfig, sizes, seed)


def t5_pair(sizes: dict | None = None, seed: int = 0) -> tuple[T5, nn.Module]:
    """Our T5 and transformers' T5ForConditionalGeneration with the same random weights."""
    from transformers import T5Config, T5ForConditionalGeneration

    small = {"d_model": 32, "d_kv": 6, "d_ff": 50, "num_layers": 3, "num_decoder_layers": 2, "num_heads": 4}
    distances = {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 16}
    special = {"pad_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 0}
    sizes = {"vocab_size": VOCABULARY} | small | distances | special | (sizes or {})
    return _pair(T5, t5_names, T5ForConditionalGeneration, T5Config, sizes, seed)


def bart_pair(sizes: dict | None = None, seed: int = 0) -> tuple[BART, nn.Module]:
    """Our BART and transformers' BartForConditionalGeneration with the same random weights."""
    from transformers import BartConfig, BartForConditionalGeneration

    small = {"d_model": 32, "encoder_layers": 3, "encoder_ffn_dim": 50, "encoder_attention_heads": 4}
    decoder = {"decoder_layers": 2, "decoder_ffn_dim": 40, "decoder_attention_heads": 2}
    special = SPECIAL | {"decoder_start_token_id": 2, "forced_eos_token_id": None}
    sizes = {"vocab_size": VOCABULARY, "max_position_embeddings": 40} | small | decoder | special | (sizes or {})
    return _pair(BART, bart_names, BartForConditionalGeneration, BartConfig, sizes, seed)


def bert_beside_transformers(sizes: dict | None = None, padded: bool = True, seed: int = 0) -> list[ParityRow]:
    """BERT in pretraining beside transformers' BertForPreTraining, with two segments."""
    ours, theirs = bert_pair(sizes, seed)
    input_ids, attention_mask = token_ids(5, 12, "right" if padded else None)
    token_type_ids = (torch.arange(12) > 6).long().expand(5, -1)
    with torch.no_grad():
        wanted = theirs(input_ids, attention_mask, token_type_ids)
        got = ours(input_ids, attention_mask, token_type_ids)
    tell_apart(wanted.prediction_logits, wanted.seq_relationship_logits)
    reference = "transformers BertForPreTraining"
    masked = difference(got.prediction_logits, wanted.prediction_logits)
    follows = difference(got.seq_relationship_logits, wanted.seq_relationship_logits)
    return [
        ParityRow("BERT", reference, "masked-token logits", masked),
        ParityRow("BERT", reference, "next-sentence logits", follows),
    ]


def gpt2_beside_transformers(sizes: dict | None = None, mask: str | None = "right", seed: int = 0) -> list[ParityRow]:
    """GPT-2 beside transformers' GPT2LMHeadModel; `mask`: None, "right" or "left", where padding is."""
    return _decoder_rows("GPT-2", "transformers GPT2LMHeadModel", *gpt2_pair(sizes, seed), mask)


# As in Llama 3.1, with lengths that make some pairs of a small head fast, some slow, and some neither.
STRETCHED = {"rope_type": "llama3", "rope_theta": 100.0, "factor": 8.0, "low_freq_factor": 1.0} | {
    "high_freq_factor": 4.0, "original_max_position_embeddings": 30,
}  # fmt: skip


def llama_beside_transformers(sizes: dict | None = None, mask: str | None = "right", seed: int = 0) -> list[ParityRow]:
    """Llama beside transformers' LlamaForCausalLM."""
    stretched = " (3.1: stretched positions)" if (sizes or {}).get("rope_parameters") == STRETCHED else ""
    return _decoder_rows("Llama", f"transformers LlamaForCausalLM{stretched}", *llama_pair(sizes, seed), mask)


def t5_beside_transformers(sizes: dict | None = None, mask: str | None = "right", seed: int = 0) -> list[ParityRow]:
    """T5 beside transformers' T5ForConditionalGeneration."""
    feed_forward = f" ({sizes['feed_forward_proj']})" if sizes and "feed_forward_proj" in sizes else ""
    name = f"transformers T5ForConditionalGeneration{feed_forward}"
    return _encoder_decoder_rows("T5", name, *t5_pair(sizes, seed), mask)


def bart_beside_transformers(sizes: dict | None = None, mask: str | None = "right", seed: int = 0) -> list[ParityRow]:
    """BART beside transformers' BartForConditionalGeneration."""
    return _encoder_decoder_rows("BART", "transformers BartForConditionalGeneration", *bart_pair(sizes, seed), mask)


def generation_beside_transformers(
    pair: Callable[..., tuple[nn.Module, nn.Module]] = gpt2_pair,
    way: dict | None = None,
    mask: str | None = "left",
    use_cache: bool = True,
    new: int = 12,
    seed: int = 0,
    end: int | None = None,
) -> list[ParityRow]:
    """Greedy, sampling or beam search beside transformers' generate(): how many of the texts differ, which is to be 0.

    Args:
        pair: which two models.
        way: what both are told, by transformers' names: {} for greedy, `do_sample` with the same state of chance,
            `num_beams` for beam search.
        mask: where the prompts are padded.
        use_cache: whether ours keeps keys and values.
        new: how many tokens are written at most.
        seed: of weights, prompts and chance.
        end: the end token; None for one that greedy writes in the middle of a text.
    """
    ours, theirs = pair(seed=seed)
    way = dict(way or {})
    input_ids, attention_mask = token_ids(5, 9, mask)
    asked = {"attention_mask": attention_mask, "max_new_tokens": new, "use_cache": True}
    if end is None:
        end = theirs.generate(input_ids, do_sample=False, eos_token_id=None, **asked)[0, -new // 2].item()
    torch.manual_seed(seed)
    with without_warnings():
        wanted = theirs.generate(
            input_ids, **{"do_sample": False, "top_k": 0} | way, eos_token_id=end, pad_token_id=0, **asked
        )
    torch.manual_seed(seed)
    special = {"eos_token_id": end, "pad_token_id": 0, "use_cache": use_cache, "max_new_tokens": new}
    special["force_eos"] = way.pop("forced_eos_token_id", None) is not None
    if way.pop("do_sample", False):
        what, got = "sampled tokens", sample(ours, input_ids, attention_mask, **way, **special)
    elif "num_beams" in way:
        beams = way.pop("num_beams")
        what, got = "beam search", beam_search(ours, input_ids, attention_mask, beams=beams, **way, **special)
    else:
        what, got = "greedy tokens", greedy(ours, input_ids, attention_mask, **special)
    first = 1 if hasattr(ours, "encode") else input_ids.shape[1]
    apart = sum(_text(one, first, end) != _text(other, first, end) for one, other in zip(got, wanted, strict=True))
    return [ParityRow(type(ours).__name__, "transformers generate()", what, float(apart), tolerance=0.0)]


def _text(ids: Tensor, first: int, end: int) -> list[int]:
    """The tokens up to the first end token; what follows it is padding."""
    ids = ids.tolist()
    return ids[: ids.index(end, first) + 1] if end in ids[first:] else ids


def token_ids(count: int, length: int, mask: str | None = None) -> tuple[Tensor, Tensor | None]:
    """Random texts, none with a special token inside; and a mask that hides 0 to 3 tokens at one end of each."""
    input_ids = torch.randint(3, VOCABULARY, (count, length))
    if mask is None:
        return input_ids, None
    hidden = torch.arange(count).remainder(4)[:, None]
    seen = torch.arange(length) >= hidden if mask == "left" else torch.arange(length) < length - hidden
    return input_ids.masked_fill(~seen, 0), seen.long()


def _pair(ours_class, names, theirs_class, config_class, sizes: dict, seed: int):
    torch.manual_seed(seed)
    with without_warnings():
        theirs = disturb(theirs_class(config_class(**sizes)), seed)
    for name, buffer in theirs.named_buffers():
        if name == "final_logits_bias":
            buffer.normal_()  # BART's, which is 0 in all published files
    return ours_class.from_weights(*names.from_transformers(theirs.config.to_dict(), theirs.state_dict())), theirs


def _decoder_rows(system: str, reference: str, ours: nn.Module, theirs: nn.Module, mask: str | None) -> list[ParityRow]:
    input_ids, attention_mask = token_ids(5, 14, mask)
    with torch.no_grad():
        wanted = theirs(input_ids, attention_mask=attention_mask).logits
        got = ours(input_ids, attention_mask)
    tell_apart(wanted)
    seen = torch.ones_like(input_ids) if attention_mask is None else attention_mask  # what padding says is nobody's
    return [ParityRow(system, reference, "logits", difference(got[seen.bool()], wanted[seen.bool()]))]


def _encoder_decoder_rows(system: str, reference: str, ours, theirs, mask: str | None) -> list[ParityRow]:
    input_ids, attention_mask = token_ids(5, 14, mask)
    decoder_input_ids, decoder_mask = token_ids(5, 9, mask and "right")
    with torch.no_grad():
        wanted = theirs(input_ids, attention_mask, decoder_input_ids, decoder_mask)
        got = ours(input_ids, decoder_input_ids, attention_mask, decoder_mask)
        states = ours.encode(input_ids, attention_mask)
    tell_apart(wanted.logits, wanted.encoder_last_hidden_state)
    seen = torch.ones_like(decoder_input_ids) if decoder_mask is None else decoder_mask
    read = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    encoded = difference(states[read.bool()], wanted.encoder_last_hidden_state[read.bool()])
    return [
        ParityRow(system, reference, "encoder states", encoded),
        ParityRow(system, reference, "logits", difference(got[seen.bool()], wanted.logits[seen.bool()])),
    ]


PAIRS = (gpt2_pair, llama_pair, t5_pair, bart_pair)
WAYS: tuple[dict, ...] = (
    {},
    {"do_sample": True, "temperature": 0.7, "top_k": 20, "top_p": 0.9},
    {"num_beams": 3},
)

COMPARISONS: list[Callable[[], list[ParityRow]]] = [
    bert_beside_transformers,
    gpt2_beside_transformers,
    llama_beside_transformers,
    lambda: llama_beside_transformers({"rope_parameters": STRETCHED}),
    t5_beside_transformers,
    lambda: t5_beside_transformers({"feed_forward_proj": "gated-gelu"}),
    bart_beside_transformers,
    *(partial(generation_beside_transformers, pair, way) for pair in PAIRS for way in WAYS),
]
