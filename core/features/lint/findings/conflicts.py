"""Answers to one prompt that contradict each other."""

from __future__ import annotations

from finetop.core.data.similarity.contradiction import answers_else, contradiction
from finetop.core.data.similarity.edits import Change
from finetop.core.data.similarity.word_codes import bare
from finetop.core.features.lint import row_hashes
from finetop.core.features.lint.pair_findings import Like, PairRule
from finetop.core.features.lint.pair_index import Gathered
from finetop.core.features.lint.second_pass import Whole


class Conflicts(PairRule):
    about = "prompts with answers that contradict each other"
    why = (
        "The model is taught two answers to one prompt and learns to guess between them; one is wrong,"
        " or the prompt lacks what tells them apart. Open-ended prompts, which have no single answer, are not counted."
    )
    do = "keep the right answer, or add to the prompt what tells the cases apart"
    shows_both = True  # both answers of an example are shown, from where they differ

    def find(self, seen: Gathered, whole: Whole) -> list[Like]:
        found: dict[int, Like] = {}
        same = seen.asks_the_same(whole)
        light = seen.light(whole)
        pairs = sorted(same | light.keys())
        for done, (first, second) in enumerate(pairs):
            if done % 1000 == 0:
                whole.say("contradictions", done, len(pairs))
            if (first, second) in same:
                kind = self._kind(seen, first, second)
            else:
                kind = self._else(seen, first, second, light[first, second])
            if kind:
                found.setdefault(first, Like(first, kind, second))
                found.setdefault(second, Like(second, kind, first))
        return list(found.values())

    def _kind(self, seen: Gathered, first: int, second: int) -> str:
        """Return how two rows contradict each other; "" if they don't."""
        heads = seen.heads
        one, other = heads[first], heads[second]
        kinds = {int(one["kind"]), int(other["kind"])}
        if kinds == {row_hashes.GOOD, row_hashes.BAD}:
            return "one answer is labelled good and bad" if one["answer"] == other["answer"] else ""
        if kinds == {row_hashes.PREFERENCE}:
            is_turned = one["answer"] == other["worse"] and one["worse"] == other["answer"]
            return "the better answer of one is the worse of the other" if is_turned else ""
        if kinds & {row_hashes.GOOD, row_hashes.BAD} or one["answer"] == other["answer"]:
            return ""
        answers = seen.answer(first), seen.answer(second)
        are_labels = seen.are_labels(first, second)
        return contradiction(seen.asked(first), *answers, seen.counts(), len(seen), are_labels=are_labels)

    def _else(self, seen: Gathered, first: int, second: int, change: Change) -> str:
        """Return a text if nearly the same prompt of two rows asks for different things; "" if not."""
        kinds = seen.heads["kind"]
        is_of_all = {int(kinds[first]), int(kinds[second])} == {row_hashes.CONVERSATION}
        if not is_of_all or not change.is_few_words or seen.is_template(change):
            return ""
        asked, answers = (seen.asked(first), seen.asked(second)), (seen.answer(first), seen.answer(second))
        words = change.only_in[0] | change.only_in[1]
        if any(not words.isdisjoint(bare(answer).tolist()) for answer in answers):
            return ""  # that answer is about a word that changed
        is_else = answers_else(asked, answers, seen.counts(), len(seen))
        return "answers to different questions" if is_else else ""


PLUGIN = Conflicts()
