"""docs/approaches.md: a row for every approach and for nothing else, and its recipe can be read."""

from __future__ import annotations

import re
from pathlib import Path

from finetop.core import approaches
from finetop.core.recipe.load import resolve_text

PAGE = (Path(__file__).parents[1] / "docs" / "approaches.md").read_text(encoding="utf-8")


def test_every_approach_has_its_row() -> None:
    table = PAGE.partition("| approach | what is done |")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == sorted(approaches.names())


def test_its_recipe_can_be_read() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert resolve_text(block).recipe.approaches.update is not None
