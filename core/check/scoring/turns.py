"""Shares the pieces of a score among the ranks of a job: each is computed once, and every rank gets all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import TypeVar

from finetop.core.models import collectives
from finetop.core.runtime.failures import is_out_of_memory
from finetop.core.runtime.stop_signal import StopAsked

Made = TypeVar("Made")


def take_turns(
    pieces: Iterable[Callable[[], Made]], *, shares: bool, stops: Callable[[], bool] | None = None
) -> list[Made]:
    """Return every piece's result, in order: rank r computes those r::N, or each rank all if nothing is shared.

    On all ranks, raises StopAsked if any was asked to stop, and an out-of-memory error if any ran out.
    """
    import torch

    if collectives.count() == 1 or (not shares and stops is None):
        results = [piece() for piece in pieces]
        if stops is not None and stops():
            raise StopAsked
        return results
    own = islice(pieces, collectives.rank(), None, collectives.count()) if shares else pieces
    results, is_full = [], False
    try:
        results += (piece() for piece in own)
    except (RuntimeError, MemoryError) as error:
        if not shares or not is_out_of_memory(error):
            raise
        is_full = True
    from_ranks = collectives.gathered((results, is_full, stops is not None and stops()))
    if any(stopped for _, _, stopped in from_ranks):
        raise StopAsked
    full = [rank for rank, (_, is_full, _) in enumerate(from_ranks) if is_full]
    if full:
        raise torch.OutOfMemoryError(f"rank {full[0]}: out of memory")
    return collectives.in_order([share for share, _, _ in from_ranks]) if shares else results
