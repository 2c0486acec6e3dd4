"""The files that were exported of the run: base, tuned model and exported file on the same items."""

from __future__ import annotations

from finetop.core.report import Block, Points, Table
from finetop.core.report.load import RunFacts
from finetop.core.wording import exports

TITLE = "Exports"


def blocks(facts: RunFacts) -> tuple[Block, ...]:
    files = facts.detail.exports
    if not files:
        return ()
    rows = tuple((f"{file.step:,}", *exports.cells(file)) for file in files)
    right = (0, *(column + 1 for column in exports.RIGHT))
    lines = tuple(f"{exports.line(file)}: {exports.beside(file)}" for file in files)
    return (Table(("step", *exports.HEAD), rows, right=right), Points(lines))
