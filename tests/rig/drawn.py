"""A few of many cases that are alike, drawn by the day's date: `make nightly` runs them all."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import pytest
from waiting import times

Case = TypeVar("Case")
EACH = times(20) == 20  # by night, when nothing is left out


def drawn(
    cases: Iterable[Any], most: int, *, always: Sequence[Any] = (), marks: Sequence[pytest.MarkDecorator] = ()
) -> list[Any]:
    """Return all cases as pytest's parameters: `always` and `most` others with these marks, the rest for the night."""
    cases = list(cases)
    others = [case for case in cases if case not in always]
    chosen = random.Random(f"{today()} {len(others)}").sample(others, min(most, len(others)))
    return [
        param(case, marks if case in always or case in chosen else [*marks, pytest.mark.nightly])
        for case in cases
    ]


def few(cases: Iterable[Case], most: int) -> list[Case]:
    """Return `most` of the cases, in their order; by night all. For a test that goes through several."""
    cases = list(cases)
    kept = (
        range(len(cases))
        if EACH or most >= len(cases)
        else random.Random(today()).sample(range(len(cases)), most)
    )
    return [cases[at] for at in sorted(kept)]


def param(case: Any, marks: Sequence[pytest.MarkDecorator]) -> Any:
    return pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=marks)


def today() -> str:
    """Return the date that a test run began on (tests/conftest.py sets it, so that its workers draw the same)."""
    return os.environ.get("FINETOP_TEST_DAY") or time.strftime("%F")
