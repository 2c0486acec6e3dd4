"""Which of some thousand items (test rows, benchmark questions) a text contains, verbatim or lightly edited.

Two stages: an index of the items' neighbouring words; a text with enough of an item's is a candidate, and the matching
place is compared with the item word by word. Besides, an item counts as contained if at least half of its 8-grams, or a
run of 24 of its words, occur anywhere in the texts, even in several of them: long passages are often split.

Short items are common phrases, and need more: under 8 words an item must begin a sentence and end with it, or a few
words before its end ("The capital of Chile is", which a text continues); under 5 it must be the whole text or, if it
has a number, whole sentences. What many items share (an instruction before each) finds none of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from finetop.core.data.similarity.edits import KEPT_OF_A_SENTENCE, TABLE, Change, Counts, compare, count_words
from finetop.core.data.similarity.word_codes import DIGIT, START, Codes, bare

GRAM: Final = 8  # words
LONG_RUN: Final = 24  # consecutive words
LONGER: Final = 12  # words: items this long are indexed by three neighbouring words, shorter ones by two
SHORT: Final = 8  # words: a shorter item must begin a sentence
TINY: Final = 5  # words: a shorter item must be a whole text
REST: Final = 8  # words, at most, by which a sentence may continue after a short item
SHARED: Final = 30  # items, at most, that a pair of words may occur in to be used
ENOUGH: Final = 0.3  # share of an item's neighbouring words that makes a candidate
WITHIN: Final = 0.75  # share of an item's words, by weight, that a text must have
BITS: Final = 24  # of a filter that most words of a text fail

Keys = NDArray[np.uint32]


class Hit(msgspec.Struct, frozen=True):
    """An item that a text contains, and how they differ."""

    item: int
    text: int
    change: Change

    @property
    def is_verbatim(self) -> bool:
        """True if all its words are there unchanged."""
        return self.change.contained == 1.0


class Items:
    """The items to look for; `counts` are of the texts' words, if known, to recognise common ones.

    With `is_loose` the caller has other evidence (answers), and accepts light edits of short items.
    """

    def __init__(
        self, items: Sequence[Codes], counts: Counts | None = None, *, is_loose: bool = False
    ) -> None:
        self.items = items
        self._is_loose = is_loose
        self._counts = np.zeros(TABLE, np.uint32) if counts is None else counts.copy()
        count_words(self._counts, items)
        self._tiny: dict[bytes, list[int]] = {}
        for number, codes in enumerate(items):
            if 0 < len(codes) < TINY:
                self._tiny.setdefault(bare(codes).tobytes(), []).append(number)

        def is_normal(codes: Codes) -> bool:
            return len(codes) >= TINY or (len(codes) > 2 and (is_loose or bool((codes & DIGIT).any())))

        normal = [number for number, codes in enumerate(items) if is_normal(codes)]
        self._shorter = _Index(items, [n for n in normal if len(items[n]) < LONGER], 2)
        self._longer = _Index(items, [n for n in normal if len(items[n]) >= LONGER], 3)
        self._runs = _Runs(items, [n for n in normal if len(items[n]) >= GRAM])

    def search(self, texts: Sequence[Codes], first: int = 0) -> Iterator[Hit]:
        """Yield the items in texts, which are numbered from `first`. An item may be found in many texts."""
        for number, text in enumerate(texts):
            if len(text) < TINY:
                for item in self._tiny.get(bare(text).tobytes(), ()):
                    yield Hit(item, first + number, Change(1.0))
        joined, owner = _joined(texts)
        self._runs.add(joined, owner, first)
        for index in (self._shorter, self._longer):
            for item, number, offset in index.candidates(joined, owner):
                change = self._verify(self.items[item], texts[number], offset)
                if change is not None:
                    yield Hit(item, first + number, change)

    def in_pieces(self) -> Iterator[tuple[int, int]]:
        """Yield the items that all texts together contain in large part, word for word, each with one such text."""
        yield from self._runs.matches()

    def _verify(self, item: Codes, text: Codes, offset: int) -> Change | None:
        """Compare an item with the place in a text where it may be: its first word is near `offset`."""
        slack = max(4, len(item) // 3)
        begin, end = max(0, offset - slack), min(len(text), offset + len(item) + slack)
        place = _place(item, text[begin:end])
        if place is None:
            return None
        first, last = begin + place[0], begin + place[1]
        change = compare(item, text[first:last], self._counts, if_light=True)
        if len(item) < TINY:
            return change if change.is_equal and _begins(text, first) and _begins(text, last) else None
        if len(item) < SHORT:
            is_alone = _begins(text, first) and any(_begins(text, last + n) for n in range(REST + 1))
            is_it = change.is_light if self._is_loose else change.is_sure
            return change if is_alone and is_it else None
        if change.contained < WITHIN or change.swapped_names or change.worst < KEPT_OF_A_SENTENCE:
            return None
        return change


def _begins(text: Codes, place: int) -> bool:
    """Return whether a sentence begins there, or the text ends."""
    return place >= len(text) or place == 0 or bool(text[place] & START)


def _place(item: Codes, window: Codes) -> tuple[int, int] | None:
    """Return the part of a window that an item is aligned with, without what comes before and after."""
    steps = Levenshtein.opcodes(bare(item).tolist(), bare(window).tolist())
    equal = [step for step in steps if step.tag == "equal"]
    if not equal:
        return None
    first, last = equal[0], equal[-1]
    # Words of the item before the first match may have been changed in place: include as many words of the text.
    left = max(0, first.dest_start - first.src_start)
    return left, min(len(window), last.dest_end + len(item) - last.src_end)


def _joined(texts: Sequence[Codes]) -> tuple[Keys, NDArray[np.int64]]:
    """Concatenate the bare words of texts, and return for each word the number of its text."""
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    words = bare(np.concatenate([*texts, np.zeros(0, np.uint32)]))
    return words, np.repeat(np.arange(len(texts)), sizes)


def _grams(words: Keys, owner: NDArray[np.int64], size: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Hash every `size` neighbouring words, except those that cross from one text into the next."""
    count = len(words) - size + 1
    if count <= 0:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    hashes = np.zeros(count, np.uint64)
    for place in range(size):
        hashes = (hashes * np.uint64(0x9E3779B97F4A7C15)) ^ words[place : place + count].astype(np.uint64)
        hashes ^= hashes >> np.uint64(29)
    places = np.flatnonzero(owner[:count] == owner[size - 1 :])
    return hashes[places] * np.uint64(0xBF58476D1CE4E5B9), places


