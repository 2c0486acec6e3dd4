"""The scorer: log-probabilities of token sequences under a causal language model, shared prefixes run once.

Everything here is deterministic for a batch plan: two compared models get the same rows in the same order,
because in bfloat16 (and slightly in float32) a row's neighbours and length change the last digits of a
log-probability.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from finetop.core.check.scoring.batch_plan import BatchPlan
from finetop.core.check.scoring.layout import LaidOut, ScoredTokens, lay_out
from finetop.core.check.scoring.packing import TokenSequence
from finetop.core.check.scoring.prefix_cache import Past, Prefixes, PrefixMemory
from finetop.core.check.scoring.turns import take_turns
from finetop.core.models import collectives, forward
from finetop.core.models.engine import Engine, at_once

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase as Tokenizer


PROBE_TRUNK = 24  # tokens; in one of the tries the first half is a kept prefix
PROBE_BRANCHES = 12
PROBE_TOLERANCE = {"torch.float32": 1e-3, "torch.float64": 1e-3}  # nats per token
# 16-bit formats differ by layout alone
PROBE_TOLERANCE_16_BIT = 0.25


@dataclass(frozen=True)
class Scored:
    """The summed log-probability (nats) of scored tokens, and whether greedy decoding would write exactly them."""

    log_prob: float
    is_greedy: bool


def plan_for(device: str, engine: Engine = "exact") -> BatchPlan:
    """Return the batch plan that a device starts with."""
    return BatchPlan("packed", at_once(device), engine)


def score(
    model: Any,
    sequences: Sequence[TokenSequence],
    plan: BatchPlan,
    memory: PrefixMemory | None = None,
    *,
    shares: bool = False,
    laid_out: Iterator[LaidOut] | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> list[Scored]:
    """Score every sequence, in the order given; `memory` keeps prefixes that later calls share.

    With `shares` the ranks of a job score every N-th batch each, without kept prefixes. `laid_out` is what `lay_out`
    returned for these sequences, if it was called ahead. `meanwhile` is called when the last batch has begun, before
    it is waited for.

    An error empties the memory: if it ran out, the next try needs the room.
    """
    import torch

    results = {place: Scored(0.0, True) for place in range(len(sequences))}  # empty sequences keep this score
    try:
        with torch.inference_mode():
            is_shared = shares and collectives.count() > 1
            if laid_out is None:
                prefixes = None if memory is None or is_shared else memory.prefixes
                laid_out = lay_out(model, sequences, plan, prefixes)
            if is_shared:
                pieces = (partial(_scores, model, batch) for batch in laid_out)
                every: Iterable[dict[int, Scored]] = take_turns(pieces, shares=shares)
            else:
                every = _in_flight(_all_begun(model, laid_out, plan, memory), meanwhile)
            for scored in every:
                results.update(scored)
    except BaseException:
        if memory is not None:
            memory.clear()
        raise
    return [results[place] for place in range(len(sequences))]


def _scores(model: Any, batch: LaidOut) -> dict[int, Scored]:
    return _begun(model, batch, None)()


def _in_flight(
    begun: Iterator[Callable[[], dict[int, Scored]]], meanwhile: Callable[[], None] | None
) -> Iterator[dict[int, Scored]]:
    """Read each batch's scores when the next has begun: a GPU computes while the host packs the one after it."""
    before: Callable[[], dict[int, Scored]] | None = None
    for batch in begun:
        if before is not None:
            yield before()
        before = batch
    if meanwhile is not None:
        meanwhile()
    if before is not None:
        yield before()


def _all_begun(
    model: Any, batches: Iterator[LaidOut], plan: BatchPlan, memory: PrefixMemory | None
) -> Iterator[Callable[[], dict[int, Scored]]]:
    """Run each batch when the next is asked for; the prefix that several continue is read once."""
    number, past = -1, None
    for batch in batches:
        if memory is not None and batch.prefix != number:
            number = batch.prefix
            past = memory.past(model, number, plan.row_tokens)
        yield _begun(model, batch, past)


def _begun(model: Any, batch: LaidOut, past: Past | None) -> Callable[[], dict[int, Scored]]:
    """Run a batch; what is returned waits for it, and sums each sequence's log-probabilities in float64."""
    import torch

    logits = _logits(model, batch, past).flatten(0, 1)
    scores, best = (
        torch.cat(part) for part in zip(*(_token_scores(logits, part) for part in batch.scored), strict=True)
    )
    return partial(_sums, batch.places, _on_the_way_back(scores, best))


