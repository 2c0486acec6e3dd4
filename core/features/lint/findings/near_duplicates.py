"""Rows with the same question and answer as another, except for a few words or marks."""

from __future__ import annotations

from finetop.core.data.similarity.edits import TELLING, Change, compare
from finetop.core.data.similarity.word_codes import words_in
from finetop.core.features.lint import row_hashes
from finetop.core.features.lint.pair_findings import Like, PairRule
from finetop.core.features.lint.pair_index import Gathered
from finetop.core.features.lint.second_pass import Whole

LONG = 15  # words of a question
ALIKE = 0.75  # likeness of each of its sentences from which a short answer is enough


class NearDuplicates(PairRule):
    about = "rows that are nearly the same as another row"
    why = (
        "Rows that differ in a word or a punctuation mark are one example repeated: it weighs more than"
        " others, and held-out rows no longer measure how the model does on new data."
    )
    fix = "remove them and keep the first of each"
    do = "remove the near copies"

    def find(self, seen: Gathered, whole: Whole) -> list[Like]:
        gone: set[int] = set()
        same = seen.asks_the_same(whole)
        likes: list[Like] = []
        light = seen.light(whole)
        pairs = sorted(light, key=lambda pair: pair[::-1])
        for done, (first, second) in enumerate(pairs):
            if done % 1000 == 0:
                whole.say("near duplicates", done, len(pairs))
            if first in gone or second in gone:
                continue
            kind = self._kind(seen, first, second, light[first, second], is_same=(first, second) in same)
            if kind:
                gone.add(second)
                likes.append(Like(second, kind, first))
        return likes

    def _kind(self, seen: Gathered, first: int, second: int, question: Change, *, is_same: bool) -> str:
        """Return how two rows with like questions are alike; "" if they are not."""
        heads = seen.heads
        one, other = heads[first], heads[second]
        if any(one[part] != other[part] for part in ("kind", "context", "worse")):
            return ""
        answer = compare(seen.answer(first), seen.answer(second), seen.counts(), if_light=True)
        if not answer.is_light or answer.swapped_names:
            return ""
        # "Yes" answers many questions: it does not show that they are the same.
        is_telling = answer.weight >= TELLING or one["kind"] == row_hashes.TEXT
        is_long = words_in(seen.asked(first)) >= LONG and question.worst >= ALIKE and not question.added_names
        if not is_telling and not is_long and not is_same:
            return ""
        if question.is_equal and answer.is_equal:
            return "same words, other punctuation"
        return "text added before or after" if question.added + answer.added else "a few words differ"


PLUGIN = NearDuplicates()
