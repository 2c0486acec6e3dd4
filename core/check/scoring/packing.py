"""Packs token sequences into few rows without padding: a row is a tree, in which equal beginnings are one branch.

The continuations of one context, and questions that begin with the same template or examples, share what they
share, and are run once. A token sees its ancestors alone, and its position is its depth, so that every
sequence is read as if it were alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

OVERFULL = (
    1.5  # a row may be so much longer than its longest sequence, to keep one context's choices together
)


@dataclass(frozen=True)
class TokenSequence:
    """Tokens of which those from `scored_from` on are predicted, each from all before it.

    The first one never is.
    """

    tokens: tuple[int, ...]
    scored_from: int


@dataclass
class Row:
    """One tree.

    Parallel lists over its nodes, and for each sequence its place in the input and the nodes of its tokens.
    """

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    paths: dict[int, list[int]] = field(
        default_factory=dict
    )  # sequence -> its nodes, from the first token on
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
        """Put a sequence's tokens into the tree."""
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
        """Say which nodes each node sees: itself and its ancestors. [nodes, nodes]"""
        seen = np.zeros((len(self.tokens), len(self.tokens)), dtype=np.bool_)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                seen[node] = seen[parent]
            seen[node, node] = True
        return seen


@dataclass(frozen=True)
class Sheet:
    """Rows that go to the model together, aligned at the right; whatever predicts is among the last `kept` columns.

    tokens and depths [rows, columns], visible [rows, columns, columns]; for each sequence its row and the
    columns that predict its scored tokens, counted among the kept ones.
    """

    tokens: NDArray[np.int64]
    depths: NDArray[np.int64]
    visible: NDArray[np.bool_]
    kept: int
    predicting: dict[int, tuple[int, list[int]]]


def pack(sequences: Sequence[TokenSequence], row_tokens: int) -> list[Row]:
    """Pack sequences into rows of about `row_tokens` nodes; what shares most of its tokens stays together.

    The last token of a sequence is only predicted, never read. Rows are filled evenly: a short last row costs
    nearly a full one. One row may be longer, by half of a context with its choices.
    """
    order = sorted(range(len(sequences)), key=lambda place: sequences[place].tokens)
    whole = Row()
    for place in order:
        whole.add(place, sequences[place].tokens[:-1])
    even = len(whole.tokens) / max(1, -(-len(whole.tokens) // row_tokens))
    rows, closed = [Row()], 0
    for place in order:
        tokens = sequences[place].tokens[:-1]
        if rows[-1].tokens and _begins_a_row(rows[-1], tokens, row_tokens, even * len(rows) - closed):
            closed += len(rows[-1].tokens)
            rows.append(Row())
        rows[-1].add(place, tokens)
    return rows


def _begins_a_row(row: Row, tokens: Sequence[int], row_tokens: int, even: float) -> bool:
    """Say if a sequence goes to a new row: where that leaves this one nearer to its even share.

    But not if the row holds most of the sequence already.
    """
    filled, new = len(row.tokens), row.new_nodes(tokens)
    if new <= len(tokens) // 2:
        return filled + new > OVERFULL * max(row_tokens, row.longest, len(tokens))
    return filled + new / 2 > even


def sheets(rows: Sequence[Row], sequences: Sequence[TokenSequence], most_tokens: int) -> list[Sheet]:
    """Put rows of like length together, longest first, about `most_tokens` in a sheet, one row at least."""
    order = sorted(range(len(rows)), key=lambda number: (-len(rows[number].tokens), number))
    made = []
    while order:
        size = max(1, round(most_tokens / max(1, len(rows[order[0]].tokens))))
        together, order = order[:size], order[size:]
        made.append(_sheet([rows[number] for number in together], sequences))
    return made


def _sheet(rows: Sequence[Row], sequences: Sequence[TokenSequence]) -> Sheet:
    """Lay rows out, each with its predicting nodes last, so that the head runs on one range of columns."""
    ordered = [_predicting_last(row, sequences) for row in rows]
    columns = max(len(row.tokens) for row in rows)
    kept = max(late for _, late in ordered)
    tokens = np.zeros((len(rows), columns), dtype=np.int64)
    depths = np.zeros((len(rows), columns), dtype=np.int64)
    visible = np.zeros((len(rows), columns, columns), dtype=np.bool_)
    visible[:, range(columns), range(columns)] = (
        True  # padding sees itself alone, so that nothing is undefined
    )
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
    return Sheet(tokens, depths, visible, kept, predicting)


def _predicting_last(row: Row, sequences: Sequence[TokenSequence]) -> tuple[NDArray[np.int64], int]:
    """Order a row's nodes: first those that predict nothing, then the rest, and count these.

    What comes behind a predicting node is late with it, so that parents stay before their children.
    """
    late = np.zeros(len(row.tokens), dtype=np.bool_)
    for place, path in row.paths.items():
        late[path[sequences[place].scored_from - 1 :]] = True
    for node, parent in enumerate(row.parents):
        if parent >= 0 and late[parent]:
            late[node] = True
    return np.concatenate([np.flatnonzero(~late), np.flatnonzero(late)]), int(late.sum())