class _Filter:
    """Quickly excludes hashes that are not among those looked for."""

    def __init__(self, hashes: NDArray[np.uint64]) -> None:
        self._known = np.zeros(1 << BITS, bool)
        self._known[self._place(hashes)] = True

    @staticmethod
    def _place(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
        return hashes >> np.uint64(64 - BITS)

    def may_be(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        return np.flatnonzero(self._known[self._place(hashes)])


class _Index:
    """Neighbouring words of items, and which items have them where."""

    def __init__(self, items: Sequence[Codes], members: Sequence[int], size: int) -> None:
        self._size = size
        self._members = np.array(members, np.int64)
        words, owner = _joined([items[number] for number in members])
        starts = np.zeros(len(members) + 1, np.int64)
        np.cumsum([len(items[number]) for number in members], out=starts[1:])
        hashes, places = _grams(words, owner, size)
        _, which, counts = np.unique(hashes, return_inverse=True, return_counts=True)
        # Words that many items share are ignored, unless an item has hardly any others.
        is_own = counts[which] <= SHARED
        own = np.bincount(owner[places][is_own], minlength=len(members))
        all_of = np.bincount(owner[places], minlength=len(members))
        is_poor = own < 2
        kept = is_own | is_poor[owner[places]]
        hashes, places = hashes[kept], places[kept]
        order = np.argsort(hashes, kind="stable")
        self._hashes, sizes = np.unique(hashes, return_counts=True)
        self._first = np.concatenate([[0], np.cumsum(sizes)])
        self._item = owner[places][order]
        self._offset = (places - starts[owner[places]])[order]
        self._needed = np.maximum(1, np.ceil(ENOUGH * np.where(is_poor, all_of, own))).astype(np.int64)
        self._filter = _Filter(self._hashes) if len(self._hashes) else None

    def candidates(self, words: Keys, owner: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
        """Yield item, text, and approximately where in the text the item begins."""
        if self._filter is None:
            return
        hashes, places = _grams(words, owner, self._size)
        possible = self._filter.may_be(hashes)
        at = np.searchsorted(self._hashes, hashes[possible])
        at[at == len(self._hashes)] = 0
        is_known = self._hashes[at] == hashes[possible]
        possible, at = possible[is_known], at[is_known]
        if not len(possible):
            return
        sizes = self._first[at + 1] - self._first[at]
        ends = np.cumsum(sizes)
        entry = np.arange(ends[-1]) - np.repeat(ends - sizes, sizes) + np.repeat(self._first[at], sizes)
        place = np.repeat(places[possible], sizes)
        item, text = self._item[entry], owner[place]
        begin = np.searchsorted(owner, text)
        offset = place - begin - self._offset[entry]
        # The same pair of words may occur twice in a text: only the number of different pairs counts.
        key = (item * (int(owner[-1]) + 1) + text) * (1 << 20) + self._offset[entry]
        _, unique = np.unique(key, return_index=True)
        item, text, offset = item[unique], text[unique], offset[unique]
        both = item * (int(owner[-1]) + 1) + text
        _, firsts, counts = np.unique(both, return_index=True, return_counts=True)
        for first, count in zip(firsts, counts, strict=True):
            if count >= self._needed[item[first]]:
                near = median(offset[first : first + count].tolist())  # numpy takes 50 times as long
                yield int(self._members[item[first]]), int(text[first]), int(near)


class _Runs:
    """Which 8-grams of the items occurred in any text, and in which text first."""

    def __init__(self, items: Sequence[Codes], members: Sequence[int]) -> None:
        self._members = members
        words, owner = _joined([items[number] for number in members])
        hashes, places = _grams(words, owner, GRAM)
        self._owner = owner[places]
        self._hashes, self._which, counts = np.unique(hashes, return_inverse=True, return_counts=True)
        self._often = counts > SHARED
        self._seen_in = np.full(len(self._hashes), -1, np.int64)
        self._filter = _Filter(self._hashes) if len(self._hashes) else None

    def add(self, words: Keys, owner: NDArray[np.int64], first: int) -> None:
        if self._filter is None:
            return
        hashes, places = _grams(words, owner, GRAM)
        possible = self._filter.may_be(hashes)
        at = np.searchsorted(self._hashes, hashes[possible])
        at[at == len(self._hashes)] = 0
        is_new = (self._hashes[at] == hashes[possible]) & (self._seen_in[at] < 0)
        self._seen_in[at[is_new]] = owner[places[possible[is_new]]] + first

    def matches(self) -> Iterator[tuple[int, int]]:
        if self._filter is None:
            return
        bounds = np.searchsorted(self._owner, np.arange(len(self._members) + 1))
        for number, item in enumerate(self._members):
            which = self._which[bounds[number] : bounds[number + 1]]
            seen = self._seen_in[which]
            counted = ~self._often[which]
            if not counted.any() or not (seen[counted] >= 0).any():
                continue
            is_half = 2 * int((seen[counted] >= 0).sum()) >= int(counted.sum())
            if is_half or _longest(seen >= 0) >= LONG_RUN - GRAM + 1:
                yield item, int(seen[counted & (seen >= 0)][0])


def _longest(hits: NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], hits, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))
