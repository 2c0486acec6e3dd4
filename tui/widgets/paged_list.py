"""A list of any length that a screen looks at: asked for page by page, and kept up to date without moving a row."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic

from finetop.core.errors import FinetopError
from finetop.core.protocol.request import Ask as AnyRequest
from finetop.tui.widgets.page_cache import (
    CHUNK,
    EMPTY,
    Pages,
    Row,
    fresh,
    missing_chunk,
    place_of,
    refreshed,
    with_chunk,
    with_row,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

Ask = Callable[[AnyRequest], Awaitable[Any]]


class Listed(Generic[Row]):
    """The rows of a list as far as they were looked at. Every method may raise NoSupervisor."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.pages: Pages[Row] = EMPTY

    async def _page(self, offset: int, limit: int) -> tuple[Sequence[Row], int]:
        """Ask for rows of the list that is held; give them, and how long it is."""
        raise NotImplementedError

    async def _newer(self, row: Row) -> Row:
        """Ask for one row again, wherever it is listed by now."""
        raise NotImplementedError

    def _begin(self, rows: Sequence[Row], matching: int, run: str, at: Row | None) -> int:
        """Start over with the first rows; give the place of the run of that name, else of the run `at`."""
        self.pages = fresh(rows, matching)
        place = next((i for i, row in enumerate(rows) if run and row.name == run), None)
        if place is None and at is not None:
            place = place_of(self.pages, at.id)
        return place or 0

    async def load_missing(self, first: int, end: int) -> bool:
        """Load one chunk of the rows [first, end) if any is not held; give whether something came."""
        offset = missing_chunk(self.pages, first, end)
        if offset is None:
            return False
        rows, _ = await self._page(offset, CHUNK)
        before = len(self.pages.rows)
        self.pages = with_chunk(self.pages, offset, rows)
        return len(self.pages.rows) > before

    async def refresh(self, first: int, end: int) -> None:
        """Bring the rows [first, end) up to date, each in its place."""
        offset = first - first % CHUNK
        rows, matching = await self._page(offset, max(CHUNK, end - offset))
        self.pages = refreshed(self.pages, offset, rows, matching)
        came = {row.id for row in rows}
        for index in range(first, end):
            row = self.pages.rows.get(index)
            if row is not None and row.id not in came:  # by now it is listed elsewhere
                with contextlib.suppress(FinetopError):
                    self.pages = with_row(self.pages, index, await self._newer(row))
