"""The rows that the app holds of a list of any length, and how newer ones are taken in without moving a row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Numbered(Protocol):
    """A row of a list: of one run."""

    @property
    def id(self) -> int: ...

    @property
    def name(self) -> str: ...


Row = TypeVar("Row", bound=Numbered)
CHUNK = 100  # rows of one request


@dataclass(frozen=True, slots=True)
class Pages(Generic[Row]):
    """Rows by their place in the list, as far as they were looked at. `matching` is the length of the list."""

    rows: Mapping[int, Row]
    matching: int = 0
    newcomers: int = 0  # runs that are in the store and not in this list yet
    reordered: bool = False  # the store's order is another by now

    @property
    def is_old(self) -> bool:
        """Whether the store has more, or another order, than is held."""
        return self.newcomers > 0 or self.reordered


EMPTY: Pages[Any] = Pages({})


def fresh(rows: Sequence[Row], matching: int) -> Pages[Row]:
    """Start over with the first rows of a list."""
    return Pages(dict(enumerate(rows)), matching)


def with_row(pages: Pages[Row], index: int, row: Row) -> Pages[Row]:
    """Put a newer state of a run in its place, when the store by now lists it elsewhere."""
    return replace(pages, rows={**pages.rows, index: row}, reordered=True)


def missing_chunk(pages: Pages[Any], first: int, end: int) -> int | None:
    """Give the offset of the first chunk with a row of [first, end) that is not held; None if all are."""
    for index in range(max(0, first), min(end, pages.matching)):
        if index not in pages.rows:
            return index - index % CHUNK
    return None


def with_chunk(pages: Pages[Row], offset: int, rows: Sequence[Row]) -> Pages[Row]:
    """Take in rows at places that were not held."""
    added = {offset + i: row for i, row in enumerate(rows) if offset + i not in pages.rows}
    return replace(pages, rows={**pages.rows, **added})


def refreshed(pages: Pages[Row], offset: int, rows: Sequence[Row], matching: int) -> Pages[Row]:
    """Take in newer rows: each changes in its place; other order and new runs are counted, and wait."""
    newer = {row.id: row for row in rows}
    held = {row.id for row in pages.rows.values()}
    kept = {index: newer.get(row.id, row) for index, row in pages.rows.items()}
    strangers = sum(1 for id_ in newer if id_ not in held)
    complete = offset == 0 and len(pages.rows) >= pages.matching
    newcomers = max(strangers if complete else 0, matching - pages.matching, 0)
    reordered = any(
        index in pages.rows and pages.rows[index].id != row.id for index, row in enumerate(rows, start=offset)
    )
    return replace(pages, rows=kept, newcomers=newcomers, reordered=reordered)


def place_of(pages: Pages[Any], run_id: int) -> int | None:
    """Find where in the list a run is, among the rows that are held."""
    return next((index for index, row in pages.rows.items() if row.id == run_id), None)
