"""Long prefixes that many items share (examples, a system turn): found once, read once, kept while there is room.

The items alone determine which prefixes are shared, and a prefix is always read in the same steps. So a score is
the same number whether its prefix was kept from an earlier call or is read now.
"""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetop.core.check.scoring.packing import TokenSequence
from finetop.core.models import devices
from finetop.core.models.forward import read_on, spread
from finetop.core.runtime import cgroups

if TYPE_CHECKING:
    from finetop.core.check.scoring.batch_plan import Prompt

LEAST_TOKENS = 48  # tokens of a prefix beyond the shorter prefix that it extends
LEAST_SAVED = 128  # tokens not read again; reading a prefix by itself costs as much as 30 to 60 tokens
SHARE_OF_MEMORY = {"cpu": 0.1, "cuda": 0.15}  # of free memory
MOST_BYTES = 4 << 30
USUAL_BYTES = 1 << 30  # for devices that do not report free memory

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Prefixes:
    """Shared prefixes in order, and for each the longest other one that it extends (-1: none)."""

    tokens: tuple[Tokens, ...] = ()
    parents: tuple[int, ...] = ()

    def longest(self, sequence: TokenSequence | Prompt) -> int:
        """Return the number of the longest prefix of a sequence, excluding predicting tokens; -1 for none."""
        readable = _readable(sequence)
        number = bisect_right(self.tokens, readable) - 1
        while number >= 0 and readable[: len(self.tokens[number])] != self.tokens[number]:
            number = self.parents[number]
        return number


def find(items: Iterable[Sequence[TokenSequence | Prompt]]) -> Prefixes:
    """Find the prefixes that sequences of two or more items share; each item comes with all its sequences."""
    owned = [(sequence, number) for number, item in enumerate(items) for sequence in item]
    entries = sorted({(_readable(sequence), number) for sequence, number in owned})
    prefixes: list[Tokens] = []
    waiting = [(entries, 0)]
    while waiting:
        group, known = waiting.pop()
        owners = len({item for _, item in group})
        if owners < 2:
            continue
        common = _common(group[0][0], group[-1][0])
        new = common - known
        if new >= LEAST_TOKENS and new * (owners - 1) >= LEAST_SAVED:
            prefixes.append(group[0][0][:common])
            known = common
        waiting.extend((branch, known) for branch in _branches(group, common))
    tokens = tuple(sorted(prefixes))
    return Prefixes(tokens, _parents(tokens))


def _readable(sequence: TokenSequence | Prompt) -> Tokens:
    """Return the tokens before the first that predicts something."""
    last = sequence.scored_from if isinstance(sequence, TokenSequence) else len(sequence.tokens)
    return sequence.tokens[: max(0, last - 1)]


def _common(first: Tokens, last: Tokens) -> int:
    """Count the tokens that two sequences begin with; in a sorted group the first and last stand for all."""
    for at, (one, other) in enumerate(zip(first, last, strict=False)):
        if one != other:
            return at
    return min(len(first), len(last))


def _branches(group: Sequence[tuple[Tokens, int]], at: int) -> list[list[tuple[Tokens, int]]]:
    """Split a sorted group where its sequences diverge; those that end there are dropped."""
    branches: dict[int, list[tuple[Tokens, int]]] = {}
    for tokens, item in group:
        if len(tokens) > at:
            branches.setdefault(tokens[at], []).append((tokens, item))
    return list(branches.values())


def _parents(tokens: Sequence[Tokens]) -> tuple[int, ...]:
    parents: list[int] = []
    for number, prefix in enumerate(tokens):
        parent = number - 1
        while parent >= 0 and prefix[: len(tokens[parent])] != tokens[parent]:
            parent = parents[parent]
        parents.append(parent)
    return tuple(parents)


@dataclass(frozen=True)
class Past:
    """A prefix that was read: its key/value cache, which is never changed, and its length in tokens."""

    cache: Any
    length: int

    def fresh(self, rows: int) -> Any:
        """Return a cache that this many rows can continue from."""
        cache = _own(self.cache)
        return spread(cache, rows) if rows > 1 else cache


class PrefixMemory:
    """The prefixes that one model has read last, in at most `limit_bytes`; clear it when its weights change."""

    def __init__(self, prefixes: Prefixes, limit_bytes: int) -> None:
        self.prefixes = prefixes
        self.limit_bytes = limit_bytes
        # (number, step) -> cache, bytes; most recently used last
        self._kept: dict[tuple[int, int], tuple[Any, int]] = {}

    @property
    def held_bytes(self) -> int:
        """Return the bytes of all caches kept."""
        return sum(size for _, size in self._kept.values())

    def clear(self) -> None:
        """Drop all caches and free their memory."""
        self._kept.clear()

    def past(self, model: Any, number: int, step: int) -> Past:
        """Return a prefix, read now if it is not kept, at most `step` tokens (the plan's) at once."""
        return Past(self._read(model, number, step), len(self.prefixes.tokens[number]))

    def _read(self, model: Any, number: int, step: int) -> Any:
        kept = self._kept.pop((number, step), None)
        if kept is None:
            parent = self.prefixes.parents[number]
            cache = _own(self._read(model, parent, step)) if parent >= 0 else None
            known = len(self.prefixes.tokens[parent]) if parent >= 0 else 0
            cache = _read_tokens(model, self.prefixes.tokens[number], known, step, cache)
            kept = cache, _bytes(cache)
        self._kept[number, step] = kept
        while self._kept and self.held_bytes > self.limit_bytes:
            del self._kept[next(iter(self._kept))]
        return kept[0]


def _read_tokens(model: Any, tokens: Tokens, known: int, step: int, cache: Any) -> Any:
    import torch

    with torch.inference_mode():
        for at in range(known, len(tokens), step):
            ids = torch.tensor([tokens[at : at + step]], device=model.device)
            positions = torch.arange(at, at + ids.shape[1], device=model.device)[None]
            _, cache = read_on(model, ids, positions, None, cache)
    return cache


def _own(cache: Any) -> Any:
    """Copy a cache's structure around the same tensors: layers that grow allocate new ones."""
    twin = copy.copy(cache)
    twin.layers = [copy.copy(layer) for layer in cache.layers]
    return twin


def _bytes(cache: Any) -> int:
    tensors = (value for layer in cache.layers for value in vars(layer).values() if hasattr(value, "nbytes"))
    return sum(int(tensor.nbytes) for tensor in tensors)


def room_for(device: str) -> int:
    """Return the bytes that kept prefixes may use on a device: at most 4 GiB, and a share of what its limit leaves."""
    kind = device.split(":")[0]
    free = cgroups.free_memory() if kind == "cpu" else devices.free_bytes(device)
    return USUAL_BYTES if free is None else max(0, min(MOST_BYTES, int(free * SHARE_OF_MEMORY[kind])))
