"""When an app under test is at rest: nothing of it can run, no thread works for it, no timer of it comes due soon."""

from __future__ import annotations

import asyncio
from typing import Any

SOON_S = 0.05  # a cursor rests for 0.02, changes are heard of after 0.01: one may follow the other,
HOPS = 8  # so often: an app without its supervisor looks for it every 0.01 s for ever
TURNS = 3  # in which nothing was ready: what a thread or a socket has for the loop is ready in the next


async def at_rest(within_s: float = 0.0, *, hops: int = HOPS, but_threads: bool = False) -> None:
    """Wait until nothing is left to do, timers within so many seconds and up to `hops` soon after one another included.

    asyncio has no public way to ask a loop what it waits for. Time alone says nothing: of a process that is starved
    by others nothing happens for long, and all of it is still to come.
    """
    loop: Any = asyncio.get_running_loop()
    horizon, turns = loop.time() + within_s, 0
    while turns < TURNS:
        await asyncio.sleep(0)
        turns += 1
        if loop._ready:
            turns = 0
        elif not (but_threads or _threads_rest(loop)):
            turns = 0
            await asyncio.sleep(0.002)
        elif (due := _next_timer(loop)) <= horizon or (hops and due <= loop.time() + SOON_S):
            turns, hops = 0, hops - (due > horizon)
            await asyncio.sleep(due - loop.time())


def _next_timer(loop: Any) -> float:
    """When the loop's next timer is due, by its clock; infinity without one."""
    return min((timer.when() for timer in loop._scheduled if not timer.cancelled()), default=float("inf"))


def _threads_rest(loop: Any) -> bool:
    """Whether no thread of the loop (asyncio.to_thread) has anything to do."""
    pool = loop._default_executor
    return pool is None or (pool._work_queue.empty() and pool._idle_semaphore._value >= len(pool._threads))
