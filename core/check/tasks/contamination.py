"""Which benchmark items the training data contains: learning them by heart hides what was forgotten.

What counts as contained, verbatim or lightly edited, data/similarity/containment.py says; `finetop lint` asks the same.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from finetop.core.check.statistics.item_order import Key

BLOCK = 500  # texts that are searched at once


def contaminated(items: Mapping[Key, str], training_texts: Iterable[str]) -> tuple[Key, ...]:
    """Find the items (key -> text) that the training texts contain. The texts are read once and not kept."""
    from finetop.core.data.similarity.containment import Items
    from finetop.core.data.similarity.word_codes import codes_of

    keys = list(items)
    wanted = Items([codes_of(items[key]) for key in keys])
    found: set[int] = set()
    texts = iter(training_texts)
    while some := [codes_of(text) for text in islice(texts, BLOCK)]:
        found.update(hit.item for hit in wanted.search(some))
    found.update(item for item, _ in wanted.in_pieces())
    return tuple(sorted(keys[number] for number in found))
