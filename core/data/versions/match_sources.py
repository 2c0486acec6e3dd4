"""Which source of one run stands for which of another: the same file, else one of its name, else what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from finetop.core.protocol.runs import SourceRow

    Paired = tuple[SourceRow | None, SourceRow | None]


def paired(ones: Sequence[SourceRow], others: Sequence[SourceRow]) -> list[Paired]:
    """Pair the sources of two runs, in the order of the first's; what has no other comes alone."""
    left, free = list(ones), list(others)
    found: list[Paired] = []
    same: tuple[Callable[[SourceRow], object], ...] = (
        lambda row: (row.path, row.part, row.use),
        lambda row: (row.content, row.use),
        lambda row: (row.source, row.use),
        lambda row: row.use,
    )
    for key in same:
        for one in list(left):
            other = next((other for other in free if key(other) == key(one)), None)
            if other is not None:
                found.append((one, other))
                left.remove(one)
                free.remove(other)
    order = {id(one): at for at, one in enumerate(ones)}
    found.sort(key=lambda pair: order[id(pair[0])])
    return [*found, *((one, None) for one in left), *((None, other) for other in free)]
