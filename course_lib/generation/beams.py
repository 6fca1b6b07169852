"""Beam search: several beginnings are kept, so that a good text may begin with an unlikely word."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from course_lib.errors import InputError
from course_lib.generation.decoding import Decoding, end_only, start

LOWEST = -1.0e9


@dataclass
class Beams:
    """The K best texts of each of B searches, best first.

    sequences (B, K, T): as those of `greedy`, and padding; scores (B, K): log-probability over length**length_penalty;
    lengths (B, K): how many tokens were written.
    """

    sequences: Tensor
    scores: Tensor
    lengths: Tensor


def beam_search(
    model: nn.Module | Decoding,
    input_ids: Tensor,
    attention_mask: Tensor | None = None,
    *,
    max_new_tokens: int,
    beams: int,
    length_penalty: float = 1.0,
    early_stopping: bool | Literal["never"] = False,
    eos_token_id: int | None = None,
    pad_token_id: int | None = None,
    force_eos: bool = False,
    use_cache: bool = True,
) -> Tensor:
    """The best text that `search` finds: arguments and errors are its own, the result is as that of `greedy`."""
    found = search(
        model, input_ids, attention_mask, max_new_tokens=max_new_tokens, beams=beams, length_penalty=length_penalty,
        early_stopping=early_stopping, eos_token_id=eos_token_id, pad_token_id=pad_token_id, force_eos=force_eos,
        use_cache=use_cache,
    )  # fmt: skip
    first = found.sequences.shape[2] - max_new_tokens
    return found.sequences[:, 0, : first + found.lengths[:, 0].max()].clone()


@torch.no_grad()
def search(
    model: nn.Module | Decoding,
    input_ids: Tensor,
    attention_mask: Tensor | None = None,
    *,
    max_new_tokens: int,
    beams: int,
    length_penalty: float = 1.0,
    early_stopping: bool | Literal["never"] = False,
    eos_token_id: int | None = None,
    pad_token_id: int | None = None,
    force_eos: bool = False,
    use_cache: bool = True,
) -> Beams:
    """Grows the K most likely beginnings of each text by one token at a time.

    Of all 2 K best continuations those that end are finished texts, and the K best of the others go on.

    Args:
        beams: K.
        length_penalty: a finished text's log-probability is divided by its length to this power: 0 compares texts
            as they are, so short ones win; above 0 longer ones are favoured.
        early_stopping: when a text's search is over. True: as soon as there are K finished texts. False: when the best
            running beginning, at its present length, is worse than all K. "never": when it could not get better at
            the best length either.
        The others and the errors are those of `greedy`.

    Raises:
        InputError: also fewer than 1 beam, or an `early_stopping` that is none of the three.

    Source: the algorithm is Graves, Sequence Transduction with Recurrent Neural Networks, section 2.5; the rules for
    stopping are those of transformers' generate().
    """
    if beams < 1:
        raise InputError(f"beams is {beams}; keep at least 1")
    if early_stopping not in (True, False, "never"):
        raise InputError(f'early_stopping is {early_stopping!r}; it should be True, False or "never"')
    if force_eos and eos_token_id is None:
        raise InputError("force_eos needs the eos_token_id that it should force")
    decoding, fed = start(model, input_ids, attention_mask, max_new_tokens, use_cache)
    batch, first, device = len(fed), fed.shape[1], fed.device
    filler = pad_token_id if pad_token_id is not None else eos_token_id if eos_token_id is not None else 0
    texts = torch.arange(batch, device=device)[:, None]

    running = torch.full((batch, beams, first + max_new_tokens), filler, device=device)
    running[:, :, :first] = fed[:, None]
    running_scores = torch.full((batch, beams), LOWEST, device=device)
    running_scores[:, 0] = 0.0  # all beams are one at first
    best, best_lengths = running.clone(), torch.zeros(batch, beams, dtype=torch.long, device=device)
    best_scores = torch.full((batch, beams), LOWEST, device=device)
    finished = torch.zeros(batch, beams, dtype=torch.bool, device=device)
    hopeful = torch.ones(batch, 1, dtype=torch.bool, device=device)  # whether a running text may still get among them

    for number in range(max_new_tokens):
        logits = decoding.step(fed)
        if number == 0:  # the prompt is computed once for all beams
            copies = torch.arange(batch, device=device).repeat_interleave(beams)
            decoding.reorder(copies)
            logits = logits[copies]
        last, written = number == max_new_tokens - 1, number + 1
        if force_eos and last:
            logits = end_only(logits, eos_token_id)

        # The 2 K best continuations: even if K of them end, K are left to go on.
        vocabulary = logits.shape[-1]
        scores = logits.float().log_softmax(-1).view(batch, beams, -1) + running_scores[:, :, None]
        scores, places = scores.flatten(1).topk(2 * beams)
        parents, tokens = places // vocabulary, places % vocabulary
        longer = running[texts, parents]
        longer[:, :, first + number] = tokens
        ends = torch.full_like(tokens, last, dtype=torch.bool)
        if eos_token_id is not None:
            ends |= tokens == eos_token_id

        # Those of the K best that end compete with the texts that have ended before.
        ended = ends.clone()
        ended[:, beams:] = False
        final = scores / written**length_penalty
        if early_stopping is True:
            final = final + finished.all(-1, keepdim=True) * LOWEST
        final = final + ~hopeful * LOWEST + ~ended * LOWEST
        best_scores, kept = torch.cat([best_scores, final], 1).topk(beams)
        best = torch.cat([best, longer], 1)[texts, kept]
        best_lengths = torch.cat([best_lengths, torch.full_like(tokens, written)], 1)[texts, kept]
        finished = torch.cat([finished, ended], 1)[texts, kept]

        # The K best of those that do not end go on.
        running_scores, chosen = (scores + ends * LOWEST).topk(beams)
        running = longer[texts, chosen]
        length = max_new_tokens if early_stopping == "never" and length_penalty > 0 else written
        worst = torch.where(finished, best_scores.min(1, keepdim=True)[0], LOWEST)
        hopeful &= (running_scores[:, :1] / length**length_penalty > worst).any(-1, keepdim=True)
        if last or not hopeful.any() or (early_stopping is True and finished.all()):
            break
        decoding.reorder((parents.gather(1, chosen) + texts * beams).flatten())
        fed = running[:, :, first + number].reshape(-1, 1)
    return Beams(best, best_scores, best_lengths)
