"""A list of any length that a screen shows: asked for page by page, and kept up to date without moving a row."""

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
    """Rows by their place in the list, as far as they were seen. `matching` is the length of the list."""

    rows: Mapping[int, Row]
    matching: int = 0
    newcomers: int = 0  # runs that are in the store and not in this list yet
    reordered: bool = False  # the store's order is another by now

    @property
    def is_old(self) -> bool:
        """Whether the store has more, or another order, than is held."""
        return self.newcomers > 0 or self.reordered


EMPTY: Pages[Any] = Pages({})


class PagedList(Generic[Row]):
    """The rows of a list as far as they were seen. Every method may raise NoSupervisor."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.pages: Pages[Row] = EMPTY

    async def _page(self, offset: int, limit: int) -> tuple[Sequence[Row], int]:
        """Ask for rows of the list that is held; returns them, and how long it is."""
        raise NotImplementedError

    async def _newer(self, row: Row) -> Row:
        """Ask for one row again, wherever it is listed by now."""
        raise NotImplementedError

    def _begin(self, rows: Sequence[Row], matching: int, run: str, at: Row | None) -> int:
        """Start over with the first rows; returns the place of the run of that name, else of the run `at`."""
        self.pages = Pages(dict(enumerate(rows)), matching)
        place = next((i for i, row in enumerate(rows) if run and row.name == run), None)
        if place is None and at is not None:
            place = next((i for i, row in enumerate(rows) if row.id == at.id), None)
        return place or 0

    async def load_missing(self, first: int, end: int) -> bool:
        """Load one chunk of the rows [first, end) if any is not held; returns whether something came."""
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
        """Bring the rows [first, end) up to date, each in its place.

        Returns whether the list was empty and is not any more: no row could move from under the cursor.
        """
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
    """Change each row in its place; another order and new runs are counted, and wait."""
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
