"""What differs between two texts, word by word, and whether they still say the same.

Light edits are those that people and scrapers make: a word changed, inserted or removed, a few replaced by synonyms,
something added before or after. No light edit, however few words it takes, is another name or number (the weight of the
tent, of the stove), nor, between short texts, another word if both are common in the data (the weight, the height) or
both are rare (calligraphy, welding): such texts come from one template. An edit replaces a word that the data have by
one that they hardly have. In scripts without capitals a name can't be told from a word: there any word in place of
another may be one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq, Levenshtein

from finetop.core.data.similarity.word_codes import (
    CHARACTER,
    DIGIT,
    LITTLE,
    MARKS,
    NAME,
    START,
    UNCASED,
    Codes,
    bare,
)

LITTLE_WEIGHT: Final = 0.35  # of a word with little meaning of its own
NAME_WEIGHT: Final = 1.5
ADDED: Final = 14  # words that may be added before or after a text
TABLE: Final = 1 << 20  # size of the table of word counts
USUAL: Final = 3  # minimum number of texts with a common word
KEPT: Final = 0.6
KEPT_OF_A_SENTENCE: Final = 0.5
FEW_WORDS: Final = 0.12  # share of a text, by weight
ADDED_INSIDE: Final = 0.4
AROUND: Final = 3.0  # maximum weight added before or after, as a multiple of the kept weight
SURE: Final = 0.7
LONG: Final = 25  # words: in a longer text one replaced word does not change the question
SEVERAL: Final = 16  # words: about two sentences, of which one in common is too little
SENTENCE: Final = 4.0  # weight: a shorter sentence is judged together with the next one
TELLING: Final = 4.0  # weight of an answer's words that few questions have; a shorter one ("Yes") fits many

Counts = NDArray[np.uint32]
CHARACTER_WEIGHT: Final = 0.5  # of a character in a script without spaces, of which two make a word
_ALL: Final = (1 << MARKS) - 1
_WEIGHTS: Final = [
    (LITTLE_WEIGHT if mark & LITTLE else NAME_WEIGHT if mark & NAME else 1.0)
    * (CHARACTER_WEIGHT if mark & CHARACTER else 1.0)
    for mark in range(_ALL + 1)
]
NONE: Final[tuple[frozenset[int], frozenset[int]]] = (frozenset(), frozenset())


@dataclass(frozen=True, slots=True)
class Change:
    """How two texts differ. `share` of the longer text's words, by weight, is kept, without what was put around it."""

    share: float
    swapped_names: int = 0  # names or numbers replaced by others
    added_names: int = 0  # names or numbers that only one text has
    other_words: int = (
        0  # places where other words may change the question: both common, both rare, or several
    )
    added: float = 0.0  # weight of the words added before or after
    added_inside: float = 0.0  # the part of those that belongs to its first or last sentence
    weight: float = 0.0  # of the longer text, without what was put around it
    worst: float = 1.0  # kept share of the sentence that changed most
    words: int = 0  # in the sentences that changed
    only_one: float = 0.0  # weight of what only the first text has around
    only_in: tuple[frozenset[int], frozenset[int]] = NONE  # meaningful words changed, inserted or removed
    is_at_end: bool = False  # some changes are in the first or last sentence
    skeleton: int = 0  # hash of the shared words, and of where others come between

    @property
    def contained(self) -> float:
        """The share, by weight, of the first text's words that the second has, in order."""
        return self.share * self.weight / max(1e-6, self.weight + self.only_one)

    @property
    def is_equal(self) -> bool:
        """True for the same words in the same order."""
        return self.share == 1.0 and self.added == 0

    @property
    def is_few_words(self) -> bool:
        """True if they differ in one word, in long texts a few, inserted, removed or replaced, and in no name."""
        most = max(1.01, FEW_WORDS * self.weight)
        is_added = bool(self.added or self.added_names)
        return any(self.only_in) and not is_added and (1 - self.share) * self.weight <= most

    @property
    def is_light(self) -> bool:
        """True for a light edit, as far as the words alone show it."""
        return (
            self.share >= KEPT
            and self.worst >= KEPT_OF_A_SENTENCE
            and not self.swapped_names
            and self.added_inside <= ADDED_INSIDE * self.weight
            and self.added <= 1.0 + self.share * self.weight * (AROUND if self.share == 1 else 1)
            and min(self.only_one, self.added - self.only_one) <= 1.0
        )

    @property
    def is_sure(self) -> bool:
        """True for a light edit that keeps the question the same, however short the texts are."""
        keeps = not self.other_words and self.added_inside <= 3 * LITTLE_WEIGHT
        keeps = keeps or self.words >= LONG
        return self.is_light and not self.added_names and keeps and self.share >= SURE


