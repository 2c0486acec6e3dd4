"""Runs file access in a thread: a run folder's file system may take seconds per call, or never answer."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Made = TypeVar("Made")


async def aside(work: Callable[[], Made]) -> Made:
    """Do some work in a thread of its own (0.2 ms) while others are served. Raises what it raises.

    It must not touch the store or the supervisor's state: both may change meanwhile, and so may the request itself.
    A thread that hangs blocks only its own caller, and does not keep the supervisor from ending.
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
