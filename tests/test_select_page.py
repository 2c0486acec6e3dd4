"""docs/select.md: a row for every selector, and for nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from finetop.core import select

PAGE = (Path(__file__).parents[1] / "docs" / "select.md").read_text(encoding="utf-8")


def test_every_selector_has_its_row() -> None:
    table = PAGE.partition("| selector |")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == sorted(select.names())
