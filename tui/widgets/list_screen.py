"""A screen of one table: its cursor, its filter, the pane that follows, rows that are asked for as they are seen."""

from __future__ import annotations

import asyncio
from typing import ClassVar, Protocol

from textual import on

from finetop.tui.app_interface import host_of
from finetop.tui.keys import NO_MATCH, NO_SEARCH
from finetop.tui.widgets.frame import Bottom
from finetop.tui.widgets.loaded_screen import LoadedScreen
from finetop.tui.widgets.table import Table

REST_S = 0.1  # a pane whose content is asked for follows when the cursor rests so long
TALL = 34  # rows of the terminal


class Filtered(Protocol):
    """What is listed, as far as its filter goes."""

    filter: str


class ListScreen(LoadedScreen, inherit_bindings=False):
    """Asks for its list anew when it opens or is come back to; newer numbers change rows in their places."""

    LEAST_S: ClassVar = 0.0  # between two refreshes that no key asked for
    listed: Filtered  # by the lists that have a filter

    def __init__(self) -> None:
        super().__init__()
        self._wants_anew, self._is_stale = True, False
        self._wanted_run = ""
        self._loaded_at = 0.0

    # --- what each list has of its own ------------------------------------------------------------------

    @property
    def has_shown(self) -> bool:
        return True  # where nothing is listed yet, the screen says that it asks

    @property
    def place(self) -> object:
        """What the cursor is on."""
        return self.query_one(Table).cursor

    def show_pane(self) -> None:
        """Write what follows the cursor: the pane, the next step and the footer."""
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
        """Load what is missing of the rows in view, and of the pane."""

    # --- loading ----------------------------------------------------------------------------------------

    def load_anew(self, run: str = "") -> None:
        """Ask for the list from its start, with the cursor on that run (else where it was)."""
        self._wants_anew, self._wanted_run = True, run
        self._wake.set()

    def resume(self) -> None:
        """Ask anew: coming back from another screen is a moment at which the order may change."""
        self.load_anew(self._wanted_run)

    def refresh_soon(self, *, at_once: bool = False) -> None:
        """Ask for newer numbers, LEAST_S after the ones that are shown, or at once."""
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
            return  # under another screen nothing is refreshed: coming back it loads anew
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

    @on(Table.Moved)
    def _cursor_moved(self, message: Table.Moved) -> None:
        self.moved(message.index)

    def moved(self, index: int) -> None:
        """Let the pane follow the cursor."""
        self.show_pane()

    def rest(self) -> None:
        """Let the pane follow once the cursor rests, and ask for what it needs."""
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
        """Go to the next row: a filter leaves only those that match."""
        table = self.query_one(Table)
        if not self.listed.filter:
            host_of(self).say(NO_SEARCH)
            return
        before = table.cursor
        self.action_move(direction)
        if table.cursor == before:
            host_of(self).say(NO_MATCH)

    def action_filter(self) -> None:
        """Let the filter be typed, with its rows behind it."""
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

    def action_back(self) -> None:
        self.dismiss()
