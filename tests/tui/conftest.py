"""Fixtures of the app's tests: clocks in pictures are in UTC."""

from __future__ import annotations

import time

import pytest


@pytest.fixture(autouse=True)
def clocks_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