Sameness = Literal["", "near", "sure", "same"]


def asks_the_same(change: Change, words: int) -> Sameness:
    """Return whether texts of at least `words` words that differ like this ask the same.

    "same": nothing meaningful changed; "sure": a word changed as in edits; "near": words changed in the middle of a
    long text, away from any question. The latter two hold unless more texts differ in the same place.
    """
    if not change.is_light or change.added_names or change.share < SURE:
        return ""
    if change.is_equal or (change.is_sure and not any(change.only_in)):
        return "same"
    if change.is_sure:
        return "sure"
    return "near" if words >= LONG and not change.is_at_end else ""


def count_words(table: Counts, texts: Sequence[Codes]) -> None:
    """Add to a table of TABLE numbers in how many of the texts each word occurs."""
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    words = bare(np.concatenate([*texts, np.zeros(0, np.uint32)])).astype(np.int64) & (TABLE - 1)
    each = np.sort(np.repeat(np.arange(len(texts)), sizes) * TABLE + words)  # five times as fast as np.unique
    once = each[np.concatenate([np.ones(min(1, len(each)), bool), each[1:] != each[:-1]])] & (TABLE - 1)
    add_counts(table, once)


def add_counts(table: Counts, places: NDArray[Any]) -> None:
    """Add how often each place occurs to a table; np.bincount would walk through the whole table."""
    ordered = np.sort(places)
    edges = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1], [True]]))
    if len(ordered):
        table[ordered[edges[:-1]]] += np.diff(edges).astype(np.uint32)


def may_be_alike(one: list[int], other: list[int]) -> bool:
    """Return quickly whether two texts, as bare words, share enough words to be worth comparing."""
    fewer = min(len(one), len(other))
    least = int((0.4 if fewer < SEVERAL else 0.55) * fewer)
    return LCSseq.similarity(one, other, score_cutoff=least) >= least


