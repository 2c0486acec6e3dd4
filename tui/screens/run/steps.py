"""The steps tab of the Run screen: its checkpoints, and what a check said of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.text import clean_line, count
from finetop.core.wording.durations import clock
from finetop.core.wording.units import size_word
from finetop.tui.line import Line
from finetop.tui.screens.shared.run_status import verdict_words

if TYPE_CHECKING:
    from finetop.core.protocol.runs import CheckpointRow, RunDetail


def newest_first(detail: RunDetail) -> list[CheckpointRow]:
    """Order the checkpoints as the tab shows them."""
    return sorted(detail.checkpoints, key=lambda checkpoint: -checkpoint.step)


def step_lines(detail: RunDetail, cursor: int) -> list[Line]:
    """Write the whole tab; the first line is the titles."""
    if not detail.checkpoints:
        return [(), (("   No checkpoint yet. S stops the run after it has saved one.", "dim"),)]
    checks = {check.step: check for check in reversed(detail.checks)}
    lines: list[Line] = [((f"   {'step':>9}  {'kind':<8} {'size':>9}  {'saved':<6} did it forget?", "dim"),)]
    for at, checkpoint in enumerate(newest_first(detail)):
        check = checks.get(checkpoint.step)
        said: Line = (("not checked", "dim"),) if check is None else verdict_words(check)
        facts = f" {clean_line(checkpoint.kind):<8} {size_word(checkpoint.size_bytes):>9}  {clock(checkpoint.at):<6} "
        has_cursor = at == cursor
        gutter: Line = (("▸", "reverse"),) if has_cursor else ((" ", ""),)
        step: Line = ((f"  {count(checkpoint.step):>9} ", "bold" if has_cursor else ""),)
        is_best = detail.best is not None and detail.best.step == checkpoint.step
        kept: Line = ((", kept as the best", "bold"),) if is_best else ()
        lines.append((*gutter, *step, (facts, ""), *said, *kept))
    return lines
