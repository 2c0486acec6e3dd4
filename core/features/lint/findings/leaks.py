"""Training rows that contain questions of the test."""

from __future__ import annotations

from finetop.core.data.similarity.containment import Items
from finetop.core.data.similarity.edits import TELLING, Sameness, asks_the_same, compare
from finetop.core.data.similarity.word_codes import Codes, words_in
from finetop.core.features.lint import pair_index, row_hashes
from finetop.core.features.lint.pair_findings import Like, PairRule
from finetop.core.features.lint.pair_index import Gathered
from finetop.core.features.lint.second_pass import Whole
from finetop.core.features.lint.template_families import Families


class Leaks(PairRule):
    about = "training rows that are also test or held-out rows"
    why = (
        "The test then measures what the model memorised, not what it can do: its score is too high, and"
        " comparisons with it are invalid."
    )
    fix = "remove them from the training rows"
    do = "remove the training rows that are in the test"
    severity = "error"
    is_grave = True
    roles = pair_index.SIDES[0]

    def find(self, seen: Gathered, whole: Whole) -> list[Like]:
        tests = [number for side in pair_index.SIDES[1:] for number in seen.members(whole, side).tolist()]
        if not tests:
            return []
        heads = seen.heads
        is_text = heads["kind"] == row_hashes.TEXT

        def codes(number: int) -> Codes:
            return seen.answer(number) if is_text[number] else seen.asked(number)

        wanted = Items(list(map(codes, tests)), seen.counts(), is_loose=True)
        training = seen.members(whole, pair_index.SIDES[0])
        judged, answered, hits = Families(), {}, {}
        for first in range(0, len(training), 1000):
            whole.say("rows of the test", first, len(training))
            numbers = training[first : first + 1000].tolist()
            for hit in wanted.search(list(map(codes, numbers))):
                number, test = numbers[hit.text], tests[hit.item]
                hits[number, test] = "as it is" if hit.is_verbatim else "lightly edited"
                told = asks_the_same(hit.change, words_in(wanted.items[hit.item]))
                answered[number, test] = self._answers(seen, number, test, told)
                is_other = any(map(seen.is_answered, (test, number), hit.change.only_in))
                is_same = heads["context"][number] == heads["context"][test]
                if hit.change.is_light and is_same and not is_other:
                    questions = int(heads["question"][number]), int(heads["question"][test])
                    judged.add((number, test), questions, hit.change, told)
        found: dict[int, Like] = {}
        for number, test in judged.same():
            what = "a text" if is_text[test] else "the question alone"
            found[number] = Like(number, f"{what}, {hits[number, test]}", test)
        for (number, test), is_answered in answered.items():
            if is_answered:
                found[number] = Like(number, f"question and answer, {hits[number, test]}", test)
        return list(found.values())

    def _answers(self, seen: Gathered, number: int, test: int, told: Sameness) -> bool:
        """Return True if a training row's answer is the test row's, in so many words that it is not chance."""
        if seen.heads["kind"][test] == row_hashes.TEXT:
            return False
        change = compare(seen.answer(number), seen.answer(test), seen.counts(), if_light=True)
        is_same = change.is_light and not change.swapped_names and not change.added_names
        return is_same and (told == "same" or change.weight >= TELLING)


PLUGIN = Leaks()
