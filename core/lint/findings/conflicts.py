"""Answers to one prompt that contradict each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.alike.answers import contradiction
from finetop.core.lint import alike
from finetop.core.lint.likes import Comparing, Like

if TYPE_CHECKING:
    from finetop.core.lint.whole import Whole

ABOUT = "prompts with answers that contradict each other"
WHY = (
    "The model is taught two answers to one prompt and learns to guess between them; one of them is wrong, or the "
    "prompt lacks what decides between them. Different answers to a prompt that has no one answer are not counted."
)
FIX = ""
DO = "decide which of the answers is right, or say in the prompt what decides"
SEVERITY = "warning"

look = alike.look


class Finder(Comparing):
    """Finds rows that ask the same and answer the contrary."""

    def find(self, whole: Whole) -> list[Like]:
        """Find the rows."""
        found: dict[int, Like] = {}
        pairs = sorted(self._seen.asks_the_same(whole))
        for done, (first, second) in enumerate(pairs):
            if done % 1000 == 0:
                whole.say("contradictions", done, len(pairs))
            kind = self._kind(first, second)
            if kind:
                found.setdefault(first, Like(first, kind, second))
                found.setdefault(second, Like(second, kind, first))
        return list(found.values())

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
