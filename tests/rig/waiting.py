"""Waits of tests: for something to be so, never for a time. The limit is wide, as only a wait in vain comes to it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import TypeVar

LIMIT_S = 120.0  # what takes 1 s on a quiet machine may take 20 beside other work
TORCH_LIMIT_S = 600.0  # for a process that imports torch, which takes 10
LOOK_S, LOOKS_S = 0.02, 0.1  # between the first two looks, and between two of many

Seen = TypeVar("Seen")


def wait_until(
    is_so: Callable[[], Seen], what: str | Callable[[], str] = "", limit_s: float = LIMIT_S
) -> Seen:
    """Wait until something is so, and return what was seen. Fails at the limit, and says what never came."""
    deadline, pause = time.monotonic() + limit_s, LOOK_S
    while not (seen := is_so()):
        assert time.monotonic() < deadline, in_vain(what)
        time.sleep(pause)
        pause = min(LOOKS_S, 1.2 * pause)
    return seen


async def until(is_so: Callable[[], Seen], what: str | Callable[[], str] = "") -> Seen:
    """Wait as wait_until does, while others in this thread go on."""
    deadline = time.monotonic() + LIMIT_S
    while not (seen := is_so()):
        assert time.monotonic() < deadline, in_vain(what)
        await asyncio.sleep(LOOK_S)
    return seen


def in_vain(what: str | Callable[[], str]) -> str:
    """Name what a wait was for."""
    return f"it never came: {what if isinstance(what, str) else what()}"


def times(most: int, usually: int = 4) -> int:
    """Say how often something random that takes 10 s and more is repeated: nightly up to `most`."""
    return min(most, max(usually, int(os.environ.get("FINETOP_TEST_REPEATS", "0"))))