def _logits(model: Any, batch: LaidOut, past: Past | None) -> Tensor:
    """Run the model on a batch of trees, or of padded rows."""
    import torch

    # Without training's autocast, which changes scores: it rounds a float32 adapter's weights and outputs to 16 bits.
    # On a small Llama in bfloat16 with LoRA, all 64 scores moved, by 0.003 nats a token on average; packing: 0.0008.
    ids, kept, seen = (_sent(tensor, model.device) for tensor in (batch.ids, batch.kept, batch.seen))
    if batch.depths is None:
        return forward.logits_at(model, ids, kept, attention_mask=seen)
    known, cache = 0, None
    if past is not None:
        known, cache = past.length, past.fresh(len(ids))
    before = seen.new_ones(*ids.shape, known)
    return forward.logits_at(
        model,
        ids,
        kept,
        cache,
        position_ids=_sent(batch.depths, model.device) + known,
        attention_mask=forward.mask_for(model, torch.cat([before, seen], dim=2)),
    )


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor from the host. A GPU does so in its turn: unpinned, the host would wait for all work before."""
    is_cuda = device.type == "cuda"
    return (tensor.pin_memory() if is_cuda else tensor).to(device, non_blocking=is_cuda)


def _on_the_way_back(*tensors: Tensor) -> Callable[[], list[list[Any]]]:
    """Begin to copy tensors to the host; what is returned waits for them alone, not for work that came after."""
    import torch

    device = tensors[0].device
    if device.type != "cuda":
        return lambda: [tensor.tolist() for tensor in tensors]
    copies = [tensor.to("cpu", non_blocking=True) for tensor in tensors]
    copied = torch.cuda.Event()
    copied.record(torch.cuda.current_stream(device))

    def waited() -> list[list[Any]]:
        copied.synchronize()
        return [copy.tolist() for copy in copies]

    return waited


def _sums(places: Sequence[int], waited: Callable[[], list[list[Any]]]) -> dict[int, Scored]:
    """Sum the log-probabilities of each sequence's tokens, given the place of each token's sequence."""
    totals, greedy = dict.fromkeys(places, 0.0), dict.fromkeys(places, True)
    for place, log_prob, is_best in zip(places, *waited(), strict=True):
        totals[place] += log_prob
        greedy[place] &= is_best
    return {place: Scored(totals[place], greedy[place]) for place in totals}


def _token_scores(logits: Tensor, scored: ScoredTokens) -> tuple[Tensor, Tensor]:
    """Return the log-probability of one token at each position, and whether it is the likeliest.

    Normalized in float32, as the harness does: summed over 49,000 tokens the error is up to 1e-5 nats.
    """
    import torch

    used, rows, tokens = (_sent(each, logits.device) for each in (scored.used, scored.rows, scored.tokens))
    log_probs = torch.log_softmax(logits[used].float(), dim=-1)
    best = log_probs.argmax(-1)[rows] == tokens
    return log_probs[rows, tokens], best


def packs_exactly(model: Any) -> bool:
    """Return whether the model accepts our attention mask and continues correctly from a kept prefix.

    The same sequences packed, packed after a kept prefix (read, then used again), and unpacked must score alike.
    16-bit formats can't match exactly, so there the mean over all sequences counts.
    """
    import torch

    if forward.has_virtual_tokens(model):
        return False
    sequences = _probe(int(model.config.get_text_config().vocab_size))
    beginning = sequences[0].tokens[: PROBE_TRUNK // 2]
    memory = PrefixMemory(Prefixes((beginning,), (-1,)), limit_bytes=1 << 30)
    plain = score(model, sequences, BatchPlan("plain", 1))
    plan = BatchPlan("packed", 512)
    tolerance = PROBE_TOLERANCE.get(str(model.dtype), PROBE_TOLERANCE_16_BIT)
    for kept in (None, memory, memory):
        try:
            packed = score(model, sequences, plan, kept)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, TypeError, NotImplementedError, AttributeError, IndexError):
            return False
        apart = [abs(one.log_prob - other.log_prob) for one, other in zip(plain, packed, strict=True)]
        if not sum(apart) / len(apart) <= tolerance:  # a NaN fails
            return False
    return True


def _probe(vocabulary: int) -> list[TokenSequence]:
    """Make branches of one scored token each, far from their trunk in a row, so that wrong positions show."""
    trunk = [(7 * place + 11) % vocabulary for place in range(PROBE_TRUNK)]
    starts = [5 * branch + 3 for branch in range(PROBE_BRANCHES)]
    branches = [[(13 * place + start) % vocabulary for place in range(6)] for start in starts]
    return [TokenSequence((*trunk, *branch), PROBE_TRUNK + 5) for branch in branches]


def window_log_probs(model: Any, window: Sequence[int]) -> Tensor:
    """Return the log-probabilities [tokens - 1, vocabulary] of what may follow each token of a text but the last."""
    import torch

    with torch.inference_mode():
        ids = torch.tensor([list(window)[:-1]], device=model.device)
        logits = forward.logits_at(model, ids, torch.arange(ids.shape[1], device=model.device))
        return torch.log_softmax(logits[0].float(), dim=-1)


def encode_pair(tokenizer: Tokenizer, context: str, continuation: str, longest: int) -> TokenSequence:
    """Tokenize a context and its continuation as the harness does; a context that is too long loses its beginning.

    With an empty continuation nothing is scored, and the context keeps its trailing spaces.
    """
    if not context:
        first = prefix_token(tokenizer)
        following = tokenizer.encode(continuation, add_special_tokens=False)
        before = [first]
        if following[:1] == [first]:
            before, following = following[:1], following[1:]
    elif not continuation:
        before, following = encode_text(tokenizer, context), []
    else:
        spaces = len(context) - len(context.rstrip())
        if spaces:
            context, continuation = context[:-spaces], context[-spaces:] + continuation
        before = encode_text(tokenizer, context)
        following = encode_text(tokenizer, context + continuation)[len(before) :]
    tokens = (*before, *following)[-(longest + 1) :]
    return TokenSequence(tokens, max(1, len(tokens) - len(following)))


def encode_prompt(tokenizer: Tokenizer, text: str, longest: int, max_new_tokens: int) -> tuple[int, ...]:
    """Tokenize a prompt as the harness does; its beginning is cut to make room for the answer."""
    tokens = encode_text(tokenizer, text) or [prefix_token(tokenizer)]
    return tuple(tokens[-max(1, longest - max_new_tokens) :])


def prefix_token(tokenizer: Tokenizer) -> int:
    """Return the token put before a text without a context."""
    first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    return int(first)


def encode_text(tokenizer: Tokenizer, text: str) -> list[int]:
    """Tokenize with the tokenizer's special tokens, unless the text already begins with one (a chat template's)."""
    first = tokenizer.bos_token or tokenizer.eos_token
    begins = first is not None and text.startswith(str(first))
    ids: list[int] = tokenizer.encode(text, **({"add_special_tokens": False} if begins else {}))
    return ids
