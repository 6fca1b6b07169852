"""Lesson 03: BERT's and GPT-2's training step, and writing with a cache, beside transformers'."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.authoring.bench.timing import Comparison, alternate
from course_lib.authoring.parity.lesson_03 import bert_pair, gpt2_pair, llama_pair
from course_lib.authoring.parity.rows import small_transformer
from course_lib.evaluation.language import next_token_loss
from course_lib.generation import greedy
from course_lib.runtime import pin_threads

WIDTH, LAYERS, BATCH, LENGTH, VOCABULARY = 128, 4, 16, 64, 1000
GPT2 = {"vocab_size": VOCABULARY, "n_positions": 128, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": 4}
NEW_TOKENS = 48


def training_steps() -> Iterator[Comparison]:
    """Forward, loss, backward, AdamW from the same weights: BERT (masked tokens and next sentence) and GPT-2."""
    input_ids = torch.randint(3, VOCABULARY, (BATCH, LENGTH), generator=torch.Generator().manual_seed(0))

    ours, theirs = gpt2_pair(GPT2)
    medians = alternate(
        {
            "course": _step(ours, lambda: next_token_loss(ours(input_ids), input_ids)),
            "transformers": _step(theirs, lambda: theirs(input_ids, labels=input_ids).loss),
        }
    )  # fmt: skip
    yield _row(f"GPT-2 training step, {BATCH} x {LENGTH}", "GPT2LMHeadModel", medians, 1.0)

    sizes = small_transformer(WIDTH, 4) | {
        "vocab_size": VOCABULARY, "num_hidden_layers": LAYERS, "intermediate_size": 4 * WIDTH,
        "max_position_embeddings": 128,
    }  # fmt: skip
    ours, theirs = bert_pair(sizes)
    masked = torch.rand(input_ids.shape, generator=torch.Generator().manual_seed(1)) < 0.15
    labels, follows = input_ids.masked_fill(~masked, -100), torch.arange(BATCH) % 2

    def our_loss() -> Tensor:
        output = ours(input_ids, masked=masked)
        said = F.cross_entropy(output.prediction_logits, input_ids[masked])
        return said + F.cross_entropy(output.seq_relationship_logits, follows)

    medians = alternate(
        {
            "course": _step(ours, our_loss),
            "transformers": _step(
                theirs, lambda: theirs(input_ids, labels=labels, next_sentence_label=follows).loss
            ),
        }
    )  # fmt: skip
    yield _row(f"BERT training step, {BATCH} x {LENGTH}", "BertForPreTraining", medians, 1.0)


def decoding() -> Iterator[Comparison]:
    """Greedy decoding of one text with a cache, same weights and tokens: the lesson's size and the checkpoint's.

    With one thread: the products of a single position are so small that sharing them out costs either side more.
    """
    pin_threads(1)
    try:
        for name, pair, layers, width in (
            ("GPT-2", gpt2_pair, 2, 96),
            ("GPT-2", gpt2_pair, 3, 128),
            ("Llama", llama_pair, 3, 128),
        ):
            ours, theirs = pair(_sizes(name, layers, width))
            ways = _ways(ours, theirs)
            assert torch.equal(ways["course"](), ways["transformers"]()), "the two write different texts"
            medians = alternate(ways)
            what = f"{name}, {layers} layers of {width}, writes {NEW_TOKENS} tokens, batch 1, one thread"
            yield _row(what, "generate()", medians, 1 / 3)
            yield Comparison(what, "course", "course without a cache", medians["course"], medians["without"])
    finally:
        pin_threads()


def _sizes(name: str, layers: int, width: int) -> dict:
    if name == "GPT-2":
        return {"vocab_size": 116, "n_positions": 128, "n_embd": width, "n_layer": layers, "n_head": 4}
    mlp = {"num_hidden_layers": layers, "intermediate_size": 3 * width, "num_key_value_heads": 2}
    return {"vocab_size": 116, "max_position_embeddings": 128} | small_transformer(width, 4) | mlp


def _ways(ours: nn.Module, theirs: nn.Module) -> dict[str, Callable[[], Tensor]]:
    prompt = torch.randint(3, 116, (1, 8), generator=torch.Generator().manual_seed(0))
    told = {"attention_mask": torch.ones_like(prompt), "do_sample": False, "eos_token_id": None}
    return {
        "course": lambda: greedy(ours, prompt, max_new_tokens=NEW_TOKENS),
        "transformers": lambda: theirs.generate(prompt, max_new_tokens=NEW_TOKENS, **told),
        "without": lambda: greedy(ours, prompt, max_new_tokens=NEW_TOKENS, use_cache=False),
    }


def _row(what: str, reference: str, medians: dict[str, float], bound: float) -> Comparison:
    return Comparison(what, "course", f"transformers {reference}", medians["course"], medians["transformers"], bound)


def _step(model: nn.Module, loss_of: Callable[[], Tensor]) -> Callable[[], float]:
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-4, fused=True)

    def take() -> float:
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        optimizer.step()
        return loss.item()

    return take


COMPARISONS: list[Callable[[], Iterator[Comparison]]] = [training_steps, decoding]
