"""docs/files.md: exit codes, variables and sections of settings.yaml are those that there are."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from finetop.core import errors
from finetop.core.recipe.home_settings import Settings
from finetop.core.runtime.environment import WANTED

PAGE = (Path(__file__).parents[1] / "docs" / "files.md").read_text(encoding="utf-8")


def test_every_exit_code_has_its_row() -> None:
    codes = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and hasattr(kind, "exit_code")
    }
    rows = re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)
    assert [int(row) for row in rows] == sorted({0, *codes})


def test_every_section_of_the_settings_is_named() -> None:
    section = PAGE.partition("## settings.yaml")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", section)) | set(re.findall(r"^(\w+):", section, re.MULTILINE))
    assert {field.name for field in msgspec.structs.fields(Settings)} <= named


def test_every_variable_that_is_refused_is_named() -> None:
    section = PAGE.partition("## Variables")[2]
    assert set(WANTED) <= set(re.findall(r"`(\w+)`", section))
