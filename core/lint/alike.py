"""What the findings that compare rows with each other remember of them, gathered once for all of these.

Of each row its words as numbers, and hashes of the whole row, of what is asked and of the answer: the texts
themselves are read again only for the examples of a report. A side is what is compared with itself: the rows to train
on, those of data.eval, those of the test.
"""

from __future__ import annotations

import struct
from array import array
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from finetop.core import formats
from finetop.core.alike import minhash
from finetop.core.alike.compare import TABLE, Change, asks_the_same, compare, count_words, is_rare
from finetop.core.alike.store import Store
from finetop.core.alike.words import bare, codes_of, fingerprint_of, folded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from finetop.core.alike.compare import Counts, Told
    from finetop.core.alike.words import Codes
    from finetop.core.lint.report import SourceRole
    from finetop.core.lint.row import Lens, Row
    from finetop.core.lint.whole import Whole

HEAD: Final = struct.Struct(
    "<QQQQQIII"
)  # row, question, answer, context, worse answer; kind; words of both sides
COLUMNS: Final = np.dtype(
    [(name, "<u8") for name in ("row", "question", "answer", "context", "worse")]
    + [(name, "<u4") for name in ("kind", "asked", "answered")]
)
LONGEST: Final = 8192  # words of a question or an answer that are compared
CONVERSATION, TEXT, PREFERENCE, GOOD, BAD, PROMPT = range(6)
CROWD: Final = (
    20  # rows that ask the same: from there on their answers are compared, for the question is an instruction
)
LABEL: Final = 4  # rows, at least, that have one answer: it is a label
FEW: Final = 4  # rows that ask the same, which are compared with those that ask nearly the same
SIDES: Final[tuple[tuple[SourceRole, ...], ...]] = (("train", "replay"), ("eval",), ("test",))


def look(row: Row, lens: Lens) -> bytes | None:
    """Hash a row, and turn it into words."""
    if not row.turns:
        return None
    context, asked, answer, worse = _parts(row)
    said, answered = codes_of(asked)[:LONGEST], codes_of(answer)[:LONGEST]
    if not len(said) and not len(answered):
        return None
    kind = _kind(row)
    context, asked, answer, worse = map(folded, (context, asked, answer, worse))
    hashes = (
        fingerprint_of(str(kind), context, asked, answer, worse),
        fingerprint_of(context, asked),
        fingerprint_of(answer),
        fingerprint_of(context),
        fingerprint_of(worse),
    )
    head = HEAD.pack(*hashes, kind, len(said), len(answered))
    return head + said.tobytes() + answered.tobytes()


def _parts(row: Row) -> tuple[str, str, str, str]:
    """Give what the system says, what is asked, the answer, and the worse of two answers."""
    if row.is_text:
        return "", "", row.answer, ""
    roles = [turn.role for turn in row.turns]
    last = len(roles) - 1 - roles[::-1].index("assistant") if "assistant" in roles else len(roles)
    before = [turn for turn in row.turns[:last] if turn.role != "rejected"]
    return (
        "\n".join(turn.text for turn in before if turn.role == "system"),
        "\n\n".join(turn.text for turn in before if turn.role != "system"),
        row.answer + _calls(row),
        "\n".join(turn.text for turn in row.turns if turn.role == "rejected"),
    )


def _calls(row: Row) -> str:
    """The functions that the last answer calls, as text."""
    if not isinstance(row.record, formats.Conversation) or not row.record.calls:
        return ""
    calls: list[dict[str, Any]] = [{"call": call.name, **call.arguments} for call in row.record.calls]
    return "\n" + msgspec.json.encode(calls, order="deterministic").decode()


def _kind(row: Row) -> int:
    match row.record:
        case formats.Preference():
            return PREFERENCE
        case formats.Labelled(_, _, is_good):
            return GOOD if is_good else BAD
        case formats.Prompt():
            return PROMPT
    return TEXT if row.is_text else CONVERSATION


