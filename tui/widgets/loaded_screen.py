"""A screen that loads what it shows; several changes during one load cause one more load."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import wraps
from typing import Any

from textual import on, work
from textual.css.query import NoMatches

from finetop.core.errors import FinetopError, NoSupervisor
from finetop.core.text import clean_line
from finetop.tui.app_interface import host_of
from finetop.tui.messages import StoreChanged
from finetop.tui.widgets.app_screen import AppScreen
from finetop.tui.widgets.frame import Bottom
from finetop.tui.widgets.lines import Lines


def _while_it_stands(redraw: Callable[[Any], None]) -> Callable[[Any], None]:
    """Skip drawing a screen that is being closed: an answer, or a new size, may still arrive then."""

    @wraps(redraw)
    def draw(screen: LoadedScreen) -> None:
        screen.is_redraw_due = False
        if any(isinstance(part, Bottom) for part in screen.children):
            redraw(screen)

    return draw


class LoadedScreen(AppScreen[None], inherit_bindings=False):
    """Loads what it shows when it opens, when it is returned to, and whenever the store has changed."""

    def __init__(self) -> None:
        super().__init__()
        self._trouble = ""  # the error of the last request
        self._wake = asyncio.Event()
        self.is_redraw_due = False

    @property
    def has_shown(self) -> bool:
        """Return whether something was loaded and is shown."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw everything again from the data held."""
        raise NotImplementedError

    def redraw_soon(self) -> None:
        """Draw once what is waiting has been handled; any drawing before then replaces it."""
        if not self.is_redraw_due:
            self.is_redraw_due = True
            self.call_later(self._redraw_due)

    def _redraw_due(self) -> None:
        if self.is_redraw_due:
            self.redraw()

    async def _load(self) -> None:
        """Load what is shown, and draw it. Raises FinetopError."""
        raise NotImplementedError

    def __init_subclass__(cls, **options: Any) -> None:
        """Make every screen's redraw safe while it is being closed."""
        super().__init_subclass__(**options)
        if "redraw" in vars(cls):
            cls.redraw = _while_it_stands(cls.redraw)  # type: ignore[method-assign, assignment]

    def on_mount(self) -> None:
        self.redraw()
        self._wake.set()
        self._load_for_ever()

    def on_screen_resume(self) -> None:
        self.resume()

    def on_resize(self) -> None:
        self.call_after_refresh(self.redraw_soon)
        self._wake.set()

    def resume(self) -> None:
        """Update when the screen is returned to."""
        self._wake.set()

    def look_anew(self) -> None:
        """Show what a key has changed at once, and load what it needs."""
        self.redraw()
        self._wake.set()

    @on(StoreChanged)
    def _store_changed(self) -> None:
        self.refresh_soon()

    def refresh_soon(self) -> None:
        """Load again, because the store has changed."""
        self._wake.set()

    @on(Lines.Resized)
    def _resized(self) -> None:
        if self.has_shown:
            self.redraw_soon()

    @work
    async def _load_for_ever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._load()
                self._trouble = ""
            except NoSupervisor:
                continue  # the app reports it on its own row, and a StoreChanged comes when it is back
            except FinetopError as error:
                self._trouble = clean_line(str(error))
                if self.has_shown:
                    host_of(self).say(self._trouble, "red")
                else:
                    self.redraw()
            except NoMatches:
                return  # an answer came while the screen was closing
