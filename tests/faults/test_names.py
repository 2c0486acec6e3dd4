"""Fault 22: names that lead elsewhere: refused, and nothing is made outside of the home."""

import contextlib
from pathlib import Path

from finetop.core.errors import BadInput, FinetopError
from finetop.core.protocol.messages.runs import GetRun

NAMES = [
    "../x", "..", ".", "/etc", "a/b", "a\\b", "-rf", "--home", "", " ", "a b", "x\n", "x\r", "a\0b", "\x1b[2J",
    "x" * 81, "x" * 300, "\u202egpj", "é", "名", "CON", "nul.txt", "com1", "123", "~root", "$HOME", "`id`",
    "a;b", "*", "?", "a:b", ".hidden",
]  # fmt: skip


def tree_of(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*")}


def test_names_that_lead_elsewhere_are_refused_and_nothing_is_made(rig, tmp_path, survived):
    before, wrong = tree_of(tmp_path), 0
    for name in NAMES:
        try:
            rig.submit(name)
        except BadInput as error:
            wrong += "\n" in str(error) or "\x1b" in str(error)
        else:
            wrong += 1
    with contextlib.suppress(FinetopError):
        for run in NAMES:
            rig.ask(GetRun(run))
    new_files = tree_of(tmp_path) - before
    assert not {p for p in new_files if "supervisor" not in p and "duckdb" not in p}, new_files
    survived("22", "names that lead elsewhere", repeats=len(NAMES), wrong=wrong)
