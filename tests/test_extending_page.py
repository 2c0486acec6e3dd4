"""docs/extending.md: the folders that it names are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_folder_is_there() -> None:
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    folders = re.findall(r"^\| [^|]* \| `([\w/]+)`", page, re.MULTILINE)
    assert len(folders) > 10
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []
