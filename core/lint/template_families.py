"""Questions that differ in one place: edits of each other, or of one template."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from finetop.core.data.similarity.edits import Change, Told


class Families:
    """Distinguishes edits from templates: if three or more questions differ in one place, that place is their topic."""

    def __init__(self) -> None:
        self._told: list[tuple[int, int, int, Told]] = []
        self._in_place: dict[int, set[int]] = {}
        self._partners: Counter[int] = Counter()

    def take(self, one: int, other: int, question: int, second: int, change: Change, told: Told) -> None:
        """Record how two rows differ, and the hashes of their questions."""
        self._partners.update((one, other))
        self._in_place.setdefault(change.skeleton, set()).update((question, second))
        if told:
            self._told.append((one, other, change.skeleton, told))

    def is_template(self, change: Change) -> bool:
        """Return whether three or more questions differ where these do."""
        return len(self._in_place.get(change.skeleton, ())) > 2

    def same(self) -> Iterator[tuple[int, int]]:
        """Yield the pairs that ask the same after all."""
        for one, other, skeleton, told in self._told:
            is_alone = self._partners[one] == self._partners[other] == 1
            is_family = len(self._in_place[skeleton]) > 2
            if told == "same" or (not is_family and (told == "sure" or is_alone)):
                yield one, other
