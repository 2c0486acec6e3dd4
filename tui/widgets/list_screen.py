"""A screen of one table: its cursor, its filter, the pane that follows, rows requested as they come into view."""

from __future__ import annotations

import asyncio
from typing import ClassVar, Protocol

from textual import on

from finetop.tui.app_interface import host_of
from finetop.tui.keys import NO_MATCH, NO_SEARCH
from finetop.tui.widgets.frame import Bottom
from finetop.tui.widgets.loaded_screen import LoadedScreen
from finetop.tui.widgets.table import Table

REST_S = 0.1  # a pane that needs a request follows when the cursor has rested this long
TALL, HIGH = 34, 46  # rows of the terminal


class Filtered(Protocol):
    """A list with a filter."""

    filter: str


class ListScreen(LoadedScreen, inherit_bindings=False):
    """Reloads its list when it opens or is returned to; newer numbers change rows in place."""

    LEAST_S: ClassVar = 0.0  # between two refreshes that no key asked for
    listed: Filtered  # in lists that have a filter

    def __init__(self) -> None:
        super().__init__()
        self._wants_anew, self._is_stale = True, False
        self._wanted_run = ""
        self._loaded_at = 0.0

    # --- what each list defines -----------------------------------------------------------------------

    @property
    def has_shown(self) -> bool:
        return True  # a list without rows shows that it is loading

    @property
    def place(self) -> object:
        """Return what the cursor is on."""
        return self.query_one(Table).cursor

    def show_pane(self) -> None:
        """Draw what follows the cursor: the pane, the next step and the footer."""
        raise NotImplementedError

    def action_open(self) -> None:
        """Open what is under the cursor."""
        raise NotImplementedError

    async def _load_list(self, run: str) -> bool:
        """Start over, with the cursor on that run (else where it was); False if other rows are wanted by now."""
        raise NotImplementedError

    async def _refresh_list(self) -> None:
        """Bring the rows in view up to date."""
        await self._load_list("")

    async def _load_in_view(self) -> None:
        """Load the missing rows in view, and what the pane lacks."""

    # --- loading ----------------------------------------------------------------------------------------

    def load_anew(self, run: str = "") -> None:
        """Reload the list from its start, with the cursor on that run (else where it was)."""
        self._wants_anew, self._wanted_run = True, run
        self._wake.set()

    def resume(self) -> None:
        """Reload: on returning from another screen the order may change."""
        self.load_anew(self._wanted_run)

    def refresh_soon(self, *, at_once: bool = False) -> None:
        """Request newer numbers, LEAST_S after the ones shown, or at once."""
        self._is_stale = True
        if at_once:
            self._loaded_at = 0.0
        self._wake.set()

    async def _load(self) -> None:
        now = asyncio.get_running_loop().time
        if self._wants_anew:
            run, self._wanted_run = self._wanted_run, ""
            self._wants_anew = self._is_stale = False
            if not await self._load_list(run):
                self.load_anew(run)
                return
            self._loaded_at = now()
            self.redraw()
        await self._load_in_view()
        if not self._is_stale or self._wants_anew or self.app.screen is not self:
            return  # nothing is refreshed under another screen: on return it reloads
        if (left := self._loaded_at + self.LEAST_S - now()) > 0:
            self.set_timer(left, self._wake.set)
            return
        self._is_stale = False
        await self._refresh_list()
        self._loaded_at = now()
        self.redraw()
        await self._load_in_view()

    # --- what happens -----------------------------------------------------------------------------------

    def on_resize(self) -> None:
        self.set_class(self.size.height >= TALL, "-tall")
        self.set_class(self.size.height >= HIGH, "-high")

    @on(Table.Moved)
    def _cursor_moved(self, message: Table.Moved) -> None:
        self.moved(message.index)

    def moved(self, index: int) -> None:
        """Let the pane follow the cursor."""
        self.show_pane()

    def rest(self) -> None:
        """Let the pane follow once the cursor rests, and load what it needs."""
        place = self.place

        def rested() -> None:
            if place == self.place:
                self.show_pane()
                self._wake.set()

        self.set_timer(REST_S, rested)

    @on(Table.Scrolled)
    def _scrolled(self) -> None:
        self._wake.set()

    @on(Table.Opened)
    def _opened(self) -> None:
        self.action_open()

    # --- keys -------------------------------------------------------------------------------------------

    def action_match(self, direction: int) -> None:
        """Go to the next row, from the last to the first: a filter leaves only matching rows."""
        table = self.query_one(Table)
        if not self.listed.filter:
            host_of(self).say(NO_SEARCH)
            return
        before = table.cursor
        self.action_move(direction)
        if table.cursor == before:
            table.ends(-direction)
        if table.cursor == before:
            host_of(self).say(NO_MATCH)

    def action_filter(self) -> None:
        """Prompt for the filter, showing its rows while it is typed."""
        self.query_one(Bottom).ask_text(
            "/",
            self.listed.filter,
            changed=self.filter_by,
            done=lambda text, is_kept: self.filter_by(text if is_kept else ""),
            keep="apply",
            leave="clear the filter",
        )

    def filter_by(self, text: str) -> None:
        """List what matches."""
        self.listed.filter = text.strip()
        self.load_anew()
