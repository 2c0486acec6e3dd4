"""docs/faults.md: every test of a fault is named, and none that is not there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "faults.md").read_text(encoding="utf-8")


def test_every_fault_is_named() -> None:
    there = {file.name for file in (TESTS / "faults").glob("test_*.py")}
    assert set(re.findall(r"`(test_\w+\.py)`", PAGE)) == there
