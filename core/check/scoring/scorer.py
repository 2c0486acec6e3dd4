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
from finetop.core.check.scoring.packing import PackedBatch, TokenSequence, pack, packed_batches
from finetop.core.check.scoring.prefix_cache import Past, Prefixes, PrefixMemory
from finetop.core.check.scoring.turns import take_turns
from finetop.core.models import collectives, forward
from finetop.core.models.engine import CACHE_PER_TOKEN, Engine, at_once

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase as Tokenizer


ROW = 256  # nodes of a row: 2 x 256 takes 0.86 of the time of 1 x 512, as attention covers fewer unrelated nodes
# A text that is scored as a whole shares little with others, and is run as the harness runs it: attention to a
# first token without a context is ill-conditioned, and packed in trees such texts were off by 2e-4 nats.
WHOLE = 1
HEAD_ROWS = 256  # tokens whose log-probabilities are computed at once: a copy of their logits is 50 MB
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


@dataclass(frozen=True)
class _Read:
    """Logits [positions, vocabulary], and for each sequence the positions that predict its scored tokens."""

    logits: Tensor
    predicting: dict[int, list[int]]


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
) -> list[Scored]:
    """Score every sequence, in the order given; `memory` keeps prefixes that later calls share.

    With `shares` the ranks of a job score every N-th batch each.

    An error empties the memory: if it ran out, the next try needs the room.
    """
    import torch

    results = {place: Scored(0.0, True) for place in range(len(sequences))}  # empty sequences keep this score
    try:
        with torch.inference_mode():
            reads = _reads(model, sequences, plan, memory)
            if shares and collectives.count() > 1:
                pieces = (partial(_scores, read, sequences) for read in reads)
                every: Iterable[dict[int, Scored]] = take_turns(pieces, shares=shares)
            else:
                every = _in_flight(_begun(read, sequences) for read in reads)
            for scored in every:
                results.update(scored)
    except BaseException:
        if memory is not None:
            memory.clear()
        raise
    return [results[place] for place in range(len(sequences))]


def _scores(make: Callable[[], _Read], sequences: Sequence[TokenSequence]) -> dict[int, Scored]:
    return _begun(make, sequences)()


def _in_flight(begun: Iterator[Callable[[], dict[int, Scored]]]) -> Iterator[dict[int, Scored]]:
    """Read each batch's scores when the next has begun: a GPU computes while the host packs the one after it."""
    before: Callable[[], dict[int, Scored]] | None = None
    for batch in begun:
        if before is not None:
            yield before()
        before = batch
    if before is not None:
        yield before()


def _begun(make: Callable[[], _Read], sequences: Sequence[TokenSequence]) -> Callable[[], dict[int, Scored]]:
    """Run a batch; what is returned waits for it, and sums each sequence's log-probabilities in float64."""
    import torch

    read = make()
    pairs = []
    for place, positions in read.predicting.items():
        tokens = sequences[place].tokens[sequences[place].scored_from :]
        pairs += [(position, place, token) for position, token in zip(positions, tokens, strict=True)]
    pairs.sort()
    parts = [_token_scores(read.logits, pairs[at : at + HEAD_ROWS]) for at in range(0, len(pairs), HEAD_ROWS)]
    places = [place for _, place, _ in pairs]
    scores, best = (torch.cat(part) for part in zip(*parts, strict=True))
    return partial(_sums, places, scores, best)


def _sums(places: Sequence[int], scores: Tensor, best: Tensor) -> dict[int, Scored]:
    """Sum the log-probabilities of each sequence's tokens, given the place of each token's sequence."""
    totals, greedy = dict.fromkeys(places, 0.0), dict.fromkeys(places, True)
    for place, log_prob, is_best in zip(places, scores.tolist(), best.tolist(), strict=True):
        totals[place] += log_prob
        greedy[place] &= is_best
    return {place: Scored(totals[place], greedy[place]) for place in totals}


def _token_scores(logits: Tensor, pairs: Sequence[tuple[int, int, int]]) -> tuple[Tensor, Tensor]:
    """Return the log-probability of one token at each position, and whether it is the likeliest.

    Normalized in float32, as the harness does: summed over 49,000 tokens the error is up to 1e-5 nats.
    """
    import torch

    used = sorted({position for position, _, _ in pairs})
    row_of = {position: row for row, position in enumerate(used)}
    rows = torch.tensor([row_of[position] for position, _, _ in pairs], device=logits.device)
    tokens = torch.tensor([token for _, _, token in pairs], device=logits.device)
    log_probs = torch.log_softmax(logits[torch.tensor(used, device=logits.device)].float(), dim=-1)
    best = log_probs.argmax(-1)[rows] == tokens
    return log_probs[rows, tokens], best


def _reads(
    model: Any, sequences: Sequence[TokenSequence], plan: BatchPlan, memory: PrefixMemory | None
) -> Iterator[Callable[[], _Read]]:
    """Yield all sequences in batches ready to run: packed after a shared prefix, unpacked where that is inexact."""
    scored = [place for place, each in enumerate(sequences) if each.scored_from < len(each.tokens)]
    most = forward.longest_packed(model.config)
    long = [place for place in scored if len(sequences[place].tokens) - 1 > most]
    short = sorted(set(scored) - set(long))
    alone = [place for place in short if plan.layout == "plain" or sequences[place].scored_from == WHOLE]
    for places in (long, alone):  # never in one batch: their rotary angles may differ
        yield from _plain(model, sequences, places, plan.row_tokens)
    groups: dict[int, list[int]] = {}
    for place in sorted(set(short) - set(alone)):
        number = memory.prefixes.longest(sequences[place]) if memory is not None else -1
        groups.setdefault(number, []).append(place)
    row = min(ROW, plan.row_tokens, most, forward.longest_input(model.config))
    for number, places in sorted(groups.items()):
        past = memory.past(model, number, plan.row_tokens) if memory is not None and number >= 0 else None
        yield from _packed(model, sequences, places, row, plan.row_tokens, past)


def _packed(
    model: Any,
    sequences: Sequence[TokenSequence],
    places: Sequence[int],
    row: int,
    row_tokens: int,
    past: Past | None,
) -> Iterator[Callable[[], _Read]]:
    """Put sequences with the same prefix, without that prefix, into rows of trees."""
    begun = past.length if past is not None else 0
    some = [sequences[place] for place in places]
    rests = [TokenSequence(each.tokens[begun:], each.scored_from - begun) for each in some]
    if past is not None:  # each row continues from a copy of the prefix
        room = row_tokens * CACHE_PER_TOKEN // max(1, forward.cache_bytes(model))
        row_tokens = min(row_tokens, max(row, room // (begun + row) * row))
    for batch in packed_batches(pack(rests, row), rests, row_tokens):
        yield partial(_run_packed, model, batch, places, past)


def _run_packed(model: Any, batch: PackedBatch, places: Sequence[int], past: Past | None) -> _Read:
    """Run a packed batch of the sequences at these places."""
    import torch

    device, (rows, columns) = model.device, batch.tokens.shape
    begun, cache = 0, None
    if past is not None:
        begun, cache = past.length, past.fresh(rows)
    seen = torch.from_numpy(batch.visible).to(device)
    logits = forward.logits_at(
        model,
        torch.from_numpy(batch.tokens).to(device),
        torch.arange(columns - batch.kept, columns, device=device),
        cache,
        position_ids=torch.from_numpy(batch.depths).to(device) + begun,
        attention_mask=forward.mask_for(model, torch.cat([seen.new_ones(rows, columns, begun), seen], dim=2)),
    )
    predicting = {
        places[number]: [at * batch.kept + column for column in columns]
        for number, (at, columns) in batch.predicting.items()
    }
    return _Read(logits.flatten(0, 1), predicting)


def _plain(
    model: Any, sequences: Sequence[TokenSequence], places: Sequence[int], row_tokens: int
) -> Iterator[Callable[[], _Read]]:
    """Put one sequence in each row, right-padded, as every model can read; longest first, `row_tokens` at once."""
    order = sorted(places, key=lambda place: (-len(sequences[place].tokens), place))
    while order:
        longest = len(sequences[order[0]].tokens) - 1
        batch, order = order[: max(1, row_tokens // longest)], order[max(1, row_tokens // longest) :]
        yield partial(_run_plain, model, sequences, batch, longest)


def _run_plain(model: Any, sequences: Sequence[TokenSequence], batch: Sequence[int], longest: int) -> _Read:
    """Run the sequences at these places, padded to the longest."""
    import torch

    inputs = [sequences[place].tokens[:-1] for place in batch]
    first = min(sequences[place].scored_from for place in batch) - 1
    padded = [[*tokens, *[0] * (longest - len(tokens))] for tokens in inputs]
    read = [[1] * len(tokens) + [0] * (longest - len(tokens)) for tokens in inputs]
    ids, mask = (torch.tensor(rows, device=model.device) for rows in (padded, read))
    kept = torch.arange(first, longest, device=model.device)
    logits = forward.logits_at(model, ids, kept, attention_mask=mask)
    width = longest - first
    predicting = {
        place: [number * width + at - first for at in range(sequences[place].scored_from - 1, len(tokens))]
        for number, (place, tokens) in enumerate(zip(batch, inputs, strict=True))
    }
    return _Read(logits.flatten(0, 1), predicting)


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
