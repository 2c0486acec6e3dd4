"""Answers to one prompt that contradict each other."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from finetop.core.alike.answers import contradiction
from finetop.core.lint import alike

if TYPE_CHECKING:
    from collections.abc import Iterator

    from finetop.core.lint.report import Finding
    from finetop.core.lint.row import Lens
    from finetop.core.lint.tally import Fix
    from finetop.core.lint.whole import Whole

ABOUT = "prompts with answers that contradict each other"
WHY = (
    "The model is taught two answers to one prompt and learns to guess between them; one of them is wrong, or the "
    "prompt lacks what decides between them. Different answers to a prompt that has no one answer are not counted."
)
FIX = ""
SEVERITY = "warning"

look = alike.look


class Finder:
    """Finds rows that ask the same and answer the contrary."""

    def __init__(self, lens: Lens) -> None:
        self._seen = alike.gathered(lens)

    def take(self, at: int, seen: bytes) -> None:
        """Take in what was seen of a row."""
        self._seen.take(at, seen)

    def finish(self, whole: Whole) -> list[Finding]:
        """Give the finding, if there is any."""
        found: dict[int, alike.Like] = {}
        pairs = sorted(self._seen.asks_the_same(whole))
        for done, (first, second) in enumerate(pairs):
            if done % 1000 == 0:
                whole.say("contradictions", done, len(pairs))
            kind = self._kind(first, second)
            if kind:
                found.setdefault(first, alike.Like(first, kind, second))
                found.setdefault(second, alike.Like(second, kind, first))
        return alike.findings_of(sys.modules[__name__], list(found.values()), self._seen, whole, whole.rows)

    def fixes(self, whole: Whole) -> Iterator[Fix]:
        """Change nothing: which answer is right, a person must say."""
        return iter(())

    def _kind(self, first: int, second: int) -> str:
        """Say how two rows contradict each other; "" where they don't."""
        seen, heads = self._seen, self._seen.heads
        one, other = heads[first], heads[second]
        kinds = {int(one["kind"]), int(other["kind"])}
        if kinds == {alike.GOOD, alike.BAD}:
            return "one answer is called good and bad" if one["answer"] == other["answer"] else ""
        if kinds == {alike.PREFERENCE}:
            is_turned = one["answer"] == other["worse"] and one["worse"] == other["answer"]
            return "the better answer of one is the worse of the other" if is_turned else ""
        if kinds & {alike.GOOD, alike.BAD} or one["answer"] == other["answer"]:
            return ""
        answers = seen.answer(first), seen.answer(second)
        are_labels = seen.are_labels(first, second)
        return contradiction(seen.asked(first), *answers, seen.counts(), len(seen), are_labels=are_labels)
