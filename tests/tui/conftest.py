"""Shared by the app's tests: the fake supervisor module (tui_fakes), and clocks in UTC."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import CodeType
from typing import Any

import pytest
import textual._callback
import textual.app
import textual.pilot
from at_rest import at_rest
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet
from tui_fakes import settled, typed


async def wait_for_idle(*_: float) -> None:
    """Return once a key has been handled and the screen drawn."""
    await at_rest(hops=0, but_threads=True)


# Textual's own version waits until the process uses little CPU, which also holds for a process that is starved.
for module in (textual.app, textual.pilot):
    module.wait_for_idle = wait_for_idle  # type: ignore[attr-defined]


parsed: dict[tuple[Any, ...], list[RuleSet]] = {}
parse_rules = Stylesheet._parse_rules


def parse_once(self: Stylesheet, *source: Any, **more: Any) -> list[RuleSet]:
    """Parse each style sheet once for all tests; parsing per app took a fifth of these tests' CPU time."""
    key = (source, tuple(more.items()), frozenset(self._variables.items()))
    if key not in parsed:
        parsed[key] = parse_rules(self, *source, **more)
    return parsed[key]


Stylesheet._parse_rules = parse_once  # type: ignore[method-assign]


counts: dict[CodeType, int] = {}
count_parameters = textual._callback._count_parameters


def count_once(callback: Callable[..., Any]) -> int:
    """Count the parameters of each closure once: the pilot makes one for each widget at each key."""
    code = getattr(callback, "__code__", None)
    if code is None or hasattr(callback, "__wrapped__"):
        return count_parameters(callback)
    if code not in counts:
        counts[code] = count_parameters(callback)
    return counts[code]


textual._callback._count_parameters = count_once


@pytest.fixture
def pictured(snap_compare: Callable[..., bool]) -> Callable[..., bool]:
    """Compares an app's screen with its snapshot, in a size and after keys."""

    def pictured(app: Any, size: tuple[int, int], *keys: str) -> bool:
        async def press(pilot: Any) -> None:
            await settled(pilot)
            await typed(pilot, *keys, within_s=0.2)

        return snap_compare(app, terminal_size=size, run_before=press)

    return pictured


@pytest.fixture(autouse=True)
def clocks_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.fixture(autouse=True)
def soon_or_never(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten every pause and rest, because tests wait for them hundreds of times.

    No process reads a form's data, however long a test takes.
    """
    monkeypatch.setattr("finetop.tui.widgets.list_screen.REST_S", 0.02)
    monkeypatch.setattr("finetop.tui.screens.run.screen.FOLLOW_S", 0.02)
    monkeypatch.setattr("finetop.tui.screens.chat.session.PACE_S", 0.02)
    monkeypatch.setattr("finetop.tui.screens.chat.session.AGAIN_S", 0.02)
    monkeypatch.setattr("finetop.tui.screens.launch.plan_preview.PAUSE_S", 0.02)
    monkeypatch.setattr("finetop.tui.screens.launch.lint.PAUSE_S", 3600.0)
    for screen in ("runs", "triage", "remedies", "queue"):
        monkeypatch.setattr(f"finetop.tui.screens.{screen}.screen.{screen.capitalize()}Screen.LEAST_S", 0.02)
