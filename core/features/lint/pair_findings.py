"""What the findings that compare rows share: their data, their reports, their fixes."""

from __future__ import annotations

import heapq
from abc import abstractmethod
from collections import Counter
from dataclasses import dataclass
from os.path import commonprefix
from typing import TYPE_CHECKING

from finetop.core.features.lint import row_hashes
from finetop.core.features.lint.findings import SHOWN, Finder, Fix, Rule, example
from finetop.core.features.lint.pair_index import Gathered, gathered
from finetop.core.features.lint.report import EXAMPLES, PLACES, Example, Finding, SourceRole

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from finetop.core.features.lint.row import Lens, Row
    from finetop.core.features.lint.second_pass import Whole

DIFFERS = 24  # characters shown of each of two answers


@dataclass(frozen=True, slots=True)
class Like:
    """A row that a finding is about: the kind, in words, and what it is like (another row, or a text)."""

    number: int
    kind: str
    other: int | str


def _joined(question: str, answer: str) -> str:
    return " / ".join(filter(None, (question, answer[:SHOWN])))


def _short(other: str, place: str) -> str:
    """Return only the line of a row that is in the same file as `place`."""
    name, _, line = other.rpartition(":")
    return f"line {line}" if name == place.rpartition(":")[0] else other


def _where_they_differ(first: str, second: str) -> tuple[str, str] | None:
    """Cut two answers to where they begin to differ, after a few shared characters; None for equal ones."""
    if first == second:
        return None
    shared = len(commonprefix((first, second)))  # noqa: RUF071  # of letters, not of folders
    begin = 0 if shared < DIFFERS // 2 else shared - DIFFERS // 4

    def part(text: str) -> str:
        end = begin + DIFFERS
        return ("…" if begin else "") + text[begin:end].strip() + ("…" if end < len(text) else "")

    return part(first), part(second)


class PairFinder(Finder):
    """Gathers what a rule compares, and makes its finding of the rows that it finds."""

    rule: PairRule

    def __init__(self, rule: PairRule, lens: Lens) -> None:
        super().__init__(rule, lens)
        self._seen = gathered(lens)
        self._likes: Sequence[Like] = []

    def add(self, at: int, seen: bytes) -> None:
        self._seen.add(at, seen)

    def finish(self, whole: Whole) -> list[Finding]:
        self._likes = likes = self.rule.find(self._seen, whole)
        if not likes:
            return []
        counts = Counter(like.kind for like in likes)
        first_of: dict[str, Like] = {}
        for like in likes:
            first_of[like.kind] = min(like, first_of.get(like.kind, like), key=lambda like: like.number)
        first = heapq.nsmallest(PLACES, likes, key=lambda like: like.number)
        kinds = dict(sorted(counts.items(), key=lambda one: (-one[1], first_of[one[0]].number)))
        # each pair is shown once
        pairs = {frozenset((like.number, like.other)): like for like in reversed(first)}
        every = dict.fromkeys([*(first_of[kind] for kind in kinds), *reversed(pairs.values())])
        shown = sorted(list(every)[:EXAMPLES], key=lambda like: like.number)
        return [
            self.rule.finding(
                whole,
                len(likes),
                [self._seen.at[like.number] for like in first],
                of=whole.rows_in(*self.rule.roles) if self.rule.roles else whole.rows,
                fixable=len(likes) if self.rule.fix else 0,
                kinds=kinds,
                examples=tuple(self._example(like, whole) for like in shown),
            )
        ]

    def _example(self, like: Like, whole: Whole) -> Example:
        at = self._seen.at[like.number]
        place = whole.place(at)
        row = next(iter(whole.again([at])))
        question = ("…" if len(row.asked) > SHOWN else "") + row.asked[-SHOWN:]
        if isinstance(like.other, str):
            return example(place, f"as {like.other}: {_joined(question, row.answer)}")
        other_at = self._seen.at[like.other]
        other = _short(whole.place(other_at), place)
        answers = None
        if self.rule.shows_both:
            answers = _where_they_differ(row.answer, next(whole.again([other_at])).answer)
        if answers is not None:
            return example(place, f"“{answers[0]}”, {other} “{answers[1]}”: {question}")
        return example(place, f"as {other}: {_joined(question, row.answer)}")

    def fixes(self, whole: Whole) -> Iterator[Fix]:
        """Remove the rows, where the rule says that this fixes it."""
        if not self.rule.fix:
            return
        for like in self._likes:
            at = self._seen.at
            other = like.other if isinstance(like.other, str) else whole.place(at[like.other])
            yield Fix(at[like.number], "remove", f"{like.kind}: {other}")


class PairRule(Rule):
    """A rule that compares rows: `find` says which rows, and what each is like."""

    roles: tuple[SourceRole, ...] = ()  # of the rows that it is about; empty: all
    shows_both = False  # both answers of an example are shown, from where they differ
    finder = PairFinder

    def scan(self, row: Row, lens: Lens) -> bytes | None:
        return row_hashes.scan(row, lens)

    @abstractmethod
    def find(self, seen: Gathered, whole: Whole) -> Sequence[Like]:
        """Return the rows, none twice."""
