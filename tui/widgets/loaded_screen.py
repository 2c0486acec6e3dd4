"""The loop of a screen that asks for what it shows; what changes while it asks is asked for once.

LoadedScreen is such a screen that shows one thing as a whole.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.css.query import NoMatches
from textual.screen import Screen

from finetop.core.errors import FinetopError, NoSupervisor
from finetop.core.text import clean_line
from finetop.tui.app_interface import host_of
from finetop.tui.messages import StoreChanged
from finetop.tui.widgets.lines import Lines

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from textual.dom import DOMNode


async def load_for_ever(
    screen: DOMNode,
    wake: asyncio.Event,
    load: Callable[[], Awaitable[None]],
    tell: Callable[[str], None],
    redraw: Callable[[], None],
    least_s: float = 0.0,
) -> None:
    """Load whenever somebody wakes it, then draw, until the screen is taken down; `least_s` lie between two loads.

    `tell` hears what went wrong, cleaned, and "" when all went well.
    """
    while True:
        await wake.wait()
        wake.clear()
        try:
            await load()
            tell("")
        except NoSupervisor:
            continue  # the app says so on its own row, and a StoreChanged comes when it is back
        except FinetopError as error:
            tell(clean_line(str(error)))
        except NoMatches:
            return  # an answer came while the screen is taken down
        if screen.is_attached and screen.children:
            redraw()
        await asyncio.sleep(least_s)


class LoadedScreen(Screen[None], inherit_bindings=False):
    """Asks for what it shows when it opens, when it is come back to, and whenever the store has changed."""

    LEAST_S: ClassVar = 0.0  # between two questions, however much changes

    def __init__(self) -> None:
        super().__init__()
        self._trouble = ""  # what went wrong with the last question
        self._wake = asyncio.Event()

    @property
    def has_shown(self) -> bool:
        """Whether something was loaded and stands there."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Write everything again from what is held."""
        raise NotImplementedError

    async def _load(self) -> None:
        """Ask for what is shown. Raises FinetopError."""
        raise NotImplementedError

    def on_mount(self) -> None:
        self.redraw()
        self._wake.set()
        self._load_for_ever()

    def on_screen_resume(self) -> None:
        self._wake.set()

    @on(StoreChanged)
    def _store_changed(self) -> None:
        self._wake.set()

    @on(Lines.Resized)
    def _resized(self) -> None:
        if self.has_shown:
            self.redraw()

    @work
    async def _load_for_ever(self) -> None:
        await load_for_ever(self, self._wake, self._load, self._tell, self.redraw, self.LEAST_S)

    def _tell(self, trouble: str) -> None:
        """Hear what went wrong with what was asked for; once something is shown, it is said below it."""
        self._trouble = trouble
        if trouble and self.has_shown:
            host_of(self).say(trouble, "red")
