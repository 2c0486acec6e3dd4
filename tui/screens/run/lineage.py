"""Where a run comes from, its data too, and what came from it: a small tree; each other run of it can be opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.text import clean_line, count
from finetop.tui.line import Line, rule
from finetop.tui.screens.run.data import branches
from finetop.tui.text import cut_middle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.protocol.messages.data_versions import SourceFacts
    from finetop.core.protocol.runs import Relative, RunDetail

_NAME = 40  # cells


def relatives(detail: RunDetail) -> list[Relative]:
    """List the runs that can be opened from the tree, in its order."""
    return [*detail.parents, *detail.children]


def lineage_lines(
    detail: RunDetail, cursor: int | None, width: int, known: Sequence[SourceFacts] = ()
) -> tuple[list[Line], int]:
    """Draw the tree: parents and data above the run, children below; nothing for a run that has none of them.

    Returns it, and in which of its rows the cursor is.
    """
    data = branches(detail, known, width, is_first=not detail.parents)
    if not detail.parents and not detail.children and not data:
        return [], 0
    parents, children = len(detail.parents), len(detail.children)
    lines: list[Line] = [rule((("comes from, and led to", ""),), width)]
    for at, parent in enumerate(detail.parents):
        lines.append(_row("┌" if not at else "├", parent, has_cursor=cursor == at, is_parent=True))
    lines += data
    name = cut_middle(clean_line(detail.row.name), _NAME)
    above = parents or data
    lines.append(((f"   {'├' if above and children else '└' if above else '┌'} ", "dim"), (name, "bold")))
    row = 0 if cursor is None else 1 + cursor + (len(data) + 1 if cursor >= parents else 0)
    for at, child in enumerate(detail.children, parents):
        branch = "└" if at == parents + children - 1 else "├"
        lines.append(_row(branch, child, has_cursor=cursor == at, is_parent=False))
    return lines, row


def _row(branch: str, one: Relative, *, has_cursor: bool, is_parent: bool) -> Line:
    gutter: Line = (("▸", "reverse"),) if has_cursor else ((" ", ""),)
    indent = "" if is_parent else "─ "
    step = "its last step" if one.step is None else f"step {count(one.step)}"
    name = cut_middle(clean_line(one.name), _NAME)
    return (
        *gutter,
        (f"  {branch} {indent}", "dim"),
        (name, "bold" if has_cursor else ""),
        (f"  {step}, as {clean_line(one.setting)}", "dim"),
    )