class Families:
    """Tells edits from templates: where three or more questions differ in one place, it is what they ask about."""

    def __init__(self) -> None:
        self._told: list[tuple[int, int, int, Told]] = []
        self._in_place: dict[int, set[int]] = {}
        self._partners: Counter[int] = Counter()

    def take(self, one: int, other: int, question: int, second: int, change: Change, told: Told) -> None:
        """Take in how two rows differ, and the hashes of their questions."""
        self._partners.update((one, other))
        self._in_place.setdefault(change.skeleton, set()).update((question, second))
        if told:
            self._told.append((one, other, change.skeleton, told))

    def is_template(self, change: Change) -> bool:
        """Whether three or more questions differ where these do."""
        return len(self._in_place.get(change.skeleton, ())) > 2

    def same(self) -> Iterator[tuple[int, int]]:
        """Give the pairs that ask the same after all."""
        for one, other, skeleton, told in self._told:
            is_alone = self._partners[one] == self._partners[other] == 1
            is_family = len(self._in_place[skeleton]) > 2
            if told == "same" or (not is_family and (told == "sure" or is_alone)):
                yield one, other


class Gathered:
    """All rows that have any words, numbered from 0 here; `at` gives their numbers in lint."""

    def __init__(self) -> None:
        self.at = array("Q")
        self.cut = 0  # rows of which only the first words are compared
        self._heads = bytearray()
        self._columns: NDArray[Any] | None = None
        self._words = Store()
        self._counts: Counts | None = None
        self._answers: Counter[int] | None = None
        self._same: set[tuple[int, int]] | None = None
        self._families = Families()
        self._light: dict[tuple[int, int], Change] = {}  # pairs whose questions are light edits of each other
        self._alike: list[tuple[int, int]] | None = None

    def take(self, at: int, seen: bytes) -> None:
        """Take in what `look` gave of a row; more than once, as several findings hear of it."""
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
        """The hashes of all rows, as columns."""
        if self._columns is None or len(self._columns) < len(self):
            self._columns = np.frombuffer(bytes(self._heads), COLUMNS)
        return self._columns

    def asked(self, number: int) -> Codes:
        """Give the words of what a row asks."""
        return self._words[number][: self._size(number)]

    def answer(self, number: int) -> Codes:
        """Give the words of its answer, or of a text."""
        return self._words[number][self._size(number) :]

    def _size(self, number: int) -> int:
        return int.from_bytes(self._heads[number * HEAD.size + 44 : number * HEAD.size + 48], "little")

    def blocks(self) -> Iterator[tuple[int, list[Codes]]]:
        """Give the words of all rows, question and answer as two texts, a block at a time, with its first row."""
        for first, texts in self._words.blocks():
            sizes = (self._size(first + place) for place in range(len(texts)))
            yield (
                first,
                [
                    part
                    for text, size in zip(texts, sizes, strict=True)
                    for part in (text[:size], text[size:])
                ],
            )

    def counts(self) -> Counts:
        """Count the words of all rows."""
        if self._counts is None:
            self._counts = np.zeros(TABLE, np.uint32)
            for _, texts in self._words.blocks():
                count_words(self._counts, texts)
        return self._counts

    def members(self, whole: Whole, side: Sequence[SourceRole]) -> NDArray[np.int64]:
        """List the rows of a side."""
        begin, end = 0, 0
        bounds = []
        for read in whole.reads:
            begin, end = end, end + read.rows
            if read.role in side:
                bounds.append((begin, end))
        at = np.frombuffer(self.at, np.uint64) if len(self.at) else np.zeros(0, np.uint64)
        parts = [np.arange(*np.searchsorted(at, pair)) for pair in bounds]
        return np.concatenate([*parts, np.zeros(0, np.int64)]).astype(np.int64)

    def alike(self, whole: Whole) -> list[tuple[int, int]]:
        """Find the pairs of rows that may ask nearly the same, or be nearly the same texts; none twice.

        One row stands for all of the same whole, and one for all that ask the same, unless they are a crowd.
        """
        if self._alike is None:
            heads, found = self.heads, set()
            for side in SIDES:
                members = self.members(whole, side)
                _, first = np.unique(heads["row"][members], return_index=True)
                members = members[np.sort(first)]
                _, group, sizes = np.unique(
                    heads["question"][members], return_inverse=True, return_counts=True
                )
                by_answer = (heads["kind"][members] == TEXT) | (sizes[group] > CROWD)
                found |= self._pairs(members[by_answer], whole, by_answer=True)
                same: dict[int, list[int]] = {}
                for number, one in zip(members[~by_answer].tolist(), group[~by_answer].tolist(), strict=True):
                    same.setdefault(one, []).append(number)
                groups = {numbers[0]: numbers for numbers in same.values()}
                firsts = np.array(sorted(groups), np.int64)
                found |= set(_within(groups.values()))
                found |= set(_across(self._pairs(firsts, whole, by_answer=False), groups))
            self._alike = sorted(found)
        return self._alike

    def asks_the_same(self, whole: Whole) -> set[tuple[int, int]]:
        """Of the pairs that may, find those that ask the same, verbatim or lightly edited, of the same system."""
        if self._same is None:
            heads, counts, pairs = self.heads, self.counts(), self.alike(whole)
            self._same, judged = set(), self._families
            for done, pair in enumerate(pairs):
                if done % 1000 == 0:
                    whole.say("questions", done, len(pairs))
                one, other = heads[pair[0]], heads[pair[1]]
                if one["context"] != other["context"] or one["kind"] == TEXT:
                    continue
                if one["question"] == other["question"]:
                    self._same.add(pair)
                    self._light[pair] = Change(1.0)
                    continue
                asked = self.asked(pair[0]), self.asked(pair[1])
                change = compare(*asked, counts, if_light=True)
                if not change.is_light:
                    continue
                self._light[pair] = change
                told = asks_the_same(change, min(map(len, asked)))
                if any(map(self.is_answered, pair, change.only_in)):
                    continue
                judged.take(*pair, int(one["question"]), int(other["question"]), change, told)
            self._same |= set(judged.same())
        return self._same

    def light(self, whole: Whole) -> dict[tuple[int, int], Change]:
        """Give the pairs whose questions are light edits of each other, or that are texts and may be."""
        self.asks_the_same(whole)
        heads = self.heads
        texts = {pair: Change(1.0) for pair in self.alike(whole) if heads["kind"][pair[0]] == TEXT}
        return self._light | texts

    def is_template(self, change: Change) -> bool:
        """Whether three or more questions differ where these two do; known once `asks_the_same` was asked."""
        return self._families.is_template(change)

    def are_labels(self, *numbers: int) -> bool:
        """Whether the answers of rows are each those of several others, too."""
        if self._answers is None:
            self._answers = Counter(self.heads["answer"].tolist())
        return all(self._answers[int(self.heads["answer"][number])] >= LABEL for number in numbers)

    def is_answered(self, number: int, changed: frozenset[int]) -> bool:
        """Whether a row's answer takes up a rare word in which its question differs: it is about that, and no edit."""
        rare = {word for word in changed if is_rare(word, self.counts())}
        return bool(rare) and not rare.isdisjoint(bare(self.answer(number)).tolist())

    def _pairs(self, members: NDArray[np.int64], whole: Whole, *, by_answer: bool) -> set[tuple[int, int]]:
        if len(members) < 2:
            return set()
        part = self.answer if by_answer else self.asked
        step, groups, sizes = 1000, [], array("q")
        for first in range(0, len(members), step):
            texts = [part(int(number)) for number in members[first : first + step]]
            sizes.extend(map(len, texts))
            groups.append(minhash.shingles(texts))
            whole.say("comparing rows", first, 2.5 * len(members))
        table = minhash.tally(groups)
        made = []
        for number, group in enumerate(groups):
            made.append(minhash.signatures(minhash.rare(group, table, len(members))))
            whole.say("comparing rows", len(members) + number * step, 2.5 * len(members))
        pairs = minhash.pairs(np.concatenate(made), np.frombuffer(sizes, np.int64))
        return set(map(tuple, members[pairs].tolist()))


def _within(groups: Iterable[list[int]]) -> Iterator[tuple[int, int]]:
    """Pair each of a group with some that come before it."""
    for numbers in groups:
        for place, number in enumerate(numbers):
            for other in numbers[max(0, place - minhash.NEIGHBOURS) : place]:
                yield other, number


def _across(pairs: Iterable[tuple[int, int]], groups: dict[int, list[int]]) -> Iterator[tuple[int, int]]:
    """Pair the first ones of two groups."""
    for one, other in pairs:
        for number in groups[one][:FEW]:
            for second in groups[other][:FEW]:
                yield min(number, second), max(number, second)


_latest: tuple[Lens, Gathered] | None = None


def gathered(lens: Lens) -> Gathered:
    """Give what is gathered in this lint, the same to each finding."""
    global _latest
    if _latest is None or _latest[0] is not lens:
        _latest = (lens, Gathered())
    return _latest[1]
