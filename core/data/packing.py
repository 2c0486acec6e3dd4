"""How many sequences packed rows fill: TRL's packing strategies, from lengths only (tests keep them equal)."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCH = 1000  # rows that `datasets` passes to TRL's packing at a time


def sequences(lengths: Sequence[int], max_tokens: int, strategy: str = "bfd") -> int:
    """Return the number of sequences of at most `max_tokens` that rows of these lengths fill, in this order."""
    pack = wrapped if strategy == "wrapped" else best_fit
    return sum(pack(lengths[at : at + BATCH], max_tokens) for at in range(0, len(lengths), BATCH))


def best_fit(lengths: Sequence[int], max_tokens: int) -> int:
    """Place rows, longest first, each into the sequence with the least remaining room (arXiv:2404.10830)."""
    rooms: list[int] = []  # in sequences that are not full, sorted
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
    """Concatenate rows, and cut wherever a sequence is full."""
    return -(-sum(lengths) // max_tokens)
