"""Pairs of texts that share many words, among a hundred thousand, without comparing all with all: MinHash and bands.

The permutations are drawn as datasketch draws them, and a signature here equals its MinHash of the same shingles (a
test verifies it); but they are computed for a thousand texts at a time, and the index is not datasketch's dictionary of
sets: that takes 1 GB and 23 s for 100,000 texts of 32 bands, sorted arrays take 15 MB and 1 s. datasketch itself is
needed by that test alone: it brings scipy, which would double the light install.

Shingles are a text's words and pairs of neighbours. Those that a large part of all texts has are left out, so that
texts from one template are not all alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from finetop.core.data.similarity.edits import add_counts
from finetop.core.data.similarity.spill_file import Store, Table
from finetop.core.data.similarity.word_codes import LITTLE, Codes, bare

BANDS: Final = 32
WIDTH: Final = (
    3  # numbers in a band: of texts that share half of their shingles 98.6 % meet in one, a third 71 %
)
PERMUTATIONS: Final = BANDS * WIDTH
LONG: Final = 64  # words; a longer text is represented by its pairs only
BLOCK: Final = 60_000  # shingles hashed at once: they fit the CPU cache
TABLE: Final = 1 << 22  # size of the table of shingle counts
COMMON: Final = 0.05  # share of all texts: a shingle in more of them says nothing
COMMON_AT_LEAST: Final = 300
FEWEST: Final = 3  # shingles; a text left with fewer keeps all
CROWD: Final = 40  # texts in one bucket; in a larger one each is compared only with its next neighbours
NEIGHBOURS: Final = 6
STEP: Final = 20_000  # pairs compared at once
SHARED: Final = 0.2  # minimum share of a signature: pairs below are not verified
SEVERAL: Final = 30  # words, about two sentences: texts with one of two in common share a third
SHARED_OF_SEVERAL: Final = 0.4  # what remains after nine of thirty words changed
SHARED_OF_LONG: Final = 0.3  # only pairs of neighbours: 30 % changed words leave a third of them

Signature = NDArray[np.uint32]
Pairs = NDArray[np.int64]  # [pairs, 2], the lower number first


class Shingles:
    """The shingles of many texts, concatenated; `bounds` are where each text begins."""

    __slots__ = ("bounds", "hashes")

    def __init__(self, hashes: NDArray[np.uint32], bounds: NDArray[np.int64]) -> None:
        self.hashes = hashes
        self.bounds = bounds

    def counts(self) -> NDArray[np.int64]:
        """Return the number of shingles of each text."""
        return np.diff(self.bounds)


def shingles(texts: Sequence[Codes]) -> Shingles:
    """Hash the words and the pairs of neighbours of each text."""
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    words = np.concatenate([*texts, np.zeros(0, np.uint32)])
    last = np.zeros(len(words), bool)
    last[np.cumsum(sizes)[sizes > 0] - 1] = True
    hashes = np.empty((len(words), 2), np.uint32)
    known = bare(words)
    hashes[:, 0] = _mixed(known)
    hashes[:-1, 1] = _mixed(known[:-1] * np.uint32(0x9E3779B1) + known[1:])
    wanted = np.empty((len(words), 2), bool)
    is_long = np.repeat(sizes > LONG, sizes)
    wanted[:, 0] = ((words & LITTLE) == 0) & ~is_long
    wanted[:, 1] = ~last
    per_text = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(_sums(wanted.sum(axis=1), sizes), out=per_text[1:])
    return Shingles(hashes[wanted], per_text)


def _sums(values: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum values per text."""
    total = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=total[1:])
    ends = np.cumsum(sizes)
    summed: NDArray[np.int64] = total[ends] - total[ends - sizes]
    return summed


