"""Answers that are labels: how often each occurs, which are rare, and which are one label spelled in several ways."""

from __future__ import annotations

from collections import Counter
from itertools import chain, starmap

from finetop.core.features.lint.findings import Finder, Rule, example
from finetop.core.features.lint.report import EXAMPLES, LEARNED, PLACES, Finding
from finetop.core.features.lint.row import Lens, Row
from finetop.core.features.lint.second_pass import Whole

SHORT = 60  # characters of a label
MOST = 1000  # labels that are counted; with more, these are not labels
FEW = 60  # labels at most
RARE = 10  # rows of a label below which it is hardly learned
MAJORITY = 0.8  # share of one label from which always answering it is nearly right


class _Labels(Finder):
    """Counts answers as long as there are few different ones."""

    def __init__(self, rule: Rule, lens: Lens) -> None:
        super().__init__(rule, lens)
        self.counts: Counter[str] | None = Counter()
        self.rows = 0
        self.first: dict[str, int] = {}

    def add(self, at: int, seen: str) -> None:
        self.rows += 1
        if self.counts is None:
            return
        self.counts[seen] += 1
        self.first.setdefault(seen, at)
        if len(self.counts) > MOST:
            self.counts = None

    def finish(self, whole: Whole) -> list[Finding]:
        """Report how labels are distributed, if these are labels."""
        of = whole.rows_in(*LEARNED)
        if self.counts is None or self.rows < max(20, 0.9 * of):
            return []
        written: dict[str, list[str]] = {}
        for label in self.counts:
            plain = " ".join(label.lower().split()).strip(" .!\"'`*")  # what the spellings of one label share
            written.setdefault(plain, []).append(label)
        if not 2 <= len(written) <= FEW or self.rows < 3 * len(written):
            return []
        return [*self._twice(whole, written, of), *self._balance(whole, written, of)]

    def _twice(self, whole: Whole, written: dict[str, list[str]], of: int) -> list[Finding]:
        counts = self.counts or Counter()
        several = {plain: labels for plain, labels in written.items() if len(labels) > 1}
        if not several:
            return []
        by_count = [sorted(labels, key=lambda label: -counts[label]) for labels in several.values()]
        rare = [label for labels in by_count for label in labels[1:]]
        spelled = chain.from_iterable(several.values())
        shown = ((whole.place(self.first[label]), repr(label)) for label in rare[:EXAMPLES])
        return [
            self.rule.finding(
                whole,
                sum(counts[label] for label in rare),
                (self.first[label] for label in rare[:PLACES]),
                about="labels with several spellings",
                severity="warning",
                of=of,
                why="The model learns to choose between spellings; a metric of exact answers counts one as wrong.",
                kinds={label.strip() or "(blank)": counts[label] for label in spelled},
                examples=tuple(starmap(example, shown)),
            )
        ]

    def _balance(self, whole: Whole, written: dict[str, list[str]], of: int) -> list[Finding]:
        assert self.counts is not None
        sums = [sum(map(self.counts.__getitem__, labels)) for labels in written.values()]
        names = [labels[0].strip() for labels in written.values()]
        counts = Counter(dict(zip(names, sums, strict=True)))
        ranked = counts.most_common()
        (most, top), (least, bottom) = ranked[0], ranked[-1]
        rare = [label for label, number in ranked if number < RARE]
        is_lopsided = top > MAJORITY * self.rows
        words = f"{len(ranked)} labels, from {top:,} rows ({most}) to {bottom:,} ({least})."
        about = "labels, and how often each occurs"
        if rare:
            about = f"labels of fewer than {RARE} rows"
        if is_lopsided:
            about = "imbalanced labels"
            words += f" Always answering {most} is right {100 * top / self.rows:.0f} % of the time:"
            words += " the model may learn only that."
        if rare:
            words += f" {len(rare)} have fewer than {RARE} rows, which is too few to learn them well."
        firsts = [labels[0] for labels in list(written.values())[:EXAMPLES]]
        return [
            self.rule.finding(
                whole,
                sum(counts[label] for label in rare) if rare else self.rows,
                about=about,
                severity="warning" if is_lopsided else "note",
                of=of,
                why=words,
                kinds=dict(ranked),
                examples=tuple(example(whole.place(self.first[label]), label) for label in firsts),
            )
        ]


class Labels(Rule):
    about = "labels"
    why = ""  # depends on what is found
    fix = ""  # only a person knows which spelling is right
    do = "write more rows of the rare labels"
    severity = "note"
    finder = _Labels

    def scan(self, row: Row, lens: Lens) -> str | None:
        """Return a short answer of a row to train on, else None."""
        if row.record is None or row.is_text or row.role not in LEARNED:
            return None
        return row.answer if len(row.answer) <= SHORT and "\n" not in row.answer.strip() else None


PLUGIN = Labels()
