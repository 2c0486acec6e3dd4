"""What was changed between two texts, word by word, and whether they still say the same.

Light edits are those that people and scrapers make: a word changed, inserted or removed, a few swapped for others
that mean the same, something put before or behind. What is no light edit, however few words it takes: another name or
number (the weight of the tent, of the stove), and, between short texts, another word where both are usual in the data
(the weight, the height): such texts come from one template. An edit brings a word that the data hardly have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from finetop.core.alike.words import DIGIT, LITTLE, MARKS, NAME, START

if TYPE_CHECKING:
    from finetop.core.alike.words import Codes

LITTLE_WEIGHT: Final = 0.35  # of a word that says little by itself
NAME_WEIGHT: Final = 1.5
ADDED: Final = 14  # words before or behind a text that may be added
TABLE: Final = 1 << 20  # in which words are counted
USUAL: Final = 3  # times, at least, that both of two words come where one stands for the other
KEPT: Final = 0.6
KEPT_OF_A_SENTENCE: Final = 0.5
ADDED_INSIDE: Final = 0.4
SURE: Final = 0.7
LONG: Final = 25  # words: in a longer text one word for another is no other question
SENTENCE: Final = 4.0  # weight: a shorter sentence is looked at with the next one

Counts = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Change:
    """How two texts differ. `share` of the words, by weight, is kept of the longer, what was put around it aside."""

    share: float
    swapped_names: int = 0  # a name or number for another
    added_names: int = 0  # a name or number that one of them has more
    swapped_usual: int = 0  # a word for another, where both are usual
    added: float = 0.0  # weight of the words that were put before or behind
    added_inside: float = 0.0  # of those, what belongs to its first or last sentence
    weight: float = 0.0  # of the longer text, what was put around aside
    worst: float = 1.0  # share that is kept of the sentence that changed most
    words: int = 0  # of the sentences that changed
    only_one: float = 0.0  # of what was put around: what the first text has

    @property
    def contained(self) -> float:
        """The share, by weight, of the first text's words that the second has, in order."""
        return self.share * self.weight / max(1e-6, self.weight + self.only_one)

    @property
    def is_equal(self) -> bool:
        """The same words, in the same order."""
        return self.share == 1.0 and self.added == 0

    @property
    def is_light(self) -> bool:
        """A light edit, as far as the words alone tell."""
        return (
            self.share >= KEPT
            and self.worst >= KEPT_OF_A_SENTENCE
            and not self.swapped_names
            and self.added_inside <= ADDED_INSIDE * self.weight
        )

    @property
    def is_sure(self) -> bool:
        """A light edit that changes nothing of what is asked, however short the texts are."""
        is_long = self.words >= LONG
        return (
            self.is_light
            and not self.added_names
            and (is_long or not self.swapped_usual)
            and (is_long or self.added_inside <= 3 * LITTLE_WEIGHT)
            and self.share >= SURE
        )


def count_words(table: Counts, codes: Codes) -> None:
    """Count words into a table of TABLE numbers."""
    table += np.bincount((codes >> MARKS) & np.uint32(TABLE - 1), minlength=TABLE).astype(np.uint32)


def weights(codes: Codes) -> NDArray[np.float32]:
    """Weigh each word."""
    return np.where(codes & LITTLE, LITTLE_WEIGHT, np.where(codes & NAME, NAME_WEIGHT, 1.0)).astype(
        np.float32
    )


def compare(one: Codes, other: Codes, counts: Counts | None = None) -> Change:
    """Align two texts word by word and sum up what differs."""
    from rapidfuzz.distance import Levenshtein

    weight_one, weight_other = weights(one), weights(other)
    if len(one) == len(other) and np.array_equal(one >> MARKS, other >> MARKS):
        return Change(1.0, weight=float(weight_one.sum()))
    cost = inside = 0.0
    names = more_names = usual = 0
    added = [0.0, 0.0]
    lost_one, lost_other = np.zeros_like(weight_one), np.zeros_like(weight_other)
    steps = Levenshtein.opcodes((one >> MARKS).tolist(), (other >> MARKS).tolist())
    for number, (tag, a, b, c, d) in enumerate(steps):
        if tag == "equal":
            continue
        lost, new = float(weight_one[a:b].sum()), float(weight_other[c:d].sum())
        is_edge = number in (0, len(steps) - 1) and tag in ("insert", "delete") and len(steps) > 1
        if is_edge and max(b - a, d - c) <= ADDED:
            added[0] += lost
            added[1] += new
            weight_one[a:b] = weight_other[c:d] = 0
            if not _is_apart(one, other, a, b, c, d, is_first=number == 0):
                inside += lost + new
                more_names += _has_names(one[a:b]) or _has_names(other[c:d])
            continue
        cost += max(lost, new)
        lost_one[a:b] = weight_one[a:b]
        lost_other[c:d] = weight_other[c:d]
        if tag == "replace":
            names += _names_differ(one[a:b], other[c:d])
            usual += _usual(one[a:b], other[c:d], counts)
        more_names += _has_names(one[a:b]) != _has_names(other[c:d])
    whole = max(float(weight_one.sum()), float(weight_other.sum()), 1e-6)
    worst = max(_worst(one, weight_one, lost_one), _worst(other, weight_other, lost_other))
    words = max(_changed(one, lost_one), _changed(other, lost_other))
    share = max(0.0, 1 - cost / whole)
    return Change(share, names, more_names, usual, sum(added), inside, whole, min(worst, 1.0), words, added[0])


def _worst(codes: Codes, weight: NDArray[np.float32], lost: NDArray[np.float32]) -> float:
    """Give the share that is kept of the sentence that lost most; short ones count together with the next."""
    starts = np.flatnonzero(codes & START)
    if len(starts) < 2:
        return 1.0 if not len(codes) else 1 - float(lost.sum()) / max(1e-6, float(weight.sum()))
    worst, has, misses = 1.0, 0.0, 0.0
    for kept, gone in zip(np.add.reduceat(weight, starts), np.add.reduceat(lost, starts), strict=True):
        has, misses = has + float(kept), misses + float(gone)
        if has >= SENTENCE:
            worst = min(worst, 1 - misses / has)
            has = misses = 0.0
    return worst


def _changed(codes: Codes, lost: NDArray[np.float32]) -> int:
    """Count the words of the sentences that lost any."""
    sentences = np.cumsum((codes & START) > 0)
    return int(np.isin(sentences, sentences[lost > 0]).sum())


def _is_apart(one: Codes, other: Codes, a: int, b: int, c: int, d: int, *, is_first: bool) -> bool:
    """Tell whether what was put before or behind is a sentence of its own."""
    longer, begin, end = (one, a, b) if b > a else (other, c, d)
    mark = longer[end] if is_first else longer[begin]
    return bool(mark & START)


def _has_names(codes: Codes) -> bool:
    return bool((codes & NAME).any())


def _names_differ(one: Codes, other: Codes) -> bool:
    if (one & DIGIT).any() or (other & DIGIT).any():
        return True  # a number for a word, too
    return _has_names(one) and _has_names(other)


def _usual(one: Codes, other: Codes, counts: Counts | None) -> int:
    """Count the swaps of one word that matters for another where the data have both in other places, too."""
    if counts is None:
        return 0
    known = []
    for side in (one, other):
        said = side[(side & LITTLE) == 0]
        known.append(len(said) > 0 and int(counts[(said >> MARKS) & np.uint32(TABLE - 1)].min()) >= USUAL)
    return int(all(known))
