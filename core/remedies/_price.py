"""How long trying a remedy takes, as measured: of this run's, else of others of its base, else of its checks."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import msgspec

from finetop.core.remedies._choice import choosing_items

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.protocol.check_result import CheckResult
    from finetop.core.protocol.runs import RemedyRow


class Price(msgspec.Struct, frozen=True):
    """Seconds of trying one, with its loading, its target and all else; and of confirming one on fresh items."""

    one_s: float
    confirming_s: float


def price(
    own: Sequence[RemedyRow], others: Sequence[RemedyRow], checks: Sequence[CheckResult]
) -> Price | None:
    """Estimate from the remedies of a run that were tried, from those of other runs of its base, and from its checks.

    A remedy is asked up to as many items as there are for choosing, and a check may have stopped after a few: so what
    an item took counts. Of several checks the slowest counts, as one that found its scores in the cache took next to no
    time. None where nothing was measured.
    """
    scored = next((measured for rows in (own, others) if (measured := _measured(rows))), [])
    items = next((row.items_total for row in _measured(own)), 0)
    items = items or max((choosing_items(check.items_total) for check in checks), default=0)
    if scored:
        each = median(row.seconds / row.items_total for row in scored)
        items = items or round(median(row.items_total for row in scored))
    else:
        each = max(
            (check.seconds / check.items_scored for check in checks if check.items_scored), default=0.0
        )
    # The items for confirming are the other half, or as many.
    return Price(each * items, each * items) if each and items else None


def _measured(rows: Sequence[RemedyRow]) -> list[RemedyRow]:
    return [row for row in rows if row.seconds and row.items_total]
