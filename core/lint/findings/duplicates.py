"""Rows that come twice, but for case, white space and marks at the ends."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from finetop.core.lint import alike

if TYPE_CHECKING:
    from collections.abc import Iterator

    from finetop.core.lint.report import Finding
    from finetop.core.lint.row import Lens
    from finetop.core.lint.tally import Fix
    from finetop.core.lint.whole import Whole

ABOUT = "rows that come more than once"
WHY = "A row that comes twice counts twice, and is learned by heart sooner than others; its copies are no new examples."
FIX = "remove the copies and keep the first"
SEVERITY = "warning"

look = alike.look


class Finder:
    """Finds later rows with the hash of an earlier one."""

    def __init__(self, lens: Lens) -> None:
        self._seen = alike.gathered(lens)
        self._likes: list[alike.Like] = []

    def take(self, at: int, seen: bytes) -> None:
        """Take in what was seen of a row."""
        self._seen.take(at, seen)

    def finish(self, whole: Whole) -> list[Finding]:
        """Give the finding, if there is any."""
        hashes = self._seen.heads["row"]
        for side in alike.SIDES:
            first: dict[int, int] = {}
            for number in self._seen.members(whole, side).tolist():
                original = first.setdefault(int(hashes[number]), number)
                if original != number:
                    self._likes.append(alike.Like(number, "a copy of a row", original))
        return alike.findings_of(sys.modules[__name__], self._likes, self._seen, whole, whole.rows)

    def fixes(self, whole: Whole) -> Iterator[Fix]:
        """Remove all but the first."""
        yield from alike.removals(self._likes, self._seen, whole)
