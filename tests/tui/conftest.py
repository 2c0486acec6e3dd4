"""What the app's tests share: the fake supervisor as a module (tui_fakes), and clocks in UTC."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from textual import _wait

sys.path.insert(0, str(Path(__file__).parent))

# After each key a pilot sleeps until the app has been idle for 20 ms, twice: two thirds of what these tests took.
_wait.SLEEP_GRANULARITY, _wait.SLEEP_IDLE = 0.005, 0.0005


@pytest.fixture(autouse=True)
def clocks_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.fixture(autouse=True)
def cursors_rest_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pane follows the cursor when that rests: for a test, which waits for it hundreds of times, after less."""
    monkeypatch.setattr("finetop.tui.widgets.list_screen.REST_S", 0.02)
