"""The live connection: waits for changes of the store, says so at its pace, and connects again by itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from finetop.core import protocol
from finetop.core.errors import FinetopError, NoSupervisor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from finetop.tui.host import Asker

# Between two pictures. With a beat of the supervisor before it, what happened is seen within a second; over a link of
# our own each costs two questions and answers, whatever is in them.
PACE_S, FAR_PACE_S = 0.4, 2.0
AGAIN_S = 0.6  # between two attempts to connect
NEVER = -1


class Listener(Protocol):
    """Who hears of the connection."""

    def connected(self, hello: protocol.HelloAnswer) -> None: ...

    def changed(self, answer: protocol.ChangesAnswer) -> None: ...

    def lost(self) -> None: ...

    def refused(self, error: FinetopError) -> None: ...


async def follow(
    asker: Asker,
    listener: Listener,
    start: Callable[[], None],
    pace_s: float = PACE_S,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Follow the store for ever. Where no supervisor runs at first, `start` is called once, in a thread."""
    revision, trouble = NEVER, ""
    is_connected, was_started = False, False
    while True:
        try:
            if not is_connected:
                hello = await asker.ask(protocol.Hello())
                is_connected, revision = True, NEVER
                listener.connected(hello)
            answer = await asker.ask(protocol.Changes(since=revision))
        except NoSupervisor:
            if not was_started:
                was_started = True
                await _start(start, listener)
                continue
            is_connected = False
            listener.lost()
        except FinetopError as error:
            listener.refused(error)
        else:
            was_started = True
            if (answer.revision, answer.trouble) != (revision, trouble):
                revision, trouble = answer.revision, answer.trouble
                listener.changed(answer)
        await pause(pace_s if is_connected else min(pace_s, AGAIN_S))


async def _start(start: Callable[[], None], listener: Listener) -> None:
    try:
        await asyncio.to_thread(start)
    except FinetopError as error:
        listener.refused(error)
