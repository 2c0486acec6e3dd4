"""docs/commands.md names every command once; docs/remote.md, which of them work only where they are started."""

from __future__ import annotations

import re
from pathlib import Path

from finetop.core.commands import Command
from finetop.core.commands.main import load, verbs

DOCS = Path(__file__).parents[1] / "docs"


def test_every_command_has_a_row_and_no_other() -> None:
    rows = re.findall(r"^\| [a-z ]*\| `finetop ([a-z]+)", (DOCS / "commands.md").read_text(), re.MULTILINE)
    assert sorted(rows) == verbs()
    assert all(isinstance(load(verb), Command) for verb in verbs())


def test_those_that_can_not_go_elsewhere_are_named() -> None:
    page = (DOCS / "remote.md").read_text(encoding="utf-8")
    here = re.search(r"These work where they are started: (.*?)\. ", page, re.DOTALL)
    several = re.search(r"\. ([^.]*?) take several machines", page, re.DOTALL)
    commands = {verb: load(verb) for verb in verbs()}
    assert here and several
    assert set(re.findall(r"`(\w+)`", here[1])) == {
        verb for verb, command in commands.items() if not command.is_remote
    }
    assert set(re.findall(r"`(\w+)`", several[1])) == {
        verb for verb, command in commands.items() if command.run_several
    }
