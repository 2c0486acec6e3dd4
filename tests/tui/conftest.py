"""What the app's tests share: the fake supervisor as a module (tui_fakes), and clocks in UTC."""

from __future__ import annotations

import time
from typing import Any

import pytest
import textual.app
import textual.pilot
from at_rest import at_rest
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet


async def wait_for_idle(*_: float) -> None:
    """After each key: until it was obeyed, and the screen drawn."""
    await at_rest(hops=0, but_threads=True)


# Textual's own sleeps until the process has used little of the processor: so has one that is starved by others.
for module in (textual.app, textual.pilot):
    module.wait_for_idle = wait_for_idle  # type: ignore[attr-defined]


parsed: dict[tuple[Any, ...], list[RuleSet]] = {}
parse_rules = Stylesheet._parse_rules


def parse_once(self: Stylesheet, *source: Any, **more: Any) -> list[RuleSet]:
    """Read each style sheet once in all tests: every app read them all anew, a fifth of these tests' CPU time."""
    key = (source, tuple(more.items()), frozenset(self._variables.items()))
    if key not in parsed:
        parsed[key] = parse_rules(self, *source, **more)
    return parsed[key]


Stylesheet._parse_rules = parse_once  # type: ignore[method-assign]


@pytest.fixture(autouse=True)
def clocks_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.fixture(autouse=True)
def soon_or_never(monkeypatch: pytest.MonkeyPatch) -> None:
    """What rests, pauses or waits for its turn does so for less: tests wait for it hundreds of times.

    No process looks at a form's data, however long a test takes.
    """
    monkeypatch.setattr("finetop.tui.widgets.list_screen.REST_S", 0.02)
    monkeypatch.setattr("finetop.tui.screens.run.screen.FOLLOW_S", 0.02)
    monkeypatch.setattr("finetop.tui.screens.launch.plan_preview.PAUSE_S", 0.02)
    monkeypatch.setattr("finetop.tui.screens.launch.lint.PAUSE_S", 3600.0)
    for screen in ("runs", "triage", "remedies", "queue"):
        monkeypatch.setattr(f"finetop.tui.screens.{screen}.screen.{screen.capitalize()}Screen.LEAST_S", 0.02)
