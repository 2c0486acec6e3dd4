"""Languages: rows in another language than the rest, and answers in another language than their question."""

from __future__ import annotations

from array import array
from collections import Counter

from finetop.core.features.lint.findings import Finder, Rule, example, excerpt
from finetop.core.features.lint.language import language_of, name_of
from finetop.core.features.lint.report import EXAMPLES, PLACES, Finding
from finetop.core.features.lint.row import Lens, Row
from finetop.core.features.lint.second_pass import Whole

MAIN = 0.75  # share of a language from which the others are the exception
_TRANSLATES = (
    "translat", "language", "english", "hindi", "french", "german", "spanish", "chinese", "italian", "portuguese",
    "russian", "japanese", "korean", "arabic", "dutch", "polish", "turkish", "übersetz", "traduc", "traduis", "翻译",
)  # fmt: skip
# what is asked in one language, and answered in another
_TRANSLATE = ("translate ", "übersetz", "traduc", "traduis", "翻译")


class _Languages(Finder):
    """Counts languages, and keeps where rows in each language are."""

    def __init__(self, rule: Rule, lens: Lens) -> None:
        super().__init__(rule, lens)
        self.counts: Counter[str] = Counter()
        self.rows: dict[str, array[int]] = {}
        self.crossed = array("Q")
        self.crossings: Counter[str] = Counter()

    def add(self, at: int, seen: list[str]) -> None:
        answer, question = seen
        # an answer of a few words counts in its question's language
        self.counts[answer or question] += 1
        if not answer:
            return
        kept = self.rows.setdefault(answer, array("Q"))
        if len(kept) < PLACES:
            kept.append(at)
        if question and question != answer:
            self.crossings[f"{name_of(question)} answered in {name_of(answer)}"] += 1
            if len(self.crossed) < PLACES:
                self.crossed.append(at)

    def finish(self, whole: Whole) -> list[Finding]:
        """Report rows in another language than most, and answers in another language than their question."""
        return [*self._others(whole), *self._crossed(whole)]

    def _others(self, whole: Whole) -> list[Finding]:
        known = sum(self.counts.values())
        if len(self.counts) < 2:
            return []
        (main, number), *others = self.counts.most_common()
        is_mixed = number < MAIN * known
        ats = sorted(at for language, _ in others for at in self.rows[language])[:PLACES]
        share = f"{name_of(main)} has {100 * number / known:.0f} % of the rows whose language is known."
        why = f"{share} A few rows in another are too few to learn it, and enough to answer in it at times."
        of_one = f"rows in another language than {name_of(main)}"
        shown = whole.again(_spread(self.rows, others))
        return [
            self.rule.finding(
                whole,
                known - number,
                ats,
                about="rows in several languages" if is_mixed else of_one,
                severity="note" if is_mixed else "warning",
                why=why,
                kinds={name_of(language): count for language, count in self.counts.most_common()},
                examples=tuple(example(row.place, excerpt(row.answer)) for row in shown),
            )
        ]

    def _crossed(self, whole: Whole) -> list[Finding]:
        if not self.crossed:
            return []
        return [
            self.rule.finding(
                whole,
                sum(self.crossings.values()),
                self.crossed,
                about="answers in another language than their question",
                why="The model learns to change the language unasked. Rows that ask for a translation are not counted.",
                kinds=dict(self.crossings.most_common()),
                examples=tuple(
                    example(row.place, f"{excerpt(row.asked)[:70]} → {excerpt(row.answer)}")
                    for row in whole.again(self.crossed[:EXAMPLES])
                ),
            )
        ]


def _spread(rows: dict[str, array[int]], others: list[tuple[str, int]]) -> list[int]:
    """Choose example rows: the first of each language, then more of the most frequent."""
    firsts = [rows[language][0] for language, _ in others][:EXAMPLES]
    more = [at for language, _ in others for at in rows[language][1:EXAMPLES]]
    return sorted([*firsts, *more[: EXAMPLES - len(firsts)]])


class Languages(Rule):
    about = "languages"
    why = ""  # each finding has its own
    fix = ""  # a second language may be intended
    do = "remove the rows in another language, or write more of it"
    finder = _Languages

    def scan(self, row: Row, lens: Lens) -> list[str] | None:
        """Return the languages of answer and question, "" where that is not clear, or a translation is asked for."""
        if row.record is None:
            return None
        answer = language_of(row.answer)
        question = "" if row.is_text or len(row.turns) < 2 else language_of(row.turns[-2].text)
        if question and answer and question != answer:
            whole = row.asked.lower()
            if any(word in whole for word in _TRANSLATES):
                if any(word in whole for word in _TRANSLATE):
                    return None
                question = ""
        return [answer, question] if answer or question else None


PLUGIN = Languages()
