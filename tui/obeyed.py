"""When a key has been obeyed, so that the next goes to the screen that it is for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any, Final

from textual.app import App
from textual.dom import DOMNode
from textual.events import Event
from textual.worker import Worker, WorkerError

WAY: Final = "way"  # the group of workers that lead to another place: what is typed behind it is for there


async def obeyed(app: App[Any], typed: Event, hearers: Iterable[DOMNode]) -> None:
    """Wait until all have heard what was typed, up to the one that stops it, and the app is where it leads."""
    for hearer in hearers:
        heard = asyncio.Event()
        if hearer.call_later(heard.set):  # it comes behind the key; who is closed hears no more
            await heard.wait()
        if typed._stop_propagation:
            break  # a prompt's letters wait for no busy screen
    ways = [worker for worker in app.workers if worker.group == WAY and not worker.is_finished]
    if ways:  # a wait that is given up ends none of them
        await asyncio.wait([asyncio.ensure_future(_end_of(way)) for way in ways])


async def _end_of(way: Worker[Any]) -> None:
    with contextlib.suppress(WorkerError):
        await way.wait()
