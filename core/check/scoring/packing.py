"""Packs token sequences into few rows without padding: a row is a tree in which equal prefixes are one branch.

The continuations of one context, and questions that begin with the same template or examples, share their
prefix, which is run once. A token attends only to its ancestors, and its position is its depth, so every
sequence is read as if it were alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# How many times longer than its longest sequence a row may be, to keep one context's choices together.
OVERFULL = 1.5


@dataclass(frozen=True)
class TokenSequence:
    """Tokens of which those from `scored_from` on are predicted, each from all before it; the first one never is."""

    tokens: tuple[int, ...]
    scored_from: int


@dataclass
class Row:
    """One tree: parallel lists over its nodes, and for each sequence its place in the input and its tokens' nodes."""

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    paths: dict[int, list[int]] = field(default_factory=dict)  # sequence -> its nodes, in order
    children: dict[tuple[int, int], int] = field(default_factory=dict)
    longest: int = 0  # tokens of the longest sequence

    def new_nodes(self, tokens: Sequence[int]) -> int:
        """Count the nodes that these tokens would add."""
        node = -1
        for depth, token in enumerate(tokens):
            child = self.children.get((node, token))
            if child is None:
                return len(tokens) - depth
            node = child
        return 0

    def add(self, sequence: int, tokens: Sequence[int]) -> None:
        """Add a sequence's tokens to the tree."""
        node, path = -1, []
        for depth, token in enumerate(tokens):
            child = self.children.get((node, token))
            if child is None:
                child = len(self.tokens)
                self.children[node, token] = child
                self.tokens.append(token)
                self.parents.append(node)
                self.depths.append(depth)
            path.append(child)
            node = child
        self.paths[sequence] = path
        self.longest = max(self.longest, len(tokens))

    def visible(self) -> NDArray[np.bool_]:
        """Return which nodes each node attends to: itself and its ancestors. [nodes, nodes]"""
        seen = np.zeros((len(self.tokens), len(self.tokens)), dtype=np.bool_)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                seen[node] = seen[parent]
            seen[node, node] = True
        return seen


@dataclass(frozen=True)
class PackedBatch:
    """Rows that go to the model together, right-aligned; all predicting nodes are among the last `kept` columns.

    tokens and depths [rows, columns], visible [rows, columns, columns]; for each sequence its row and the
    columns that predict its scored tokens, counted among the kept ones.
    """

    tokens: NDArray[np.int64]
    depths: NDArray[np.int64]
    visible: NDArray[np.bool_]
    kept: int
    predicting: dict[int, tuple[int, list[int]]]


def pack(sequences: Sequence[TokenSequence], row_tokens: int) -> list[Row]:
    """Pack sequences into rows of about `row_tokens` nodes; sequences that share most of their tokens stay together.

    The last token of a sequence is only predicted, never read. Rows get nearly the same length, so that little
    padding is needed side by side: bundles go, largest first, to the row that is shortest so far.
    """
    bundles = _bundles(sequences, row_tokens)
    whole = Row()
    for place in sorted(range(len(sequences)), key=lambda place: sequences[place].tokens):
        whole.add(place, sequences[place].tokens[:-1])
    rows = [Row() for _ in range(min(len(bundles), max(1, -(-len(whole.tokens) // row_tokens))))]
    if len(rows) == 1:
        return [whole]
    # the sort is stable: bundles of equal size stay in token order
    for bundle in sorted(bundles, key=lambda bundle: -len(bundle.tokens)):
        row = min(rows, key=lambda row: len(row.tokens))
        for place in bundle.paths:
            row.add(place, sequences[place].tokens[:-1])
    return rows


def _bundles(sequences: Sequence[TokenSequence], row_tokens: int) -> list[Row]:
    """Put sequences that share most tokens into one tree each, in token order, at most half again a row's length."""
    bundles: list[Row] = []
    for place in sorted(range(len(sequences)), key=lambda place: sequences[place].tokens):
        tokens = sequences[place].tokens[:-1]
        last = bundles[-1] if bundles else Row()
        new = last.new_nodes(tokens)
        most = OVERFULL * max(row_tokens, last.longest, len(tokens))
        if not bundles or new > len(tokens) // 2 or len(last.tokens) + new > most:
            bundles.append(Row())
        bundles[-1].add(place, tokens)
    return bundles


def packed_batches(
    rows: Sequence[Row], sequences: Sequence[TokenSequence], most_tokens: int
) -> Iterator[PackedBatch]:
    """Group rows of similar length, longest first, about `most_tokens` per batch and at least one row.

    A batch is laid out when it is asked for: a GPU works at the one before.
    """
    order = sorted(range(len(rows)), key=lambda number: (-len(rows[number].tokens), number))
    while order:
        longest = max(1, len(rows[order[0]].tokens))
        # batches left: a short last one costs nearly as much as a full one
        left = max(1, round(len(order) * longest / most_tokens))
        size = max(1, -(-len(order) // left))
        together, order = order[:size], order[size:]
        yield _sheet([rows[number] for number in together], sequences)


def _sheet(rows: Sequence[Row], sequences: Sequence[TokenSequence]) -> PackedBatch:
    """Lay out rows, each with its predicting nodes last, so that the head runs on one range of columns."""
    ordered = [_predicting_last(row, sequences) for row in rows]
    columns = max(len(row.tokens) for row in rows)
    kept = max(late for _, late in ordered)
    tokens = np.zeros((len(rows), columns), dtype=np.int64)
    depths = np.zeros((len(rows), columns), dtype=np.int64)
    visible = np.zeros((len(rows), columns, columns), dtype=np.bool_)
    # padding attends to itself, so that no softmax is undefined
    visible[:, range(columns), range(columns)] = True
    predicting: dict[int, tuple[int, list[int]]] = {}
    for number, (row, (order, _)) in enumerate(zip(rows, ordered, strict=True)):
        left = columns - len(row.tokens)
        tokens[number, left:] = np.array(row.tokens)[order]
        depths[number, left:] = np.array(row.depths)[order]
        visible[number, left:, left:] = row.visible()[np.ix_(order, order)]
        column = np.empty(len(order), dtype=np.int64)
        column[order] = np.arange(len(order)) + left - (columns - kept)
        for place, path in row.paths.items():
            predicting[place] = (number, column[path[sequences[place].scored_from - 1 :]].tolist())
    return PackedBatch(tokens, depths, visible, kept, predicting)


def _predicting_last(row: Row, sequences: Sequence[TokenSequence]) -> tuple[NDArray[np.int64], int]:
    """Order a row's nodes: first those that predict nothing, then the rest; return the order and the rest's count.

    All descendants of a predicting node are placed late too, so that parents stay before their children.
    """
    late = np.zeros(len(row.tokens), dtype=np.bool_)
    for place, path in row.paths.items():
        late[path[sequences[place].scored_from - 1 :]] = True
    for node, parent in enumerate(row.parents):
        if parent >= 0 and late[parent]:
            late[node] = True
    return np.concatenate([np.flatnonzero(~late), np.flatnonzero(late)]), int(late.sum())
