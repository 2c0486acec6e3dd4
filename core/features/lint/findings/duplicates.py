"""Rows that come twice, apart from case, white space and punctuation at the ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

from finetop.core.features.lint import pair_index
from finetop.core.features.lint.pair_findings import Like, PairRule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finetop.core.features.lint.pair_index import Gathered
    from finetop.core.features.lint.second_pass import Whole


class Duplicates(PairRule):
    about = "rows that appear more than once"
    why = "A row that appears twice counts twice and is memorised sooner; its copies add nothing new."
    fix = "remove the copies and keep the first"
    do = "remove the copies"

    def find(self, seen: Gathered, whole: Whole) -> Copies:
        hashes, found = seen.heads["row"], []
        for side in pair_index.SIDES:
            members = seen.members(whole, side)
            of_side = hashes[members]
            order = np.argsort(of_side, kind="stable")
            is_first = np.ones(len(order), bool)
            is_first[1:] = np.diff(of_side[order]) != 0
            first, copies = np.flatnonzero(is_first), np.flatnonzero(~is_first)
            originals = first[np.searchsorted(first, copies, side="right") - 1]
            both = np.stack([members[order[copies]], members[order[originals]]], axis=1)
            found.append(both[np.argsort(both[:, 0])])
        return Copies(np.concatenate(found))


class Copies(Sequence[Like]):
    """Copies and their originals as numbers: millions of Like objects would take ten times the memory."""

    def __init__(self, rows: NDArray[np.int64]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> Like: ...
    @overload
    def __getitem__(self, place: slice) -> Copies: ...
    def __getitem__(self, place: int | slice) -> Like | Copies:
        if isinstance(place, slice):
            return Copies(self._rows[place])
        number, original = self._rows[place].tolist()
        return Like(number, "a copy of a row", original)


PLUGIN = Duplicates()
