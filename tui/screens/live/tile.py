"""Draws a run that trains, or a job beside one, as a tile, and tiles beside and below each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from finetop.core.protocol.messages.queue import LiveRow
from finetop.core.protocol.runs import Running, RunRow
from finetop.core.text import clean_line, count
from finetop.core.wording import jobs
from finetop.core.wording.durations import long_span
from finetop.tui.screens.shared.run_status import forgot, mark_of
from finetop.tui.text import Line, cut_line, cut_middle, leaf, line_width, rule, value
from finetop.tui.theme import MARKS
from finetop.tui.widgets.bar import share_bar

LEAST, BETWEEN = 38, 1  # cells of a tile, and beside it
ROWS = 5  # of a tile, with the blank one below
SPARK = 16  # columns of its curve


def across(width: int) -> int:
    """Count the tiles that fit beside each other."""
    return max(1, (width + BETWEEN) // (LEAST + BETWEEN))


def tile_lines(row: RunRow, spark: str, *, width: int, now: float, has_cursor: bool) -> list[Line]:
    """Draw a run: its name, how far it is, its curve, whether it forgot, and what its GPU does."""
    mark = mark_of(row)
    title: Line = (
        ("▸" if has_cursor else " ", "key"),
        (f"{mark.mark} ", mark.style),
        (cut_middle(clean_line(row.name), width - 8), "key" if has_cursor else "bold"),
    )
    number = row.metrics.get(row.main_metric)
    curve: Line = ((f"  {row.main_metric} ", "dim"), (value(number), "bold"), (f"  {spark}", "cyan"))
    how = f"{clean_line(row.method)} on {leaf(row.model)}"
    facts: Line = (
        (f"  {_gpu(row) or (how if number is not None else '')}  ", "dim"),
        *(forgot(row, now) if row.step else ()),
    )
    lines = [
        rule(title, width),
        _progress(row, width),
        curve if number is not None else ((f"  {how}", "dim"),),
        facts,
    ]
    return [cut_line(line, width) for line in lines]


@dataclass(frozen=True, slots=True)
class Job:
    """A job that makes no run: a check, remedies …; `label` names its machine where there are several."""

    row: LiveRow
    label: str = ""

    @property
    def name(self) -> str:
        """The run's name as requests need it."""
        return f"{self.label}:{self.row.run}" if self.label else self.row.run


def job_lines(job: Job, *, width: int, has_cursor: bool) -> list[Line]:
    """Draw a job: its run, how far it is, what it does now, how fast and where."""
    row, state = job.row, job.row.state
    mark = MARKS["alarm"] if state.pulse else MARKS["running"]
    title: Line = (
        ("▸" if has_cursor else " ", "key"),
        (f"{mark.mark} ", mark.style),
        (cut_middle(clean_line(job.name), width - 8), "key" if has_cursor else "bold"),
    )
    done, _, left = jobs.job(row.what, state, row.tried, room=width - 3).partition(", ")
    share = jobs.share(state, row.tried)
    room = width - len(done) - len(left) - 5
    bar: Line = share_bar(share, room, "cyan") if share is not None and room >= 4 else ()
    name, _, counted = jobs.phase(state).partition(", ")
    facts = ", ".join(
        filter(None, (counted if row.tried is not None else "", jobs.speed(state), clean_line(row.on)))
    )
    lines: list[Line] = [
        rule(title, width),
        ((f"  {done} ", ""), *bar, (f" {left}", "bold")),
        ((f"  {name}" if name not in done else "", "dim"),),
        ((f"  {facts}", "dim"),),
    ]
    return [cut_line(line, width) for line in lines]


def _progress(row: RunRow, width: int) -> Line:
    state = row.state
    if not row.step or not row.steps:
        words = jobs.phase(state) if isinstance(state, Running) else ""
        return ((f"  {words}", ""),)
    left = "" if row.left_s is None else f" {long_span(row.left_s)} left"
    steps = f"  {count(row.step)} of {count(row.steps)} "
    room = width - len(steps) - len(left) - 1
    if room < 4:
        return ((steps, ""), (left, "bold"))
    return ((steps, ""), *share_bar(row.step / row.steps, room, "cyan"), (left, "bold"))


def _gpu(row: RunRow) -> str:
    words = [row.gpus] if row.gpus else []
    if (busy := row.metrics.get("gpu_util")) is not None:
        words = [f"{row.gpus} at {busy:.0f} %" if row.gpus else f"GPU {busy:.0f} %"]
    if (memory := row.metrics.get("memory_gib")) is not None:
        words.append(f"{memory:.1f} GiB")
    if (speed := row.metrics.get("tokens_per_s")) is not None:
        words.append(f"{speed:,.0f} tok/s")
    return ", ".join(words[:2])


def laid_out(tiles: Sequence[Sequence[Line]], width: int, columns: int) -> list[Line]:
    """Lay tiles out in so many columns, each as wide as the others."""
    lines: list[Line] = []
    for first in range(0, len(tiles), columns):
        beside = tiles[first : first + columns]
        for y in range(ROWS):
            line: Line = ()
            for tile in beside:
                cell = tile[y] if y < len(tile) else ()
                line = (*line, *cell, (" " * (width - line_width(cell) + BETWEEN), ""))
            lines.append(line)
    return lines
