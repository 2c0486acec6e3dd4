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

    def visible(self) -> NDArray[np.bool_]:
        """Say which nodes each node sees: itself and its ancestors. [nodes, nodes]"""
        seen = np.zeros((len(self.tokens), len(self.tokens)), dtype=np.bool_)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                seen[node] = seen[parent]
            seen[node, node] = True
        return seen


def pack(sequences: Sequence[TokenSequence], row_tokens: int) -> list[Row]:
    """Pack sequences into rows of at most `row_tokens` nodes, or one sequence more than that alone in its row.

    The last token of a sequence is only predicted, never read. Rows are filled evenly: a short last row costs
    nearly a full one.
    """
    order = sorted(range(len(sequences)), key=lambda place: sequences[place].tokens)
    whole = Row()
    for place in order:
        whole.add(place, sequences[place].tokens[:-1])
    rows_needed = max(1, -(-len(whole.tokens) // row_tokens))
    if rows_needed == 1:
        return [whole]
    even = -(-len(whole.tokens) // rows_needed)
    rows = [Row()]
    for place in order:
        tokens = sequences[place].tokens[:-1]
        filled = len(rows[-1].tokens)
        full = filled + rows[-1].new_nodes(tokens) > row_tokens
        if filled and (full or (filled >= even and rows[-1].new_nodes(tokens) > len(tokens) // 2)):
            rows.append(Row())
        rows[-1].add(place, tokens)
    return rows
