"""A day of the supervisor: 500 runs that end well and badly, twelve supervisors, two apps; nothing grows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

SOAK = Path(__file__).parents[1] / "rig" / "soak.py"


def day(home: Path, *words: str) -> tuple[list[dict[str, float]], dict[str, object]]:
    """Live through a day, and return its hours and the outcome."""
    done = subprocess.run(
        [sys.executable, str(SOAK), str(home), *words],
        capture_output=True,
        text=True,
        env={**os.environ, "FINETOP_SPARE": "0"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    *hours, last = (json.loads(line) for line in done.stdout.splitlines())
    return hours, last


def is_kept(last: dict[str, object]) -> bool:
    return last["written"] == last["stored"]


def test_an_hour(tmp_path: Path, survived: Callable[..., None]) -> None:
    hours, last = day(tmp_path / "home", "--hours", "1", "--runs", "8")
    assert len(hours) == 1
    assert is_kept(last), last
    survived("soak", "an hour of 8 runs", written=last["written"]["steps"])  # type: ignore[index]


@pytest.mark.nightly
def test_a_day_leaves_memory_handles_and_answers_as_they_were(
    tmp_path: Path, survived: Callable[..., None]
) -> None:
    hours, last = day(tmp_path / "home")
    early, late = hours[2:8], hours[-6:]
    for name, most in (("rss_mib", 1.25), ("handles", 1.0), ("threads", 1.2), ("answer_ms", 2.0)):
        before, after = (median(hour[name] for hour in part) for part in (early, late))
        assert after <= before * most, (name, before, after)
    states = dict(last["states"])  # type: ignore[call-overload]
    assert not states.keys() & {"queued", "running"}, states
    assert is_kept(last), last
    survived("soak", "a day of 500 runs, 12 supervisors", written=last["written"]["steps"])  # type: ignore[index]
