"""How two lists of rows differ, by their hashes: shared rows, their order, and rows changed in place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from finetop.core.data.row_hashes import ROW_BYTES
from finetop.core.protocol.data_diff import Difference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Compared:
    """A difference as counts, with a few rows of each kind: indexes into the first list and the second."""

    difference: Difference
    changed: list[tuple[int, int]]
    gone: list[int]
    new: list[int]


def read(sources: Sequence[Sequence[str]]) -> Hashes:
    """Read the hashes of several sources, each from the first of its files that exists. Raises OSError."""
    parts = [np.empty(0, dtype=f"<u{ROW_BYTES}"), *map(_read, sources)]
    return np.concatenate(parts)


def _read(files: Sequence[str]) -> Hashes:
    for file in files:
        try:
            return np.fromfile(file, dtype=f"<u{ROW_BYTES}")
        except FileNotFoundError:
            continue
    raise FileNotFoundError(f"none of {len(files)} files exists")


def compare(before: Hashes, after: Hashes, examples: int = 0) -> Compared:
    """Compare two lists of rows; a row that occurs twice counts twice. About 2 s for a million rows on each side."""
    firsts_before, counts_before = _firsts(before)
    firsts_after, counts_after = _firsts(after)
    shared, at_before, at_after = np.intersect1d(
        before[firsts_before], after[firsts_after], assume_unique=True, return_indices=True
    )
    both = int(np.minimum(counts_before[at_before], counts_after[at_after]).sum())
    places_before, places_after = firsts_before[at_before], firsts_after[at_after]
    by_before = np.argsort(places_before)
    same_order = bool(np.all(np.diff(places_after[by_before]) > 0))
    own_before, own_after = ~np.isin(before, shared), ~np.isin(after, shared)
    changed, pairs = 0, list[tuple[int, int]]()
    if same_order and both:
        anchors = (places_before[by_before], places_after[by_before])
        changed, pairs = _in_place(own_before, own_after, *anchors, examples)
    if both == len(before) == len(after):
        same_order = bool(np.array_equal(before, after))
    taken_before, taken_after = {index for index, _ in pairs}, {index for _, index in pairs}
    gone, new = len(before) - both - changed, len(after) - both - changed
    rows_gone = _some(own_before, taken_before, examples) if gone > 0 else []
    rows_new = _some(own_after, taken_after, examples) if new > 0 else []
    difference = Difference(both=both, changed=changed, gone=gone, new=new, same_order=same_order)
    return Compared(difference, pairs, rows_gone, rows_new)


def _firsts(hashes: Hashes) -> tuple[Any, Any]:
    """Return the first index of each different hash, and its number of occurrences, in the order of hashes."""
    _, places, counts = np.unique(hashes, return_index=True, return_counts=True)
    return places, counts


def _in_place(
    own_before: NDArray[np.bool_],
    own_after: NDArray[np.bool_],
    places_before: Any,
    places_after: Any,
    examples: int,
) -> tuple[int, list[tuple[int, int]]]:
    """Count the rows that lie between the same shared ones in both lists: the smaller number of each gap."""
    gaps_before = _gaps(own_before, places_before)
    gaps_after = _gaps(own_after, places_after)
    sizes = np.minimum(gaps_before, gaps_after)
    pairs: list[tuple[int, int]] = []
    rows_before, rows_after = np.flatnonzero(own_before), np.flatnonzero(own_after)
    starts_before = np.concatenate(([0], np.cumsum(gaps_before)))
    starts_after = np.concatenate(([0], np.cumsum(gaps_after)))
    for gap in np.flatnonzero(sizes)[:examples]:
        for offset in range(int(sizes[gap])):
            place_before = int(rows_before[starts_before[gap] + offset])
            pairs.append((place_before, int(rows_after[starts_after[gap] + offset])))
            if len(pairs) == examples:
                return int(sizes.sum()), pairs
    return int(sizes.sum()), pairs


def _gaps(own: NDArray[np.bool_], places: Any) -> Any:
    """Count a list's own rows before each of these places, and after the last."""
    so_far = np.concatenate(([0], np.cumsum(own)))
    return np.diff(np.concatenate(([0], so_far[places], [so_far[-1]])))


def _some(own: NDArray[np.bool_], shown: set[int], examples: int) -> list[int]:
    return [int(at) for at in np.flatnonzero(own)[: examples + len(shown)] if int(at) not in shown][:examples]
