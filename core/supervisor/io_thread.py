"""Runs file access in a thread: a run folder's file system may take seconds per call, or never answer."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


async def aside(work: Callable[[], Result]) -> Result:
    """Do some work in a thread of its own (0.2 ms) while others are served. Raises what it raises.

    It must not touch the store or the supervisor's state: both may change meanwhile, and so may the request itself.
    A thread that hangs blocks only its own caller, and does not keep the supervisor from ending.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def deliver(setter: Callable[[Any], None], result: object) -> None:
        if not future.cancelled():
            setter(result)

    def do() -> None:
        setter: Callable[[Any], None] = future.set_result
        result: object
        try:
            result = work()
        except BaseException as error:
            setter, result = future.set_exception, error
        with contextlib.suppress(RuntimeError):  # the supervisor has ended meanwhile
            loop.call_soon_threadsafe(deliver, setter, result)

    threading.Thread(target=do, daemon=True).start()
    return await future
