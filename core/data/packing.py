"""How many sequences packed rows come to: TRL's ways of packing, counted from lengths alone (tests hold them equal)."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCH = 1000  # rows that `datasets` hands to TRL's packing at a time


def sequences(lengths: Sequence[int], max_tokens: int, strategy: str = "bfd") -> int:
    """Count the sequences of at most `max_tokens` that rows of these lengths, in this order, are packed into."""
    pack = wrapped if strategy == "wrapped" else best_fit
    return sum(pack(lengths[at : at + BATCH], max_tokens) for at in range(0, len(lengths), BATCH))


def best_fit(lengths: Sequence[int], max_tokens: int) -> int:
    """Put the longest rows first, each where the least room is left over (arXiv:2404.10830)."""
    rooms: list[int] = []  # of the sequences that are not full, in order
    count = 0
    for length in sorted((min(length, max_tokens) for length in lengths if length), reverse=True):
        at = bisect_left(rooms, length)
        if at < len(rooms):
            room = rooms.pop(at)
        else:
            room = max_tokens
            count += 1
        if room > length:
            insort(rooms, room - length)
    return count


def wrapped(lengths: Sequence[int], max_tokens: int) -> int:
    """Put rows one behind the other, and cut wherever a sequence is full."""
    return -(-sum(lengths) // max_tokens)
