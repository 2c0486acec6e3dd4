"""Questions that differ in one place: edits of each other, or of one template."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from finetop.core.data.similarity.edits import Change, Sameness


class Families:
    """Distinguishes edits from templates: if three or more questions differ in one place, that place is their topic."""

    def __init__(self) -> None:
        self._explained: list[tuple[int, int, int, Sameness]] = []
        self._in_place: dict[int, set[int]] = {}
        self._partners: Counter[int] = Counter()

    def add(self, rows: tuple[int, int], questions: tuple[int, int], change: Change, told: Sameness) -> None:
        """Record how two rows differ, and the hashes of their questions."""
        self._partners.update(rows)
        self._in_place.setdefault(change.skeleton, set()).update(questions)
        if told:
            self._explained.append((*rows, change.skeleton, told))

    def is_template(self, change: Change) -> bool:
        """Return whether three or more questions differ where these do."""
        return len(self._in_place.get(change.skeleton, ())) > 2

    def same(self) -> Iterator[tuple[int, int]]:
        """Yield the pairs that ask the same after all."""
        for first_row, second_row, skeleton, judgement in self._explained:
            is_alone = self._partners[first_row] == self._partners[second_row] == 1
            is_family = len(self._in_place[skeleton]) > 2
            if judgement == "same" or (not is_family and (judgement == "sure" or is_alone)):
                yield first_row, second_row
