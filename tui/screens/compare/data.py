"""The data tab of the Compare screen: how the data of the chosen run differ from the first's, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.text import clean_line
from finetop.core.wording import data_versions
from finetop.tui.line import Line, rule
from finetop.tui.screens.compare.state import LETTERS, against
from finetop.tui.text import cut_middle
from finetop.tui.widgets.wrap import wrapped

if TYPE_CHECKING:
    from finetop.tui.screens.compare.state import Held
    from finetop.tui.theme import StyleName

_NAME = 30  # cells of a run's name
_EXAMPLE_ROWS = 3


def data_lines(held: Held, chosen: int, width: int) -> list[Line]:
    """Write what two runs share, source by source, with examples of rows that only one of them has."""
    at, other = against(held.runs, chosen)
    one, two = held.runs[at], held.runs[other]
    names = [f"{LETTERS[n]} {cut_middle(clean_line(held.runs[n].row.name), _NAME)}" for n in (at, other)]
    lines: list[Line] = [rule(((f"data of {names[0]}, and of {names[1]}", ""),), width)]
    for run, name in ((one, names[0]), (two, names[1])):
        if not run.sources:
            lines += _rows(f"{name}: {data_versions.unknown_rows(run.recipe)}", width, "", "dim")
    if not (one.sources and two.sources):
        return lines
    if data_versions.same_data([one.sources, two.sources]):
        return [*lines, *_rows(data_versions.same_line(one.sources), width)]
    found = held.data.get((one.row.name, two.row.name))
    if found is None:
        return [*lines, (("   comparing their rows …", "dim"),)]
    for kind, text in data_versions.differ_lines(
        found, LETTERS[at], LETTERS[other], {run.row.name: run.recipe for run in held.runs}
    ):
        if kind in ("-", "+"):
            lines += _rows(
                text, width, f"{LETTERS[at] if kind == '-' else LETTERS[other]} ", "", _EXAMPLE_ROWS
            )
        else:
            lines += _rows(text, width, "  " if kind else "", "dim" if kind else "bold")
    return lines


def _rows(
    text: str, width: int, mark: str = "", style: StyleName = "", rows: int | None = None
) -> list[Line]:
    indent = f"   {mark}" if mark.strip() else f" {mark}"
    blank = " " * len(indent)
    return [
        (
            (blank if at else indent, "dim"),
            (row, "bold" if style == "bold" else "dim" if style == "dim" else ""),
        )
        for at, row in enumerate(wrapped(text, width - len(indent) - 1, rows))
    ]
