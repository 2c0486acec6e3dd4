"""Does in a thread what touches run folders: their file system may take seconds for a call, or never answer."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Made = TypeVar("Made")


async def aside(work: Callable[[], Made]) -> Made:
    """Do some work in a thread of its own (0.2 ms), while others are answered. Raises what it raises.

    It must not touch the store or what the supervisor holds: these may change meanwhile, and so may what it was asked
    for. A thread that hangs keeps nobody waiting who does not ask for it, and no supervisor from ending.
    """
    loop = asyncio.get_running_loop()
    made: asyncio.Future[Made] = loop.create_future()

    def tell(how: Callable[[Any], None], what: object) -> None:
        if not made.cancelled():
            how(what)

    def do() -> None:
        how: Callable[[Any], None] = made.set_result
        what: object
        try:
            what = work()
        except BaseException as error:
            how, what = made.set_exception, error
        with contextlib.suppress(RuntimeError):  # the supervisor has ended meanwhile
            loop.call_soon_threadsafe(tell, how, what)

    threading.Thread(target=do, daemon=True).start()
    return await made
