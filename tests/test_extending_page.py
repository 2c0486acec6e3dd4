"""docs/extending.md: the folders that it names are there, and its example is a plug-in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from finetop.core.train.rewards import RewardRule

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")


def test_every_folder_is_there() -> None:
    folders = re.findall(r"^\| [^|]* \| `([\w/]+)`", PAGE, re.MULTILINE)
    assert len(folders) > 10
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []


def test_the_example_is_a_plugin() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    made: dict[str, Any] = {}
    exec(code, made)
    polite = made["PLUGIN"]
    assert isinstance(polite, RewardRule) and polite.takes == "nothing" and not polite.needs_answer
    assert polite.score("Please sit.", None, None) == 1
