"""A list of any length on a screen: loaded page by page, and updated without moving a row."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from finetop.core.errors import FinetopError
from finetop.core.protocol.request import Ask as AskRequest

Ask = Callable[[AskRequest], Awaitable[Any]]
CHUNK = 100  # rows of one request


class Numbered(Protocol):
    """A row of a list: of one run."""

    @property
    def id(self) -> int: ...

    @property
    def name(self) -> str: ...


Row = TypeVar("Row", bound=Numbered)


@dataclass(frozen=True, slots=True)
class Pages(Generic[Row]):
    """The rows seen so far, by their place in the list. `matching` is the length of the list."""

    rows: Mapping[int, Row]
    matching: int = 0
    newcomers: int = 0  # runs that are in the store but not yet in this list
    reordered: bool = False  # the store's order has changed since

    @property
    def is_old(self) -> bool:
        """Return whether the store has more rows, or another order, than are held."""
        return self.newcomers > 0 or self.reordered


EMPTY: Pages[Any] = Pages({})


class PagedList(Generic[Row]):
    """The rows of a list seen so far. Every method may raise NoSupervisor."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.pages: Pages[Row] = EMPTY

    async def _page(self, offset: int, limit: int) -> tuple[Sequence[Row], int]:
        """Request rows of the list; return them, and the list's length."""
        raise NotImplementedError

    async def _newer(self, row: Row) -> Row:
        """Request one row again, wherever it is listed by now."""
        raise NotImplementedError

    def _begin(self, rows: Sequence[Row], matching: int, run: str, at: Row | None) -> int:
        """Start over with the first rows; return the place of the run of that name, else of the run `at`."""
        self.pages = Pages(dict(enumerate(rows)), matching)
        place = next((i for i, row in enumerate(rows) if run and row.name == run), None)
        if place is None and at is not None:
            place = next((i for i, row in enumerate(rows) if row.id == at.id), None)
        return place or 0

    async def load_missing(self, first: int, end: int) -> bool:
        """Load one chunk of the rows [first, end) if any is missing; return whether something was loaded."""
        in_list = range(max(0, first), min(end, self.pages.matching))
        missing = next((index for index in in_list if index not in self.pages.rows), None)
        if missing is None:
            return False
        offset = missing - missing % CHUNK
        rows, _ = await self._page(offset, CHUNK)
        before = len(self.pages.rows)
        added = {i: row for i, row in enumerate(rows, start=offset) if i not in self.pages.rows}
        self.pages = replace(self.pages, rows={**self.pages.rows, **added})
        return len(self.pages.rows) > before

    async def refresh(self, first: int, end: int) -> bool:
        """Update the rows [first, end) in their places; return whether the list was empty, so that none could move."""
        offset = first - first % CHUNK
        rows, matching = await self._page(offset, max(CHUNK, end - offset))
        self.pages = refreshed(self.pages, offset, rows, matching)
        came = {row.id for row in rows}
        for index in range(first, end):
            row = self.pages.rows.get(index)
            if row is not None and row.id not in came:  # by now it is listed elsewhere
                with contextlib.suppress(FinetopError):
                    newer = {**self.pages.rows, index: await self._newer(row)}
                    self.pages = replace(self.pages, rows=newer, reordered=True)
        return bool(matching) and not self.pages.matching


def refreshed(pages: Pages[Row], offset: int, rows: Sequence[Row], matching: int) -> Pages[Row]:
    """Update each row in its place; another order and new runs are only noted."""
    newer = {row.id: row for row in rows}
    held = {index: row.id for index, row in pages.rows.items()}
    kept = {index: newer.get(row.id, row) for index, row in pages.rows.items()}
    strangers = len(newer.keys() - held.values())
    complete = offset == 0 and len(pages.rows) >= pages.matching
    newcomers = max(strangers if complete else 0, matching - pages.matching, 0)
    reordered = any(held.get(index, row.id) != row.id for index, row in enumerate(rows, start=offset))
    return replace(pages, rows=kept, newcomers=newcomers, reordered=reordered)
