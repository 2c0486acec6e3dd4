"""The order of keys: what is typed, pasted and clicked is processed in turn, on the screen that the last one opened."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any, Final

from textual import events, work
from textual.app import App, ScreenStackError
from textual.dom import DOMNode
from textual.worker import Worker, WorkerError

WAY: Final = "way"  # the group of workers that open another place: later keys wait for them
MADE_S = 30.0  # limit for a screen to mount, or a key to be processed; it takes 30 ms


class OrderedKeysApp(App[str], inherit_bindings=False):
    """An app that passes each key on once all earlier ones are processed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._typed: asyncio.Queue[events.Event] = asyncio.Queue()

    def on_mount(self) -> None:
        self._obey()

    async def on_event(self, event: events.Event) -> None:
        """Queue what is typed, pasted and clicked after earlier events."""
        if isinstance(event, events.InputEvent | events.Paste) and not event.is_forwarded:
            self._typed.put_nowait(event)
        else:
            await super().on_event(event)

    @work
    async def _obey(self) -> None:
        """Pass each event on to the current screen once all earlier ones are processed."""
        while True:
            event = await self._typed.get()
            with contextlib.suppress(TimeoutError, ScreenStackError):
                await asyncio.wait_for(self.screen._mounted_event.wait(), MADE_S)  # noqa: SLF001  # no public name
            if not self._screen_stacks[self.current_mode]:
                return  # the app is exiting
            hearers = [*(self.focused or self.screen).ancestors_with_self]
            event._sender = None  # noqa: SLF001  # what the app sent Textual stops before the app, though nobody has taken it
            await super().on_event(event)
            if not isinstance(event, events.MouseMove):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(obeyed(self, event, hearers), MADE_S)


async def obeyed(app: App[Any], typed: events.Event, hearers: Iterable[DOMNode]) -> None:
    """Wait until all hearers have processed an event, up to one that stops it, and the app is where it leads."""
    for hearer in hearers:
        heard = asyncio.Event()
        if hearer.call_later(heard.set):  # it is queued after the key; closed hearers return False
            await heard.wait()
        if typed._stop_propagation:  # noqa: SLF001  # no public name
            break  # a prompt's letters do not wait for a busy screen
    ways = [worker for worker in app.workers if worker.group == WAY and not worker.is_finished]
    if ways:  # abandoning the wait ends none of them
        await asyncio.wait([asyncio.ensure_future(_end_of(way)) for way in ways])


async def _end_of(way: Worker[Any]) -> None:
    with contextlib.suppress(WorkerError):
        await way.wait()
