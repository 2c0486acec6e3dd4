"""One row of each group of near duplicates, drawn at random."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from finetop.core.formats import texts_of
from finetop.core.select import Choice
from finetop.core.select.random import shuffled

if TYPE_CHECKING:
    from finetop.core.select._pool import Pool

ABOUT = "random rows, of each group of near duplicates the first alone"
PAPER = "Lee et al. 2022, Deduplicating Training Data, arXiv:2107.06499"
NEEDS_MODEL = False
PERMUTATIONS = 128  # of MinHash: a likeness is off by 0.04 (one standard error at 0.8)
WORDS = 3  # of a shingle
_WORD = re.compile(r"\w+")


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """From which likeness on two rows are one."""

    similarity: Annotated[
        float,
        Meta(ge=0.3, le=1, description="Share of three-word pieces (Jaccard) that near duplicates share."),
    ] = 0.8


def choose(pool: Pool, options: Options, seed: int) -> Choice:
    """Leave out every row that is like one before it, and shuffle the others by the seed."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=options.similarity, num_perm=PERMUTATIONS)
    kept: dict[int, MinHash] = {}
    for place, record in enumerate(pool.records("comparing rows")):
        words = _WORD.findall(" ".join(texts_of(record)).lower())
        pieces = {" ".join(words[at : at + WORDS]) for at in range(max(1, len(words) - WORDS + 1))}
        made = MinHash(num_perm=PERMUTATIONS)
        made.update_batch([piece.encode() for piece in sorted(pieces)])
        if any(made.jaccard(kept[other]) >= options.similarity for other in index.query(made)):
            continue
        index.insert(place, made)
        kept[place] = made
    single = list(kept)
    order = [single[at] for at in shuffled(len(single), seed)]
    return Choice(order, may=f"are like no row before them (likeness below {options.similarity:g})")
