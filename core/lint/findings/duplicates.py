"""Rows that come twice, but for case, white space and marks at the ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.lint import alike
from finetop.core.lint.likes import Comparing, Like

if TYPE_CHECKING:
    from finetop.core.lint.whole import Whole

ABOUT = "rows that come more than once"
WHY = "A row that comes twice counts twice, and is learned by heart sooner than others; its copies are no new examples."
FIX = "remove the copies and keep the first"
DO = "remove the copies"
SEVERITY = "warning"

look = alike.look


class Finder(Comparing):
    """Finds later rows with the hash of an earlier one."""

    def find(self, whole: Whole) -> list[Like]:
        """Find the rows."""
        likes: list[Like] = []
        hashes = self._seen.heads["row"]
        for side in alike.SIDES:
            first: dict[int, int] = {}
            for number in self._seen.members(whole, side).tolist():
                original = first.setdefault(int(hashes[number]), number)
                if original != number:
                    likes.append(Like(number, "a copy of a row", original))
        return likes