def compare(one: Codes, other: Codes, counts: Counts | None = None, *, if_light: bool = False) -> Change:
    """Align two texts word by word and summarize what differs; with `if_light` others are only reported as unlike."""
    first, second = one.tolist(), other.tolist()
    bare_one, bare_other = bare(one).tolist(), bare(other).tolist()
    weight_one, weight_other = (
        [_WEIGHTS[code & _ALL] for code in first],
        [_WEIGHTS[code & _ALL] for code in second],
    )
    if bare_one == bare_other:
        return Change(1.0, weight=sum(weight_one))
    unlike = Change(0.0, weight=max(sum(weight_one), sum(weight_other)), worst=0.0)
    if not may_be_alike(bare_one, bare_other):
        return unlike
    most = (1 - KEPT) * unlike.weight + 1e-6 if if_light else math.inf
    cost = inside = 0.0
    names = more_names = other_words = skeleton = 0
    only: tuple[set[int], set[int]] = (set(), set())
    added = [0.0, 0.0]
    lost_one: list[tuple[int, int]] = []
    lost_other: list[tuple[int, int]] = []
    steps = Levenshtein.opcodes(bare_one, bare_other)
    for number, step in enumerate(steps):
        tag, a, b, c, d = step.tag, step.src_start, step.src_end, step.dest_start, step.dest_end
        if tag == "equal":
            skeleton = crc32(repr(bare_one[a:b]).encode(), skeleton + 1)
            continue
        gone, new = first[a:b], second[c:d]
        lost, won = sum(weight_one[a:b]), sum(weight_other[c:d])
        has_name = [any(code & NAME for code in side) for side in (gone, new)]
        is_edge = number in (0, len(steps) - 1) and tag in ("insert", "delete") and len(steps) > 1
        if is_edge and max(b - a, d - c) <= ADDED:
            added[0] += lost
            added[1] += won
            weight_one[a:b], weight_other[c:d] = [0.0] * (b - a), [0.0] * (d - c)
            longer, begin, end = (first, a, b) if b > a else (second, c, d)
            if not longer[end if number == 0 else begin] & START:
                inside += lost + won
                more_names += any(has_name)
            continue
        cost += max(lost, won)
        lost_one.append((a, b))
        lost_other.append((c, d))
        if tag == "replace":
            # This includes a number replaced by a word.
            names += all(has_name) or any(code & DIGIT for code in (*gone, *new)) or _may_be_names(gone, new)
        if cost > most or (names and if_light):
            return unlike
        more_names += has_name[0] != has_name[1]
        for side, codes in zip(only, (gone, new), strict=True):
            side.update(code >> MARKS for code in codes if not code & LITTLE)
        other_words += counts is not None and _other_words(gone, new, counts)
        if tag == "replace" and max(b - a, d - c) > 1 and all(code & LITTLE for code in (*gone, *new)):
            other_words += 1  # "is (are)" for "to do for": such words alone can change the question
    whole = max(sum(weight_one), sum(weight_other), 1e-6)
    worst_one, words_one, is_at_end_one = _sentences(first, weight_one, lost_one)
    worst_other, words_other, is_at_end_other = _sentences(second, weight_other, lost_other)
    return Change(
        share=max(0.0, 1 - cost / whole),
        swapped_names=names,
        added_names=more_names,
        other_words=other_words,
        added=sum(added),
        added_inside=inside,
        weight=whole,
        worst=min(1.0, max(worst_one, worst_other)),
        words=max(words_one, words_other),
        only_one=added[0],
        only_in=(frozenset(only[0]), frozenset(only[1])),
        is_at_end=is_at_end_one or is_at_end_other,
        skeleton=skeleton,
    )


def _may_be_names(gone: list[int], new: list[int]) -> bool:
    """Return whether words of a script without capitals stand in place of others: names, as far as one can tell."""
    return all(any(code & UNCASED and not code & LITTLE for code in side) for side in (gone, new))


def _sentences(codes: list[int], weight: list[float], lost: list[tuple[int, int]]) -> tuple[float, int, bool]:
    """Return the kept share of the sentence that lost most (short sentences count together with the next), the number
    of words in the sentences that lost any, and whether the first or the last one is among these.
    """
    bounds = [place for place, code in enumerate(codes) if code & START and place] + [len(codes)]
    worst, words, begin, is_at_end = 1.0, 0, 0, False
    has = misses = 0.0
    for end in bounds:
        gone = [(max(a, begin), min(b, end)) for a, b in lost if a < end and (b > begin or a == b == begin)]
        if gone:
            words += end - begin - sum(bool(code & CHARACTER) for code in codes[begin:end]) // 2
        is_at_end = is_at_end or (bool(gone) and (begin == 0 or end == len(codes)))
        has += sum(weight[begin:end])
        misses += sum(sum(weight[a:b]) for a, b in gone)
        is_whole = begin == 0 and end == len(codes)
        if has >= SENTENCE or end == len(codes):
            worst = min(worst, 1 - misses / max(has, 1e-6 if is_whole else SENTENCE))
            has = misses = 0.0
        begin = end
    return worst, words, is_at_end


def is_rare(word: int, counts: Counts) -> bool:
    """Return whether few texts have a word, given without marks."""
    return int(counts[word & (TABLE - 1)]) < USUAL


def _other_words(gone: list[int], new: list[int], counts: Counts) -> bool:
    """Return whether words were replaced, inserted or removed in a way that may change the question."""
    sides = ([code for code in side if not code & LITTLE] for side in (gone, new))
    meaningful = [side for side in sides if side]
    if not meaningful:
        return False
    if max(map(len, meaningful)) > 1:
        return True
    usual = [int(counts[(side[0] >> MARKS) & (TABLE - 1)]) >= USUAL for side in meaningful]
    return all(usual) or (len(usual) == 2 and not any(usual))
