"""What the findings that compare rows remember of them, collected once for all of these findings.

Of each row it holds the words as numbers, and hashes of the whole row, the question and the answer; the texts
themselves are read again only for the examples of a report. A side is a set of rows compared with itself: the rows to
train on, those of data.eval, those of the test.
"""

from __future__ import annotations

import itertools
from array import array
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from finetop.core.data.similarity import edits, minhash
from finetop.core.data.similarity.edits import Change, Counts, asks_the_same, compare, is_rare
from finetop.core.data.similarity.spill_file import Store
from finetop.core.data.similarity.word_codes import Codes, bare, words_in
from finetop.core.features.lint.report import LEARNED
from finetop.core.features.lint.row_hashes import COLUMNS, HEAD, LONGEST, TEXT
from finetop.core.features.lint.template_families import Families

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from finetop.core.data.similarity.minhash import Pairs
    from finetop.core.features.lint.report import SourceRole
    from finetop.core.features.lint.row import Lens
    from finetop.core.features.lint.second_pass import Whole

# rows that ask the same: from there on it is an instruction, and their answers are compared
CROWD: Final = 20
LABEL: Final = 4  # rows, at least, with the same answer: it is a label
STEP: Final = 1000  # rows or pairs processed together
MOST_ROWS: Final = 750_000  # different rows of a side whose words are compared: they take 230 MB
MOST_PAIRS: Final = 4_000_000  # pairs compared word by word: an hour
MOST_LIGHT: Final = 300_000  # pairs whose questions are light edits of each other: they take 300 MB
EQUAL: Final = Change(1.0)
FEW: Final = 4  # rows with the same question that are compared with those of nearly the same question
SIDES: Final[tuple[tuple[SourceRole, ...], ...]] = (LEARNED, ("eval",), ("test",))


