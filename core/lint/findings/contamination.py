"""Training rows that contain items of benchmarks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from finetop.core.alike.contained import Items
from finetop.core.alike.words import codes_of
from finetop.core.lint import alike, benchmarks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from finetop.core.lint.report import Finding
    from finetop.core.lint.row import Lens
    from finetop.core.lint.tally import Fix
    from finetop.core.lint.whole import Whole

ABOUT = "training rows that contain items of a benchmark"
WHY = (
    "A model that has learned a benchmark by heart scores well on it whatever else it has forgotten. A check leaves "
    "such items out, and so has fewer to decide by."
)
FIX = "remove the rows"
SEVERITY = "warning"

look = alike.look


class Finder:
    """Finds the items of the recipe's suite, and of the files of --against."""

    def __init__(self, lens: Lens) -> None:
        self._seen = alike.gathered(lens)
        self._likes: list[alike.Like] = []

    def take(self, at: int, seen: bytes) -> None:
        """Take in what was seen of a row."""
        self._seen.take(at, seen)

    def finish(self, whole: Whole) -> list[Finding]:
        """Give the finding, if there is any. Raises BadInput for a benchmark's file that has no questions."""
        seen = self._seen
        items = list(benchmarks.read(whole))
        wanted = Items([codes_of(text) for *_, text in items])
        training = set(seen.members(whole, alike.SIDES[0]).tolist())
        found: dict[int, alike.Like] = {}
        for first, texts in seen.blocks():
            whole.say("benchmarks", first, len(seen))
            for hit in wanted.search(texts, 2 * first):
                number = hit.text // 2
                if number in training:
                    name, item, _ = items[hit.item]
                    how = "" if hit.is_verbatim else ", lightly edited"
                    found.setdefault(number, alike.Like(number, name, f"{name} {item}{how}"))
        for which, text in wanted.in_pieces():
            if text // 2 in training:
                name, item, _ = items[which]
                found.setdefault(text // 2, alike.Like(text // 2, name, f"{name} {item}, in part"))
        self._likes = list(found.values())
        of = whole.rows_in("train", "replay")
        return alike.findings_of(sys.modules[__name__], self._likes, seen, whole, of)

    def fixes(self, whole: Whole) -> Iterator[Fix]:
        """Remove the rows."""
        yield from alike.removals(self._likes, self._seen, whole)
