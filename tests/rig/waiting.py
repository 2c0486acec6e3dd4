"""Waits of tests: for a condition, never for a time. The limit is generous, because only a failing wait reaches it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import TypeVar

LIMIT_S = 120.0  # what takes 1 s on an idle machine may take 20 under load
TORCH_LIMIT_S = 600.0  # for a process that imports torch, which takes 10
LOOK_S, LOOKS_S = 0.02, 0.1  # between the first two tests of a condition, and between later ones

Seen = TypeVar("Seen")


def wait_until(
    is_so: Callable[[], Seen], what: str | Callable[[], str] = "", limit_s: float = LIMIT_S
) -> Seen:
    """Wait until a condition is true, and return its value. Fails at the limit, naming what never came."""
    deadline, pause = time.monotonic() + limit_s, LOOK_S
    while not (seen := is_so()):
        assert time.monotonic() < deadline, in_vain(what)
        time.sleep(pause)  # between two looks
        pause = min(LOOKS_S, 1.2 * pause)
    return seen


async def until(is_so: Callable[[], Seen], what: str | Callable[[], str] = "") -> Seen:
    """Wait as wait_until does, while other tasks of this thread continue."""
    deadline = time.monotonic() + LIMIT_S
    while not (seen := is_so()):
        assert time.monotonic() < deadline, in_vain(what)
        await asyncio.sleep(LOOK_S)
    return seen


def in_vain(what: str | Callable[[], str]) -> str:
    """Return what a wait was for."""
    return f"it never came: {what if isinstance(what, str) else what()}"


def times(most: int, usually: int = 4) -> int:
    """Return how often to repeat something random that takes 10 s or more: nightly up to `most`."""
    return min(most, max(usually, int(os.environ.get("FINETOP_TEST_REPEATS", "0"))))