class Gathered:
    """All rows that have any words, numbered from 0 here; `at` holds their numbers in lint."""

    def __init__(self) -> None:
        self.at = array("I")
        self.cut = 0  # rows of which only the first words are compared
        self._heads = bytearray()
        self._columns: NDArray[Any] | None = None
        self._words = Store()
        self._counts: Counts | None = None
        self._labels: NDArray[np.uint64] | None = None
        self._same: set[tuple[int, int]] | None = None
        self._families = Families()
        self._light: dict[tuple[int, int], Change] = {}  # pairs whose questions are light edits of each other
        self._alike: Pairs | None = None

    def add(self, at: int, seen: bytes) -> None:
        """Add what `scan` returned for a row; repeated calls are ignored, since several findings receive it."""
        if self.at and at <= self.at[-1]:
            return
        self.at.append(at)
        self._heads += seen[: HEAD.size]
        self._words.add(seen[HEAD.size :])
        self.cut += LONGEST in HEAD.unpack_from(seen)[-2:]

    def __len__(self) -> int:
        return len(self.at)

    @property
    def heads(self) -> NDArray[Any]:
        """Return the hashes of all rows, as columns."""
        if self._columns is None or len(self._columns) < len(self):
            self._columns = np.frombuffer(self._heads, COLUMNS)  # from now on no row can be added
        return self._columns

    def asked(self, number: int) -> Codes:
        """Return the words of a row's question."""
        return self._words[number][: self._size(number)]

    def answer(self, number: int) -> Codes:
        """Return the words of its answer, or of a text."""
        return self._words[number][self._size(number) :]

    def _size(self, number: int) -> int:
        return int(HEAD.unpack_from(self._heads, number * HEAD.size)[-2])

    def blocks(self) -> Iterator[tuple[int, list[Codes]]]:
        """Yield the words of all rows, question and answer as two texts, in blocks with their first row's number."""
        for first, texts in self._words.blocks():
            sized = [(text, self._size(number)) for number, text in enumerate(texts, start=first)]
            yield first, [part for text, size in sized for part in (text[:size], text[size:])]

    def counts(self) -> Counts:
        """Count the words of all rows."""
        if self._counts is None:
            self._counts = np.zeros(edits.TABLE, np.uint32)
            for _, texts in self._words.blocks():
                edits.count_words(self._counts, texts)
        return self._counts

    def members(self, whole: Whole, side: Sequence[SourceRole]) -> NDArray[np.int64]:
        """Return the rows of a side."""
        begin, end = 0, 0
        bounds = []
        for read in whole.reads:
            begin, end = end, end + read.rows
            if read.role in side:
                bounds.append((begin, end))
        at = np.frombuffer(self.at, np.uint32) if len(self.at) else np.zeros(0, np.uint32)
        parts = [np.arange(*np.searchsorted(at, pair)) for pair in bounds]
        return np.concatenate([*parts, np.zeros(0, np.int64)]).astype(np.int64)

    def alike(self, whole: Whole) -> Pairs:
        """Return the pairs of rows that may have nearly the same question, or be nearly the same texts; none twice.

        One row stands for all copies of it, and one for all with the same question, unless they are a crowd.
        """
        if self._alike is None:
            heads, pair_blocks = self.heads, [np.zeros((0, 2), np.int64)]
            for side in SIDES:
                members = self.members(whole, side)
                _, first = np.unique(heads["row"][members], return_index=True)
                members = members[np.sort(first)]
                if len(members) > MOST_ROWS:
                    whole.notes.append(
                        f"of {len(members):,} different rows to {side[0]} on the first {MOST_ROWS:,} were compared for"
                        " near duplicates and contradictions; the others only for copies, leaks and benchmarks"
                    )
                    members = members[:MOST_ROWS]
                questions = heads["question"][members]
                _, group, sizes = np.unique(questions, return_inverse=True, return_counts=True)
                by_answer = (heads["kind"][members] == TEXT) | (sizes[group] > CROWD)
                pair_blocks.append(self._pairs(members[by_answer], whole, by_answer=True))
                groups = _Groups(members[~by_answer], group[~by_answer])
                pair_blocks.append(groups.within())
                pair_blocks.append(groups.across(self._pairs(groups.firsts, whole, by_answer=False)))
            both = np.unique(np.concatenate([pairs @ [len(self), 1] for pairs in pair_blocks]))
            if len(both) > MOST_PAIRS:
                pairs_of = "candidate pairs of rows were compared, those of the first rows"
                whole.notes.append(f"{MOST_PAIRS:,} of the {pairs_of}")
            both = both[:MOST_PAIRS]
            self._alike = np.stack([both // max(1, len(self)), both % max(1, len(self))], axis=1)
        return self._alike

    def asks_the_same(self, whole: Whole) -> set[tuple[int, int]]:
        """Return those pairs whose questions are the same, verbatim or lightly edited, under the same system prompt."""
        if self._same is None:
            heads, counts, pairs = self.heads, self.counts(), self.alike(whole)
            self._same, judged = set(), self._families
            for first in range(0, len(pairs), STEP):
                whole.say("questions", first, len(pairs))
                if len(self._light) > MOST_LIGHT:
                    at = whole.place(self.at[pairs[first, 0]])
                    whole.notes.append(
                        f"more than {MOST_LIGHT:,} pairs of rows ask nearly the same: from {at} on rows were not"
                        " compared for near duplicates and contradictions"
                    )
                    break
                some = pairs[first : first + STEP]
                firsts, seconds = heads[some[:, 0]], heads[some[:, 1]]
                fits = (firsts["context"] == seconds["context"]) & (firsts["kind"] != TEXT)
                is_same = fits & (firsts["question"] == seconds["question"])
                self._same.update(map(tuple, some[is_same].tolist()))
                self._light.update(dict.fromkeys(map(tuple, some[is_same].tolist()), EQUAL))
                for place in np.flatnonzero(fits & ~is_same).tolist():
                    pair = int(some[place, 0]), int(some[place, 1])
                    questions = self.asked(pair[0]), self.asked(pair[1])
                    change = compare(*questions, counts, if_light=True)
                    if not change.is_light:
                        continue
                    self._light[pair] = change if change.is_few_words else replace(change, only_in=edits.NONE)
                    if not any(map(self.is_answered, pair, change.only_in)):
                        judgement = asks_the_same(change, min(map(words_in, questions)))
                        both = int(firsts["question"][place]), int(seconds["question"][place])
                        judged.add(pair, both, change, judgement)
            self._same |= set(judged.same())
            texts = pairs[heads["kind"][pairs[:, 0]] == TEXT]
            if len(texts) > MOST_LIGHT:
                whole.notes.append(f"only the first {MOST_LIGHT:,} candidate pairs of texts were compared")
            self._light.update(dict.fromkeys(map(tuple, texts[:MOST_LIGHT].tolist()), EQUAL))
        return self._same

    def light(self, whole: Whole) -> dict[tuple[int, int], Change]:
        """Return the pairs whose questions are light edits of each other, or that are texts and may be."""
        self.asks_the_same(whole)
        return self._light

    def is_template(self, change: Change) -> bool:
        """Return whether three or more questions differ where these two do; known after `asks_the_same`."""
        return self._families.is_template(change)

    def are_labels(self, *numbers: int) -> bool:
        """Return whether each row's answer is also the answer of several others."""
        if self._labels is None:
            answers, counts = np.unique(self.heads["answer"], return_counts=True)
            self._labels = answers[counts >= LABEL]
        answers = self.heads["answer"][list(numbers)]
        at = np.searchsorted(self._labels, answers)
        return bool((at < len(self._labels)).all() and (self._labels[at] == answers).all())

    def is_answered(self, number: int, changed: frozenset[int]) -> bool:
        """Return whether a row's answer uses a rare word in which its question differs: then it is no mere edit."""
        rare = {word for word in changed if is_rare(word, self.counts())}
        return bool(rare) and not rare.isdisjoint(bare(self.answer(number)).tolist())

    def _pairs(self, members: NDArray[np.int64], whole: Whole, *, by_answer: bool) -> Pairs:
        if len(members) < 2:
            return np.zeros((0, 2), np.int64)
        part = self.answer if by_answer else self.asked
        sizes, kept, signatures = array("q"), minhash.Kept(), minhash.Signatures()

        def shingled() -> Iterator[minhash.Shingles]:
            for first in range(0, len(members), STEP):
                texts = [part(number) for number in members[first : first + STEP].tolist()]
                sizes.extend(map(len, texts))
                whole.say("comparing rows", first, 2.5 * len(members))
                yield minhash.shingles(texts)

        table = minhash.tally(kept.keeping(shingled()))
        for number, group in enumerate(kept):
            signatures.add(minhash.signatures(minhash.rare(group, table, len(members))))
            whole.say("comparing rows", len(members) + number * STEP, 2.5 * len(members))
        return members[signatures.pairs(np.frombuffer(sizes, np.int64), MOST_PAIRS + 1)]


class _Groups:
    """Groups of rows with the same question, each group's first row first."""

    def __init__(self, members: NDArray[np.int64], group: NDArray[np.int64]) -> None:
        order = np.argsort(group, kind="stable")
        self._rows = members[order]
        self._group = group[order]
        edges = np.flatnonzero(np.diff(self._group, prepend=-1, append=-1))
        by_first = np.argsort(self._rows[edges[:-1]])
        self._begin, self._end = edges[:-1][by_first], edges[1:][by_first]
        self.firsts = self._rows[self._begin]

    def within(self) -> Pairs:
        """Pair each row of a group with some that come after it."""
        order = np.arange(len(self._rows))
        return self._rows[minhash.neighbours(order, self._group, minhash.NEIGHBOURS + 1, minhash.NEIGHBOURS)]

    def across(self, pairs: Pairs) -> Pairs:
        """Pair the first rows of two groups, whose very first rows are given as pairs."""
        first_groups, second_groups = np.searchsorted(self.firsts, pairs.T)
        pair_blocks = [np.zeros((0, 2), np.int64)]
        for a, b in itertools.product(range(FEW), repeat=2):
            first, second = self._begin[first_groups] + a, self._begin[second_groups] + b
            are_there = (first < self._end[first_groups]) & (second < self._end[second_groups])
            both = np.stack([self._rows[first[are_there]], self._rows[second[are_there]]], axis=1)
            pair_blocks.append(np.sort(both, axis=1))
        return np.concatenate(pair_blocks)


_latest: tuple[Lens, Gathered] | None = None


def gathered(lens: Lens) -> Gathered:
    """Return the rows collected in this lint, the same object for each finding."""
    global _latest
    if _latest is None or _latest[0] is not lens:
        _latest = (lens, Gathered())
    return _latest[1]
