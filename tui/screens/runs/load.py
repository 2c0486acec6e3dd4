"""Keeps the list on the screen up to date: one loop, so that what was asked twice while it waited is asked once."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol

from textual.css.query import NoMatches

from finetop.core.errors import BadInput, FinetopError, NoSupervisor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.protocol.runs import RunRow
    from finetop.tui.app_interface import Host
    from finetop.tui.screens.runs.state import RunList

NUMBERS_S = 0.5  # numbers in the list change at most so often, however many machines tell of changes


class View(Protocol):
    """The screen, as the loop sees it."""

    @property
    def host(self) -> Host: ...

    @property
    def row(self) -> RunRow | None: ...

    @property
    def is_on_top(self) -> bool: ...

    @property
    def rows_with_sparks(self) -> Sequence[RunRow | None]: ...

    def rows_in_view(self) -> tuple[int, int]: ...

    def show_list(self, place: int) -> None: ...

    def redraw(self) -> None: ...

    def redraw_sparks(self) -> None: ...

    def refuse(self, fault: BadInput) -> None: ...


class Loading:
    """What is to be asked for: the list anew, rows that came into view, newer numbers."""

    def __init__(self, runs: RunList, view: View) -> None:
        self._runs, self._view = runs, view
        self._is_stale = False
        self._wants_anew = True
        self._wanted_run = ""
        self._wake = asyncio.Event()

    def look(self) -> None:
        """Look what is missing: other rows are in view, or the cursor is elsewhere."""
        self._wake.set()

    def change(self) -> None:
        """Hear that the store is newer."""
        self._is_stale = True
        self._wake.set()

    def anew(self, run: str = "") -> None:
        """Ask for the list from its start, in the store's order, with the cursor on that run (else where it was)."""
        self._wants_anew, self._wanted_run = True, run
        self._wake.set()

    async def for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        refreshed_at = loop.time() - NUMBERS_S
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                if self._wants_anew:
                    await self._load()
                    refreshed_at = loop.time()
                await self._load_missing()
                if self._is_stale:
                    await self._wait_until(refreshed_at + NUMBERS_S)
                if not self._view.is_on_top:
                    continue  # another screen is on it: coming back it loads anew
                if self._is_stale and not self._wants_anew:
                    await self._refresh()
                    refreshed_at = loop.time()
                await self._load_sparks()
            except NoSupervisor:
                continue  # the app says so in its own row, and a StoreChanged comes when it is back
            except FinetopError as error:
                self._view.host.say(str(error), "red")
            except NoMatches:
                return  # an answer came while the screen is taken down

    async def _wait_until(self, moment: float) -> None:
        """Wait for a moment; rows that come into view meanwhile are loaded, and a new list ends the wait."""
        while not self._wants_anew and (left := moment - asyncio.get_running_loop().time()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), left)
            self._wake.clear()
            await self._load_missing()
        if self._wants_anew:
            self._wake.set()

    async def _load(self) -> None:
        run, self._wanted_run = self._wanted_run, ""
        self._wants_anew = self._is_stale = False
        try:
            place = await self._runs.load(run, self._view.row)
        except BadInput as fault:
            self._view.refuse(fault)
            return
        if place is None:
            self.anew(run)
        else:
            self._view.show_list(place)

    async def _load_missing(self) -> None:
        while not self._wants_anew and await self._runs.load_missing(*self._view.rows_in_view()):
            self._view.redraw()

    async def _refresh(self) -> None:
        self._is_stale = False
        await self._runs.refresh(*self._view.rows_in_view())
        answer = self._runs.answer
        if answer is not None and answer.matching and not self._runs.pages.matching:
            self.anew()  # the list was empty: nothing is under the cursor that could move
        self._view.redraw()

    async def _load_sparks(self) -> None:
        is_far = any(home.link is not None for home in self._view.host.homes)
        for row in self._view.rows_with_sparks:
            if row is None or self._wants_anew:
                continue
            if await self._runs.load_spark(row, self._view.host.now(), is_far=is_far):
                self._view.redraw_sparks()
