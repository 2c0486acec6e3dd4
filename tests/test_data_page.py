"""docs/data.md: a section for each finding that lint has, and none that it has not."""

from __future__ import annotations

import re
from pathlib import Path

from finetop.core.lint import findings

PAGE = Path(__file__).parents[1] / "docs" / "data.md"


def test_every_finding_has_its_section() -> None:
    sections = re.findall(r"^### .* \(`([a-z-]+)`\)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(sections) == list(findings.names())
