"""Batches of token sequences laid out on the host: all that a forward pass needs, before the model is called.

So a GPU can work at one batch while the next is packed. What a batch holds depends on the sequences, the plan and the
model's limits alone, not on when it is laid out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from finetop.core.check.scoring.batch_plan import BatchPlan
from finetop.core.check.scoring.packing import PackedBatch, TokenSequence, pack, packed_batches
from finetop.core.check.scoring.prefix_cache import Prefixes
from finetop.core.models import forward
from finetop.core.models.engine import CACHE_PER_TOKEN

if TYPE_CHECKING:
    from torch import Tensor

ROW = 256  # nodes of a row: 2 x 256 takes 0.86 of the time of 1 x 512, as attention covers fewer unrelated nodes
# A text that is scored as a whole shares little with others, and is run as the harness runs it: attention to a
# first token without a context is ill-conditioned, and packed in trees such texts were off by 2e-4 nats.
WHOLE = 1
HEAD_ROWS = 256  # tokens whose log-probabilities are computed at once: a copy of their logits is 50 MB


@dataclass(frozen=True)
class ScoredTokens:
    """Tokens to score together: the logits' positions that are used, and for each token its one of these and its id."""

    used: Tensor
    rows: Tensor
    tokens: Tensor


@dataclass(frozen=True)
class LaidOut:
    """A batch ready for the model, on the host; `places` are the sequences of its scored tokens, in order."""

    ids: Tensor  # [rows, columns]
    kept: Tensor  # columns with logits
    seen: Tensor  # trees: [rows, columns, columns]; padded rows: [rows, columns]
    depths: Tensor | None  # of trees: [rows, columns], after the prefix
    prefix: int  # the number of the prefix that all rows continue; -1 for none
    scored: tuple[ScoredTokens, ...]
    places: list[int]


def lay_out(
    model: Any, sequences: Sequence[TokenSequence], plan: BatchPlan, prefixes: Prefixes | None
) -> Iterator[LaidOut]:
    """Yield all sequences in batches: packed after a shared prefix, unpacked where that is inexact."""
    # read now: what is laid out ahead holds no model
    bytes_of_token = forward.cache_bytes(model) if prefixes is not None else 0
    return _laid_out(model.config, bytes_of_token, sequences, plan, prefixes)


def begun(batches: Iterator[LaidOut]) -> Iterator[LaidOut] | None:
    """Lay out the first batch now; None if that fails, so that the error comes when it is their turn."""
    with suppress(Exception):
        first = next(batches, None)
        return iter(()) if first is None else chain((first,), batches)
    return None


def _laid_out(
    config: Any,
    bytes_of_token: int,
    sequences: Sequence[TokenSequence],
    plan: BatchPlan,
    prefixes: Prefixes | None,
) -> Iterator[LaidOut]:
    scored = [place for place, each in enumerate(sequences) if each.scored_from < len(each.tokens)]
    most = forward.longest_packed(config)
    long = [place for place in scored if len(sequences[place].tokens) - 1 > most]
    short = sorted(set(scored) - set(long))
    alone = [place for place in short if plan.layout == "plain" or sequences[place].scored_from == WHOLE]
    for places in (long, alone):  # never in one batch: their rotary angles may differ
        yield from _plain(sequences, places, plan.row_tokens)
    groups: dict[int, list[int]] = {}
    for place in sorted(set(short) - set(alone)):
        number = prefixes.longest(sequences[place]) if prefixes is not None else -1
        groups.setdefault(number, []).append(place)
    row = min(ROW, plan.row_tokens, most, forward.longest_input(config))
    for number, places in sorted(groups.items()):
        known, row_tokens = 0, plan.row_tokens
        if prefixes is not None and number >= 0:  # each row continues from a copy of the prefix
            known = len(prefixes.tokens[number])
            room = row_tokens * CACHE_PER_TOKEN // max(1, bytes_of_token)
            row_tokens = min(row_tokens, max(row, room // (known + row) * row))
        some = [sequences[place] for place in places]
        rests = [TokenSequence(each.tokens[known:], each.scored_from - known) for each in some]
        for batch in packed_batches(pack(rests, row), rests, row_tokens):
            yield _trees(batch, sequences, places, number)


def _trees(
    batch: PackedBatch, sequences: Sequence[TokenSequence], places: Sequence[int], prefix: int
) -> LaidOut:
    """Lay out a packed batch of the sequences at these places, without their prefix."""
    import torch

    columns = batch.tokens.shape[1]
    predicting = {
        places[number]: [at * batch.kept + column for column in columns]
        for number, (at, columns) in batch.predicting.items()
    }
    return LaidOut(
        ids=torch.from_numpy(batch.tokens),
        kept=torch.arange(columns - batch.kept, columns),
        seen=torch.from_numpy(batch.visible),
        depths=torch.from_numpy(batch.depths),
        prefix=prefix,
        **_scored(predicting, sequences),
    )


def _plain(sequences: Sequence[TokenSequence], places: Sequence[int], row_tokens: int) -> Iterator[LaidOut]:
    """Put one sequence in each row, right-padded, as every model can read; longest first, `row_tokens` at once."""
    order = sorted(places, key=lambda place: (-len(sequences[place].tokens), place))
    while order:
        longest = len(sequences[order[0]].tokens) - 1
        batch, order = order[: max(1, row_tokens // longest)], order[max(1, row_tokens // longest) :]
        yield _padded(sequences, batch, longest)


def _padded(sequences: Sequence[TokenSequence], batch: Sequence[int], longest: int) -> LaidOut:
    """Lay out the sequences at these places, padded to the longest."""
    import torch

    inputs = [sequences[place].tokens[:-1] for place in batch]
    first = min(sequences[place].scored_from for place in batch) - 1
    width = longest - first
    predicting = {
        place: [number * width + at - first for at in range(sequences[place].scored_from - 1, len(tokens))]
        for number, (place, tokens) in enumerate(zip(batch, inputs, strict=True))
    }
    return LaidOut(
        ids=torch.tensor([[*tokens, *[0] * (longest - len(tokens))] for tokens in inputs]),
        kept=torch.arange(first, longest),
        seen=torch.tensor([[1] * len(tokens) + [0] * (longest - len(tokens)) for tokens in inputs]),
        depths=None,
        prefix=-1,
        **_scored(predicting, sequences),
    )


def _scored(predicting: Mapping[int, Sequence[int]], sequences: Sequence[TokenSequence]) -> dict[str, Any]:
    """Return a batch's scored tokens and their sequences' places, given the positions that predict them."""
    pairs = []
    for place, positions in predicting.items():
        tokens = sequences[place].tokens[sequences[place].scored_from :]
        pairs += [(position, place, token) for position, token in zip(positions, tokens, strict=True)]
    pairs.sort()
    parts = [_scored_tokens(pairs[at : at + HEAD_ROWS]) for at in range(0, len(pairs), HEAD_ROWS)]
    return {"scored": tuple(parts), "places": [place for _, place, _ in pairs]}


def _scored_tokens(pairs: Sequence[tuple[int, int, int]]) -> ScoredTokens:
    import torch

    used = sorted({position for position, _, _ in pairs})
    row_of = {position: row for row, position in enumerate(used)}
    rows = torch.tensor([row_of[position] for position, _, _ in pairs])
    tokens = torch.tensor([token for _, _, token in pairs])
    return ScoredTokens(torch.tensor(used), rows, tokens)