def _mixed(values: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Spread numbers over all 32 bits: the last step of MurmurHash3, which datasketch also uses."""
    mixed = values ^ (values >> np.uint32(16))
    mixed *= np.uint32(0x85EBCA6B)
    mixed ^= mixed >> np.uint32(13)
    mixed *= np.uint32(0xC2B2AE35)
    mixed ^= mixed >> np.uint32(16)
    return mixed


def tally(groups: Iterable[Shingles]) -> NDArray[np.uint32]:
    """Count how often each shingle occurs, in a table of fixed size."""
    table = np.zeros(TABLE, np.uint32)
    for group in groups:
        add_counts(table, group.hashes & np.uint32(TABLE - 1))
    return table


def rare(group: Shingles, table: NDArray[np.uint32], texts: int) -> Shingles:
    """Drop the shingles that a large part of `texts` texts has, unless a text would lose nearly all."""
    limit = max(COMMON_AT_LEAST, int(COMMON * texts))
    kept = table[group.hashes & np.uint32(TABLE - 1)] <= limit
    sizes = group.counts()
    left = _sums(kept.astype(np.int64), sizes)
    kept |= np.repeat(left < FEWEST, sizes)
    bounds = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(np.where(left < FEWEST, sizes, left), out=bounds[1:])
    return Shingles(group.hashes[kept], bounds)


@lru_cache(maxsize=1)
def permutations() -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return the multipliers, all odd, and the addends of datasketch's scheme affine32 and its seed 1."""
    draws = np.random.RandomState(1)  # numpy keeps its numbers from version to version
    multipliers = draws.randint(0, 1 << 31, PERMUTATIONS, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return multipliers, draws.randint(0, 1 << 32, PERMUTATIONS, dtype=np.uint32)


def signatures(group: Shingles) -> Signature:
    """Return the MinHash of each text, [texts, PERMUTATIONS]; without shingles all numbers are the largest."""
    multipliers, addends = permutations()
    minima = np.full((group.bounds.size - 1, PERMUTATIONS), 0xFFFFFFFF, np.uint32)
    filled = np.flatnonzero(group.counts())
    starts, ends = group.bounds[filled], group.bounds[filled + 1]
    first = 0
    while first < len(filled):
        last = max(first + 1, int(np.searchsorted(ends, starts[first] + BLOCK)))
        base = _mixed(group.hashes[starts[first] : ends[last - 1]])
        offsets = starts[first:last] - starts[first]
        for number in range(PERMUTATIONS):
            values = base * multipliers[number]
            values += addends[number]
            minima[filled[first:last], number] = np.minimum.reduceat(values, offsets)
        first = last
    return minima


class Kept:
    """Keeps the shingles of many groups of texts for a second pass: they take as much room as the words themselves."""

    def __init__(self) -> None:
        self._hashes = Store(0.25)
        self._bounds: list[NDArray[np.int64]] = []

    def keeping(self, groups: Iterable[Shingles]) -> Iterator[Shingles]:
        """Keep each group while passing it on."""
        for group in groups:
            self._hashes.add(group.hashes.tobytes())
            self._bounds.append(group.bounds)
            yield group

    def __iter__(self) -> Iterator[Shingles]:
        for number, bounds in enumerate(self._bounds):
            yield Shingles(self._hashes[number], bounds)


class Signatures:
    """The signatures of many texts, of which only the bands stay in memory: 128 bytes per text."""

    def __init__(self) -> None:
        self._all = Table(PERMUTATIONS)
        self._bands: list[NDArray[np.uint32]] = []
        self._is_empty: list[NDArray[np.bool_]] = []

    def add(self, minima: Signature) -> None:
        """Add the signatures of some texts."""
        self._all.add(minima)
        self._bands.append(bands(minima))
        self._is_empty.append((minima == 0xFFFFFFFF).all(axis=1))

    def pairs(self, words: NDArray[np.int64], most: int) -> Pairs:
        """Return the first `most` pairs of texts that meet in a band and share enough; see the function `pairs`."""
        is_empty, texts = np.concatenate(self._is_empty), len(words)
        pair_codes: NDArray[np.int64] = np.zeros(0, np.int64)
        for number in range(BANDS):
            column = np.concatenate([part[:, number] for part in self._bands])
            met = _meetings(column, is_empty)
            met = np.setdiff1d(met[:, 0] * texts + met[:, 1], pair_codes)
            shared = [
                part[self._share(np.stack([part // texts, part % texts], axis=1), words)]
                for part in np.split(met, range(STEP, len(met), STEP))
            ]
            pair_codes = np.sort(np.concatenate([pair_codes, *shared]))[:most]
        return np.stack([pair_codes // max(1, texts), pair_codes % max(1, texts)], axis=1)

    def _share(self, both: Pairs, words: NDArray[np.int64]) -> NDArray[np.bool_]:
        numbers, place = np.unique(both, return_inverse=True)
        minima, place = self._all.some(numbers), place.reshape(both.shape)
        shorter = words[both].min(axis=1)
        least = np.select(
            [shorter > LONG, shorter >= SEVERAL], [SHARED_OF_LONG, SHARED_OF_SEVERAL], default=SHARED
        )
        alike: NDArray[np.bool_] = (minima[place[:, 0]] == minima[place[:, 1]]).mean(axis=1) >= least
        return alike


def bands(minima: Signature) -> NDArray[np.uint32]:
    """Hash each band of signatures into one number, [texts, BANDS]."""
    parts = minima.reshape(len(minima), BANDS, WIDTH)
    mixed = parts[:, :, 0].copy()
    for place in range(1, WIDTH):
        mixed = _mixed(mixed) * np.uint32(0x9E3779B1) + parts[:, :, place]
    return mixed


def pairs(minima: Signature, words: NDArray[np.int64] | None = None) -> Pairs:
    """Return the pairs of texts that meet in a band and share enough of their signatures: longer ones must share more.

    `words` are the lengths of the texts; without them all are taken as short.
    """
    kept = Signatures()
    kept.add(minima)
    return kept.pairs(np.zeros(len(minima), np.int64) if words is None else words, len(minima) ** 2)


def _meetings(keys: NDArray[np.uint32], is_empty: NDArray[np.bool_]) -> Pairs:
    order = np.argsort(keys, kind="stable")
    return neighbours(order[~is_empty[order]], keys, CROWD, NEIGHBOURS)


def neighbours(order: NDArray[np.int64], keys: NDArray[Any], crowd: int, reach: int) -> Pairs:
    """Pair entries with the same key, in key order: all pairs in groups of up to `crowd`, else the next `reach`."""
    ordered = keys[order]
    edges = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1], [True]]))
    sizes = np.diff(edges) if len(order) else edges[:0]
    group, size = np.repeat(np.arange(len(sizes)), sizes), np.repeat(sizes, sizes)
    is_shared = size > 1
    order, group, size = order[is_shared], group[is_shared], size[is_shared]
    parts = [np.zeros((0, 2), np.int64)]
    for step in range(1, crowd):
        is_pair = group[step:] == group[:-step]
        if step > reach:
            is_pair &= size[step:] <= crowd
        if not is_pair.any():
            break
        parts.append(np.stack([order[:-step][is_pair], order[step:][is_pair]], axis=1))
    return np.concatenate(parts)
